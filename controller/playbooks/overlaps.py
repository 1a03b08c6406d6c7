"""Findings that two playbooks would answer with equal right: the choice would be nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from controller.policy.playbook import Answers, Playbook

Place = tuple[int, int]
"""Index of a playbook and of one of its answers."""


def overlaps(playbooks: Sequence[Playbook]) -> Iterator[tuple[Place, Place]]:
    """Yield each pair of answers of two playbooks of one precedence that some finding would match both of."""
    for (first, ours), (second, theirs) in combinations(enumerate(playbooks), 2):
        if ours.precedence == theirs.precedence:
            yield from (
                ((first, at), (second, against))
                for at, mine in enumerate(ours.answers)
                for against, yours in enumerate(theirs.answers)
                if share_a_finding(mine, yours)
            )


def share_a_finding(mine: Answers, yours: Answers) -> bool:
    """Return whether a finding could match both."""
    return (
        (mine.names(yours.check) or yours.names(mine.check))
        and bool(mine.verdicts & yours.verdicts)
        and _meet(mine.codes, yours.codes)
        and _meet(mine.actions, yours.actions)
    )


def _meet(mine: frozenset[str], yours: frozenset[str]) -> bool:
    return not mine or not yours or bool(mine & yours)
