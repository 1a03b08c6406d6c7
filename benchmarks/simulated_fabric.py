"""A network of GPU nodes with faults in it, for trying the localiser: what is where stays behind `measure`.

Nodes hang on leaves, leaves on spines. In a rail-optimised network each rail of a unit has a leaf of its own, else a
unit has one leaf. A group is an all-reduce around a ring in the order of the ranks, by all GPUs and by each rail alone,
and is as fast as its slowest step. A step between two units goes over a spine: fixed by the receiver (InfiniBand's
tables), or hashed anew in each run for each of several flows (Ethernet). Nothing of this is known to who sees results.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from checks.bench_judging import GROUP_FAIL_SHARE, judge_group
from checks.bench_outcome import Outcome
from controller.policy.localising.fabric import ALL, Fabric, fabric_of
from controller.policy.localising.trials import Result

RAILS: Final = 8
FLOWS: Final = 4
"""Flows of one step that are hashed each by itself. Source: our choice; NCCL opens two or more channels to a peer, and
`NCCL_IB_QPS_PER_CONNECTION` multiplies them."""

SPREAD: Final = 0.02
"""Standard deviation of a bandwidth that nothing is wrong with, as a share of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `kind`: node, inside (NVLink of a node), port, leaf, uplink or spine.

    Attributes:
        factor: what is left of the bandwidth.
    """

    kind: str
    factor: float
    unit: int = 0
    node: str = ""
    rail: int = 0
    spine: int = 0


@dataclass(frozen=True, slots=True)
class Noise:
    """How wrong results are. Each number is a probability for one group.

    Attributes:
        wrong: a good group looks slow on one lane, or a slow one looks good.
        error: it ends without a result.
        departs: a node of it is taken away while it runs.
    """

    wrong: float = 0.02
    error: float = 0.005
    departs: float = 0.002


@dataclass(slots=True)
class Network:
    """The truth, and the numbers that it gives.

    Attributes:
        per_unit: nodes of a unit; the last one may have fewer.
        rail_optimised: whether each rail has its leaf.
        routes_are_fixed: by the receiver, else hashed.
    """

    size: int
    per_unit: int
    spines: int
    rail_optimised: bool
    routes_are_fixed: bool
    dice: random.Random
    noise: Noise = field(default_factory=Noise)
    faults: tuple[Fault, ...] = ()
    measured: int = 0

    @property
    def units(self) -> int:
        """How many units there are."""
        return -(-self.size // self.per_unit)

    def node(self, number: int) -> str:
        """Return the name of a node."""
        return f"n{number}"

    def number(self, node: str) -> int:
        """Return the number of a node."""
        return int(node[1:])

    def unit_of(self, node: str) -> int:
        """Return the unit of a node."""
        return self.number(node) // self.per_unit

    def leaf(self, unit: int, rail: int) -> str:
        """Return the leaf of a unit that a rail hangs on."""
        return f"leaf-{unit * RAILS + rail}" if self.rail_optimised else f"leaf-{unit}"

    def seen(self) -> Fabric:
        """Return what an operator knows of it: nodes and their leaves."""
        rails = range(RAILS if self.rail_optimised else 1)
        names = [self.node(number) for number in range(self.size)]
        places = {name: {"leaf": tuple(self.leaf(self.unit_of(name), rail) for rail in rails)} for name in names}
        return fabric_of(places, rails=RAILS)

    # --- one group ---------------------------------------------------------------------------------------------------

    def run(self, number: int, nodes: Sequence[str]) -> Result:
        """Return what is judged of a group, wrong now and then."""
        self.measured += 1
        if self.dice.random() < self.noise.error:
            return Result(number, Outcome.ERROR, because="the collective ended with an error")
        outcome, lanes = judge_group(self.measure(nodes))
        return Result(number, outcome, lanes)

    def departing(self, nodes: Sequence[str]) -> str | None:
        """Return the node that is taken away while the group runs, `None` as a rule."""
        if self.noise.departs == 0.0 or self.dice.random() >= self.noise.departs:
            return None
        return self.dice.choice(nodes)

    def measure(self, nodes: Sequence[str]) -> dict[str, float]:
        """Return the bandwidth of each lane as a share of what is usual."""
        rails = [1.0] * RAILS
        inside = 1.0
        for fault in self.faults:
            if fault.kind == "inside":
                inside = min(inside, fault.factor if fault.node in nodes else 1.0)
                continue
            for rail in self._slow_rails(fault, nodes):
                rails[rail] = min(rails[rail], fault.factor)
        shares = {ALL: min(inside, *rails), **{str(rail): share for rail, share in enumerate(rails)}}
        return self._spoilt({lane: share * self.dice.gauss(1.0, SPREAD) for lane, share in shares.items()})

    def _spoilt(self, shares: dict[str, float]) -> dict[str, float]:
        if self.dice.random() >= self.noise.wrong:
            return shares
        if min(shares.values()) < GROUP_FAIL_SHARE:
            return {lane: self.dice.gauss(1.0, SPREAD) for lane in shares}
        lane = self.dice.choice(list(shares))
        slow = self.dice.uniform(0.3, 0.8)
        return {each: share * slow if each in {lane, ALL} else share for each, share in shares.items()}

    def _slow_rails(self, fault: Fault, nodes: Sequence[str]) -> list[int]:
        if fault.kind in {"node", "port"}:
            every = range(RAILS) if fault.kind == "node" else (fault.rail,)
            return list(every) if fault.node in nodes else []
        on_leaf = [fault.rail] if self.rail_optimised and fault.kind != "spine" else list(range(RAILS))
        if fault.kind == "leaf":
            return on_leaf if any(self.unit_of(node) == fault.unit for node in nodes) else []
        steps = [
            (a, b)
            for a, b in zip(nodes, [*nodes[1:], nodes[0]], strict=True)
            if (one := self.unit_of(a)) != (other := self.unit_of(b))
            and (fault.kind == "spine" or fault.unit in {one, other})
        ]
        return [rail for rail in on_leaf if self._meets(fault.spine, steps, rail)] if steps else []

    def _meets(self, spine: int, steps: list[tuple[str, str]], rail: int) -> bool:
        """Return whether any flow of these steps goes over the spine."""
        if self.routes_are_fixed:
            return any((self.number(receiver) + rail) % self.spines == spine for _, receiver in steps)
        return self.dice.random() > (1.0 - 1.0 / self.spines) ** (FLOWS * len(steps))


# --- fabrics by a seed -----------------------------------------------------------------------------------------------

SIZES: Final = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
KINDS: Final = ("node", "node", "inside", "port", "port", "leaf", "uplink", "spine")


def network(seed: int, *, faults: int = 1, noise: Noise | None = None, sizes: Sequence[int] = SIZES) -> Network:
    """Return the network of a seed, with so many faults that can be told apart in it."""
    dice = random.Random(seed)
    size = dice.choice(sizes)
    rail_optimised = dice.random() < 0.7
    per_unit = min(size, dice.choice((8, 16, 32) if rail_optimised else (4, 8, 16)))
    made = Network(
        size,
        per_unit,
        spines=dice.choice((2, 4, 8)),
        rail_optimised=rail_optimised,
        routes_are_fixed=dice.random() < 0.5,
        dice=dice,
        noise=noise or Noise(),
    )
    made.faults = tuple(_fault(made) for _ in range(faults))
    return made


def _fault(made: Network) -> Fault:
    """Return a fault that some test can tell from others: with two units, a spine is like the uplinks below it."""
    kinds = [kind for kind in KINDS if made.units >= {"uplink": 2, "spine": 3}.get(kind, 1)]
    node = made.node(made.dice.randrange(made.size))
    return Fault(
        made.dice.choice(kinds),
        made.dice.uniform(0.3, 0.8),
        unit=made.unit_of(node),
        node=node,
        rail=made.dice.randrange(RAILS),
        spine=made.dice.randrange(made.spines),
    )
