"""From a token to the first finding on the page: a host enrols, its agent speaks to a broker that knows nobody else.

The broker is a real Mosquitto with mutual TLS, the controller and the agent are processes as services run them. Nobody
copies a key, a password or a certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.enrolment.controllers import Pin
from controller.access.roles import Role
from controller.pki import certificates
from controller.sections.access import TOKENS
from tests.cli.conftest import environment
from tests.support.embedded import until
from tests.support.enrolling_site import HostFiles, Site, running_site
from tests.support.tls_broker import TlsBroker, running_tls_broker
from tests.support.tokens import make_token

pytestmark = pytest.mark.timeout(300)

CHECK = "#!/bin/sh\necho 'the water is warm'\nexit 2\n"


def settings(folder: Path) -> str:
    """Return what the site had in the host's settings before it enrolled."""
    return f"""\
# ours
state_directory = "{folder}/state"

[site]
folder = "{folder}/checks.d"
interval_s = 1
fast_interval_s = 1
deadline_s = 1

[checks."site.cooling"]
raise_after = 1
"""


@contextlib.contextmanager
def agent(config: Path) -> Iterator[None]:
    """Run an agent."""
    command = [sys.executable, "-m", "agent", "--config", str(config)]
    with config.with_name("agent.log").open("ab") as output:
        process = subprocess.Popen(command, stderr=output, env=environment())
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def prepared(site: Site, folder: Path) -> HostFiles:
    """Return a host of which the site has said what it watches."""
    host = HostFiles(folder, site)
    (folder / "checks.d").mkdir(parents=True)
    (folder / "checks.d" / "cooling").write_text(CHECK)
    (folder / "checks.d" / "cooling").chmod(0o755)
    host.config.write_text(settings(folder))
    return host


async def test_from_a_token_to_the_first_finding(tmp_path: Path) -> None:
    async with running_tls_broker(tmp_path / "broker") as broker:
        own = broker.issue("controller")
        tables: dict[str, Any] = {
            "url": broker.url,
            "ca_file": str(own.ca_file),
            "certificate_file": str(own.certificate_file),
            "key_file": str(own.key_file),
        }
        await asyncio.to_thread(story, tmp_path, broker, tables)


def story(folder: Path, broker: TlsBroker, tables: dict[str, Any]) -> None:
    with running_site(folder / "site", pki=broker.folder / "pki", broker=tables) as site:
        host = prepared(site, folder / "host")
        done = host.enrol(site.token("--nodes", "gpu-[01-64]"), "gpu-01", "--keep-settings")
        assert (done.returncode, done.stderr) == (0, "")
        viewer = make_token(site.folder / "state" / TOKENS, "page", Role.VIEWER)
        asking = Pin(ca_file=site.pki / "ca.pem").client(site.url, viewer)
        with agent(host.config):
            found = until("the finding is on the page", lambda: _findings(asking.get("nodes"), asking))
            assert ("site.cooling", "the water is warm") in found
            before = (host.folder / "certificate.pem").read_bytes()
            assert host.renew("--force").returncode == 0
            after = certificates.from_pem((host.folder / "certificate.pem").read_bytes())[0]
            serial = certificates.describe(after).serial
            assert after != certificates.from_pem(before)[0]
            events = [entry["text"] for entry in asking.get("nodes", "gpu-01")["timeline"]]
            assert any("gpu-01 enrolled" in text for text in events)
            assert any(serial[:16] in text for text in events)
        assert [each["kind"].rpartition("fleetmend.")[2] for each in site.told()] == [
            "enrolment.granted",
            "certificate.issued",
            "certificate.issued",
        ]


def _findings(nodes: list[dict[str, Any]], asking: Any) -> list[tuple[str, str]]:
    if "gpu-01" not in {each["name"] for each in nodes}:
        return []
    findings = asking.get("nodes", "gpu-01")["findings"]
    told = [(each["check"], each["because"]) for each in findings]
    return told if any(check == "site.cooling" for check, _ in told) else []
