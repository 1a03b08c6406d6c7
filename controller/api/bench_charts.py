"""Bandwidth by size of message as a picture has it: lines and ticks, the same for a terminal and for a page. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

Key = TypeVar("Key", str, int)

BANDWIDTH: Final = "GB/s"
"""Unit of what is pictured: of nothing else does a curve by size mean anything."""

LEAST: Final = 1e-6
MOST: Final = 1e9
"""Bandwidths beyond are no bandwidths, and would flatten the picture of those that are. Source: our choice."""

RING: Final = "_ring"
"""Ending of a metric that is the one before it, measured the other way: both belong into one picture, because the
difference between them is what says that NVLink's multicast is off."""

CHOSEN: Final = "NCCL's choice"

MOST_TICKS: Final = 6
KIB: Final = 1024
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

HALF_STEP: Final = 0.5
"""A limit that was applied at one size alone is drawn so far to either side of it, in powers of two."""

MEASURED: Final = "measured"
PEERS: Final = "peers"
FLOOR: Final = "floor"


@dataclass(frozen=True, slots=True)
class Measured:
    """One number and what it was held against.

    Attributes:
        value: in the unit.
        fail: worse is a failure, `None` where no limit was applied.
        median: of peers of the same fingerprint, `None` where none is known.
    """

    metric: str
    summary: str
    unit: str
    size_bytes: int
    value: float
    device: str = ""
    way: str = ""
    fail: float | None = None
    median: float | None = None
    peers: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a picture. `kind`: measured, peers or floor. `points`: size in bytes and value, smallest first."""

    kind: str
    name: str
    points: tuple[tuple[int, float], ...]

    @property
    def last(self) -> tuple[int, float]:
        """Its largest size and the value there."""
        return self.points[-1]

    @property
    def powers(self) -> list[tuple[float, float]]:
        """Its points by the logarithm of their size; a limit of one point becomes a short stroke, to be seen."""
        points = [(math.log2(size), value) for size, value in self.points]
        if self.kind != FLOOR or len(points) > 1:
            return points
        ((power, value),) = points
        return [(power - HALF_STEP, value), (power + HALF_STEP, value)]

    def said(self, unit: str) -> str:
        """Return its name and, unless it is a limit, where it ends."""
        size, value = self.last
        return self.name if self.kind == FLOOR else f"{self.name}: {value:.4g} {unit} at {size_words(size)}"


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture. `summary`: what is measured."""

    metric: str
    summary: str
    unit: str
    lines: tuple[Line, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest size."""
        every = [size for line in self.lines for size, _ in line.points]
        return min(every), max(every)

    @property
    def most(self) -> float:
        """The end of the value axis, which begins at 0."""
        return value_ticks(max(value for line in self.lines for _, value in line.points))[-1]

    @property
    def described(self) -> str:
        """The picture in a sentence, for who cannot see it."""
        smallest, largest = self.sizes
        ends = "; ".join(line.said(self.unit) for line in self.lines)
        return f"{self.unit} by size of message, {size_words(smallest)} to {size_words(largest)}. {ends}."


def charts(numbers: Iterable[Measured]) -> tuple[Chart, ...]:
    """Return the pictures of a node's numbers: one for each bandwidth that was measured at more than one size."""
    sized = [n for n in numbers if n.unit == BANDWIDTH and n.size_bytes > 0 and LEAST <= n.value <= MOST]
    pictures = _grouped(sized, lambda number: number.metric.removesuffix(RING))
    return tuple(_chart(metric, kept) for metric, kept in pictures.items() if len(set(map(_size, kept))) > 1)


def _chart(metric: str, numbers: list[Measured]) -> Chart:
    ways = _grouped(numbers, _way)
    lines = [line for draw in (_measured, _peers, _floor) for way, group in ways.items() for line in draw(way, group)]
    first = min(numbers, key=lambda number: len(number.metric))
    return Chart(metric, first.summary, first.unit, tuple(lines))


def _grouped(numbers: Iterable[Measured], key: Callable[[Measured], Key]) -> dict[Key, list[Measured]]:
    groups: dict[Key, list[Measured]] = {}
    for number in numbers:
        groups.setdefault(key(number), []).append(number)
    return dict(sorted(groups.items()))


def _size(number: Measured) -> int:
    return number.size_bytes


def _way(number: Measured) -> str:
    return number.way or (RING.strip("_") if number.metric.endswith(RING) else CHOSEN)


def _measured(way: str, numbers: list[Measured]) -> list[Line]:
    """Return a way's line; where many devices were measured, the slowest and the median of all stand for them."""
    devices = _grouped(numbers, lambda number: number.device)
    if len(devices) == 1:
        return [_line(MEASURED, way, numbers)]
    slowest = min(devices, key=lambda device: max(devices[device], key=_size).value)
    return [
        _line(MEASURED, f"slowest, {slowest}", devices[slowest]),
        _line(MEASURED, f"median of {len(devices)} devices", numbers),
    ]


def _line(kind: str, name: str, numbers: list[Measured]) -> Line:
    by_size = _grouped(numbers, _size)
    return Line(kind, name, tuple((size, median(n.value for n in group)) for size, group in by_size.items()))


def _peers(way: str, numbers: list[Measured]) -> list[Line]:
    points = {number.size_bytes: number.median for number in numbers if number.median is not None}
    peers = max(number.peers for number in numbers)
    return [Line(PEERS, f"{way}, median of {peers} peers", tuple(sorted(points.items())))] if points else []


def _floor(way: str, numbers: list[Measured]) -> list[Line]:
    points = {number.size_bytes: number.fail for number in numbers if number.fail is not None}
    if not points:
        return []
    limit = f"{min(points.values()):g} {numbers[0].unit}"
    return [Line(FLOOR, f"{way}, fails below {limit} from {size_words(min(points))} on", tuple(sorted(points.items())))]


def size_words(size_bytes: float) -> str:
    """Return a size as people name messages: `8 KiB`, `1.5 GiB`."""
    value, unit = float(size_bytes), 0
    while value >= KIB and unit < len(UNITS) - 1:
        value, unit = value / KIB, unit + 1
    return f"{value:.3g} {UNITS[unit]}"


def size_ticks(smallest: int, largest: int) -> list[int]:
    """Return powers of two between the ends of a logarithmic axis, evenly spaced, six at most."""
    first, last = math.ceil(math.log2(smallest)), math.floor(math.log2(largest))
    step = max(1, math.ceil((last - first) / (MOST_TICKS - 1)))
    return [2**exponent for exponent in range(last, first - 1, -step)][::-1] or [smallest]


def value_ticks(most: float) -> list[float]:
    """Return round values from 0 to at least `most`, six at most."""
    rough = most / (MOST_TICKS - 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * magnitude >= rough)
    return [step * number for number in range(math.ceil(most / step) + 1)]
