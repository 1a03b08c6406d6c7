"""How much worse than history a candidate may be, so that a program can say no to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from controller.hindsight.result import Comparison, Figures


def _more(choose: Callable[[Figures], float]) -> Callable[[Comparison], float]:
    return lambda found: _all(found, choose) - choose(found.history)


def _all(found: Comparison, choose: Callable[[Figures], float]) -> float:
    """Return a figure of the candidate; what was drawn stands for what history did meanwhile."""
    drawn = 0.0 if found.drawn is None else choose(found.drawn) - choose(found.not_compared)
    return choose(found.candidate) + drawn


MEASURES: Final[Mapping[str, tuple[str, Callable[[Comparison], float]]]] = {
    "max-added-cordons": ("cordons that history did not make", lambda found: len(found.added)),
    "max-avoided-cordons": ("cordons of history that it does not make", lambda found: len(found.avoided)),
    "max-false-cordons": ("its cordons that are known to be false", lambda found: found.candidate.false_cordons),
    "max-avoided-right-cordons": (
        "cordons of history that were right, and that it does not make",
        lambda found: sum(row.truth == "right" for row in found.avoided),
    ),
    "max-more-gpu-hours-out": ("GPU-hours out of service more than history's", _more(lambda each: each.gpu_hours_out)),
    "max-more-missed-hours": (
        "node-hours in service with a failed finding more than history's",
        _more(lambda each: each.missed_fault_node_hours),
    ),
    "max-more-tickets": ("tickets more than history's", _more(lambda each: each.tickets)),
    "max-more-pages": ("pages more than history's", _more(lambda each: each.pages)),
    "max-unknown": (
        "courses that are unknown",
        lambda found: sum(not row.drawn for row in found.unknown),
    ),
}
"""Option of the command line, without its dashes → what it limits, and how much of that there is."""


def crossed(found: Comparison, limits: Mapping[str, float]) -> list[str]:
    """Return a sentence for each limit that the candidate crosses."""
    said = []
    for name, limit in limits.items():
        words, measure = MEASURES[name]
        value = measure(found)
        if value > limit:
            said.append(f"--{name}: {value:.6g} {words}, at most {limit:g} are allowed")
    return said
