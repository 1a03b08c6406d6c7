"""How often parts fail: failures over the device-hours in which one would have been seen.

A part is exposed while the agent of its node is heard: it is powered, and the checks look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.policy.reporting.intervals import time_between
from controller.policy.reporting.nodes import Node
from controller.policy.reporting.shapes import FailureRow
from controller.policy.reporting.states import HOUR_S

NODE, GPU, ADAPTER = "node", "GPU", "RDMA adapter"
UNITS = (NODE, GPU, ADAPTER)
"""What device-hours are counted in, in the order of the numbers that are kept."""

PART, RACK, SKU = "part", "rack", "sku"

_PARTS = (
    (("gpu.", "npu.", "amd."), "gpu", GPU),
    (("fabric.nvlink", "fabric.sxid", "fabric.fabric_state"), "nvlink", GPU),
    (("fabric.",), "rdma", ADAPTER),
    (("storage.",), "storage", NODE),
)
"""Beginnings of check ids → kind of part, and what it is counted in; the first that fits holds."""
_OTHER = ("host", NODE)


def part_kind(check: str) -> tuple[str, str]:
    """Return which kind of part a check's finding is about, and the unit of its device-hours."""
    return next(((kind, unit) for heads, kind, unit in _PARTS if check.startswith(heads)), _OTHER)


@dataclass(slots=True)
class ExposureBook:
    """Seconds of exposure and failures, by part, rack and SKU.

    Attributes:
        seconds: (by, name) → seconds in each of `UNITS`.
        failures: (by, name, unit) → how many.
    """

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def count(self, node: Node, seconds: float) -> None:
        """Count time in which a node was heard."""
        for place in _places(node):
            spent = self.seconds.setdefault(place, [0.0, 0.0, 0.0])
            spent[0] += seconds
            spent[1] += seconds * node.gpus
            spent[2] += seconds * node.adapters

    def fail(self, node: Node, check: str) -> None:
        """Count a failure that a finding of this check stands for."""
        kind, unit = part_kind(check)
        for row in {(PART, kind, unit), (PART, "any", NODE)}:
            self.failures[row] = self.failures.get(row, 0) + 1
        for by, name in _places(node):
            if by == PART:
                continue
            for each in {NODE, GPU} if unit == GPU else {NODE}:
                self.failures[by, name, each] = self.failures.get((by, name, each), 0) + 1

    def rows(self) -> list[FailureRow]:
        """Return every part, rack and SKU that was exposed or failed."""
        parts = {(PART, kind, unit) for _, kind, unit in _PARTS} | {(PART, *_OTHER), (PART, "any", NODE)}
        others = {(by, name, unit) for by, name in self.seconds if by != PART for unit in (NODE, GPU)}
        wanted = sorted({*parts, *others, *self.failures}, key=lambda row: (row[0] != PART, row))
        return [row for row in map(self._row, wanted) if row.failures or row.device_hours]

    def _row(self, row: tuple[str, str, str]) -> FailureRow:
        by, name, unit = row
        spent = self.seconds.get((by, "" if by == PART else name), [0.0, 0.0, 0.0])
        hours, failures = spent[UNITS.index(unit)] / HOUR_S, self.failures.get(row, 0)
        mtbf, between = time_between(failures, hours)
        return FailureRow(by, name, unit, failures, round(hours, 6), mtbf, between)


def _places(node: Node) -> Iterator[tuple[str, str]]:
    yield PART, ""
    for rack in node.racks:
        yield RACK, rack
    if node.sku:
        yield SKU, node.sku
