"""`storage.nvme`: NVMe controllers that are dead, gone, or no longer serve requests.

A controller resets in a second or two, and a network target comes back when its path does, so only a state that stands
counts. What a disk behind a network means for the mounts on it, `storage.hang` says: here it is told and not acted on.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import DisksReading
from checks.readings.disks import NvmeController

ID = "storage.nvme"
LIVE = "live"
DEAD = "dead"
PCIE = "pcie"
PASSING = frozenset({"new", "resetting", "connecting", "deleting", "deleting (no IO)"})
"""Source: kernel, drivers/nvme/host/core.c, `nvme_sysfs_show_state`."""

UNSERVED_S = 90.0
"""Source: our choice, above the 60 s after which the kernel gives a command to the controller up
(drivers/nvme/host/core.c, admin_timeout) and resets it."""

WINDOW_S = 180.0


def judge(readings: Sequence[DisksReading]) -> tuple[Finding, ...]:
    """Return every controller that does not serve."""
    reading = readings[-1]
    present = {each.serial for each in reading.controllers if each.serial}
    missing = [(serial, name) for serial, name in sorted(reading.known_controllers.items()) if serial not in present]
    return (
        *(finding for each in reading.controllers for finding in _judge(each, readings)),
        *(_missing(serial, name) for serial, name in missing),
    )


def _judge(controller: NvmeController, readings: Sequence[DisksReading]) -> tuple[Finding, ...]:
    if controller.state == LIVE:
        return ()
    if controller.state == DEAD and controller.transport == PCIE:
        because = (
            "the kernel has given it up (state dead): drain and reboot the host, replace the disk if it comes again"
        )
        return (_finding(controller, "dead", Verdict.FAILED, Action.REBOOT, because),)
    if controller.state not in (*PASSING, DEAD):
        return (_finding(controller, "unreadable", Verdict.UNKNOWN, Action.NONE, "its state cannot be read"),)
    stood_s = _stood_s(controller.name, readings)
    if controller.transport != PCIE:
        return _judge_remote(controller, stood_s)
    if stood_s < UNSERVED_S:
        return ()
    because = f"it has been {controller.state} for at least {stood_s:.0f} s: drain and reboot the host"
    return (_finding(controller, "unserved", Verdict.FAILED, Action.REBOOT, because),)


def _judge_remote(controller: NvmeController, stood_s: float) -> tuple[Finding, ...]:
    if stood_s < UNSERVED_S:
        return ()
    target = f" at {controller.address}" if controller.address else ""
    because = f"its target{target} over {controller.transport or 'a network'} has not answered for {stood_s:.0f} s"
    return (_finding(controller, "unreachable", Verdict.DEGRADED, Action.NONE, because),)


def _stood_s(name: str, readings: Sequence[DisksReading]) -> float:
    """Return for how long every reading up to the newest has shown the controller not live."""
    began_s = readings[-1].at_s
    for reading in reversed(readings):
        if any(each.name == name and each.state == LIVE for each in reading.controllers):
            break
        began_s = reading.at_s
    return readings[-1].at_s - began_s


def _missing(serial: str, name: str) -> Finding:
    because = f"{name} (serial {serial}) is missing: it belongs here and the kernel does not list it; reboot the host"
    return Finding(ID, name, "missing", Verdict.FAILED, Action.REBOOT, because, serial=serial)


def _finding(controller: NvmeController, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    told = {"model": controller.model, "firmware": controller.firmware, "state": controller.state}
    return Finding(
        check=ID,
        device=controller.name,
        code=code,
        verdict=verdict,
        action=action,
        because=f"{controller.name}: {because}",
        pci=controller.address if controller.transport == PCIE else "",
        serial=controller.serial,
        evidence={name: text for name, text in told.items() if text},
    )


CHECK = LevelCheck(
    id=ID,
    summary="NVMe controllers that are dead, missing, or no longer serve requests.",
    reading=DisksReading,
    judge=judge,
    outcomes=(
        Outcome("dead", Verdict.FAILED, Action.REBOOT),
        Outcome("unserved", Verdict.FAILED, Action.REBOOT),
        Outcome("missing", Verdict.FAILED, Action.REBOOT),
        Outcome("unreachable", Verdict.DEGRADED),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, because="a controller is unlisted for a moment while its driver is bound anew"),
    thresholds={
        "unserved": f"{UNSERVED_S:.0f} s without being live (our choice, above the kernel's 60 s for a command)",
        "missing": "any controller on the PCI bus that was approved, else that was live here before",
    },
)
