"""Programs of a benchmark: they end with their deadline and with their parent, whatever they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.bench.child import Broken, NotHere
from agent.bench.programs import run_program
from tests.support.bench_child import has_life
from tests.support.checkout import ROOT
from tests.support.eventually import eventually
from tests.support.surroundings import write_program


def start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def test_what_a_program_prints_and_how_it_ended_is_told(tmp_path: Path) -> None:
    program = write_program(tmp_path, "tool", "echo out; echo bad >&2; exit 3")
    ended = run_program([str(program)], limit_s=30.0)
    assert (ended.code, ended.text, ended.errors, ended.first_words) == (3, "out\n", "bad\n", "bad")


def test_a_program_that_is_not_installed_is_not_here() -> None:
    with pytest.raises(NotHere, match="no-such-tool is not installed"):
        run_program(["no-such-tool"], limit_s=1.0)


def test_a_file_that_is_no_program_is_no_missing_one(tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text("text")
    with pytest.raises(Broken, match="cannot be started"):
        run_program([str(file)], limit_s=1.0)


def test_a_program_that_hangs_and_ignores_term_is_gone_after_its_limit(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = write_program(tmp_path, "tool", f"trap '' TERM; echo $$ > {pid_file}; while :; do :; done")
    with pytest.raises(Broken, match="did not end within"):
        run_program([str(program)], limit_s=0.6)
    assert not has_life(int(pid_file.read_text()))


def test_a_program_that_leaves_another_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The one left behind holds what it prints to open, and is told to end here."""
    program = write_program(tmp_path, "tool", "sleep 600 & echo $!")
    ended = run_program([str(program)], limit_s=30.0)
    os.kill(int(ended.text), signal.SIGKILL)
    assert ended.code == 0


def test_a_program_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    program = write_program(tmp_path, "tool", "exec cat /dev/zero")
    with pytest.raises(Broken, match="printed more than 8 MiB"):
        run_program([str(program)], limit_s=30.0)


async def test_a_program_ends_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = write_program(tmp_path, "tool", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600")
    code = f"from agent.bench.programs import run_program; run_program([{str(program)!r}], limit_s=600.0)"
    with start(code) as parent:
        await eventually("the program runs", pid_file.exists)
        parent.kill()
    pid = int(pid_file.read_text())
    await eventually("the program is gone", lambda: not has_life(pid))
