"""Which part a finding is about: what history follows when the part moves, and what begins anew with another one.

A part is named by its serial number or GUID, else by its GPU's UUID. What has neither is its place: node and device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from checks.finding import Finding
from wire.messages import NodeFacts

_GPU = re.compile(r"gpu \d+ .* serial (\S+) at (\S+)")
_PORT = re.compile(r"rdma .* guid (\S+) firmware .*")
_UUID = re.compile(r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""A GPU's own name, the same in every host. Source: NVML, nvmlDeviceGetUUID."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a node and who sits there. `place`: PCI address of a GPU, name of an RDMA device."""

    place: str
    device: str
    serial: str


def seats(facts: NodeFacts) -> Iterator[Seat]:
    """Yield the parts that a node names, with their places. Source: agent/status.py writes these texts."""
    for device, text in facts.devices.items():
        gpu, port = _GPU.fullmatch(text), _PORT.fullmatch(text)
        if gpu:
            yield Seat(gpu[2], device, gpu[1])
        elif port:
            yield Seat(device, device, port[1])


def part_of(finding: Finding, node: str, facts: NodeFacts) -> str:
    """Return the name of the part that a finding on a node is about."""
    serial = finding.serial or next((seat.serial for seat in seats(facts) if _sits_at(seat, finding)), "")
    if serial:
        return serial
    return finding.device if _UUID.fullmatch(finding.device) else f"{node}/{finding.device}"


def _sits_at(seat: Seat, finding: Finding) -> bool:
    names = {finding.device, finding.pci} - {""}
    return seat.device in names or seat.place in names or seat.device.startswith(f"{finding.device}/")


def is_same_part(ours: Finding, theirs: Finding) -> bool:
    """Return whether two findings of one node are about one part, one of which may know only its PCI address."""
    return ours.device == theirs.device or ours.device == theirs.pci or theirs.device == ours.pci


def successor(part: str, finding: Finding, facts: NodeFacts) -> str:
    """Return the serial of the part that took the place of `part`, empty while it is there or nobody took it."""
    known = list(seats(facts))
    if any(part in {seat.serial, seat.device} for seat in known):
        return ""
    return next((seat.serial for seat in known if _sits_at(seat, finding)), "")
