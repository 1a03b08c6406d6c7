"""What this host is known to have, kept across restarts, so that a part that vanished is missed.

A part that is seen is learnt at once. It is forgotten only when another part is seen in its place. Where a person
approved what the host has to have (agent/manifest_file.py), that is known instead, from the first reading on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from checks.manifest import Manifest, unless_replaced
from checks.readings import AcceleratorDevice, GpuReading, RdmaPort

ACTIVE: Final = 4
"""Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband, `state`."""


class Store(Protocol):
    """Where one source keeps its inventory; the agent gives it a durable one."""

    def load(self) -> dict[str, Any]:
        """Return what was saved last, empty when nothing was."""
        ...

    def save(self, value: dict[str, Any]) -> None:
        """Keep a value that JSON can hold."""
        ...


def learn_gpus(known: Mapping[str, str], gpus: Iterable[GpuReading]) -> dict[str, str]:
    """Return UUID → PCI with the GPUs that answered; one that sits where another sat has replaced it."""
    seen = {gpu.uuid: gpu.pci for gpu in gpus if gpu.uuid and gpu.pci and not gpu.lost}
    places = set(seen.values())
    return {uuid: pci for uuid, pci in known.items() if pci not in places} | seen


def learn_devices(known: Mapping[str, str], devices: Iterable[AcceleratorDevice]) -> dict[str, str]:
    """Return UUID → PCI with the devices that say both; one that sits where another sat has replaced it."""
    seen = {device.uuid: device.pci for device in devices if device.uuid and device.pci}
    places = set(seen.values())
    return {uuid: pci for uuid, pci in known.items() if pci not in places} | seen


def wanted_devices(
    manifest: Manifest | None, vendor: str, learnt: Mapping[str, str], devices: Iterable[AcceleratorDevice]
) -> dict[str, str]:
    """Return UUID → PCI of the vendor's devices that have to be listed: what was approved wins over what was learnt.

    Args:
        manifest: in force for accelerators, `None` when none is.
    """
    if manifest is None:
        return dict(learnt)
    approved = {each.uuid: each.pci for each in manifest.accelerators if each.vendor == vendor and each.pci}
    return unless_replaced(approved, {device.uuid: device.pci for device in devices if device.uuid})


def learn_ports(known: Mapping[str, float], ports: Iterable[RdmaPort]) -> dict[str, float]:
    """Return port → highest rate in Gb/s that it ever had while ACTIVE."""
    learnt = dict(known)
    for port in ports:
        if port.state == ACTIVE and port.rate_gbit_per_s is not None:
            learnt[port.name] = max(port.rate_gbit_per_s, learnt.get(port.name, 0.0))
    return learnt


def texts(value: object) -> dict[str, str]:
    """Return the text → text pairs of a saved value; what is none of them is left out."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str)}


def numbers(value: object) -> dict[str, float]:
    """Return the text → number pairs of a saved value; what is none of them is left out."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {
        name: float(number)
        for name, number in pairs
        if isinstance(name, str) and isinstance(number, int | float) and not isinstance(number, bool)
    }
