"""`fleetmend up` as a user starts it: a process with children of its own, spoken to by HTTP alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cli.client import Client, Failed
from cli.ports import free_port
from tests.support.forked import FLEETMEND, run_forked

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], *, limit_s: float = 90.0) -> T:
    """Look until something true is seen and return it; fail with `what` when it takes too long."""
    end = time.monotonic() + limit_s
    while not (seen := look()):
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)
    return seen


@dataclass(slots=True)
class EmbeddedCell:
    """A running `fleetmend up`, started on entering and stopped by SIGINT on leaving."""

    state: Path
    simulate: int
    scheduler: str = "none"
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its controller answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with (self.state / "up.log").open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "cli.main", "up"),
                    *("--state", str(self.state), "--port", str(self.port)),
                    *("--simulate", str(self.simulate), "--scheduler", self.scheduler),
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )
        until("the cell is ready", self._ready, limit_s=90.0)
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.words()
        return "Status page:" in self.words()

    def words(self) -> str:
        """Return what it printed so far."""
        return (self.state / "up.log").read_text(errors="replace")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def get(self, path: str) -> Any:
        """Return what the API answers."""
        return Client(self.url).get(*path.strip("/").split("/"))

    def post(self, path: str, **body: Any) -> Any:
        """Have the API do something, and return what it answers."""
        return Client(self.url).post(*path.strip("/").split("/"), **body)

    def answers(self) -> bool:
        """Return whether the controller answers now."""
        try:
            self.get("/status")
        except Failed:
            return False
        return True

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `fleetmend` command against this cell."""
        return run_forked(FLEETMEND, "--url", self.url, *arguments, environment=os.environ)

    def drill(self, fault: str, node: str, *, repair: str = "succeeds", device: str = "") -> None:
        """Inject a fault as a user does."""
        where = ("--device", device) if device else ()
        done = self.cli("drill", fault, "--node", node, "--repair", repair, *where)
        assert done.returncode == 0, done.stdout + done.stderr

    def incidents(self, node: str) -> list[dict[str, Any]]:
        """Return the incidents of a node, oldest first."""
        found = [incident for incident in self.get("/incidents") if incident["node"] == node]
        return sorted(found, key=lambda incident: incident["id"])

    def incident_ended(self, node: str, *, fault_class: str = "", limit_s: float = 90.0) -> dict[str, Any]:
        """Wait until the newest incident of a node, or the newest of this class, has an outcome, and return it."""

        def ended() -> dict[str, Any] | None:
            found = [each for each in self.incidents(node) if not fault_class or each["fault_class"] == fault_class]
            return found[-1] if found and found[-1]["outcome"] else None

        try:
            return until(f"an incident on {node} has ended", ended, limit_s=limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story(node)}") from None

    def story(self, node: str) -> str:
        """Return the timelines of a node's incidents, for the message of a test that fails."""
        return "\n".join(self.cli("incident", each["id"]).stdout for each in self.incidents(node))

    def node(self, name: str) -> dict[str, Any]:
        """Return one node of the node list."""
        return next(node for node in self.get("/nodes") if node["name"] == name)
