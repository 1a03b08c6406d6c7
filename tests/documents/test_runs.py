"""Every command of the documents that can be run here is run, page by page, in the order in which readers type them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.documents.blocks import Block, blocks_of, pages
from tests.support.documents.looked_at import ELSEWHERE
from tests.support.documents.places import PATH, PLACES, Ended, Place, Started, scratch
from tests.support.documents.shell import commands, typed
from tests.support.parts import missing

FIRST = "docs/tutorial/first-drill.md"
"""A newcomer's page, which finds the cell as it has just been started."""

RUN = sorted(
    (page for page in pages() if any(block.kind == "run" for block in blocks_of(page))),
    key=lambda page: (page != FIRST, page),
)
LIMIT_S = 300.0
"""Time is not the point: on a machine that does much else a block takes ten times as long as on an idle one."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """What the pages share."""
    with ExitStack() as stack:
        yield Started(tmp_path_factory.mktemp("started"), stack)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN)
def test_what_a_page_has_people_type_works(page: str, started: Started, tmp_path: Path) -> None:
    with scratch(tmp_path) as host:
        for block in blocks_of(page):
            place = PLACES.get(block.about, PLACES["host"])(started, host)
            if block.one("into"):
                place.write(block.one("into"), block.replaced())
            if block.kind == "run":
                run(block, place)


def ended_in_time(block: Block, place: Place, script: str) -> Ended:
    """Run a script; fail with what it printed where it takes too long."""
    limit_s = float(block.one("within", str(LIMIT_S)))
    try:
        return place.run(script, limit_s=limit_s)
    except subprocess.TimeoutExpired as error:
        printed = (error.output or b"").decode(errors="replace")
    pytest.fail(f"{block.where}: not done within {limit_s:g} s\n{printed}")


def run(block: Block, place: Place) -> None:
    """Run a block as its mark says."""
    if block.about != "booted":
        for program in {each.program for each in commands(typed(block.text))} & ELSEWHERE.keys() - {"sudo"}:
            shutil.which(program, path=PATH) or missing(program)
    before, after = ("".join(f"{line}\n" for line in block.more.get(key, ())) for key in ("before", "after"))
    script = before + typed(block.replaced()) + after
    ended = ended_in_time(block, place, script)
    assert ended.returncode == int(block.one("exits", "0")), f"{block.where}: exit {ended.returncode}\n{ended.stdout}"
    unsaid = [text for text in block.more.get("says", ()) if text not in ended.stdout]
    assert unsaid == [], f"{block.where}: says no {unsaid}\n{ended.stdout}"
