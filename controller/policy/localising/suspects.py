"""From a slow group to the node in it: halves, crossed mixes of the halves, and partners that were cleared before.

A failing group is cut in two. Both halves slow: there are two faults, or more. Neither: the halves are mixed crosswise,
in all four ways, which catches both a wrong result and a way that only leads from one half to the other. A few suspects
are paired with nodes that have passed, each time with another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.policy.localising.evidence import Cause, CauseKind, Evidence, Seen
from controller.policy.localising.fabric import ALL
from controller.policy.localising.screen import interleaved
from controller.policy.localising.shuffling import shuffled
from controller.policy.localising.trials import Purpose

FEW = 4
"""So few suspects are paired at once, more are cut in two. Source: the reference of active benchmarks."""

AGAIN = 2
"""A group that was slow once and again so many times is not a passing matter. Source: our choice."""

FOLLOWED = frozenset({Purpose.SCREEN, Purpose.SPLIT})
"""Groups whose failure is looked into; the others answer a question about somebody."""


@dataclass(frozen=True, slots=True)
class Question:
    """A group that would tell something."""

    nodes: tuple[str, ...]
    purpose: Purpose
    key: str
    because: str
    suspect: str = ""


@dataclass(slots=True)
class Score:
    """How a suspect did with partners of its own. `partners`: cleared nodes that it failed with."""

    failed: list[Seen] = field(default_factory=list)
    passed: int = 0
    asked: int = 0
    partners: set[str] = field(default_factory=set)


def scores(evidence: Evidence) -> dict[str, Score]:
    """Return how every node did that was ever a suspect."""
    found: dict[str, Score] = {}
    for trial in evidence.state.trials:
        if trial.group.purpose is Purpose.PARTNER:
            found.setdefault(trial.group.suspect, Score()).asked += 1
    for seen in evidence.seen:
        group = seen.trial.group
        if group.purpose is not Purpose.PARTNER:
            continue
        score = found[group.suspect]
        if seen.open:
            score.failed.append(seen)
            score.partners |= {node for node in seen.nodes - {group.suspect} if evidence.passes[node] > 0}
        elif seen.is_clean:
            score.passed += 1
    return found


def own_cause(evidence: Evidence) -> Cause | None:
    """Return the next node that is at fault by itself, or its link, `None` when no suspect is condemned."""
    limits = evidence.state.limits
    for node, score in sorted(scores(evidence).items()):
        well_met = score.partners - evidence.condemned
        is_bad = len(score.failed) - score.passed >= limits.fails_ahead and len(well_met) >= limits.least_partners
        if is_bad and node not in evidence.condemned:
            return _cause(evidence, node, score, tuple(sorted(well_met)))
    return None


def _cause(evidence: Evidence, node: str, score: Score, partners: tuple[str, ...]) -> Cause:
    """A node whose every way is slow is bad itself; with one slow rail it is the rail's adapter, cable or port."""
    slow = Counter(lane for seen in score.failed for lane in seen.open)
    rails = frozenset(lane for lane, count in slow.items() if lane != ALL and 2 * count > len(score.failed))
    rails_of_all = evidence.fabric.rails
    is_port = bool(rails) and (rails_of_all == 1 or 2 * len(rails) <= rails_of_all)
    return Cause(
        CauseKind.PORT if is_port else CauseKind.NODE,
        (frozenset({node}),),
        rails if is_port else frozenset(evidence.fabric.lanes),
        units=(evidence.unit_of[node],),
        fails=tuple(seen.number for seen in score.failed),
        passes=score.passed,
        partners=partners,
    )


@dataclass(slots=True)
class Inquiry:
    """What is still to be asked about each group that failed. `left`: nodes that cannot be asked any more."""

    evidence: Evidence
    left: frozenset[str]
    scores: dict[str, Score] = field(init=False)
    failing: list[Seen] = field(init=False)
    _steps: dict[int, list[Question] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find what failed, the easiest to follow first."""
        self.scores = scores(self.evidence)
        self.failing = [seen for seen in self.evidence.failing() if seen.trial.group.purpose in FOLLOWED]
        for seen in self.failing:
            self._steps[seen.number] = self._next(seen)

    @property
    def open(self) -> list[Seen]:
        """Failures that are neither explained nor found to have been a passing matter."""
        return [seen for seen in self.failing if self._steps[seen.number] is not None]

    def questions(self) -> Iterator[tuple[Seen, list[Question]]]:
        """Yield what to ask about each failure; nothing while a smaller one tells more."""
        for seen in self.open:
            yield seen, self._steps[seen.number] or []

    def of_doubts(self) -> list[Question]:
        """Return what to ask about suspects whose own group is explained by now, and who once failed since."""
        return self._partners(self.doubts())

    def doubts(self) -> list[str]:
        """Return the suspects that were neither cleared nor condemned when everything was asked."""
        return sorted(node for node, score in self.scores.items() if score.failed and not self._is_decided(node))

    def _next(self, seen: Seen) -> list[Question] | None:
        live = self._live(seen)
        if len(live) < 2:
            return None
        if len(live) <= FEW and not seen.crosses and self._has_no_near(live):
            asked = self._again(seen, live)
            if asked or asked is None:
                return asked
        few = live if len(live) <= FEW else self._crossing(seen, live)
        asked = self._partners(few) if len(few) <= FEW else []
        if asked:
            return asked
        return self._again(seen, live) if len(live) <= FEW else self._mixes(seen, live)

    def _live(self, seen: Seen) -> list[str]:
        return [node for node in seen.trial.group.nodes if node not in self.left | self.evidence.condemned]

    def _crossing(self, seen: Seen, live: list[str]) -> list[str]:
        """Return the nodes that also failed in another group, on a lane of this one."""
        others = [other for other in self.failing if other is not seen and not other.open.isdisjoint(seen.open)]
        counted = {node: sum(node in other.nodes for other in others) for node in live}
        return [node for node in live if counted[node] > 0]

    def _has_no_near(self, live: list[str]) -> bool:
        """Return whether partners would be in other units only, so that more than the suspects is tried with them."""
        unit = self.evidence.fabric.units[self.evidence.unit_of[live[0]]]
        return set(unit.nodes) - self.left - self.evidence.condemned <= set(live)

    def _is_decided(self, node: str) -> bool:
        score, limits = self.scores.get(node, Score()), self.evidence.state.limits
        is_clear = score.passed - len(score.failed) >= limits.passes_ahead
        return is_clear or node in self.evidence.condemned

    def _partners(self, suspects: list[str]) -> list[Question]:
        """Return a pair for each suspect that is not decided, with partners that it has not met."""
        questions, taken = [], set(suspects)
        for node in suspects:
            score = self.scores.get(node, Score())
            if self._is_decided(node) or score.asked >= self.evidence.state.limits.tries:
                continue
            partner = self._partner(node, taken)
            if partner is None:
                continue
            taken.add(partner)
            because = f"{node} was in a group that was slow; {partner} has passed, and was not its partner yet"
            questions.append(Question((node, partner), Purpose.PARTNER, f"{node} with {partner}", because, node))
        return questions

    def _partner(self, node: str, taken: set[str]) -> str | None:
        """Return a node that passed, not met before: if possible of the same unit, and in nothing open."""
        met = {n for t in self.evidence.state.trials if t.group.suspect == node for n in t.group.nodes}
        doubtful = {n for seen in self.failing if self._steps.get(seen.number, []) is not None for n in seen.nodes}
        out = taken | met | self.left | self.evidence.condemned
        passed = [n for n, count in self.evidence.passes.items() if count and n not in out]
        clear = [n for n in passed if n not in doubtful]
        choices = (self._near(node, clear), self._near(node, passed), clear, passed)
        return next(iter(shuffled(next(filter(None, choices), []), self.evidence.state.seed, node)), None)

    def _near(self, node: str, others: list[str]) -> list[str]:
        return [other for other in others if self.evidence.unit_of[other] == self.evidence.unit_of[node]]

    def _again(self, seen: Seen, live: list[str]) -> list[Question] | None:
        """The group as it was, two times out of three, tells whether it was a passing matter."""
        keys = [f"{seen.number} again {turn}" for turn in range(2 * AGAIN - 1)]
        answers = [answer for key in keys for answer in self.evidence.answers(key)]
        slow = sum(bool(answer.open) for answer in answers)
        if slow >= AGAIN:
            return []
        asked = next((key for key in keys if not self.evidence.is_settled(key)), None)
        if len(answers) - slow > slow or asked is None:
            return None
        because = f"each node of group {seen.number} passed with others; it is run again as it was"
        return [Question(tuple(live), Purpose.AGAIN, asked, because)]

    def _mixes(self, seen: Seen, live: list[str]) -> list[Question] | None:
        """Return the halves, then the four mixes of their halves, two at a time, then the whole group again."""
        half, other = self._halves(live)
        one, two, three, four = *_cut(half), *_cut(other)
        turns = (
            ("halves", (half, other)),
            ("straight mixes", (interleaved(one, three), interleaved(two, four))),
            ("crossed mixes", (interleaved(one, four), interleaved(two, three))),
        )
        for what, groups in turns:
            keys = [f"{seen.number} {what} {side}" for side in ("a", "b")]
            asked = [
                Question(nodes, Purpose.SPLIT, key, f"{what} of group {seen.number}, which was slow")
                for key, nodes in zip(keys, groups, strict=True)
                if not self.evidence.is_settled(key)
            ]
            if asked:
                return asked
            if any(self._steps.get(part.number) is not None for key in keys for part in self.evidence.answers(key)):
                return []
        return self._again(seen, live)

    def _halves(self, live: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Cut where a unit ends if the group has several, so that the halves do not cross."""
        units = [self.evidence.unit_of[node] for node in live]
        ordered = tuple(sorted(live, key=lambda node: self.evidence.unit_of[node]))
        first = units.count(min(units))
        return (ordered[:first], ordered[first:]) if 1 < first < len(live) - 1 else _cut(ordered)


def _cut(nodes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    middle = (len(nodes) + 1) // 2
    return nodes[:middle], nodes[middle:]
