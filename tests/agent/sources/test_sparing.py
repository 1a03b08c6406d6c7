"""Files that cannot be read: left alone for longer and longer, and tried again in the end."""

from __future__ import annotations

import shutil
from pathlib import Path

from agent.sources.files import FileReader
from agent.sources.sparing import FIRST_PAUSE_S, LAST_PAUSE_S, SparingReader
from tests.support.surroundings import write_files


class Bench:
    """A reader over a folder, with a clock that is set by hand. `broken` is a folder where a file is meant."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 0.0
        write_files(root, {"good": "7\n"})
        (root / "broken").mkdir()
        self.reader = SparingReader(FileReader(shutil.which("grep") or ""), lambda: self.now)

    async def read(self) -> list[int | None]:
        """Return both files, read with the broken one spared."""
        always, spared = [self.root / "good"], [self.root / "broken"]
        contents = await self.reader.read(always, spared, deadline_s=10.0)
        return [contents.number(path) for path in (*always, *spared)]

    def mend(self) -> None:
        """Make the broken file readable."""
        (self.root / "broken").rmdir()
        write_files(self.root, {"broken": "8\n"})


async def test_a_file_that_failed_is_left_alone_and_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert await bench.read() == [7, None]
    bench.mend()
    bench.now = FIRST_PAUSE_S - 1
    assert await bench.read() == [7, None]
    bench.now = FIRST_PAUSE_S
    assert await bench.read() == [7, 8]
    assert await bench.read() == [7, 8]


async def test_pauses_double_up_to_a_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    pause_s, tries = FIRST_PAUSE_S, 0
    while bench.now < 5 * LAST_PAUSE_S:
        await bench.read()
        bench.now, pause_s, tries = bench.now + pause_s, min(2 * pause_s, LAST_PAUSE_S), tries + 1
    bench.mend()
    bench.now -= 1
    assert await bench.read() == [7, None]
    bench.now += 1
    assert await bench.read() == [7, 8]
    assert tries < 15


async def test_what_is_asked_no_more_is_forgotten(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.read()
    await bench.reader.read([], [], deadline_s=10.0)
    bench.mend()
    assert await bench.read() == [7, 8]
