"""`fabric.rdma_flap`: ports that go down and come back.

Three witnesses count a flap: the port's own 8-bit counter, the changes of its carrier, and the readings themselves. A
port that is down once is the matter of `fabric.rdma_port`: here an outage is a flap only where another goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.rdma import is_blind, is_state_constant, is_up
from checks.readings import RdmaPort, RdmaReading

ID = "fabric.rdma_flap"
WINDOW_S = 3600.0
SATURATED = 255
"""Where `link_downed` stops. Source: InfiniBand specification, PortCounters: 8 bits, sticks at all ones."""

FLAPS_DEGRADED = 3
"""Within the hour. Source: gpud counts 3 flaps as a fault."""
CARRIER_CHANGES_DEGRADED = 3
"""Within the hour; going down and coming up are one each. Source: NVSentinel, `carrier_changes` delta above 2."""
FLAPS_FAILED = 5
"""Within the hour. Source: Azure acts on 5 lost carriers, in a day."""

MINIMUM_OUTAGES = 2
DOWNTIME_DEGRADED_S = 30.0
"""Cumulative within the hour. Source: NVIDIA Health Validation, one outage of 30 s on an mlx5 interface."""
DOWNTIME_FAILED_S = 240.0
"""Cumulative within the hour. Source: gpud, a drop is 4 min."""


@dataclass(frozen=True, slots=True)
class Unrest:
    """What happened to one port within the window. `downtime_s` is 0.0 unless several outages add up to it."""

    flaps: int
    carrier_changes: int
    downtime_s: float


def judge(readings: Sequence[RdmaReading]) -> tuple[Finding, ...]:
    """Return every port that flapped too often."""
    runs = _runs(readings)
    ports = [port for port in readings[-1].ports if not is_state_constant(port)]
    until_s = readings[-1].at_s
    return tuple(finding for port in ports for finding in _judge_port(port, _unrest(runs[port.name], until_s)))


def _runs(readings: Sequence[RdmaReading]) -> dict[str, list[tuple[float, RdmaPort]]]:
    """Return for each port when its state or counters changed, and to what.

    Most of the hundreds of readings in a window are like the one before, so this is what keeps the check cheap; the
    source even gives the same objects then.
    """
    runs: dict[str, list[tuple[float, RdmaPort]]] = {}
    before: tuple[RdmaPort, ...] = ()
    for reading in readings:
        if reading.ports is before:
            continue
        before = reading.ports
        for port in reading.ports:
            run = runs.setdefault(port.name, [])
            if not run or _has_changed(run[-1][1], port):
                run.append((reading.at_s, port))
    return runs


def _has_changed(before: RdmaPort, after: RdmaPort) -> bool:
    return (
        before.state != after.state
        or before.phys_state != after.phys_state
        or before.link_downed != after.link_downed
        or before.carrier_changes != after.carrier_changes
        or before.carrier_downs != after.carrier_downs
    )


def _judge_port(port: RdmaPort, unrest: Unrest) -> tuple[Finding, ...]:
    verdict = _verdict(unrest)
    if verdict is not Verdict.OK:
        because = (
            f"port {port.name} flapped {unrest.flaps} times within {WINDOW_S / 60:.0f} min "
            f"({unrest.carrier_changes} carrier changes, down for {unrest.downtime_s:.0f} s in all): "
            "clean or reseat the cable, then change the transceiver"
        )
        return (_finding(port, "flapping", verdict, Action.CHECK_CABLING, because),)
    if port.link_downed is not None and port.link_downed >= SATURATED and port.carrier_changes is None:
        because = f"link_downed of port {port.name} stands at its maximum of {SATURATED}: reset it with perfquery -R"
        return (_finding(port, "saturated", Verdict.UNKNOWN, Action.NONE, because),)
    return ()


def _unrest(runs: Sequence[tuple[float, RdmaPort]], until_s: float) -> Unrest:
    told = [(at_s, is_up(port)) for at_s, port in runs if not is_blind(port)]
    ends = [at_s for at_s, _ in told[1:]] + [until_s]
    outages = sum(before and not after for (_, before), (_, after) in pairwise(told))
    downtime_s = sum(end_s - start_s for (start_s, up), end_s in zip(told, ends, strict=False) if not up)
    changes = growth(port.carrier_changes for _, port in runs)
    downs = growth(port.carrier_downs for _, port in runs)
    flaps = max(outages, growth(port.link_downed for _, port in runs), downs, (changes + 1) // 2)
    return Unrest(flaps, changes, downtime_s if flaps >= MINIMUM_OUTAGES else 0.0)


def _verdict(unrest: Unrest) -> Verdict:
    if unrest.flaps >= FLAPS_FAILED or unrest.downtime_s >= DOWNTIME_FAILED_S:
        return Verdict.FAILED
    if (
        unrest.flaps >= FLAPS_DEGRADED
        or unrest.carrier_changes >= CARRIER_CHANGES_DEGRADED
        or unrest.downtime_s >= DOWNTIME_DEGRADED_S
    ):
        return Verdict.DEGRADED
    return Verdict.OK


def _finding(port: RdmaPort, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    counters = {
        "link_downed": port.link_downed,
        "carrier_changes": port.carrier_changes,
        "carrier_downs": port.carrier_downs,
    }
    evidence = {name: str(value) for name, value in counters.items() if value is not None}
    return Finding(ID, port.name, code, verdict, action, because, port.pci, port.node_guid, evidence)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA ports that go down and come back.",
    reading=RdmaReading,
    judge=judge,
    outcomes=(
        Outcome("flapping", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("flapping", Verdict.FAILED, Action.CHECK_CABLING),
        Outcome("saturated", Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "degraded": f"{FLAPS_DEGRADED} flaps (gpud) or {CARRIER_CHANGES_DEGRADED} carrier changes (NVSentinel) an hour",
        "failed": f"{FLAPS_FAILED} flaps in an hour (Azure, in a day)",
        "downtime": (
            f"{DOWNTIME_DEGRADED_S:.0f} s degraded (NVIDIA's validation), {DOWNTIME_FAILED_S:.0f} s failed (gpud), "
            f"in at least {MINIMUM_OUTAGES} outages"
        ),
    },
)
