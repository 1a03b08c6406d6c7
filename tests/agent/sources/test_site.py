"""A site's own program: run, late, too talkative, refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent.sources.site import AT_ONCE, Program, SiteSource, site_sources
from agent.sources.source import Surroundings
from checks.errors import CannotObserve
from checks.readings.site import site_reading
from tests.support.memory_store import MemoryStore
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


async def test_one_that_was_replaced_by_what_others_can_change_is_not_run(tmp_path: Path) -> None:
    path = write_program(tmp_path, "licence", "echo fine")
    licence = SiteSource(Program(NAME, deadline(10.0), (str(path),), file=path), monotonic=lambda: 5.0)
    assert (await licence.read()).output == "fine\n"
    path.chmod(0o757)
    assert await because(licence) == f"{path} can be changed by others: chmod go-w {path}"
    path.chmod(0o644)
    assert await because(licence) == f"{path} is not executable for the agent: chmod a+x {path}"
    path.unlink()
    path.mkdir()
    assert await because(licence) == f"{path} cannot be run: it is no file any more"


@pytest.mark.parametrize("script", ["exit 0", "echo bye", "echo '{}'; exit 1", "kill -9 $$"])
async def test_who_has_to_tell_findings_and_does_not_was_not_ok(tmp_path: Path, script: str) -> None:
    probe = SiteSource(
        replace(source(tmp_path, f"echo gone >&2; {script}")._program, tells_findings=True), monotonic=lambda: 5.0
    )
    assert "told no findings (gone)" in await because(probe)


async def test_many_that_hang_leave_the_others_a_turn_or_a_reason(tmp_path: Path) -> None:
    started = tmp_path / "started"
    path = write_program(tmp_path, "hangs", f"echo x >> {started}; sleep 600")
    timing = replace(deadline(0.4), interval_s=0.2)
    programs = [Program(f"site.hangs{number}", timing, (str(path),)) for number in range(AT_ONCE + 3)]
    sources = site_sources(programs, Surroundings(lambda _: MemoryStore()))
    said = await asyncio.gather(*map(because, sources))
    assert sum("no answer within 0.4 s" in each for each in said) == AT_ONCE
    assert sum(f"got no turn within 0.2 s: {AT_ONCE} programs of the site run at a time" in each for each in said) == 3
    assert len(started.read_text().split()) == AT_ONCE
