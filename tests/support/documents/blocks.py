"""The fenced blocks of the documents, each with the mark that says how it is tested.

A mark is an HTML comment right above the fence, which no reader sees. Its first line is a kind, and behind a colon what
the kind wants to know; further lines are `key: text`:

    <!-- run: cell
    replace: ID -> $(incident_of n2)
    says: returned
    -->

- `run: PLACE`: a shell runs the block there (`PLACES`), and stops at the first line that fails.
    `before:` is run first and `after:` at last. `replace:` changes text of the block. `exits:` is the code it ends with
    (0). `says:` stands in what it prints. `within:` is how many seconds it may take (300).
- `parse: REASON`: it cannot be run here, for one of the reasons in unrun.py. Its programs, options, arguments, units
    and files are looked at.
- `shown: REASON`: no commands and nothing that can be read by a program of ours.
- `tested: FILE`: that test takes the block from the page, and mostly runs it (`Walk` in running.py).
- `toml: controller`, `toml: agent`, `yaml: playbook`, `csv: places`, ...: read by what reads it in service (`FORMATS`).

Every kind may say `into: FILE`: the block becomes that file, for what is run further down on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from scripts.pages.markdown import FIRST_LINE
from tests.support.checkout import ROOT, checked_in

COMMENT = re.compile(r"\s*<!--\s*(.*?)\s*-->\s*", re.DOTALL)
KEYS = frozenset({"after", "before", "exits", "into", "replace", "says", "within"})
NO_MARK = "?"


class WrongMark(Exception):
    """A mark that means nothing; the text says where, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: path of its document from the root of the checkout.
        line: where the fence begins, from 1.
        language: as the fence says it, often empty.
        kind: of its mark, `NO_MARK` where there is none.
        about: what stands behind the kind: a place, a format, a reason.
        more: the mark's further lines, by key.
    """

    page: str
    line: int
    language: str
    text: str
    kind: str = NO_MARK
    about: str = ""
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Where a person finds it."""
        return f"{self.page}:{self.line}"

    def one(self, key: str, default: str = "") -> str:
        """Return the last text of a key."""
        return self.more.get(key, (default,))[-1]

    def replaced(self) -> str:
        """Return the text with what its mark replaces."""
        text = self.text
        for line in self.more.get("replace", ()):
            old, arrow, new = line.partition(" -> ")
            text, count = re.subn(rf"(?<![\w-]){re.escape(old)}(?![\w-])", new.replace("\\", r"\\"), text)
            if not arrow or not count:
                raise WrongMark(f"{self.where}: replace: {line!r} finds nothing to replace")
        return text


def pages() -> list[str]:
    """Return the documents that people write, by their path from the root of the checkout."""
    names = [name for name in checked_in("README.md", "docs") if name.endswith(".md")]
    return [name for name in names if not (ROOT / name).read_text("utf-8").startswith(FIRST_LINE)]


@cache
def blocks_of(page: str) -> tuple[Block, ...]:
    """Return the blocks of a document, in order.

    Raises:
        WrongMark: a mark has a key that there is none of.
    """
    tokens = MarkdownIt("commonmark").parse((ROOT / page).read_text("utf-8"))
    return tuple(_block(page, before, token) for before, token in _fences(tokens))


def _fences(tokens: list[Token]) -> Iterator[tuple[Token | None, Token]]:
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type in {"fence", "code_block"}:
            yield before, token


def _block(page: str, before: Token | None, fence: Token) -> Block:
    assert fence.map is not None
    line, language = fence.map[0] + 1, fence.info.strip()
    comment = COMMENT.fullmatch(before.content) if before is not None and before.type == "html_block" else None
    if comment is None:
        return Block(page, line, language, fence.content)
    first, *others = comment[1].splitlines()
    kind, _, about = first.partition(":")
    more: dict[str, tuple[str, ...]] = {}
    for other in others:
        key, _, text = other.partition(": ")
        if key not in KEYS:
            raise WrongMark(f"{page}:{line}: a mark has no key {key!r}; there are {', '.join(sorted(KEYS))}")
        more[key] = (*more.get(key, ()), text.strip())
    return Block(page, line, language, fence.content, kind.strip(), about.strip(), more)


def code_spans(page: str) -> list[str]:
    """Return what is set as code within lines of a document."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text("utf-8"))
    return [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
