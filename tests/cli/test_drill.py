"""`fleetmend drill`: injects, lists, and follows until the node is back or people have it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from agent.simulation.faults import FAULTS
from cli.exit_codes import ExitCode
from controller.events import PresenceChanged
from tests.cli.conftest import Run, ServedCell

MINUTE_S = 60.0


def test_the_list_explains_every_fault(run: Run) -> None:
    listed = json.loads(run("drill", "--list", "--json").stdout)
    assert [fault["name"] for fault in listed] == [fault.name for fault in FAULTS]
    assert all(fault["what_happens"] and fault["expected"] for fault in listed)
    table = run("drill", "--list").stdout
    assert all(fault.name in table for fault in FAULTS)


def test_a_drill_injects_under_the_faults_own_name(run: Run, served: ServedCell) -> None:
    result = run("drill", "xid79", "--node", "n2", "--device", "3", "--repair", "fails", "--parameter", "seed=4")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, "")
    order = served.cell.nodes.orders[0]
    assert order.parameters == {"fault": "gpu-off-bus", "repair": "fails", "device": "3", "seed": "4"}
    assert (order.device, order.node) == ("3", "n2")
    assert result.stdout.splitlines() == [
        "n2: A kernel-log record was written.",
        "Expected: Cordon at once, drain, reboot once; hand it to a person when the GPU is still missing afterwards.",
        "Watch it: fleetmend incidents --node n2",
    ]


def test_the_answer_as_json(run: Run) -> None:
    answer = json.loads(run("drill", "gpu-off-bus", "--node", "n2", "--json").stdout)
    assert (answer["outcome"], answer["node"]) == ("done", "n2")


@pytest.fixture
def clock_runs(served: ServedCell) -> Iterator[None]:
    """The cell's clock runs at a minute per moment."""
    stop = threading.Event()

    def turn() -> None:
        while not stop.wait(0.02):
            served.cell.clock.now += MINUTE_S / 20

    thread = threading.Thread(target=turn)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("clock_runs")
def test_wait_follows_until_the_node_is_back(run: Run, served: ServedCell) -> None:
    result = run("drill", "gpu-off-bus", "--node", "n2", "--wait")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, "")
    steps = ("Cordon begins", "Drain done", "Reboot done", "Verify done", "Probation done", "Uncordon done")
    places = [result.stdout.index(f"inc-000001 {step}") for step in (*steps, "Closed: returned")]
    assert places == sorted(places)
    assert served.cell.cell.belief.incidents["inc-000001"].outcome == "returned"


@pytest.mark.usefixtures("clock_runs")
def test_wait_ends_with_1_when_people_have_it_and_have_been_told(run: Run, served: ServedCell) -> None:
    served.cell.nodes.mends = False
    result = run("drill", "gpu-off-bus", "--node", "n2", "--wait")
    assert result.returncode == ExitCode.NO
    assert result.stderr == "fleetmend: n2 was not returned: inc-000001 is handed over\n"
    assert result.stdout.index("handed to people") < result.stdout.index("Page done")
    assert [notice.incident_id for notice in served.cell.pages.sent] == ["inc-000001"]


@pytest.mark.usefixtures("clock_runs")
def test_wait_with_json_prints_the_incidents_and_nothing_else(run: Run) -> None:
    result = run("drill", "gpu-off-bus", "--node", "n2", "--wait", "--json")
    assert result.returncode == ExitCode.DONE
    assert [(row["id"], row["outcome"]) for row in json.loads(result.stdout)] == [("inc-000001", "returned")]
    assert "inc-000001 Cordon begins" in result.stderr


@pytest.mark.usefixtures("clock_runs")
def test_an_earlier_incident_of_the_node_is_not_followed(run: Run) -> None:
    assert run("drill", "gpu-off-bus", "--node", "n2", "--wait").returncode == ExitCode.DONE
    second = run("drill", "gpu-off-bus", "--node", "n2", "--wait")
    assert "inc-000002 Closed: returned" in second.stdout and "inc-000001" not in second.stdout


def test_wait_gives_up_when_the_time_is_over(run: Run, served: ServedCell) -> None:
    served.cell.scheduler.jobs["n2"] = ("17",)
    result = run("drill", "gpu-off-bus", "--node", "n2", "--wait", "--timeout", "1")
    assert result.returncode == ExitCode.NO
    assert result.stderr == "fleetmend: n2 was not returned: inc-000001 is running\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("gpu-on-fire", "--node", "n2"), ExitCode.USAGE, "no fault is called 'gpu-on-fire'; there are gpu-off-bus"),
        (("xid79",), ExitCode.USAGE, "--node NAME"),
        (("xid79", "--node", "n2", "--repair", "maybe"), ExitCode.USAGE, "--repair"),
        (("xid79", "--node", "n2", "--parameter", "x"), ExitCode.USAGE, "NAME=VALUE"),
        (("xid79", "--node", "m1"), ExitCode.NO, "no node is called 'm1'"),
        (("disk-full", "--node", "n2"), ExitCode.REFUSED_NOW, "n2 did not inject disk-full"),
    ],
)
def test_a_wrong_drill_is_refused(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run("drill", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.split())


def test_a_node_that_is_away_is_75(run: Run, served: ServedCell) -> None:
    served.do(served.cell.tell(PresenceChanged("n2", "lost", "Last Will")))
    result = run("drill", "xid79", "--node", "n2")
    assert (result.returncode, served.cell.nodes.orders) == (ExitCode.REFUSED_NOW, [])
