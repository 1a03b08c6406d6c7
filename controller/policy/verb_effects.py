"""What a verb leaves behind: whether it can be taken back, whether a failure is worth another attempt, and what follows
when nobody can say whether it happened.

Data for the engine and for the policy, so that both say the same of a step that only half happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.policy.playbook import Retry, Step, Verb


class Doubt(StrEnum):
    """What follows when a controller died during an effect."""

    REPEAT = "repeat"
    """It is made again under the same key: whoever makes it looks first, or knows the key."""
    SEND_AGAIN = "send_again"
    """It is made again under a new key: once too often is better than never."""
    WATCH = "watch"
    """It is not made again before the node had the step's whole time to show that it happened."""


USUAL_RETRY = Retry()
"""Source: our choice; a scheduler that restarts is back within a minute, and one that is down is asked seldom."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a verb leaves behind.

    Attributes:
        undone_by: the verb that takes it back, `None` where nothing does or nothing is left.
        doubt: what follows when nobody knows whether it happened.
        least_attempts: it is tried so often, whatever the playbook says.
        retry: how long each next attempt waits, unless the playbook says otherwise.
    """

    undone_by: Verb | None = None
    doubt: Doubt = Doubt.REPEAT
    least_attempts: int = 1
    retry: Retry = USUAL_RETRY


_NOTICE = Effect(doubt=Doubt.SEND_AGAIN, least_attempts=3)

EFFECTS: Mapping[Verb, Effect] = {
    Verb.CORDON: Effect(undone_by=Verb.UNCORDON),
    Verb.UNCORDON: Effect(),
    Verb.DRAIN: Effect(),
    Verb.POWER_CYCLE: Effect(doubt=Doubt.WATCH),
    Verb.VERIFY: Effect(least_attempts=3, retry=Retry(5.0, 1.0, 5.0)),
    Verb.TICKET: _NOTICE,
    Verb.PAGE: _NOTICE,
}
"""Verbs that are not here leave nothing to undo and may be ordered again: a node carries an order out once.

A drain leaves nothing either: it stops asking jobs to go, and those that went are placed by the scheduler. A node that
just came back may need a moment until every source answers: one failed look does not condemn it. A notice that may not
have arrived is sent again under a new key: a lost page is worse than one too many.
"""

JITTER = 0.25
"""Share of a delay that is added at most, so that many nodes do not come back at once. Source: our choice."""

MOST_DOUBTS = 2
"""So often a step is tried again because nobody knew whether it had happened. Source: our choice; a controller that
dies in the same effect a third time is what is wrong."""

_PLAIN = Effect()


def effect_of(verb: Verb) -> Effect:
    """Return what a verb leaves behind."""
    return EFFECTS.get(verb, _PLAIN)


def attempts_of(step: Step) -> int:
    """Return how often a step is tried before it has failed."""
    return max(step.attempts, effect_of(step.verb).least_attempts)


def retry_of(step: Step) -> Retry:
    """Return how long each next attempt of a step waits."""
    return step.retry or effect_of(step.verb).retry


def delay_s(retry: Retry, *, failures: int, key: str, least_s: float = 0.0) -> float:
    """Return how long to wait after so many failures, the same for the same key (I12).

    Args:
        failures: at least 1.
        least_s: what the outside thing asked for; it takes the place of `after_s` and is never undercut.
    """
    grown = (least_s or retry.after_s) * retry.factor ** min(failures - 1, 64)
    bounded = max(least_s, min(grown, retry.at_most_s))
    return bounded * (1.0 + JITTER * _fraction(f"{key}/{failures}"))


def _fraction(text: str) -> float:
    """Return a number from 0 up to 1 that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
