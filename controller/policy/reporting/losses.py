"""GPU-hours lost, by cause and by what was done meanwhile, and how much time was at risk."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.reporting.asked import Prices
from controller.policy.reporting.nodes import Cause, Node
from controller.policy.reporting.shapes import Losses, LossRow, RiskRow
from controller.policy.reporting.states import HOUR_S

LOST_KINDS = ("fault", "lost", "scheduler", "people", "admission", "benchmarks", "drill")


@dataclass(slots=True)
class LossBook:
    """Seconds and GPU-seconds by cause and SKU: as many as there are classes, steps and kinds of GPU."""

    lost: dict[tuple[Cause, str], list[float]] = field(default_factory=dict)
    risk: dict[Cause, list[float]] = field(default_factory=dict)

    def count(self, node: Node, seconds: float) -> None:
        """Count time of a node."""
        counts = node.counts_as
        if counts.lost_to is not None:
            _add(self.lost.setdefault((counts.lost_to, node.sku), [0.0, 0.0]), node, seconds)
        elif counts.risks is not None:
            _add(self.risk.setdefault(counts.risks, [0.0, 0.0]), node, seconds)

    def report(self, prices: Prices) -> Losses:
        """Return what was lost, the most first, and what it is worth."""
        rows: dict[Cause, list[tuple[str, list[float]]]] = {}
        for (cause, sku), spent in self.lost.items():
            rows.setdefault(cause, []).append((sku, spent))
        shown = [_row(cause, spent, prices) for cause, spent in rows.items()]
        shown.sort(key=lambda row: (LOST_KINDS.index(row.kind), -row.gpu_hours, row.cause, row.doing))
        counted = [(sku, spent) for (cause, sku), spent in sorted(self.lost.items()) if cause[0] != "drill"]
        unpriced = sum(spent[1] for sku, spent in counted if prices.of(sku) is None) / HOUR_S
        worth = sum(spent[1] / HOUR_S * (prices.of(sku) or 0.0) for sku, spent in counted)
        return Losses(
            shown,
            sorted((_at_risk(cause, spent) for cause, spent in self.risk.items()), key=lambda row: -row.node_hours),
            round(sum(spent[1] for _, spent in counted) / HOUR_S, 6),
            round(worth, 2) if not unpriced and counted else None,
            round(unpriced, 6),
            prices.currency,
        )


def _add(spent: list[float], node: Node, seconds: float) -> None:
    spent[0] += seconds
    spent[1] += seconds * node.gpus


def _row(cause: Cause, spent: list[tuple[str, list[float]]], prices: Prices) -> LossRow:
    priced = [(seconds[1] / HOUR_S, prices.of(sku)) for sku, seconds in sorted(spent)]
    is_priced = all(price is not None for hours, price in priced if hours)
    worth = sum(hours * (price or 0.0) for hours, price in priced)
    node_hours, gpu_hours = (round(sum(seconds[i] for _, seconds in spent) / HOUR_S, 6) for i in (0, 1))
    return LossRow(*cause, node_hours, gpu_hours, round(worth, 2) if is_priced and gpu_hours else None)


def _at_risk(cause: Cause, spent: list[float]) -> RiskRow:
    return RiskRow(cause[1], cause[2], round(spent[0] / HOUR_S, 6), round(spent[1] / HOUR_S, 6))
