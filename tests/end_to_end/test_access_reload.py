"""A controller as a process that is told to read [access] anew, a real OpenID provider, and a browser's cookies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tomli_w

from tests.support.controllers import ControllerProcess, until
from tests.support.oidc_provider import CLIENT, SECRET, OidcProvider, running_provider

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    """A provider where alice is in sre and leads."""
    with running_provider() as running:
        yield running


def settings_of(controller: ControllerProcess, issuer: str, **roles: list[str]) -> dict[str, Any]:
    """Write the controller's settings, with these roles; return those of [access]."""
    secret = controller.directory.parent / "oidc.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    oidc = {"issuer": issuer, "client_id": CLIENT, "client_secret_file": str(secret), "roles": roles}
    return {"oidc": oidc}


async def reload(controller: ControllerProcess, access: dict[str, Any] | None) -> None:
    """Put other settings of [access] in place, none for `None`, and have them read."""
    http = {"port": controller.port, "public_url": controller.url}
    tables = {"state": str(controller.directory), "http": http, **controller.tables}
    wanted = {**tables, "access": access} if access is not None else {k: v for k, v in tables.items() if k != "access"}
    (controller.directory / "controller.toml").write_text(tomli_w.dumps(wanted))
    before = len(controller.said("settings.reloaded"))
    controller.signal(signal.SIGHUP)
    await until(lambda: len(controller.said("settings.reloaded")) > before)


async def roles_of(http: aiohttp.ClientSession) -> list[str]:
    async with http.get("/api/v1/me") as answer:
        return list((await answer.json())["roles"]) if answer.status == 200 else [str(answer.status)]


async def test_a_reload_takes_roles_away_from_who_is_signed_in(provider: OidcProvider, tmp_path: Path) -> None:
    controller = ControllerProcess(tmp_path / "controller", {"broker": {"url": "mqtt://127.0.0.1:1"}})
    before = settings_of(controller, provider.issuer, operator=["sre"], approver=["leads"])
    controller.tables["access"] = before
    try:
        controller.start()
        await until(lambda: controller.said("controller.started"))
        async with aiohttp.ClientSession(controller.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            async with http.get("/login/oidc", allow_redirects=False) as sent:
                there = sent.headers["Location"]
            async with http.post(there, data={"sub": "alice"}, allow_redirects=False) as back:
                address = back.headers["Location"]
            async with http.get(address, allow_redirects=False) as signed_in:
                assert signed_in.status == 303
            assert await roles_of(http) == ["operator", "approver"]
            await reload(controller, settings_of(controller, provider.issuer, approver=["leads"]))
            assert await roles_of(http) == ["approver"]
            await reload(controller, settings_of(controller, provider.issuer, operator=["nobody"]))
            assert await roles_of(http) == ["401"]
            await reload(controller, None)
            assert await roles_of(http) == ["401"], "that nobody is asked any more waits for a restart"
            assert '"waiting": ["access"]' in controller.said("settings.reloaded")[-1]
            await reload(controller, before)
            assert await roles_of(http) == ["operator", "approver"]
    finally:
        controller.end()
