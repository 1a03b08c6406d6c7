"""What a benchmark must reach on each kind of GPU, and what physics lets it reach: limits beyond that are refused.

A limit that no machine can reach condemns all of them, one that is far too low none; both are found in what operators
use. So floors are data with their sources, and each is held against a bound before it judges anything. Where no floor
is known, only the baseline of peers judges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files

import msgspec

from checks import data

LEAST_SHARE_OF_BEST = 0.6
"""A floor below this share of the best known result finds little. Source: the reference of active benchmarks."""


class BenchMetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number that a benchmark gives.

    Attributes:
        least_bytes: messages that are smaller draw the curve by size, and no floor holds for them.
    """

    name: str
    unit: str
    summary: str
    higher_is_worse: bool = False
    least_bytes: int = 0


class BenchSku(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of GPU, and the models' names that are of it; others with a similar name have other links."""

    name: str
    models: tuple[str, ...]


class BenchBound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What physics allows.

    Attributes:
        possible: no machine does better; the most, or the least of what is worse when it is higher.
        best: the best result that is known of healthy machines, `None` where none is.
    """

    metric: str
    sku: str
    possible: float
    source: str
    best: float | None = None


class BenchFloor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is demanded: worse than `fail` is a failure, worse than `warn` a warning, `None` where neither is known."""

    metric: str
    sku: str
    source: str
    fail: float | None = None
    warn: float | None = None


class BenchLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the file says."""

    metrics: tuple[BenchMetric, ...]
    skus: tuple[BenchSku, ...]
    bounds: tuple[BenchBound, ...]
    floors: tuple[BenchFloor, ...]

    def metric(self, name: str) -> BenchMetric:
        """Return the metric of that name.

        Raises:
            KeyError: there is none.
        """
        return {metric.name: metric for metric in self.metrics}[name]

    def floor(self, metric: str, sku: str, size_bytes: int | None = None) -> BenchFloor | None:
        """Return what is demanded, `None` where only the baseline of peers judges.

        Args:
            size_bytes: of the message; `None` for one that is large enough for any floor.
        """
        if size_bytes is not None and any(m.name == metric and size_bytes < m.least_bytes for m in self.metrics):
            return None
        return next((floor for floor in self.floors if (floor.metric, floor.sku) == (metric, sku)), None)

    def sku_of(self, model: str) -> str:
        """Return the kind of a GPU by its model's name, empty for one that is not known."""
        return next((sku.name for sku in self.skus if model in sku.models), "")


class LimitsRefused(Exception):
    """The limits cannot be used. The text has one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Keep all problems."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@cache
def shipped_limits() -> BenchLimits:
    """Return the limits that come with fleetmend."""
    return load_limits(files(data).joinpath("bench_limits.json").read_bytes())


def load_limits(text: bytes) -> BenchLimits:
    """Return limits from JSON.

    Raises:
        LimitsRefused: it is no such file, or limits are beyond what physics allows.
    """
    try:
        limits = msgspec.json.decode(text, type=BenchLimits)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LimitsRefused([f"limits of benchmarks: {error}"]) from error
    return _checked(limits)


def with_site(limits: BenchLimits, floors: Iterable[BenchFloor], bounds: Iterable[BenchBound] = ()) -> BenchLimits:
    """Return limits in which a site's own floors replace those of the same metric and kind of GPU.

    Bounds may be added for what is not bounded yet, and none is replaced: physics is the same everywhere.

    Raises:
        LimitsRefused: a floor is beyond what physics allows, or a bound is known already.
    """
    own, added = tuple(floors), tuple(bounds)
    known = {(bound.metric, bound.sku) for bound in limits.bounds}
    doubled = [f"bound of {b.metric} on {b.sku}: it is known and cannot be changed" for b in added if _key(b) in known]
    if doubled:
        raise LimitsRefused(doubled)
    replaced = {_key(floor) for floor in own}
    kept = tuple(floor for floor in limits.floors if _key(floor) not in replaced)
    return _checked(msgspec.structs.replace(limits, floors=(*kept, *own), bounds=(*limits.bounds, *added)))


def too_low(limits: BenchLimits) -> list[str]:
    """Return a sentence for each floor that is so far from the best known result that it finds little."""
    bounds = {_key(bound): bound for bound in limits.bounds}
    return [
        f"{floor.metric} on {floor.sku}: a floor of {floor.fail:g} is less than {LEAST_SHARE_OF_BEST:.0%} as good as "
        f"{bound.best:g}, which healthy machines reach"
        for floor in limits.floors
        if (bound := bounds.get(_key(floor))) and floor.fail and bound.best
        if _share(floor.fail, bound.best, limits.metric(floor.metric)) < LEAST_SHARE_OF_BEST
    ]


def _share(limit: float, best: float, metric: BenchMetric) -> float:
    return best / limit if metric.higher_is_worse else limit / best


def _checked(limits: BenchLimits) -> BenchLimits:
    problems = list(_problems(limits))
    if problems:
        raise LimitsRefused(problems)
    return limits


def _problems(limits: BenchLimits) -> Iterator[str]:
    metrics = {metric.name: metric for metric in limits.metrics}
    bounds = {_key(bound): bound for bound in limits.bounds}
    for name, rows in (("bound", limits.bounds), ("floor", limits.floors)):
        for (metric, sku), count in Counter(map(_key, rows)).items():
            if count > 1:
                yield f"{name} of {metric} on {sku}: it stands here twice"
            if metric not in metrics:
                yield f"{name} of {metric} on {sku}: there is no such metric"
    for bound in limits.bounds:
        if not _is_positive(bound.possible) or not _is_positive(bound.best):
            yield f"bound of {bound.metric} on {bound.sku}: a bound is a number above 0"
    for floor in limits.floors:
        if floor.metric in metrics:
            yield from _wrong_with(floor, metrics[floor.metric], bounds)


def _wrong_with(floor: BenchFloor, metric: BenchMetric, bounds: Mapping[tuple[str, str], BenchBound]) -> Iterator[str]:
    where = f"floor of {floor.metric} on {floor.sku}"
    if not _is_positive(floor.fail) or not _is_positive(floor.warn):
        yield f"{where}: a limit is a number above 0"
        return
    if floor.fail is not None and floor.warn is not None and (floor.warn < floor.fail) is not metric.higher_is_worse:
        yield f"{where}: it fails at {floor.fail:g} before it warns at {floor.warn:g}"
    bound = bounds.get(_key(floor))
    if bound is None:
        yield f"{where}: nothing is known of what is possible there; add a bound"
        return
    beyond = "below" if metric.higher_is_worse else "above"
    for limit in filter(None, (floor.fail, floor.warn)):
        said = f"{where}: {limit:g} {metric.unit} is {beyond}"
        if _better(limit, bound.possible, metric):
            yield f"{said} what is possible, {bound.possible:g} ({bound.source})"
        elif bound.best is not None and _better(limit, bound.best, metric):
            yield f"{said} the best that is known, {bound.best:g} ({bound.source})"


def _better(value: float, other: float, metric: BenchMetric) -> bool:
    return value < other if metric.higher_is_worse else value > other


def _is_positive(number: float | None) -> bool:
    return number is None or (math.isfinite(number) and number > 0.0)


def _key(row: BenchBound | BenchFloor) -> tuple[str, str]:
    return row.metric, row.sku
