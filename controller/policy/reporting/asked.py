"""What is asked of a report: the span, whether drills count, and what a GPU-hour is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.policy.history import LASTING_S
from wire.messages import NodeFacts


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour of one GPU is worth.

    Attributes:
        gpu_hour: for every GPU that `by_sku` does not name, `None` when nobody said.
        by_sku: part of a GPU's model name, in any case, → price; of several that fit the longest holds.
    """

    gpu_hour: float | None = None
    by_sku: Mapping[str, float] = field(default_factory=dict)
    currency: str = ""

    def of(self, model: str) -> float | None:
        """Return the price for a GPU of this model, `None` when nobody said."""
        fitting = [name for name in self.by_sku if name.lower() in model.lower()]
        return self.by_sku[max(fitting, key=len)] if fitting else self.gpu_hour


@dataclass(frozen=True, slots=True)
class Asked:
    """What the report is to be about.

    Attributes:
        since: inclusive, Unix seconds on the controller's clock.
        until: exclusive.
        drills: whether faults that people injected count like others.
        lasting_s: a fix is one when the same fault stayed away from the same part for so long after it.
    """

    since: float
    until: float
    drills: bool = False
    prices: Prices = Prices()
    lasting_s: float = LASTING_S


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a node besides the log, for a log whose beginning was deleted: facts, places and views are
    entries only when they change.

    Attributes:
        presence_since: when its presence began, 0 for never heard; used only where that is before the log tells.
        observed_at: when the scheduler's view of it began, 0 for never; used likewise.
        people: why somebody else than fleetmend keeps it out, empty when nobody does.
    """

    facts: NodeFacts = field(default_factory=NodeFacts)
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    presence: str = ""
    presence_since: float = 0.0
    schedulable: bool = True
    people: str = ""
    observed_at: float = 0.0
