"""`fleetmend bench sweep`: asked for, followed to its verdicts with an exit code, listed and stopped."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cli.exit_codes import ExitCode
from controller.reason import Reason
from controller.sweep_events import SweepEnded, SweepNodeLeft, SweepVerdict
from tests.cli.conftest import Run, ServedCell, environment

SWEEP = "sweep-000001"
CLEAR = Reason("Nothing is slow.")
MANY = Reason("7 nodes are suspect.")
WEAK = SweepVerdict("node", ["n2"], ["n2"], [], Reason("Every group with n2 is slow, and none without it."))
CABLE = SweepVerdict("link", ["n3/rail 4"], ["n3"], ["4"], Reason("Only rail 4 of n3 is slow."), "inc-000007")


def begin(served: ServedCell, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command that waits, and wait until its sweep has begun."""
    served.do(served.cell.until_seen("n1", "n2", "n3"))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "bench", "sweep", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(FLEETMEND_URL=served.url),
    )
    served.do(_until_begun(served))
    return process


async def _until_begun(served: ServedCell) -> None:
    await served.cell.until_true(lambda: SWEEP in served.cell.cell.belief.sweeps.sweeps)


@pytest.mark.parametrize(
    ("ended", "code", "says"),
    [
        (
            SweepEnded(SWEEP, "done", CLEAR, cleared=["n1", "n2", "n3"]),
            ExitCode.DONE,
            "n1, n2, n3",
        ),
        (SweepEnded(SWEEP, "done", Reason("One node is slow."), [WEAK]), ExitCode.NO, "node n2"),
        (SweepEnded(SWEEP, "done", Reason("One link is slow."), [CABLE]), ExitCode.NO, "on rails 4"),
        (
            SweepEnded(SWEEP, "too_many", MANY, asks="inc-000009"),
            ExitCode.NO,
            "inc-000009 asks",
        ),
        (SweepEnded(SWEEP, "stopped", Reason("alice stopped it.")), ExitCode.UNREAD, "alice stopped it."),
        (SweepEnded(SWEEP, "timed_out", Reason("No time is left.")), ExitCode.UNREAD, "timed out"),
    ],
    ids=["clear", "node", "link", "too many", "stopped", "timed out"],
)
def test_a_sweep_is_followed_and_its_verdict_is_the_exit_code(
    served: ServedCell, ended: SweepEnded, code: ExitCode, says: str
) -> None:
    process = begin(served, "n1", "n2", "n3")
    served.do(served.cell.tell(ended))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert out.startswith(f"{SWEEP} over 3 nodes begins with ")
    assert says in " ".join(out.split()) and ended.reason.because in " ".join(out.split())


def test_a_node_that_leaves_is_told_and_json_is_alone_on_standard_output(served: ServedCell) -> None:
    process = begin(served, "n1", "n2", "n3", "--json")
    served.do(served.cell.tell(SweepNodeLeft(SWEEP, "n3", "it has work: 17")))
    served.do(served.cell.tell(SweepEnded(SWEEP, "done", CLEAR)))
    out, err = process.communicate(timeout=60)
    answer = json.loads(out)
    assert (answer["sweep"]["state"], answer["left"]) == ("done", {"n3": "it has work: 17"})
    assert process.returncode == ExitCode.UNREAD, "it cleared nobody"
    assert "n3 takes part no more: it has work: 17" in err


def test_a_sweep_that_is_not_waited_for_is_listed_shown_and_stopped(served: ServedCell, run: Run) -> None:
    assert run("bench", "sweeps").stdout == "There has been no sweep yet.\n"
    served.do(served.cell.until_seen("n1", "n2", "n3"))
    begun = run("bench", "sweep", "n1", "n2", "n3", "--no-wait", "--because", "jobs are slow")
    assert (begun.returncode, begun.stderr) == (0, "")
    assert begun.stdout.endswith(f"See: fleetmend bench sweeps {SWEEP}\n")
    listed = " ".join(run("bench", "sweeps").stdout.split())
    assert f"{SWEEP} running 3" in listed and "alice" in listed
    shown = " ".join(run("bench", "sweeps", SWEEP).stdout.split())
    assert f"{SWEEP} over 3 nodes" in shown and "because jobs are slow" in shown and "n1, n2, n3" in shown
    stopped = run("bench", "stop", SWEEP, "--because", "wrong leaf")
    assert stopped.stdout == f"{SWEEP} is stopped.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("sweep",), ExitCode.USAGE, "name nodes, or one of --rack NAME, --in KIND=NAME and --all."),
        (("sweep", "n1", "--all"), ExitCode.USAGE, "name nodes, or one of --rack NAME"),
        (("sweep", "--rack", "r1", "--all"), ExitCode.USAGE, "name nodes, or one of --rack NAME"),
        (("sweep", "--in", "leaf"), ExitCode.USAGE, "'leaf' is not KIND=NAME, e.g. leaf=leaf-3."),
        (("sweep", "--rack", "r99"), ExitCode.NO, "no node stands in rack=r99"),
        (("sweep", "n1"), ExitCode.USAGE, "1 node cannot be swept"),
        (("sweep", "n1", "n11"), ExitCode.NO, "no node is called 'n11'"),
        (("sweeps", "nothing"), ExitCode.NO, "no sweep is called 'nothing'; `fleetmend bench sweeps`"),
        (("stop", SWEEP), ExitCode.NO, f"no sweep is called '{SWEEP}'"),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run("bench", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert says in " ".join(result.stderr.split())
