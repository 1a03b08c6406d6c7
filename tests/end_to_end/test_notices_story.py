"""Tickets and pages as people meet them: a real cell, a file that something tails, a webhook that comes and goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SETTINGS = """
[[tickets]]
kind = "json_lines"
name = "desk"
path = "{folder}/desk.jsonl"
teams = ["datacentre"]
[[tickets]]
kind = "json_lines"
name = "others"
[[pages]]
kind = "webhook"
name = "duty"
url = "{url}"
deduplicates = true
timeout_s = 2
[notices]
bundle_s = 0
"""


@dataclass(slots=True)
class Duty:
    """The on-call system: it answers `status` and keeps what it took."""

    url: str = ""
    status: int = 200
    took: list[dict[str, Any]] = field(default_factory=list)

    def of(self, incident_id: str) -> list[str]:
        """Return what it was told of an incident, in order."""
        return [notice["event"] for notice in self.took if notice["incident_id"] == incident_id]


@pytest.fixture(scope="module")
def duty() -> Iterator[Duty]:
    """Serve one on loopback."""
    system = Duty()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if system.status == 200:
                system.took.append(notice)
            self.send_response(system.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    system.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield system
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cell(duty: Duty, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCell]:
    """Four nodes, with time that flies."""
    require_mosquitto()
    state = tmp_path_factory.mktemp("notices")
    settings = state / "more.toml"
    settings.write_text(SETTINGS.format(folder=state, url=duty.url))
    with EmbeddedCell(state, simulate=4, arguments=("--speed", "3600", "--settings", str(settings))) as embedded:
        yield embedded


def lines(cell: EmbeddedCell, incident_id: str) -> list[str]:
    """Return what the file says of an incident, in order."""
    path: Path = cell.state / "desk.jsonl"
    notices = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [notice["event"] for notice in notices if notice["incident_id"] == incident_id]


def test_one_ticket_and_one_page_are_followed_from_the_hand_over_to_the_return(cell: EmbeddedCell, duty: Duty) -> None:
    cell.drill("gpu-off-bus", "n1", repair="fails")
    incident = cell.incident_ended("n1")["id"]
    until("it is paged", lambda: duty.of(incident))
    shown = cell.cli("incident", incident).stdout
    assert "ticket" in shown and "in desk, open" in shown and "in duty, open" in shown

    assert cell.cli("acknowledge", incident, "--because", "on it").returncode == 0
    until("the page is acknowledged", lambda: "updated" in duty.of(incident))
    assert duty.took[-1]["acknowledged_by"] and "looks after it" in duty.took[-1]["news"]

    assert cell.cli("uncordon", "n1", "--because", "swapped by hand").returncode == 0
    until("the page is closed", lambda: "closed" in duty.of(incident))
    until("the ticket is closed", lambda: "closed" in lines(cell, incident))
    assert duty.of(incident).count("filed") == lines(cell, incident).count("filed") == 1
    assert "swapped by hand" in duty.took[-1]["news"]


def test_a_page_that_is_not_taken_is_told_of_and_sent_once_it_is(cell: EmbeddedCell, duty: Duty) -> None:
    duty.status = 503
    cell.drill("gpu-off-bus", "n2", repair="fails")
    incident = cell.incident_ended("n2")["id"]
    until("the status says so", lambda: "page duty" in cell.get("/status")["notice_errors"])
    assert "answered 503" in cell.cli("status").stdout
    assert lines(cell, incident)[:1] == ["filed"]
    duty.status = 200
    until("it is paged", lambda: duty.of(incident) == ["filed"], limit_s=60.0)
    until("the status is well", lambda: cell.get("/status")["notice_errors"] == {})
