"""Holds a recorded log to the policy: every decision in it must be the one that these rules make, byte for byte (I12).

What happened is believed as it was recorded. What was decided is decided again first, and must come out the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from controller.events import Event, Logged, LogRestored, RulesLoaded
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.replaying.kinds import DECIDED, EITHER
from controller.policy.rules import Rules

_encode = msgspec.json.Encoder(order="deterministic").encode


class CannotReplay(Exception):
    """The log does not say enough to be thought about again. The text says where it fails."""


def believe(belief: Belief, entry: Logged) -> None:
    """Take in the entry that comes next.

    Raises:
        CannotReplay: entries are missing before it, or it contradicts them.
    """
    if entry.event_id != belief.last_event_id + 1 and not isinstance(entry.event, LogRestored):
        raise CannotReplay(
            f"entry {entry.event_id} follows entry {belief.last_event_id}: those in between are missing, "
            "and nothing after them can be decided again"
        )
    try:
        folding.apply(belief, entry)
    except (KeyError, ValueError, AttributeError) as error:
        raise CannotReplay(f"entry {entry.event_id} contradicts what is before it: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the log and the policy part.

    Attributes:
        event_id: the recorded entry, or the last one before what is missing.
        at: Unix seconds.
        recorded: what the log has there, `None` where it has no decision.
        decided: what these rules decide there, `None` where they decide nothing.
    """

    event_id: int
    at: float
    recorded: Event | None
    decided: Event | None


@dataclass(slots=True)
class Again:
    """One log, read once from its beginning.

    What other rules decided is believed as it was recorded, and held to nothing.

    Attributes:
        belief: what is believed after all that was taken in.
        entries: so many were taken in.
        decisions: so many of them were decided again, and came out the same.
        not_held: so many decisions were made by other rules than these.
        others: first entry → digest of other rules than these that decided from there on.
        difference: where log and policy part, `None` while they agree. Nothing is taken in after it.
    """

    rules: Rules
    belief: Belief = field(default_factory=Belief)
    entries: int = 0
    decisions: int = 0
    not_held: int = 0
    others: dict[int, str] = field(default_factory=dict)
    difference: Difference | None = None
    _digest: str = field(init=False)
    _ours: bool = False

    def __post_init__(self) -> None:
        """Take up where the belief stands."""
        self._digest = self.rules.digest()
        self._ours = self.belief.rules_digest == self._digest

    def take_all(self, log: Iterable[Logged]) -> None:
        """Take a log in, up to its end or to the first difference.

        Raises:
            CannotReplay: entries are missing, or what they say contradicts what was before.
        """
        for at, moment in groupby(log, key=lambda entry: entry.at):
            self._take_moment(at, deque(moment))
            if self.difference is not None:
                return

    def _take_moment(self, at: float, entries: deque[Logged]) -> None:
        """Take in what was thought about together: what happened stands before what was decided on account of it."""
        decisions = self._decisions(at)
        while entries:
            entry = entries.popleft()
            if not self._is_decided_again(entry, decisions):
                if self.difference is not None:
                    return
                decisions = self._decisions(at)
        missing = next(decisions, None)
        if missing is not None:
            self.difference = Difference(self.belief.last_event_id, at, None, missing)

    def _is_decided_again(self, entry: Logged, decisions: Iterator[Event]) -> bool:
        """Take an entry in. False: it was no decision of these rules, so that what was to be decided next is not."""
        kind = type(entry.event)
        decided = next(decisions, None) if kind in DECIDED or kind in EITHER else None
        if decided is not None and _encode(decided) == _encode(entry.event):
            self._believe(entry)
            self.decisions += 1
            return True
        if kind in DECIDED and self._ours:
            self.difference = Difference(entry.event_id, entry.at, entry.event, decided)
            return False
        self.not_held += kind in DECIDED
        self._believe(entry)
        return False

    def _decisions(self, at: float) -> Iterator[Event]:
        """Yield decisions until nothing is left to decide; whoever takes one has it believed before the next."""
        while self._ours:
            some = False
            for event in decide(self.belief, self.rules, at):
                some = True
                yield event
            if not some:
                return

    def _believe(self, entry: Logged) -> None:
        believe(self.belief, entry)
        self.entries += 1
        if isinstance(entry.event, RulesLoaded):
            self._ours = entry.event.digest == self._digest
            if not self._ours:
                self.others[entry.event_id] = entry.event.digest
