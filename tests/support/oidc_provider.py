"""A real OpenID provider in a process of its own, with two people, which holds clients to PKCE.

`python -m tests.support.oidc_provider PORT`. The library's provider takes no notice of PKCE, so it is looked at here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cli.ports import free_port

CLIENT, SECRET = "fleetmend", "provider-secret"
LIMIT_S = 20.0

GROUPS: dict[str, list[str]] = {"alice": ["sre", "leads"], "bob": ["guests"]}


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """A running provider."""

    issuer: str


@contextlib.contextmanager
def running_provider() -> Iterator[OidcProvider]:
    """Run a provider as long as the block lasts."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.oidc_provider", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        issuer = f"http://127.0.0.1:{port}"
        _wait_for(issuer, process)
        yield OidcProvider(issuer)
    finally:
        process.terminate()
        process.wait()


def _wait_for(issuer: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{issuer}/jwks", timeout=2):  # noqa: S310 - http
            return
        time.sleep(0.05)
    raise AssertionError("the provider does not answer")


def _serve(port: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flask  # noqa: PLC0415 - the provider's own, and it warns
        import oidc_provider_mock  # noqa: PLC0415 - as above

    users = [
        oidc_provider_mock.User(sub=name, claims={"preferred_username": name, "groups": groups})
        for name, groups in GROUPS.items()
    ]
    app = oidc_provider_mock.app(user_claims=users, require_nonce=True)
    app.debug = False
    challenges: set[str] = set()

    def hold_to_pkce() -> Any:
        asked, said = flask.request.args, flask.request.form
        if flask.request.path == "/oauth2/authorize":
            if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
                return "PKCE by S256 is wanted", 400
            challenges.add(asked["code_challenge"])
        if flask.request.path == "/oauth2/token":
            digest = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") not in challenges:
                return {"error": "invalid_grant"}, 400
            if flask.request.headers.get("Authorization") != f"Basic {basic}":
                return {"error": "invalid_client"}, 401
        return None

    app.before_request(hold_to_pkce)
    app.run("127.0.0.1", port)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
