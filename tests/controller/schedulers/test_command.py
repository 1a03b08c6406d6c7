"""The hook's contract, with real programs as hooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers import command
from controller.schedulers.command import CommandScheduler
from tests.support.eventually import eventually

HookOf = Callable[[str], CommandScheduler]


@pytest.fixture
def hook_of(tmp_path: Path) -> HookOf:
    """Make a hook of a shell script's text."""

    def make(script: str, *, deadline_s: float = 10.0) -> CommandScheduler:
        hook = tmp_path / "hook"
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)
        return CommandScheduler(hook, deadline_s=deadline_s)

    return make


async def test_the_hook_is_told_what_and_why(hook_of: HookOf, hold: Hold, tmp_path: Path) -> None:
    scheduler = hook_of(
        f'echo "$*" >{tmp_path}/told; env | grep ^FLEETMEND_ | sort >>{tmp_path}/told; echo \'{{"jobs":[]}}\''
    )

    await scheduler.drain("n1", hold, jobs="requeue")

    assert (tmp_path / "told").read_text().splitlines() == [
        "drain n1",
        "FLEETMEND_INCIDENT=inc-000007",
        "FLEETMEND_JOBS=requeue",
        "FLEETMEND_KEY=inc-000007/cordon/1",
        "FLEETMEND_REASON=GPU 3 has fallen off the bus (Xid 79).",
        "FLEETMEND_TOKEN=1",
    ]


async def test_its_sentence_goes_into_the_timeline(hook_of: HookOf, hold: Hold) -> None:
    assert await hook_of("echo $1 of $2 done").cordon("n1", hold) == "cordon of n1 done"
    assert await hook_of("echo $1 of $2 done").uncordon("n1", hold) == "uncordon of n1 done"


async def test_a_silent_hook_has_a_sentence_too(hook_of: HookOf, hold: Hold) -> None:
    assert await hook_of("exit 0").cordon("n1", hold) == "n1 is held for inc-000007, says hook."
    assert await hook_of("exit 0").uncordon("n1", hold) == "n1 is given back, says hook."


@pytest.mark.parametrize(
    ("script", "kind", "because"),
    [
        ("echo busy >&2; exit 75", Retryable, "hook cordon n1: busy"),
        ("echo held by bob >&2; exit 77", Refused, "hook cordon n1: held by bob"),
        ("echo first >&2; echo no such node >&2; exit 1", Permanent, r"hook cordon n1: no such node \(exit code 1\)"),
        ("exit 3", Permanent, "exit code 3 and no word"),
        ("kill -9 $$", Permanent, "ended by signal 9"),
    ],
)
async def test_the_exit_code_is_the_answer(
    hook_of: HookOf, hold: Hold, script: str, kind: type[Exception], because: str
) -> None:
    with pytest.raises(kind, match=because):
        await hook_of(script).cordon("n1", hold)


async def test_observe_is_every_node(hook_of: HookOf) -> None:
    nodes = (
        '{"nodes": {"n1": {"schedulable": true}, "n2": {"schedulable": false, "held_by": "inc-000007", "jobs": ["7"]},'
        ' "n3": {"schedulable": false, "foreign_reason": "by hand", "responding": false}}}'
    )

    seen = await hook_of(f"[ \"$*\" = observe ] && echo '{nodes}'").observe()

    assert seen == {
        "n1": NodeSchedule(True),
        "n2": NodeSchedule(False, held_by="inc-000007", jobs=("7",)),
        "n3": NodeSchedule(False, foreign_reason="by hand", responding=False),
    }


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        ("", "hook observe: standard output: Input data was truncated"),
        ("nodes: n1", "hook observe: standard output: JSON is malformed"),
        ('{"nodes": ["n1"]}', r"Expected `object`, got `array` - at `\$.nodes`"),
        ('{"nodes": {"n1": {}}}', "nodes.n1: Object missing required field `schedulable`"),
        ('{"nodes": {"n1": {"schedulable": "yes"}}}', "nodes.n1: Expected `bool`, got `str`"),
        ('{"nodes": {"n1": {"schedulable": true, "job": []}}}', "nodes.n1: Object contains unknown field `job`"),
        ('{"nodes": {"n1/..": {"schedulable": true}}}', "'n1/..' is not a node's name"),
        (r"\377", "hook observe: standard output"),
    ],
)
async def test_malformed_output_is_named(hook_of: HookOf, printed: str, problem: str) -> None:
    with pytest.raises(Permanent, match=problem):
        await hook_of(f"printf '{printed}'").observe()


async def test_a_drain_that_names_no_jobs_is_not_an_empty_node(hook_of: HookOf, hold: Hold) -> None:
    with pytest.raises(Permanent, match="hook drain n1: standard output: Object missing required field `jobs`"):
        await hook_of("echo '{}'").drain("n1", hold, jobs="wait")


async def test_the_jobs_left_are_returned(hook_of: HookOf, hold: Hold) -> None:
    assert await hook_of("""echo '{"jobs": ["17", "18"]}'""").drain("n1", hold, jobs="wait") == ("17", "18")


async def test_a_hook_that_hangs_is_killed_with_its_children(tmp_path: Path, hook_of: HookOf, hold: Hold) -> None:
    scheduler = replace(hook_of(f"sleep 600 & echo $! >{tmp_path}/child; wait"), deadline_s=0.5)
    began = time.monotonic()

    with pytest.raises(Retryable, match=r"hook cordon n1 was not done after 0.5 s and was killed"):
        await scheduler.cordon("n1", hold)

    assert time.monotonic() - began < 3.0
    child = int((tmp_path / "child").read_text())
    await eventually("the child is gone", lambda: not _runs(child))


def _runs(process_id: int) -> bool:
    """A killed child may stay a zombie until its new parent looks."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_endless_output_is_cut_off(hook_of: HookOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_OUTPUT_BYTES", 100_000)

    with pytest.raises(Permanent, match="printed more than 100000 bytes"):
        await hook_of("exec cat /dev/zero").observe()


async def test_endless_complaints_do_no_harm(hook_of: HookOf, hold: Hold) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the last word >&2; exit 77"
    with pytest.raises(Refused, match=r"hook cordon n1: the last word$"):
        await hook_of(script).cordon("n1", hold)


@pytest.mark.parametrize("node", ["", "-rf", "n1 n2", "n1;reboot", "../n1", "n1\n"])
async def test_a_name_that_is_none_never_reaches_the_hook(
    hook_of: HookOf, hold: Hold, tmp_path: Path, node: str
) -> None:
    scheduler = hook_of(f"touch {tmp_path}/called")
    for act in (scheduler.cordon(node, hold), scheduler.uncordon(node, hold), scheduler.drain(node, hold, jobs="wait")):
        with pytest.raises(Permanent, match="is not a node's name"):
            await act

    assert not (tmp_path / "called").exists()


async def test_a_reason_with_odd_bytes_reaches_the_hook(hook_of: HookOf, hold: Hold) -> None:
    said = await hook_of('echo "$FLEETMEND_REASON"').cordon("n1", replace(hold, reason="a\0b \udce9 é"))
    assert said == "a b ? é"


async def test_a_hook_that_is_not_there_is_said_at_once(tmp_path: Path, hold: Hold) -> None:
    with pytest.raises(Permanent, match="missing cannot be run: No such file or directory"):
        await CommandScheduler(tmp_path / "missing").cordon("n1", hold)


async def test_a_hook_that_may_not_be_run_is_said_at_once(tmp_path: Path, hold: Hold) -> None:
    (tmp_path / "hook").write_text("#!/bin/sh\n")
    with pytest.raises(Permanent, match="hook cannot be run: Permission denied"):
        await CommandScheduler(tmp_path / "hook").cordon("n1", hold)
