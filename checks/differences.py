"""How what a host is made of differs from what was approved for it. Pure.

A part is told by its identity: UUID, GUID, serial number. One whose identity was not read is told by its place. GPUs
and ports have to be in their place too, as jobs and cables go by it; a disk's name changes with the order of its
discovery, so a disk may be anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from checks.manifest import Accelerator, Disk, Gpu, Manifest, Mount, Port, Section

MEMORY_SHARE: Final = 0.02
"""So much of the memory may be missing or too much. Source: our choice: kernels keep back more or less from one version
to the next, crash kernels a GiB or so, and the smallest part that can be lost, one of 32 modules, is 3 %."""

NO_LINK: Final = "no link"
GIB: Final = 1 << 30


class Kind(StrEnum):
    """How a part differs. `less` and `changed` are about one of its facts."""

    MISSING = "missing"
    ADDED = "added"
    REPLACED = "replaced"
    MOVED = "moved"
    LESS = "less"
    CHANGED = "changed"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        section: to which the part belongs.
        place: what people call the part; empty for the whole section.
        fact: what of it differs, empty for the part itself.
        approved, found: as people read them: identities of a part, values of a fact. Empty where there is none.
        pci, serial: of the part that is there, or of the one that is not there any more.
    """

    section: Section
    kind: Kind
    place: str = ""
    fact: str = ""
    approved: str = ""
    found: str = ""
    pci: str = ""
    serial: str = ""


def differences(approved: Manifest, found: Manifest) -> tuple[Difference, ...]:
    """Return every difference, section by section. What was not read on approval is not compared.

    What was read then and cannot be read now is `unread`, never missing.
    """
    return tuple(each for section in Section if approved.holds(section) for each in _of(section, approved, found))


def _of(section: Section, approved: Manifest, found: Manifest) -> Iterator[Difference]:
    if not found.holds(section):
        yield Difference(section, Kind.UNREAD, found=found.unread[section])
    elif section in PARTS:
        yield from _compare(section, _parts(section, approved), _parts(section, found))
    else:
        yield from _compare_fact(section, "", _fact_of(section, approved), _fact_of(section, found), _NOBODY)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part as it is compared. `numbers`: facts of which less is a loss."""

    place: str
    identity: str = ""
    pci: str = ""
    serial: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float | None] = field(default_factory=dict)

    def is_same(self, other: _Part) -> bool:
        """Return whether it is the same part, wherever it is."""
        if self.identity and other.identity:
            return self.identity == other.identity
        return self.place == other.place

    @property
    def name(self) -> str:
        """Its identity as people read it."""
        return self.serial or self.identity or self.place


_NOBODY: Final = _Part("")


def _gpu(gpu: Gpu) -> _Part:
    return _Part(gpu.pci, gpu.uuid, gpu.pci, gpu.serial, {"VBIOS": gpu.vbios}, {"NVLinks": gpu.nvlinks})


def _accelerator(device: Accelerator) -> _Part:
    return _Part(device.pci or device.uuid, device.uuid, device.pci, device.serial)


def _port(port: Port) -> _Part:
    """The ports of an adapter share its GUID."""
    identity = f"{port.guid} port {port.name.rpartition('/')[2]}" if port.guid else ""
    facts = {"firmware": port.firmware, "link layer": port.link_layer}
    return _Part(port.name, identity, port.pci, port.guid, facts, {"rate (Gb/s)": port.rate_gbit_per_s})


def _disk(disk: Disk) -> _Part:
    size = "" if disk.size_bytes is None else f"{disk.size_bytes} bytes"
    return _Part(disk.name, disk.serial, disk.pci, disk.serial, {"firmware": disk.firmware, "size": size})


def _mount(mount: Mount) -> _Part:
    return _Part(mount.mount, facts={"kind": mount.kind, "source": mount.source})


PARTS: Final = {
    Section.GPUS: lambda manifest: map(_gpu, manifest.gpus),
    Section.ACCELERATORS: lambda manifest: map(_accelerator, manifest.accelerators),
    Section.PORTS: lambda manifest: map(_port, manifest.ports),
    Section.DISKS: lambda manifest: map(_disk, manifest.disks),
    Section.MOUNTS: lambda manifest: map(_mount, manifest.mounts),
    Section.MEMORY_MODULES: lambda manifest: map(_Part, manifest.host.memory_modules),
}
"""Sections that are lists of parts."""

ANYWHERE: Final = frozenset({Section.DISKS})
"""Their place is where they are slotted in, or nothing at all, and not their name."""


def _parts(section: Section, manifest: Manifest) -> tuple[_Part, ...]:
    return tuple(PARTS[section](manifest))


def _compare(section: Section, approved: Sequence[_Part], found: Sequence[_Part]) -> Iterator[Difference]:
    taken: set[str] = set()
    for part in approved:
        same = next((each for each in found if part.is_same(each)), None)
        if same is not None:
            yield from _compare_same(section, part, same)
            continue
        other = _in_place_of(section, part, found)
        if other is None or any(other.is_same(each) for each in approved):
            yield Difference(section, Kind.MISSING, part.place, approved=part.name, pci=part.pci, serial=part.serial)
            continue
        taken.add(other.place)
        yield _present(section, Kind.REPLACED, other, approved=part.name)
    for part in found:
        if part.place not in taken and not any(part.is_same(each) for each in approved):
            yield _present(section, Kind.ADDED, part)


def _in_place_of(section: Section, part: _Part, found: Iterable[_Part]) -> _Part | None:
    """Return what sits where the part sat: a disk that has no slot of its own has no such place."""
    if section in ANYWHERE:
        return next((each for each in found if part.pci and each.pci == part.pci), None)
    return next((each for each in found if each.place == part.place), None)


def _compare_same(section: Section, approved: _Part, found: _Part) -> Iterator[Difference]:
    if section not in ANYWHERE and approved.place != found.place:
        moved = Difference(section, Kind.MOVED, found.place, approved=approved.place, found=found.place)
        yield _about(moved, found, approved)
    for fact, value in approved.facts.items():
        yield from _compare_fact(section, fact, value, found.facts[fact], found)
    for fact, number in approved.numbers.items():
        yield from _compare_fact(section, fact, number, found.numbers[fact], found)


def _compare_fact(
    section: Section, fact: str, approved: str | float | None, found: str | float | None, part: _Part
) -> Iterator[Difference]:
    """Yield the difference of a fact that was approved; text that is empty was not read."""
    if approved in (None, "") or found == "" or approved == found:
        return
    if isinstance(approved, int | float):
        is_less = found is None or (isinstance(found, int | float) and found < approved)
        if section is Section.MEMORY and not _is_much(approved, found):
            return
        kind = Kind.LESS if is_less else Kind.CHANGED
    else:
        kind = Kind.CHANGED
    yield _about(Difference(section, kind, part.place, fact, _said(section, approved), _said(section, found)), part)


def _is_much(approved: float, found: object) -> bool:
    return not isinstance(found, int | float) or abs(found - approved) > MEMORY_SHARE * approved


def _said(section: Section, value: str | float | None) -> str:
    if value is None:
        return NO_LINK
    if isinstance(value, bool):
        return "present" if value else "absent"
    if isinstance(value, str):
        return value
    return f"{value / GIB:.1f} GiB" if section is Section.MEMORY else f"{value:g}"


def _fact_of(section: Section, manifest: Manifest) -> str | float | None:
    facts = {
        Section.MEMORY: manifest.host.memory_bytes,
        Section.PROCESSORS: manifest.host.processors,
        Section.BMC: manifest.host.bmc,
        Section.DRIVER: manifest.versions.driver,
        Section.KERNEL: manifest.versions.kernel,
    }
    return facts[section]


def _present(section: Section, kind: Kind, part: _Part, *, approved: str = "") -> Difference:
    return Difference(section, kind, part.place, "", approved, part.name, part.pci, part.serial)


def _about(difference: Difference, part: _Part, before: _Part = _NOBODY) -> Difference:
    """Return the difference under its part's address and serial number, as far as they are known."""
    return replace(difference, pci=part.pci or before.pci, serial=part.serial or before.serial)
