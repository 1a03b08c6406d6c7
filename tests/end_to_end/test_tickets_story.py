"""A ticket as the team that turns screws meets it: a real cell, and a real Roundup that the technician works in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until
from tests.support.roundup import PASSWORD, TECHNICIAN, USER, RunningRoundup, running_roundup

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SETTINGS = """
[[tickets]]
kind = "roundup"
name = "hands"
url = "{url}"
user = "{user}"
password_file = "{password}"
assignees = {{ datacentre = "{technician}" }}
[notices]
bundle_s = 0
listen_every_s = 1
"""


@pytest.fixture(scope="module")
def roundup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRoundup]:
    with running_roundup(tmp_path_factory.mktemp("roundup")) as running:
        yield running


@pytest.fixture(scope="module")
def cell(roundup: RunningRoundup, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCell]:
    """Two nodes, with time that flies."""
    require_mosquitto()
    state = tmp_path_factory.mktemp("tickets")
    password = state / "roundup.password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    settings = state / "more.toml"
    settings.write_text(SETTINGS.format(url=roundup.url, user=USER, password=password, technician=TECHNICIAN))
    with EmbeddedCell(state, simulate=2, arguments=("--speed", "3600", "--settings", str(settings))) as embedded:
        yield embedded


def said(roundup: RunningRoundup, number: str) -> str:
    """Return everything that stands on an issue."""
    return "\n".join(roundup.text(message["id"]) for message in roundup.issue(number)["messages"])


def test_a_technician_who_closes_it_has_the_node_verified_and_hears_what_came_of_it(
    cell: EmbeddedCell, roundup: RunningRoundup
) -> None:
    cell.drill("gpu-off-bus", "n1", repair="fails")
    incident = cell.incident_ended("n1")["id"]
    (made,) = until("there is a ticket", lambda: roundup.ask("GET", "/issue")["collection"])
    number = made["id"]
    assert roundup.issue(number)["assignedto"]["username"] == TECHNICIAN
    assert incident in said(roundup, number)
    assert f"{number} in hands, open" in cell.cli("incident", incident).stdout

    roundup.say(number, "Reseated the GPU.", status="resolved")

    until("the node is verified", lambda: "Reseated the GPU." in cell.story("n1"))
    until("the ticket is open again", lambda: roundup.issue(number)["status"]["name"] == "in-progress")

    assert cell.cli("uncordon", "n1", "--because", "swapped by hand").returncode == 0
    until("the ticket is closed", lambda: roundup.issue(number)["status"]["name"] == "resolved")
    assert "swapped by hand" in said(roundup, number)
    assert len(roundup.ask("GET", "/issue")["collection"]) == 1
