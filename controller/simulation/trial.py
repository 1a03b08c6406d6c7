"""One run of one fleet under one set of rules, with all that policies are held to."""

from __future__ import annotations

import msgspec

from controller.events import Logged
from controller.policy.rules import Rules
from controller.simulation.learned import Learned, Learning
from controller.simulation.lemons import Horizon, Naming
from controller.simulation.result import Result, result_of
from controller.simulation.run import Asked, simulate


class Trial(msgspec.Struct, frozen=True):
    """What came of a run. `lemons`: how they were known after each horizon. `learned`: what its log teaches."""

    result: Result
    lemons: list[Horizon]
    learned: Learned


def tried(asked: Asked, rules: Rules) -> Trial:
    """Return what these rules made of a fleet. Its speed is not measured, so that the same trial gives the same."""
    naming, learning = Naming(), Learning()

    def hear(entry: Logged) -> None:
        naming.hear(entry)
        learning.hear(entry)

    score = simulate(asked, rules, heard=hear)
    return Trial(result_of(asked, score, took_s=1.0), naming.horizons(asked), learning.learned())
