"""`fabric.rdma_port`: ports that once were up on this host and now are missing, down or slow.

Only known ports are judged: those that were approved with a rate, or where nobody approved anything, that ever were
ACTIVE here. Any other has no cable, and that is no fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.rdma import (
    ACTIVE,
    DISABLED,
    LINK_UP,
    is_blind,
    is_interface_down,
    is_state_constant,
    is_up,
    port_of,
    say_state,
)
from checks.readings import RdmaPort, RdmaReading

ID = "fabric.rdma_port"
STOOD_S = 10.0
"""Until then the port is `unknown`: a fault that may pass is no fault yet, and a port that is not up proves nothing.
Source: our choice, just above the about 7 s after which NCCL's InfiniBand retries are used up and the job dies
anyway; gpud waits 4 min for a drop, which costs a cluster's jobs."""

WINDOW_S = 60.0
"""How far back the beginning of a fault is sought; six times what is needed, for sources that are read rarely."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a port in one reading."""

    code: str
    verdict: Verdict
    action: Action
    because: str


def judge(readings: Sequence[RdmaReading]) -> tuple[Finding, ...]:
    """Return every known port that has been at fault for long enough, and those that cannot be read."""
    known = sorted(readings[-1].known_ports.items())
    return tuple(finding for name, rate in known for finding in _judge_port(name, rate, readings))


def _judge_port(name: str, known_gbit_per_s: float, readings: Sequence[RdmaReading]) -> tuple[Finding, ...]:
    fault = _fault(name, known_gbit_per_s, readings[-1])
    if fault is None:
        return ()
    stood_s = _stood_s(name, known_gbit_per_s, readings)
    if fault.verdict is not Verdict.UNKNOWN and stood_s < STOOD_S:
        fault = Fault(fault.code, Verdict.UNKNOWN, Action.NONE, f"{fault.because}; not yet for {STOOD_S:.0f} s")
    port = port_of(readings[-1], name) or _last_seen(name, readings)
    return (
        Finding(
            check=ID,
            device=name,
            code=fault.code,
            verdict=fault.verdict,
            action=fault.action,
            because=f"{fault.because}, for at least {stood_s:.0f} s" if stood_s else fault.because,
            pci=port.pci if port else readings[-1].known_pci.get(name, ""),
            serial=port.node_guid if port else "",
            evidence=_evidence(port) if port else {},
        ),
    )


def _fault(name: str, known_gbit_per_s: float, reading: RdmaReading) -> Fault | None:
    port = port_of(reading, name)
    if port is None:
        because = f"port {name} is missing: its device has vanished from the host; drain and reboot it"
        return Fault("missing", Verdict.FAILED, Action.REBOOT, because)
    if is_state_constant(port):
        return _without_interface(port)
    if is_blind(port):
        return Fault("unreadable", Verdict.UNKNOWN, Action.NONE, f"the state of port {name} cannot be read")
    return _down(port) if not is_up(port) else _without_interface(port) or _slow(port, known_gbit_per_s)


def _down(port: RdmaPort) -> Fault:
    """A port that somebody disabled, or that waits for its subnet manager, is not mended at its cable."""
    action, why = Action.CHECK_CABLING, "check cable, transceiver and far end"
    if port.phys_state == DISABLED:
        action, why = Action.CONTACT_SUPPORT, "it is disabled on this side: somebody or its firmware turned it off"
    elif port.phys_state == LINK_UP and port.state != ACTIVE:
        action, why = Action.CONTACT_SUPPORT, f"the link is up but not configured: {_say_manager(port)}"
    return Fault("down", Verdict.FAILED, action, f"port {port.name} is {say_state(port)}: {why}")


def _say_manager(port: RdmaPort) -> str:
    """Return what the port knows of its subnet manager, which gives both identifiers."""
    if port.sm_lid == 0 or port.lid == 0:
        return "no subnet manager has answered"
    return "is there a subnet manager?"


def _without_interface(port: RdmaPort) -> Fault | None:
    if not is_interface_down(port):
        return None
    because = (
        f"port {port.name} has no traffic: its network interface {port.interface} is {port.operstate}; "
        "somebody turned it off, or its far end is dark"
    )
    return Fault("interface", Verdict.FAILED, Action.CONTACT_SUPPORT, because)


def _slow(port: RdmaPort, known_gbit_per_s: float) -> Fault | None:
    if port.rate_gbit_per_s is None or port.rate_gbit_per_s >= known_gbit_per_s:
        return None
    lanes = f" over {port.lanes} lanes" if port.lanes else ""
    rates = f"{port.rate_gbit_per_s:g} Gb/s{lanes} in place of {known_gbit_per_s:g}"
    because = f"port {port.name} came up with {rates}: check cable and transceiver"
    return Fault("slow", Verdict.DEGRADED, Action.CHECK_CABLING, because)


def _evidence(port: RdmaPort) -> dict[str, str]:
    known = {"lanes": port.lanes, "lid": port.lid, "sm_lid": port.sm_lid}
    named = {"interface": port.interface, "operstate": port.operstate}
    return {
        "state": say_state(port),
        "link_layer": port.link_layer,
        **{name: str(value) for name, value in known.items() if value is not None},
        **{name: text for name, text in named.items() if text},
    }


def _stood_s(name: str, known_gbit_per_s: float, readings: Sequence[RdmaReading]) -> float:
    """Return for how long every reading up to the newest has shown the port at fault."""
    began_s = readings[-1].at_s
    for reading in reversed(readings):
        if _fault(name, known_gbit_per_s, reading) is None:
            break
        began_s = reading.at_s
    return readings[-1].at_s - began_s


def _last_seen(name: str, readings: Sequence[RdmaReading]) -> RdmaPort | None:
    return next((port for reading in reversed(readings) if (port := port_of(reading, name)) is not None), None)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA ports (InfiniBand, RoCE, EFA) that are missing, down, or slower than they were.",
    reading=RdmaReading,
    judge=judge,
    outcomes=(
        Outcome("missing", Verdict.FAILED, Action.REBOOT),
        Outcome("down", Verdict.FAILED, Action.CHECK_CABLING),
        Outcome("down", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("interface", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("slow", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("*", Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "stood": f"{STOOD_S:.0f} s of readings (our choice; NCCL gives up after about 7 s)",
        "rate": "what was approved for this port, else the highest ever seen while ACTIVE; fewer lanes show as less",
        "interface": "`down`, `lowerlayerdown` or `notpresent` (RFC 2863), where traffic needs it: not for InfiniBand",
    },
)
