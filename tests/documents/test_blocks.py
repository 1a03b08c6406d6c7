"""Every fenced block of the documents says how it is tested, and is what it says (tests/support/documents/blocks.py).

What can be run is run by tests/documents/test_runs.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.documents.blocks import NO_MARK, Block, blocks_of, code_spans, pages
from tests.support.documents.command_lines import why_not
from tests.support.documents.formats import FORMATS
from tests.support.documents.looked_at import flaws
from tests.support.documents.places import PLACES
from tests.support.documents.shell import typed
from tests.support.documents.unrun import REASONS

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

UNMARKED: frozenset[str] = frozenset()
"""Documents whose blocks have no marks yet: this set only gets smaller."""

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
OF_COMMANDS = frozenset({"run", "parse"})
TEST = re.compile(r"tests/[\w/.]+\w")


def of_kind(*kinds: str) -> list[Block]:
    """Return the blocks with such a mark."""
    return [block for block in BLOCKS if block.kind in kinds]


def gone(reason: str) -> str:
    """Return which test a reason names that is not there."""
    names = [name for name in TEST.findall(reason) if not (ROOT / name).exists()]
    return f"there is no {names[0]}" if names else ""


def flaw(block: Block) -> str:
    """Return what is wrong with the mark of a block."""
    if block.kind == NO_MARK:
        return "" if block.page in UNMARKED else "has no mark"
    if block.kind == "run":
        return "" if block.about in PLACES else f"is run nowhere: {block.about!r} is not one of {', '.join(PLACES)}"
    if block.kind == "parse":
        return "" if block.about in REASONS else f"{block.about!r} is none of the reasons: {', '.join(REASONS)}"
    if block.kind == "shown":
        return gone(block.about) if block.about else "`shown: ` wants a reason"
    if block.kind == "tested":
        test = ROOT / block.about
        named = test.is_file() and Path(block.page).name in test.read_text("utf-8")
        return "" if named else f"{block.about} is no test that names {Path(block.page).name}"
    return "" if (block.kind, block.about) in FORMATS else f"a mark `{block.kind}: {block.about}` means nothing"


def test_every_block_says_how_it_is_tested() -> None:
    assert [f"{block.where} {flaw(block)}" for block in BLOCKS if flaw(block)] == []


def test_every_reason_for_running_nothing_is_somebodys_and_names_tests_that_are_there() -> None:
    assert {block.about for block in of_kind("parse")} == {*REASONS}
    assert [text for reason in REASONS.values() if (text := gone(reason))] == []


def test_pages_that_are_let_off_are_there_and_still_lack_marks() -> None:
    lacking = {block.page for block in BLOCKS if block.kind == NO_MARK}
    assert sorted(UNMARKED - lacking) == []


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.kind in OF_COMMANDS], ids=lambda block: block.where)
def test_commands_are_commands(block: Block) -> None:
    assert flaws(typed(block.text if block.kind == "run" else block.replaced())) == []


@pytest.mark.parametrize("block", of_kind("shown", "tested"), ids=lambda block: block.where)
def test_what_stands_behind_a_prompt_is_a_command(block: Block) -> None:
    text = typed(block.text)
    assert text == block.text or flaws(text) == []


@pytest.mark.parametrize("block", of_kind(*{kind for kind, _ in FORMATS}), ids=lambda block: block.where)
def test_files_are_read_by_what_reads_them(block: Block, tmp_path: Path) -> None:
    assert FORMATS[block.kind, block.about](block, tmp_path) == ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_commands(page: str) -> None:
    lines = [span.split()[1:] for span in code_spans(page) if span.startswith("fleetmend ")]
    assert [f"{' '.join(words)}: {why}" for words in lines if (why := why_not(words, whole=False))] == []
