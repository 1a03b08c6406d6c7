"""A site with an authority and a controller as its service runs it, over TLS; hosts enrol by the command."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from cli.ports import LOOPBACK, free_port
from controller.pki.authority import Authority, utc_now
from controller.pki.certificates import Kind
from tests.cli.conftest import Result, environment, run_cli
from tests.support.embedded import until
from tests.support.forked import CONTROLLER, ForkedProgram, begin_forked

NOWHERE = "mqtts://127.0.0.1:9"


@dataclass(slots=True)
class Site:
    """An authority and its controller.

    Attributes:
        more: further tables of the controller's settings.
        pki: the authority's folder; it is made when there is none in it.
    """

    folder: Path
    pki: Path
    more: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: ForkedProgram | None = None

    def __post_init__(self) -> None:
        (self.folder / "state").mkdir(parents=True)
        if not self.pki.exists():
            Authority.found(self.pki, now=utc_now())
        own = self.authority.issue(
            common_name="controller", kind=Kind.CONTROLLER, days=30, now=utc_now(), hosts=(LOOPBACK, "localhost")
        )
        for name, content in (("certificate.pem", own.certificate_pem), ("key.pem", own.key_pem)):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_bytes(content)

    @property
    def url(self) -> str:
        """Where the controller answers."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def authority(self) -> Authority:
        """Its authority."""
        return Authority(self.pki)

    @property
    def fingerprint(self) -> str:
        """Of the CA that signs."""
        return self.authority.authorities()[0].fingerprint

    @property
    def config(self) -> Path:
        """The controller's settings."""
        return self.folder / "controller.toml"

    def start(self) -> None:
        """Start the controller, and return when it answers."""
        certificate, key = str(self.folder / "certificate.pem"), str(self.folder / "key.pem")
        tables = {
            "state": str(self.folder / "state"),
            "broker": {"url": NOWHERE},
            "http": {"port": self.port, "certificate_file": certificate, "key_file": key},
            "access": {},
            "enrolment": {"pki": str(self.pki)},
            **self.more,
        }
        self.config.write_text(tomli_w.dumps(tables))
        told = ("--config", str(self.config))
        self.log.touch()
        said_before = len(self.log.read_text())
        self.process = begin_forked(CONTROLLER, *told, environment=environment(), output=self.log)
        until("the controller leads", lambda: self._said("leadership.taken", after=said_before))

    @property
    def log(self) -> Path:
        """What the controller said."""
        return self.folder / "controller.log"

    def _said(self, event: str, *, after: int) -> bool:
        assert self.process is not None
        said = self.log.read_text()
        assert self.process.poll() is None, said
        return event in said[after:]

    def kill(self) -> None:
        """End the controller as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the controller in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def token(self, *options: str) -> Path:
        """Return a file with a new token."""
        file = self.folder / f"token-{free_port()}"
        made = run_cli("enrol", "token", "make", *options, "-o", str(file), "--config", str(self.config))
        assert (made.returncode, made.stdout) == (0, ""), made.stderr
        return file

    def told(self) -> list[dict[str, Any]]:
        """Return what the event log has of enrolment, oldest first."""
        exported = run_cli("controller", "export", "--config", str(self.config))
        events = [json.loads(line) for line in exported.stdout.splitlines()]
        kinds = ("enrolment.", "certificate.")
        return [
            {"kind": each["type"], **each["data"]} for each in events if any(kind in each["type"] for kind in kinds)
        ]


@dataclass(slots=True)
class HostFiles:
    """A host: its folder in place of /etc/fleetmend."""

    etc: Path
    site: Site

    @property
    def config(self) -> Path:
        """The agent's settings."""
        return self.etc / "agent.toml"

    @property
    def folder(self) -> Path:
        """Key and certificates."""
        return self.etc / "agent"

    def enrol(self, token: Path, node: str, *options: str, url: str = "", stdin: str = "") -> Result:
        """Run `fleetmend enrol`; the controller is pinned unless the options say otherwise."""
        pinned = () if set(options) & {"--ca-file", "--ca-fingerprint"} else ("--ca-fingerprint", self.site.fingerprint)
        return run_cli(
            *("enrol", "--controller", url or self.site.url, *pinned, "--token-file", str(token), "--node", node),
            *("--config", str(self.config), "--folder", str(self.folder), *options),
            stdin=stdin,
        )

    def renew(self, *options: str) -> Result:
        """Run `fleetmend enrol renew`."""
        return run_cli("enrol", "renew", "--config", str(self.config), *options)

    def files(self) -> dict[str, bytes]:
        """Return all that is there."""
        return {str(file.relative_to(self.etc)): file.read_bytes() for file in self.etc.rglob("*") if file.is_file()}


@contextlib.contextmanager
def running_site(folder: Path, *, pki: Path | None = None, **more: Any) -> Iterator[Site]:
    """Give a site whose controller runs."""
    site = Site(folder, pki or folder / "pki", more)
    site.start()
    try:
        yield site
    finally:
        site.stop()
