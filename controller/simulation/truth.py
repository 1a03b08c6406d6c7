"""What really goes wrong, drawn before anything is decided. The policy never sees this; the score alone does."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from controller.simulation.draws import Draws, time_s
from controller.simulation.fleet import GPUS, PORTS, Host
from controller.simulation.model import NODE_FAULTS, SHARED_BY, FaultClass, Kind, Model

DAY_S: Final = 86_400.0
YEAR_DAYS: Final = 365.0


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: of its class, `F1` to `F21`.
        nodes: which show it; one, but for what a leaf shares.
        place: of the part in the node: `gpu3`, `port0`, empty for the host.
        begins: seconds since the simulation began.
        mended_by: verbs that end it for good.
        hidden_by: verbs that make it go away until `returns_after_s` later.
        found_by: benchmarks that find it.
        repair_s: so long people work on it; of what passes by itself, so long it lasts.
        is_told: a benchmark found what nothing else shows.
        ended: when it ended, infinity while it goes on.
    """

    number: int
    name: str
    kind: Kind
    nodes: tuple[str, ...]
    place: str
    sign: str
    begins: float
    mended_by: frozenset[str]
    hidden_by: frozenset[str]
    returns_after_s: float
    repair_s: float
    found_by: frozenset[str] = frozenset()
    redundant: bool = False
    is_told: bool = False
    ended: float = math.inf

    @property
    def is_nodes_own(self) -> bool:
        """Whether taking its node out is right."""
        return self.kind in NODE_FAULTS and not self.redundant


def faults_of(hosts: Sequence[Host], model: Model, draws: Draws, *, days: float) -> Iterator[Fault]:
    """Yield the faults of a fleet in the order of their beginning."""
    streams = [_of_node(host, model, draws.stream("node", host.name), days) for host in hosts]
    streams += [_latent(host, model, draws.stream("latent", host.name), days) for host in hosts if host.new]
    for name, declared in model.classes.items():
        if declared.kind in SHARED_BY:
            places = _places(hosts, SHARED_BY[declared.kind])
            streams += [
                _of_place(name, nodes, model, draws.stream(SHARED_BY[declared.kind], place, name), days)
                for place, nodes in places.items()
            ]
    for number, fault in enumerate(heapq.merge(*streams, key=lambda fault: fault.begins), 1):
        fault.number = number
        yield fault


def _places(hosts: Sequence[Host], kind: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for host in hosts:
        for place in host.places.get(kind, ()):
            found.setdefault(place, []).append(host.name)
    return {place: tuple(names) for place, names in found.items()}


def _latent(host: Host, model: Model, stream: Random, days: float) -> Iterator[Fault]:
    """Yield the fault that a new node was delivered with, when it shows."""
    gray = [name for name in model.nodes.latent_classes if name in model.classes]
    at_day = stream.random() * model.nodes.young_days
    if gray and stream.random() < model.nodes.latent and at_day < days:
        name = stream.choice(gray)
        yield fault_of(name, model.classes[name], (host.name,), model, stream, at_day * DAY_S)


def _of_node(host: Host, model: Model, stream: Random, days: float) -> Iterator[Fault]:
    """Yield what goes wrong with one node: each class comes by chance, at a rate that its past and its age raise."""
    classes = {name: each for name, each in model.classes.items() if each.kind not in SHARED_BY and _shows(each)}
    usual = {name: _rate(name, model, host) for name in classes}
    at_day, own = 0.0, 0
    while True:
        again = model.nodes.repeat ** min(own, model.nodes.repeats_at_most)
        rates = {name: rate * (again if classes[name].kind in NODE_FAULTS else 1.0) for name, rate in usual.items()}
        most = sum(rates.values()) * _most_times(model, host)
        if not most:
            return
        at_day += stream.expovariate(most)
        if at_day >= days:
            return
        now = {name: rate * _times(name, model, host, at_day) for name, rate in rates.items()}
        dice = stream.random() * most
        for name, rate in now.items():
            dice -= rate
            if dice < 0.0:
                own += classes[name].kind in NODE_FAULTS
                yield fault_of(name, classes[name], (host.name,), model, stream, at_day * DAY_S)
                break


def _shows(declared: FaultClass) -> bool:
    """A decoy that shows nothing changes nothing, however often it comes."""
    return declared.kind is not Kind.DECOY or bool(declared.signs)


def _rate(name: str, model: Model, host: Host) -> float:
    """Return faults of a class in a day of this node, before its past, its age and the calendar."""
    rate = model.rate_of(name)
    if model.classes[name].kind not in NODE_FAULTS:
        return rate
    # The share of lemons must not raise the fleet's rate: what they have more, others have less.
    nodes = model.nodes
    mean = 1.0 + nodes.lemons * (nodes.lemon_times - 1.0)
    return rate * (nodes.lemon_times if host.lemon else 1.0) / mean


def _times(name: str, model: Model, host: Host, at_day: float) -> float:
    nodes = model.nodes
    times = 1.0
    if model.classes[name].kind in NODE_FAULTS and host.new and at_day < nodes.young_days:
        times *= nodes.young_times
    if name in nodes.hot_classes and 0.0 <= at_day % YEAR_DAYS - nodes.hot_from_day < nodes.hot_days:
        times *= nodes.hot_times
    if name in nodes.epoch_classes and 0.0 <= at_day - nodes.epoch_from_day < nodes.epoch_days:
        times *= nodes.epoch_times
    return times


def _most_times(model: Model, host: Host) -> float:
    """Return a bound of `_times` over all classes and days."""
    nodes = model.nodes
    young = max(1.0, nodes.young_times) if host.new else 1.0
    hot = max(1.0, nodes.hot_times) if nodes.hot_days else 1.0
    return young * hot * (max(1.0, nodes.epoch_times) if nodes.epoch_days else 1.0)


def _of_place(name: str, nodes: tuple[str, ...], model: Model, stream: Random, days: float) -> Iterator[Fault]:
    """Yield what goes wrong with something that several nodes share."""
    at_day, rate = 0.0, model.rate_of(name)
    while rate:
        at_day += stream.expovariate(rate)
        if at_day >= days:
            return
        yield fault_of(name, model.classes[name], nodes, model, stream, at_day * DAY_S)


def fault_of(name: str, declared: FaultClass, nodes: tuple[str, ...], model: Model, stream: Random, at: float) -> Fault:
    """Draw one fault of a class; `number` is left to the caller."""
    dice, hides = stream.random(), stream.random()
    mended_by = frozenset(verb for verb, share in declared.mends.items() if dice < share)
    tried = frozenset(declared.mends) - mended_by
    found_by = frozenset(b for b, each in model.benchmarks.items() if stream.random() < each.finds.get(name, 0.0))
    longest_s = model.repairs.longest_repair_days * DAY_S
    spread = declared.lasts or declared.repair
    assert spread is not None
    return Fault(
        0,
        name,
        declared.kind,
        nodes,
        _place(declared.part, stream),
        stream.choice(declared.signs) if declared.signs else "",
        at,
        mended_by,
        tried if hides < model.repairs.comes_back else frozenset(),
        stream.expovariate(1.0 / (model.repairs.comes_back_after_days * DAY_S)),
        min(time_s(stream, spread), longest_s),
        found_by,
        declared.redundant,
    )


def _place(part: str, stream: Random) -> str:
    match part:
        case "gpu":
            return f"gpu{stream.randrange(GPUS)}"
        case "port":
            return f"port{stream.randrange(PORTS)}"
    return ""
