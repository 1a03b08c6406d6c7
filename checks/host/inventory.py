"""`host.inventory`: parts of this host that are not those which a person approved for it.

What another check answers with an action of its own is left to it: a GPU that is lost or swapped (`gpu.count`), a port
that is down or slow (`fabric.rdma_port`), an NVMe disk that vanished (`storage.nvme`), a file system that is not
mounted (`storage.mounts`), a device of another vendor (`npu.count`, `amd.count`), NVLinks (`fabric.nvlink`). Nothing
here keeps a job from running, so nothing is worse than `degraded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from checks.check import LevelCheck, Outcome
from checks.differences import MEMORY_SHARE, Difference, Kind, differences
from checks.finding import Action, Finding, Verdict
from checks.manifest import Manifest, Section
from checks.policy import EVERYWHERE, Policy
from checks.readings import InventoryReading

ID = "host.inventory"

IDENTITIES: Final = frozenset({Kind.MISSING, Kind.ADDED, Kind.REPLACED, Kind.MOVED})
ELSEWHERE: Final = frozenset(
    {
        *((Section.GPUS, kind) for kind in (*IDENTITIES, Kind.LESS)),
        (Section.ACCELERATORS, Kind.MISSING),
        (Section.PORTS, Kind.LESS),
        (Section.MOUNTS, Kind.MISSING),
    }
)
"""What other checks judge."""

HARMLESS: Final = frozenset(
    {(Section.MOUNTS, Kind.ADDED), (Section.KERNEL, Kind.CHANGED), (Section.KERNEL, Kind.UNREAD)}
)
"""What comes and goes on a host in order: file systems somebody mounts, kernels that are upgraded."""

WORDS: Final = {
    Section.GPUS: "GPU",
    Section.ACCELERATORS: "device",
    Section.PORTS: "RDMA port",
    Section.DISKS: "disk",
    Section.MOUNTS: "file system",
    Section.MEMORY: "memory",
    Section.MEMORY_MODULES: "memory module",
    Section.PROCESSORS: "processors",
    Section.BMC: "BMC",
    Section.DRIVER: "NVIDIA driver",
    Section.KERNEL: "kernel",
}

FIRMWARE: Final = frozenset({"VBIOS", "firmware"})


def judge(readings: Sequence[InventoryReading]) -> tuple[Finding, ...]:
    """Return every difference that no other check judges, and why what was approved cannot be held against the host."""
    reading = readings[-1]
    problem = (_unusable(reading.problem),) if reading.problem else ()
    if reading.approved is None:
        return problem
    if reading.found is None:
        return (*problem, _unread(Section.GPUS, "no other source was read"))
    approved = reading.approved
    found = differences(approved, reading.found)
    return (*problem, *(_judge(each) for each in found if not _is_left_out(each, approved)))


def _is_left_out(difference: Difference, approved: Manifest) -> bool:
    what = (difference.section, difference.kind)
    if what in ELSEWHERE or what in HARMLESS:
        return True
    if difference.kind is not Kind.MISSING:
        return False
    if difference.section is Section.PORTS:
        return any(port.name == difference.place and port.rate_gbit_per_s for port in approved.ports)
    return difference.section is Section.DISKS and bool(difference.pci and difference.serial)


def _judge(difference: Difference) -> Finding:
    if difference.kind is Kind.UNREAD:
        return _unread(difference.section, difference.found)
    code, action, because = _fault(difference, " ".join(filter(None, (WORDS[difference.section], difference.place))))
    told = {"approved": difference.approved, "found": difference.found}
    return Finding(
        check=ID,
        device=difference.place or EVERYWHERE,
        code=code,
        verdict=Verdict.DEGRADED,
        action=action,
        because=because,
        pci=difference.pci,
        serial=difference.serial,
        evidence={name: text for name, text in told.items() if text},
    )


def _fault(difference: Difference, part: str) -> tuple[str, Action, str]:
    """Return code, action and reason."""
    approved, found = difference.approved, difference.found
    match difference.kind:
        case Kind.MISSING:
            because = f"{part} ({approved}) is not there: find it, or approve its absence"
            return "missing", Action.CONTACT_SUPPORT, because
        case Kind.REPLACED:
            because = f"{part} is {found}, approved is {approved}: approve it, or find out who replaced it"
            return "replaced", Action.NONE, because
        case Kind.MOVED:
            because = f"{part} was approved at {approved}: approve it, or find out who moved it"
            return "moved", Action.NONE, because
        case Kind.ADDED:
            return "unapproved", Action.NONE, f"{part} ({found}) was not approved: approve it, or find out whose it is"
        case _:
            return _changed(difference, part)


def _changed(difference: Difference, part: str) -> tuple[str, Action, str]:
    approved, found = difference.approved, difference.found
    if difference.section is Section.BMC:
        action = Action.CONTACT_SUPPORT if found == "absent" else Action.NONE
        return "bmc", action, f"a BMC that can be asked is {found}, approved was {approved}"
    if difference.section is Section.DRIVER or difference.fact in FIRMWARE:
        code = "driver" if difference.section is Section.DRIVER else "firmware"
        of = f"{part}: its {difference.fact}" if difference.fact else f"the {part}"
        return code, Action.UPDATE_SOFTWARE, f"{of} is {found}, approved is {approved}: install that, or approve this"
    fact = f"{part}: {difference.fact}" if difference.fact else part
    because = f"{fact}: {found} in place of {approved}, which was approved"
    if difference.kind is Kind.LESS:
        return difference.section.value, Action.CONTACT_SUPPORT, f"{because}: a part has failed or was taken out"
    return "changed", Action.NONE, f"{because}: approve it, or find out what changed it"


def _unusable(problem: str) -> Finding:
    because = f"what was approved for this host cannot be used: {problem}"
    return Finding(ID, EVERYWHERE, "unreadable", Verdict.UNKNOWN, Action.NONE, because)


def _unread(section: Section, why: str) -> Finding:
    because = f"{WORDS[section]}: what is there cannot be held against what was approved: {why}"
    return Finding(ID, EVERYWHERE, f"unread_{section}", Verdict.UNKNOWN, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="Parts, firmware and memory that differ from what a person approved for this host.",
    reading=InventoryReading,
    judge=judge,
    outcomes=(
        Outcome("missing", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("replaced", Verdict.DEGRADED),
        Outcome("moved", Verdict.DEGRADED),
        Outcome("unapproved", Verdict.DEGRADED),
        Outcome("firmware", Verdict.DEGRADED, Action.UPDATE_SOFTWARE),
        Outcome("driver", Verdict.DEGRADED, Action.UPDATE_SOFTWARE),
        Outcome("memory", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("processors", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("bmc", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("bmc", Verdict.DEGRADED),
        Outcome("changed", Verdict.DEGRADED),
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("unread_*", Verdict.UNKNOWN),
    ),
    policy=Policy(raise_after=2, because="a driver that is loaded anew takes its devices away for one reading"),
    thresholds={
        "approved": "what `fleetmend inventory approve` put in force; nothing is judged before that",
        "memory": f"{MEMORY_SHARE:.0%} more or less is no difference (our choice; one module of 32 is 3 %)",
    },
)
