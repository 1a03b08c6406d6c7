"""What checks over any vendor's accelerators have in common: which devices there are to judge, and how one is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AcceleratorReading

UNREADABLE: Final = "unreadable"
"""Code of a finding that says: this device could not be judged."""


def judgeable(reading: AcceleratorReading) -> tuple[AcceleratorDevice, ...]:
    """Return the devices that answered, none on a host that has none.

    Raises:
        CannotJudge: the vendor's tool did not answer, so nothing is known of any device.
    """
    if reading.failure:
        raise CannotJudge(f"the devices could not be asked: {reading.failure}")
    return reading.devices


def key(device: AcceleratorDevice) -> str:
    """Return what findings call the device: the name that follows the part, else its place, else its number."""
    return device.uuid or device.pci or device.name


def history(readings: Sequence[AcceleratorReading], device: AcceleratorDevice) -> list[tuple[float, AcceleratorDevice]]:
    """Return when one device was seen and how it was, oldest first."""
    return [(reading.at_s, seen) for reading in readings for seen in reading.devices if key(seen) == key(device)]


def about(
    check: str,
    device: AcceleratorDevice,
    code: str,
    judgement: tuple[Verdict, Action],
    because: str,
    **evidence: object,
) -> Finding:
    """Return a finding about one device; evidence that is `None` is left out."""
    return Finding(
        check=check,
        device=key(device),
        code=code,
        verdict=judgement[0],
        action=judgement[1],
        because=f"{device.name}: {because}",
        pci=device.pci,
        serial=device.serial,
        evidence={name: str(value) for name, value in evidence.items() if value is not None},
    )


def unreadable(check: str, device: AcceleratorDevice, part: str) -> tuple[Finding, ...]:
    """Return an unknown when the part could not be read; one that the device does not have is no error."""
    if part not in device.errors:
        return ()
    because = f"{part} is not readable: {device.errors[part]}"
    return (about(check, device, UNREADABLE, (Verdict.UNKNOWN, Action.NONE), because),)


def missing(check: str, reading: AcceleratorReading) -> Iterator[Finding]:
    """Yield every device that is gone, that the host has and the tool does not list, or that says no name.

    A device without a name may be any of those that are missed, so while there is one, none is called lost.
    """
    devices = judgeable(reading)
    nameless = [device for device in devices if not device.uuid]
    for device in nameless if reading.known else ():
        because = f"it does not say which device it is: {device.errors.get('identity', 'no name was given')}"
        yield about(check, device, "nameless", (Verdict.UNKNOWN, Action.NONE), because)
    if nameless:
        return
    listed, places = {device.uuid for device in devices}, {device.pci for device in devices}
    gone = {uuid: pci for uuid, pci in reading.known.items() if uuid not in listed}
    for uuid, pci in sorted(gone.items()):
        where = "is on the PCI bus and" if pci in reading.present else "has left the PCI bus:"
        because = f"the device at {pci} {where} no tool lists it ({len(devices)} of {len(reading.known)} are listed)"
        yield Finding(check, uuid, "lost", Verdict.FAILED, Action.REBOOT, because, pci=pci)
    for pci in sorted(set(reading.present) - places - set(gone.values())):
        because = f"the device at {pci} is on the PCI bus, but no tool lists it, and it was never seen to work here"
        yield Finding(check, pci, "unlisted", Verdict.UNKNOWN, Action.NONE, because, pci=pci)
