"""What was asked and what came back: the whole state of a sweep, as data that can be stored and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from checks.bench_outcome import Outcome
from controller.policy.localising.fabric import ALL, Fabric


class Purpose(StrEnum):
    """Why a group is run. A `control` has nodes that passed, and tells what groups of its size reach."""

    SCREEN = "screen"
    SPLIT = "split"
    AGAIN = "again"
    PARTNER = "partner"
    PROBE = "probe"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Group:
    """One all-reduce to run.

    Attributes:
        nodes: in the order of their ranks, which is the order of the ring.
        key: which question it answers; a question that got no answer is asked again.
        suspect: the node, or the unit, that is tried here; empty for none.
        because: why it is run.
    """

    number: int
    round: int
    nodes: tuple[str, ...]
    purpose: Purpose
    key: str
    suspect: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a group.

    Attributes:
        group: its number.
        lanes: the rails that were judged by themselves, and `all`; left out, the outcome is that of `all`.
        missing: nodes whose rank never arrived.
    """

    group: int
    outcome: Outcome
    lanes: Mapping[str, Outcome] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    because: str = ""

    def judged(self) -> Mapping[str, Outcome]:
        """Return the outcome of each lane that was judged."""
        return self.lanes or {ALL: self.outcome}

    def failing(self) -> frozenset[str]:
        """Return the lanes that failed: the rails, and `all` only when no rail says where."""
        if self.outcome is not Outcome.FAIL:
            return frozenset()
        failed = frozenset(lane for lane, outcome in self.judged().items() if outcome is Outcome.FAIL)
        return failed - {ALL} or frozenset({ALL})

    def passing(self) -> frozenset[str]:
        """Return the lanes that passed."""
        if not self.outcome.is_measured:
            return frozenset()
        return frozenset(lane for lane, outcome in self.judged().items() if outcome is Outcome.PASS)


@dataclass(frozen=True, slots=True)
class Trial:
    """A group and its result."""

    group: Group
    result: Result


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a sweep goes.

    Attributes:
        group_nodes: nodes of a screening group. Source: the reference of active benchmarks asks for 8 to 16.
        at_once: groups that run at the same time.
        fails_ahead: a suspect is condemned when it failed so many times more often than it passed. Source: our choice;
            with 2 % of wrong results a good node gets there once in 100,000 times, and a bad one is not let go for
            one wrong result, as it would be if every single trial had to fail.
        passes_ahead: a suspect is cleared when it passed so many times more often than it failed.
        least_partners: cleared nodes that a condemned one must have failed with. Source: as above.
        tries: trials of one suspect; one that is not decided by then is a doubt. Source: our choice.
        attempts: how often a question without an answer is asked. Source: our choice; a rank may be late once.
        most_suspects, most_share: with more suspects than the greater of the two the cause is not theirs: the sweep
            stops and a person is asked. Source: the project's own statement of the problem.
    """

    group_nodes: int = 16
    at_once: int = 64
    fails_ahead: int = 3
    passes_ahead: int = 2
    least_partners: int = 2
    tries: int = 9
    attempts: int = 2
    most_suspects: int = 3
    most_share: float = 0.05

    def suspects_of(self, nodes: int) -> int:
        """Return how many suspects a sweep over so many nodes may have."""
        return max(self.most_suspects, int(self.most_share * nodes))


@dataclass(frozen=True, slots=True)
class State:
    """A sweep, begun and not necessarily ended.

    Attributes:
        seed: makes groups differ from sweep to sweep; the same seed gives the same groups.
        waiting: groups that were asked for and have no result yet.
        left: nodes that are no longer there, and why.
        round: rounds begun.
    """

    fabric: Fabric
    seed: str
    limits: Limits = field(default_factory=Limits)
    trials: tuple[Trial, ...] = ()
    waiting: tuple[Group, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    round: int = 0

    @property
    def tests(self) -> int:
        """Groups asked for so far."""
        return len(self.trials) + len(self.waiting)

    @property
    def most_tests(self) -> int:
        """Return after how many tests the sweep ends whatever is known by then."""
        return 4 * len(self.fabric.nodes) + 64
