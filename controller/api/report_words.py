"""The report's values as people read them. What is not known is a dash, never a zero."""

from __future__ import annotations

from controller.api import report_tables as kinds
from controller.api.moments import duration
from controller.api.report_tables import Cell
from controller.policy.reporting.shapes import Report

UNKNOWN = "–"
LEAST_H = 0.001


def shown(value: Cell, kind: str) -> str:
    """Return a value of a column of this kind, in words."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value.replace("_", " ") if kind == kinds.TEXT and value.isidentifier() else value
    match kind:
        case kinds.SHARE:
            return share(value)
        case kinds.SECONDS:
            return short(value)
        case kinds.MONEY:
            return f"{value:,.2f}"
        case kinds.HOURS:
            return hours(value)
        case kinds.COUNT:
            return f"{value:,.0f}"
        case _:
            return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def share(value: float | None) -> str:
    """Return a share as a percentage with the digits that mean something: 99.95 %, 12.3 %."""
    if value is None:
        return UNKNOWN
    percent = 100.0 * value
    return f"{percent:.0f} %" if percent in {0.0, 100.0} else f"{percent:.2f} %"


def hours(value: float) -> str:
    """Return hours with the digits that mean something; fewer than four seconds are told as so few."""
    if 0.0 < value < LEAST_H:
        return f"< {LEAST_H:g}"
    return f"{value:,.0f}" if value >= 100.0 or value == 0.0 else f"{value:.3g}"


def short(seconds: float) -> str:
    """Return a duration in words, with milliseconds where it is shorter than a few seconds."""
    if seconds == 0.0:
        return "0 s"
    if seconds < 1.0:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10.0 else duration(seconds)


def money(report: Report) -> str:
    """Return what was lost in money, empty where nobody said a price."""
    losses = report.losses
    return "" if losses.money is None else f"{losses.money:,.2f} {losses.currency}".strip()


def headlines(report: Report) -> dict[str, tuple[str, str]]:
    """Return the figures that come first: name → value, and what stands below it."""
    every_repair = next((row.total for row in report.repair), None)
    every_detection = next(iter(report.detection), None)
    found = every_detection.found if every_detection is not None else None
    isolated = every_detection.isolated if every_detection is not None else None
    between = next((row for row in report.failures if (row.by, row.name) == ("part", "any")), None)
    return {
        "availability": (share(report.availability.nodes), _bounds(report)),
        "goodput": (share(report.goodput.at_most), "at most, of all GPU-hours"),
        "lost": (f"{hours(report.losses.gpu_hours)} GPU-h", money(report) or "no price is set"),
        "MTTD": (short(found.mean_s) if found else UNKNOWN, _counted(found.count if found else 0)),
        "isolated": (short(isolated.mean_s) if isolated else UNKNOWN, "mean, finding to cordon"),
        "MTTR": (
            short(every_repair.mean_s) if every_repair else UNKNOWN,
            _repairs(every_repair.count if every_repair else 0),
        ),
        "MTBF": (
            f"{hours(between.mtbf_h)} node-h" if between is not None and between.mtbf_h is not None else UNKNOWN,
            _failures(between.failures if between is not None else 0, between.between_h.low if between else None),
        ),
    }


def _bounds(report: Report) -> str:
    least, most = report.availability.nodes_at_least, report.availability.nodes_at_most
    if least == most:
        return "of nodes"
    return f"of nodes; {share(least)} to {share(most)} if all that is unknown was out, or in service"


def _counted(faults: int) -> str:
    if not faults:
        return "no fault with a time of its own"
    return f"mean; {faults} faults with a time of their own" if faults != 1 else "1 fault with a time of its own"


def _repairs(count: int) -> str:
    if not count:
        return "no node came back"
    return f"mean of {count} returns" if count != 1 else "1 return"


def _failures(count: int, low: float | None) -> str:
    if not count:
        return "no failure" if low is None else f"no failure; at least {hours(low)} node-h"
    return f"{count} failures" if count != 1 else "1 failure"
