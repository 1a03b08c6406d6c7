"""The nodes of a simulated fleet: where they stand, what they are made of, and which of them are lemons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.simulation.draws import Draws
from controller.simulation.model import Model
from controller.topology.file import parse
from controller.topology.source import Unreadable
from wire.messages import NodeFacts

GPUS: Final = 8
PORTS: Final = 8
RACK: Final = 4
"""Nodes of a rack. Source: 40 kW a rack and 10 kW an HGX host."""
LEAF: Final = 32
"""Nodes of a leaf switch. Source: rail-optimised fabrics of 64-port switches."""
GPU_MODEL: Final = "NVIDIA H100 80GB HBM3"
DRIVER: Final = "580.95.05"
ORDERS: Final = ("collect", "run_checks", "reset_gpu", "reload_driver", "reboot", "restart_service")


@dataclass(frozen=True, slots=True)
class Host:
    """One node, as it was bought.

    Attributes:
        times: it fails so many times as often as others.
        new: it was put into service when the simulation began.
    """

    name: str
    places: Mapping[str, Sequence[str]]
    lemon: bool = False
    new: bool = False


@dataclass(slots=True)
class Parts:
    """What is in a node now: part → how often it was swapped."""

    node: str
    swapped: dict[str, int] = field(default_factory=dict)

    def serial(self, part: str) -> str:
        """Return the serial number of what is in a place."""
        return f"{self.node}-{part}-{self.swapped.get(part, 0)}"

    def swap(self, part: str) -> None:
        """Put another part in its place."""
        self.swapped[part] = self.swapped.get(part, 0) + 1

    def facts(self, host: Host, *, benchmarks: bool) -> NodeFacts:
        """Return what the node says of itself. `benchmarks`: whether it runs any."""
        gpus = {f"GPU-{self.node}-{number}": f"gpu {self.serial(f'gpu{number}')}" for number in range(GPUS)}
        return NodeFacts(
            agent_version="simulated",
            driver_version=DRIVER,
            gpu_model=GPU_MODEL,
            gpu_count=GPUS,
            serial=f"{self.node}-host",
            devices=gpus,
            orders_allowed=[*ORDERS, *(["bench"] if benchmarks else [])],
            places={kind: list(names) for kind, names in host.places.items()},
        )


Placed = Mapping[str, Mapping[str, Sequence[str]]]
"""Node → kind of place → names."""


def racks_and_leaves(nodes: int) -> Placed:
    """Return so many nodes in racks and leaves of the usual size."""
    return {
        f"n{number:05d}": {"rack": [f"rack-{number // RACK}"], "leaf": [f"leaf-{number // LEAF}"]}
        for number in range(nodes)
    }


def placed_by(path: Path) -> Placed:
    """Return the nodes that a file of places names, as `[topology] file` of the settings takes it.

    Raises:
        Unreadable: with every problem, its line and column.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    return parse(text, path).nodes


def fleet_of(placed: Placed, model: Model, draws: Draws) -> tuple[Host, ...]:
    """Return the nodes, a share of them lemons or new."""
    stream = draws.stream("fleet")
    return tuple(
        Host(name, places, stream.random() < model.nodes.lemons, stream.random() < model.nodes.new_share)
        for name, places in placed.items()
    )
