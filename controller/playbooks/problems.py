"""What is wrong with a playbook, said so that a person can mend it: file, line, key, what is wrong, what is right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to mend. `line` counts from 1; `key` is the path within the file, e.g. `steps[2].limit`."""

    file: str
    line: int
    key: str
    wrong: str
    right: str

    def __str__(self) -> str:
        """Return the problem as one line of text."""
        return f"{self.file}:{self.line}: {self.key}: {self.wrong}; {self.right}"


class PlaybookErrors(Exception):
    """The playbooks cannot be used. The text has one line for each problem of every file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems in the order of files and lines."""
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Notes:
    """The problems found so far in one file: reading goes on after the first, so that all are told at once."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, key: str, wrong: str, right: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(self.file, line, key or "file", wrong, right))


def nearest(word: str, right_words: Iterable[str]) -> str:
    """Return the end of an error about an unknown word: the one that was probably meant, and all there are."""
    words = sorted(right_words)
    close = get_close_matches(word[:64], words, n=1, cutoff=0.6)
    meant = f"did you mean `{close[0]}`? " if close else ""
    return f"{meant}known here: {', '.join(words)}"


def excerpt(text: str) -> str:
    """Return foreign text short and on one line, in quotes."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
