"""The character devices of a simulated machine's RDMA adapters, and what hands its GPUs' memory to them.

The files in /dev/infiniband are plain and empty: the agent looks whether they are there and opens none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from agent.simulation.hardware import SimulatedPort
from agent.simulation.states import replace_file, replace_link
from agent.sources.rdma_adapters import CONNECTION_MANAGER, DEVICES, MANAGEMENT, PEER_MEMORY, VERBS

OPEN_MODULES: Final = "OE"
"""Of another tree, and unsigned. Source: kernel, Documentation/ABI/stable/sysfs-module, `taint`."""


def write_rdma_devices(directory: Path, sysfs: Path, ports: Iterable[SimulatedPort]) -> None:
    """Make the files say which adapters can be opened.

    Args:
        directory: of the machine.
        sysfs: folder in it.
    """
    files = {
        directory / DEVICES / CONNECTION_MANAGER: "",
        sysfs / f"module/{PEER_MEMORY[0]}/initstate": "live\n",
        sysfs / "module/nvidia/taint": f"{OPEN_MODULES}\n",
    }
    for path, text in files.items():
        replace_file(path, text.encode(), scratch=directory)
    for port in ports:
        _write_port(directory, sysfs, port)


def _write_port(directory: Path, sysfs: Path, port: SimulatedPort) -> None:
    """The devices of an adapter that vanished from the kernel vanish with it."""
    for listed, kernel in _devices(port):
        for name, text in {"ibdev": f"mlx5_{port.number}\n", "port": "1\n"}.items():
            replace_file(sysfs / kernel / name, text.encode(), scratch=directory)
        replace_link(sysfs / listed, f"../../{kernel}" if port.is_listed else "")
        node = directory / DEVICES / Path(listed).name
        if port.is_listed:
            replace_file(node, b"", scratch=directory)
        else:
            node.unlink(missing_ok=True)


def _devices(port: SimulatedPort) -> Iterator[tuple[str, str]]:
    """Yield where a character device is listed, and where the kernel keeps it."""
    for folder, name in ((VERBS, f"uverbs{port.number}"), (MANAGEMENT, f"umad{port.number}")):
        yield f"{folder}/{name}", f"devices/{port.pci}.0/{Path(folder).name}/{name}"
