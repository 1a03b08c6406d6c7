"""A site's own program: run, late, too talkative, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.sources.site import Program, SiteSource
from checks.errors import CannotObserve
from checks.readings.site import site_reading
from tests.support.surroundings import SOON, deadline, write_program

NAME = "site.licence"


def source(tmp_path: Path, script: str, *, deadline_s: float = 10.0) -> SiteSource:
    program = Program(NAME, deadline(deadline_s), (str(write_program(tmp_path, "licence", script)),))
    return SiteSource(program, monotonic=lambda: 5.0)


async def because(source: SiteSource) -> str:
    with pytest.raises(CannotObserve) as caught:
        await source.read()
    return str(caught.value)


async def test_output_errors_and_exit_code_are_kept_apart(tmp_path: Path) -> None:
    reading = await source(tmp_path, "echo said; echo complained >&2; exit 2").read()
    assert reading == site_reading(NAME)(5.0, 2, "said\n", "complained\n")
    assert (type(reading).SOURCE, type(reading).PARTS) == (NAME, "")


async def test_both_pipes_are_emptied(tmp_path: Path) -> None:
    much = "head -c 200000 /dev/zero >&2"
    reading = await source(tmp_path, f"{much}; echo said; {much}; echo last >&2").read()
    assert (reading.output, len(reading.errors), reading.errors[-6:]) == ("said\n", 4096, "\0last\n")


async def test_it_is_told_nothing_that_is_the_agents_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/y")
    reading = await source(tmp_path, 'echo "$NOTIFY_SOCKET$CREDENTIALS_DIRECTORY-$LC_ALL-$(cat)"').read()
    assert reading.output == "-C-\n"


async def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    late = source(tmp_path, "sleep 600", deadline_s=0.2)
    assert "no answer within 0.2 s" in await because(late)
    await late.close()


async def test_one_that_says_too_much_is_not_believed(tmp_path: Path) -> None:
    assert "printed more than 64 Ki characters" in await because(source(tmp_path, "head -c 70000 /dev/zero"))


async def test_one_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    gone = source(tmp_path, "exit 0")
    (tmp_path / "licence").unlink()
    assert await because(gone) == f"{tmp_path}/licence cannot be run: No such file or directory"


async def test_one_that_is_refused_says_why() -> None:
    refused = SiteSource(Program(NAME, SOON, refused="anybody can change it"), monotonic=lambda: 5.0)
    assert await because(refused) == "anybody can change it"
