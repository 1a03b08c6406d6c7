"""`host.pcie`: errors on PCI Express links, and links of adapters and disks with fewer lanes than they could have.

An error is counted by whoever saw it, often the port at the other end of the link, so a port is named with the device
behind it. GPUs tell of the width of their own links by NVML, and change it with their load; for RDMA adapters it
matters what their ports need, which `fabric.rdma_pcie` weighs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import PlatformReading
from checks.readings.platform import PciDevice

ID = "host.pcie"
WINDOW_S = 600.0
CORRECTABLE = 600
"""In the window: one a second. Source: our choice; 16 lanes at 32 GT/s that just meet the specification's bit error
ratio of 1e-12 see one bit error every two seconds."""

ASKED_FOR = frozenset({"UnsupReq", "Unsupported Request", "ACSViol", "ACS Violation"})
"""Errors that software causes by asking what a device does not have; they say nothing of a link."""

ERRORS = ("correctable", "nonfatal", "fatal")


def judge(readings: Sequence[PlatformReading]) -> tuple[Finding, ...]:
    """Return every link with errors, or with too few lanes."""
    newest = readings[-1]
    return tuple(
        finding
        for device in newest.devices
        for finding in (
            *_fatal(device, newest),
            *_nonfatal(device, readings),
            *_correctable(device, readings),
            *_narrow(device, newest),
        )
    )


def _fatal(device: PciDevice, newest: PlatformReading) -> Iterator[Finding]:
    if device.fatal is None or device.fatal_at_first is None:
        return
    grown = sum(device.fatal.values()) - device.fatal_at_first
    if grown > 0:
        because = f"{grown} fatal errors ({_kinds(device.fatal)}) {_where(device, newest)}: drain and reboot the host"
        yield _finding(device, newest, "fatal", Verdict.FAILED, Action.REBOOT, because)


def _nonfatal(device: PciDevice, readings: Sequence[PlatformReading]) -> Iterator[Finding]:
    grown = growth(_total(each, "nonfatal") for each in _history(device, readings))
    if grown:
        kinds = _kinds(device.nonfatal or {})
        because = f"{grown} uncorrected errors ({kinds}) {_where(device, readings[-1])}: reseat card, riser or cable"
        yield _finding(device, readings[-1], "nonfatal", Verdict.DEGRADED, Action.CHECK_CABLING, because)


def _correctable(device: PciDevice, readings: Sequence[PlatformReading]) -> Iterator[Finding]:
    grown = growth(_total(each, "correctable") for each in _history(device, readings))
    if grown >= CORRECTABLE:
        kinds = _kinds(device.correctable or {})
        because = (
            f"{grown} corrected errors ({kinds}) within {WINDOW_S / 60:.0f} minutes {_where(device, readings[-1])}: "
            "reseat card, riser or cable"
        )
        yield _finding(device, readings[-1], "correctable", Verdict.DEGRADED, Action.CHECK_CABLING, because)


def _narrow(device: PciDevice, newest: PlatformReading) -> Iterator[Finding]:
    possible = min((lanes for lanes in (device.max_width, device.upstream_max_width) if lanes), default=0)
    if device.width is not None and device.max_width is not None and device.width < possible:
        because = f"{device.address} ({device.kind}) runs on {device.width} lanes of {possible}: reseat it"
        yield _finding(device, newest, "narrow", Verdict.DEGRADED, Action.CHECK_CABLING, because)


def _history(device: PciDevice, readings: Sequence[PlatformReading]) -> Iterator[PciDevice]:
    return (each for reading in readings for each in reading.devices if each.address == device.address)


def _total(device: PciDevice, severity: str) -> int | None:
    counts: dict[str, int] | None = getattr(device, severity)
    return None if counts is None else sum(count for kind, count in counts.items() if kind not in ASKED_FOR)


def _kinds(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "of no kind"


def _where(device: PciDevice, newest: PlatformReading) -> str:
    behind = _behind(device, newest)
    if device.kind != "port":
        return f"on the link of {device.address} ({device.kind})"
    named = ", ".join(f"{each.address} ({each.kind})" for each in behind)
    return f"at the port {device.address}, behind which {'are' if len(behind) > 1 else 'is'} {named or 'nothing'}"


def _behind(device: PciDevice, newest: PlatformReading) -> list[PciDevice]:
    """Return the devices below a port, through any number of switches."""
    upstream = {each.address: each.upstream for each in newest.devices}
    return [each for each in newest.devices if each.kind != "port" and device.address in _above(each.address, upstream)]


def _above(address: str, upstream: dict[str, str]) -> Iterator[str]:
    seen = {address}
    while (address := upstream.get(address, "")) and address not in seen:
        seen.add(address)
        yield address


def _finding(
    device: PciDevice, newest: PlatformReading, code: str, verdict: Verdict, action: Action, because: str
) -> Finding:
    """The PCI address is that of the device, or of the only one behind a port: it ties the finding to its others."""
    behind = _behind(device, newest)
    about = behind[0] if device.kind == "port" and len(behind) == 1 else device
    pci = about.address.partition(".")[0]
    return Finding(ID, device.address, code, verdict, action, because, pci=pci)


CHECK = LevelCheck(
    id=ID,
    summary="Errors on PCI Express links, and adapters and disks on fewer lanes than they could have.",
    reading=PlatformReading,
    judge=judge,
    outcomes=(
        Outcome("fatal", Verdict.FAILED, Action.REBOOT),
        *(Outcome(code, Verdict.DEGRADED, Action.CHECK_CABLING) for code in ("nonfatal", "correctable", "narrow")),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, clear_after=10, because="a link that trains or a device that is reset errs for once"),
    thresholds={
        "fatal": "any since this agent first saw the device in this boot (our choice)",
        "nonfatal": f"any within {WINDOW_S:.0f} s, without those that software causes (our choice)",
        "correctable": f"{CORRECTABLE} within {WINDOW_S:.0f} s (our choice)",
        "narrow": "fewer lanes than both ends have",
    },
)
