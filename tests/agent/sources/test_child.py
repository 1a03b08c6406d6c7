"""Disposable children: answered, late, stubborn, stuck, dead, cancelled."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from agent.sources.child import Child, ChildEnded, Command, DeadlineMissed, Slot, Stuck
from tests.support.eventually import eventually

ECHO = ("sh", "-c", "while read -r line; do echo $$ $line; done")
DEADLINE_S = 10.0


def child_of(script: str, slot: Slot | None = None) -> Child:
    return Child(("sh", "-c", script), slot or Slot())


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_answers_each_question_with_one_line_from_one_process() -> None:
    child = Child(ECHO, Slot())
    first = await child.ask(b"one", deadline_s=DEADLINE_S)
    second = await child.ask(b"two", deadline_s=DEADLINE_S)
    pid = child.pid
    await child.close()
    assert [f"{pid} one", f"{pid} two"] == [first.decode(), second.decode()]
    assert child.pid is None


async def test_questions_at_the_same_time_get_their_own_answers() -> None:
    child = Child(ECHO, Slot())
    answers = await asyncio.gather(*(child.ask(str(n).encode(), deadline_s=DEADLINE_S) for n in range(20)))
    await child.close()
    assert [str(n) for n in range(20)] == [answer.decode().split()[1] for answer in answers]


async def test_a_long_question_and_a_long_answer_pass_through_the_pipes() -> None:
    script = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"
    child = Child((sys.executable, "-S", "-c", script), Slot())
    question = b"ab" * 300_000
    answer = await child.ask(question, deadline_s=DEADLINE_S)
    await child.close()
    assert question[::-1] == answer


@pytest.mark.parametrize("trap", ["", "trap '' TERM INT HUP;"])
async def test_a_late_child_is_killed_with_its_whole_group(trap: str, tmp_path: Path) -> None:
    grandchild = tmp_path / "pid"
    child = child_of(f"{trap} sleep 600 & echo $! > {grandchild}; read -r line; wait")
    with pytest.raises(DeadlineMissed, match=r"no answer within 0.5 s: the process is in state S"):
        await child.ask(b"", deadline_s=0.5)
    assert child.pid is None
    assert not child.stuck
    pid = int(grandchild.read_text())
    await eventually("the whole group is dead", lambda: not is_alive(pid))


async def test_what_left_the_group_and_holds_the_pipes_is_killed_too(tmp_path: Path) -> None:
    daemon = tmp_path / "pid"
    command = Command(Slot())
    script = f"setsid sh -c 'echo $$ > {daemon}; exec sleep 600' & while ! [ -s {daemon} ]; do :; done; echo said"
    with pytest.raises(DeadlineMissed, match="the process is in state Z"):
        await command.run(("sh", "-c", script), deadline_s=1.0)
    pid = int(daemon.read_text())
    await eventually("the daemon is dead", lambda: not is_alive(pid))


async def test_when_memory_runs_out_a_child_is_the_first_to_go() -> None:
    ended = await Command(Slot()).run(
        ("sh", "-c", "until grep -qx 500 /proc/self/oom_score_adj; do :; done"), deadline_s=DEADLINE_S
    )
    assert ended.code == 0


async def test_the_loop_goes_on_while_a_child_hangs() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(DeadlineMissed):
        await child_of("sleep 600").ask(b"", deadline_s=0.4)
    ticking.cancel()
    assert ticks >= 10


async def test_after_a_late_child_the_next_question_starts_another() -> None:
    child = child_of("read -r line; [ $line = hang ] && sleep 600; echo $line")
    with pytest.raises(DeadlineMissed):
        await child.ask(b"hang", deadline_s=0.3)
    assert await child.ask(b"well", deadline_s=DEADLINE_S) == b"well"
    await child.close()


async def test_nothing_is_started_behind_a_child_that_cannot_be_killed(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    slot = Slot(kill=lambda _group, _signal: None, kill_limit_s=0.05)
    child = child_of(f"echo $$ >> {starts}; read -r line; [ $line = hang ] && exec sleep 600; echo $line", slot)
    for _ in range(3):
        with pytest.raises(Stuck, match="does not die of SIGKILL: it is in state"):
            await child.ask(b"hang", deadline_s=0.3)
    assert child.stuck
    assert len(starts.read_text().split()) == 1

    os.killpg(int(starts.read_text()), 9)
    await eventually("it is gone", lambda: not child.stuck)
    assert await child.ask(b"well", deadline_s=DEADLINE_S) == b"well"
    assert len(starts.read_text().split()) == 2
    os.killpg(int(starts.read_text().split()[1]), 9)
    await child.close()


async def test_a_child_that_ends_is_told_with_its_code() -> None:
    with pytest.raises(ChildEnded, match="ended with code 7 without an answer"):
        await child_of("exit 7").ask(b"", deadline_s=DEADLINE_S)


async def test_a_child_that_answers_half_a_line_and_ends_has_not_answered() -> None:
    with pytest.raises(ChildEnded):
        await child_of("printf half").ask(b"", deadline_s=DEADLINE_S)


async def test_a_child_that_never_stops_answering_is_killed() -> None:
    child = child_of("tr '\\0' x < /dev/zero")
    with pytest.raises(ChildEnded, match="more than 4 MiB"):
        await child.ask(b"", deadline_s=DEADLINE_S)
    assert child.pid is None
    await child.close()


async def test_a_program_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        await Child(("/no/such/program",), Slot()).ask(b"", deadline_s=DEADLINE_S)


async def test_an_answer_that_nobody_waits_for_is_not_given_to_the_next_question() -> None:
    child = child_of("read -r line; [ $line = slow ] && sleep 600; echo $line")
    asking = asyncio.create_task(child.ask(b"slow", deadline_s=DEADLINE_S))
    await eventually("it was started", lambda: child.pid is not None)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await child.close()
    assert await child.ask(b"next", deadline_s=DEADLINE_S) == b"next"
    await child.close()


async def test_a_command_ends_with_its_code_and_all_it_printed() -> None:
    ended = await Command(Slot()).run(("sh", "-c", "echo out; echo error >&2; exit 3"), deadline_s=DEADLINE_S)
    assert (3, {"out", "error"}) == (ended.code, set(ended.text.split()))


async def test_a_command_has_nothing_to_read_and_speaks_english() -> None:
    ended = await Command(Slot()).run(("sh", "-c", "cat; echo $LC_ALL"), deadline_s=DEADLINE_S)
    assert ended.text == "C\n"


async def test_a_command_that_closes_its_output_and_goes_on_is_late() -> None:
    command = Command(Slot())
    with pytest.raises(DeadlineMissed):
        await command.run(("sh", "-c", "exec >&- 2>&-; exec sleep 600"), deadline_s=0.3)
    assert not command.stuck


async def test_a_stuck_command_lets_none_run_behind_it(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    command = Command(Slot(kill=lambda _group, _signal: None, kill_limit_s=0.05))
    with pytest.raises(Stuck):
        await command.run(("sh", "-c", f"echo $$ > {started}; exec sleep 600"), deadline_s=0.3)
    with pytest.raises(Stuck):
        await command.run(("touch", str(tmp_path / "second")), deadline_s=DEADLINE_S)
    assert not (tmp_path / "second").exists()
    os.killpg(int(started.read_text()), 9)
    await eventually("it is gone", lambda: not command.stuck)
