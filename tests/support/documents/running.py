"""Runs blocks of documents as their marks say: for tests/documents, and for a test that takes a page's text."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import deque

import pytest

from tests.support.checkout import ROOT
from tests.support.documents.blocks import Block, blocks_of
from tests.support.documents.looked_at import ELSEWHERE
from tests.support.documents.places import PATH, Ended, InContainer, Place
from tests.support.documents.shell import commands, typed
from tests.support.parts import missing

LIMIT_S = 300.0
"""Time is not the point: on a machine that does much else a block takes ten times as long as on an idle one."""


def run(block: Block, place: Place) -> str:
    """Run a block as its mark says; return what it printed."""
    if not isinstance(place, InContainer):
        for program in {each.program for each in commands(typed(block.text))} & ELSEWHERE.keys() - {"sudo"}:
            shutil.which(program, path=PATH) or missing(program)
    before, after = ("".join(f"{line}\n" for line in block.more.get(key, ())) for key in ("before", "after"))
    ended = _ended_in_time(block, place, before + typed(block.replaced()) + after)
    assert ended.returncode == int(block.one("exits", "0")), f"{block.where}: exit {ended.returncode}\n{ended.stdout}"
    unsaid = [text for text in block.more.get("says", ()) if text not in ended.stdout]
    assert unsaid == [], f"{block.where}: says no {unsaid}\n{ended.stdout}"
    return ended.stdout


def put(block: Block, place: Place) -> None:
    """Write the file that a block becomes, if its mark names one."""
    if block.one("into"):
        place.write(block.one("into"), block.replaced())


def _ended_in_time(block: Block, place: Place, script: str) -> Ended:
    """Run a script; fail with what it printed where it takes too long."""
    limit_s = float(block.one("within", str(LIMIT_S)))
    try:
        return place.run(script, limit_s=limit_s)
    except subprocess.TimeoutExpired as error:
        printed = (error.output or b"").decode(errors="replace")
    pytest.fail(f"{block.where}: not done within {limit_s:g} s\n{printed}")


def words_of(text: str) -> list[list[str]]:
    """Return the words behind `fleetmend` of each line, for a test that runs commands in its own way."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [program_and_words[1:] for program_and_words in lines if program_and_words]


class Walk:
    """The blocks of one page that one test takes (`tested: FILE`), in the order of the page.

    A block with `into:` becomes that file; every other one is run.
    """

    def __init__(self, page: str, test: str) -> None:
        """Begin at the top.

        Args:
            page: path of the document from the root of the checkout.
            test: the test's own `__file__`.
        """
        self._page = page
        named = [block for block in blocks_of(page) if block.kind == "tested" and (ROOT / block.about).samefile(test)]
        self._left = deque(named)

    def next(self, begins: str, place: Place) -> str:
        """Do what the next block says; return what it printed.

        Args:
            begins: how its text begins: the test knows at which block it is.
        """
        block = self._come_to(begins)
        put(block, place)
        return "" if block.one("into") else run(block, place)

    def text(self, begins: str) -> str:
        """Return the text of the next block, for a test that does what it says by itself."""
        return self._come_to(begins).replaced()

    def _come_to(self, begins: str) -> Block:
        assert self._left, f"{self._page}: no block is left that begins with {begins!r}"
        block = self._left.popleft()
        assert block.text.startswith(begins), f"{block.where} begins otherwise than with {begins!r}"
        return block

    @property
    def left(self) -> list[str]:
        """Where the blocks are that were not come to: a test ends with none."""
        return [block.where for block in self._left]
