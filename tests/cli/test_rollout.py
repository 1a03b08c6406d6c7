"""`fleetmend playbook rollout` and `fleetmend approve --for`: run as users run them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cli.exit_codes import ExitCode
from controller.events import OperatorActed, PlaybooksTrusted, RolloutBegan
from tests.cli.conftest import Run, ServedCell
from tests.support.documents.running import Walk, words_of
from tests.support.open_cell import disk_full, gpu_lost_playbook

PAGE = "docs/how-to/try-a-changed-playbook.md"
TRIED = replace(gpu_lost_playbook(), digest="9c1d" * 4, summary="A GPU has fallen off the bus, we think.")


def acts(served: ServedCell) -> list[OperatorActed]:
    log = served.do(served.cell.front.timeline())
    return [entry.event for entry in log if isinstance(entry.event, OperatorActed)]


def test_without_a_changed_playbook_all_are_trusted(run: Run) -> None:
    assert run("playbook", "rollout").stdout == "Every playbook is trusted.\n"
    assert run("playbook", "rollout", "gpu_lost").stdout == "No new text of gpu_lost is tried.\n"
    assert json.loads(run("playbook", "rollout", "--json").stdout) == []


def test_a_changed_playbook_is_shown_and_decided(run: Run, served: ServedCell) -> None:
    served.do(served.cell.tell(PlaybooksTrusted([gpu_lost_playbook()], "so."), RolloutBegan(TRIED, "so.")))
    shown = run("playbook", "rollout").stdout
    for word in ("gpu_lost", "5f2b8c1d90aa", "9c1d9c1d9c1d", "0 of 1", "answers the next incident of its kind"):
        assert word in shown
    out = run("playbook", "rollout", "gpu_lost", "--withdraw", "--because", "wrong order", "--digest", "9c1d")
    assert out.stdout == "The new text of gpu_lost (9c1d9c1d9c1d) answers no further incident; its old text stays.\n"
    assert "Withdrawn by alice: wrong order." in run("playbook", "rollout").stdout
    assert run("playbook", "rollout", "gpu_lost", "--promote").returncode == ExitCode.DONE
    assert [(act.verb, act.subject) for act in acts(served)] == [("withdraw", "gpu_lost"), ("promote", "gpu_lost")]


def test_what_the_page_says_of_a_changed_playbook(run: Run, served: ServedCell) -> None:
    served.do(served.cell.tell(PlaybooksTrusted([gpu_lost_playbook()], "so."), RolloutBegan(TRIED, "so.")))
    commands = words_of(Walk(PAGE, __file__).text("fleetmend playbook rollout"))
    for words in commands:
        assert run(*words).returncode == ExitCode.DONE, words
        served.do(served.cell.tell(RolloutBegan(TRIED, "so.")))
    assert [act.verb for act in acts(served)] == ["promote", "withdraw"]


@pytest.mark.parametrize("which", [0, 1])
def test_what_the_page_says_of_a_plan_that_asks(run: Run, served: ServedCell, which: int) -> None:
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    page = Walk(PAGE, __file__)
    page.text("fleetmend playbook rollout")
    words = words_of(page.text("fleetmend approve"))[which]
    assert run(*words).returncode == ExitCode.DONE
    assert [act.verb for act in acts(served)] == ["approve"]
    assert page.left == []


def test_what_cannot_be_decided_says_why(run: Run, served: ServedCell) -> None:
    served.do(served.cell.tell(PlaybooksTrusted([gpu_lost_playbook()], "so."), RolloutBegan(TRIED, "so.")))
    nameless = run("playbook", "rollout", "--promote")
    assert (nameless.returncode, "--promote needs the name of a playbook" in nameless.stderr) == (ExitCode.USAGE, True)
    assert run("playbook", "rollout", "gpu_memory", "--promote").returncode == ExitCode.NO
    assert run("playbook", "rollout", "gpu_lost", "--promote", "--digest", "ffff").returncode == ExitCode.REFUSED_NOW


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129_600)])
def test_a_yes_for_a_time(run: Run, served: ServedCell, written: str, seconds: float) -> None:
    served.do(served.cell.nodes.find("n3", disk_full()))
    served.do(served.cell.until("n3", "waiting"))
    assert "asks" in run("incident", "inc-000001").stdout
    out = run("approve", "inc-000001", "--for", written, "--what", "disk_full:")
    assert out.returncode == ExitCode.DONE, out.stderr
    (act,) = acts(served)
    assert round(act.expires_at - served.cell.clock.now) == seconds


def test_a_time_that_is_none_is_named(run: Run) -> None:
    out = run("approve", "inc-000001", "--for", "soon")
    assert (out.returncode, "'soon' is no time; write 90s, 15m, 2h or 3d" in out.stderr) == (ExitCode.USAGE, True)
