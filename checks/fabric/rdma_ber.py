"""`fabric.rdma_ber`: links whose bit error rate is worse than the specification allows.

Counted are the symbol errors that are left after the link's error correction. Links with PAM4 signalling (HDR, NDR,
XDR) always have raw errors, which that correction mends and which mean nothing; once it no longer keeps up, errors come
by the million. On links without correction (EDR and older) the same counter holds the effective errors. What the
module itself measures is judged by `fabric.cable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.rdma_counters import SATURATES_AT, history, is_saturated, lost
from checks.readings import PortCounters, RdmaCountersReading

ID = "fabric.rdma_ber"
WINDOW_S = 3600.0
COUNTER = "symbol_error"

LIMIT = 1e-12
"""Errors a bit. Source: InfiniBand specification; ibdiagnet's default threshold."""
SHORTEST_S = 600.0
"""Source: ibdiagnet's manual: read 5 to 10 min after a reset."""
FEWEST_ERRORS = 10
"""Source: our choice: of fewer, chance alone makes any rate."""
UNSETTLED = ("link_downed", "link_error_recovery")
"""While one of these grows, the link trains: its errors are then no measure of it, and its flaps are another check's
matter."""

BITS_PER_GBIT = 1e9


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors over so many bits of a link that stood, within so many seconds."""

    errors: int
    bits: float
    seconds: float


def judge(readings: Sequence[RdmaCountersReading]) -> tuple[Finding, ...]:
    """Return every port whose link makes too many errors, and those whose counter is full."""
    return tuple(finding for port in readings[-1].ports for finding in _judge_port(port, history(readings, port.name)))


def _judge_port(port: PortCounters, seen: Sequence[tuple[float, PortCounters]]) -> tuple[Finding, ...]:
    if is_saturated(port, COUNTER):
        because = f"{COUNTER} of port {port.name} stands at its maximum of {SATURATES_AT[COUNTER]}: no rate can be told"
        return (_finding(port, "saturated", Verdict.UNKNOWN, Action.NONE, because),)
    if lost(seen, [COUNTER]):
        because = f"{COUNTER} of port {port.name} can no longer be read: no rate can be told"
        return (_finding(port, "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    measured = _measure(seen)
    if measured.seconds < SHORTEST_S or measured.errors < FEWEST_ERRORS:
        return ()
    rate = measured.errors / measured.bits
    if rate <= LIMIT:
        return ()
    because = (
        f"port {port.name} had {measured.errors} symbol errors in {measured.seconds / 60:.0f} min, {rate:.1e} a bit "
        f"where {LIMIT:.0e} is allowed: clean or reseat the cable, then change the transceiver"
    )
    return (_finding(port, "symbol_ber", Verdict.DEGRADED, Action.CHECK_CABLING, because),)


def _measure(seen: Sequence[tuple[float, PortCounters]]) -> Measured:
    errors, bits, seconds = 0, 0.0, 0.0
    for (start_s, before), (end_s, after) in pairwise(seen):
        if COUNTER not in before.counters or COUNTER not in after.counters or not after.rate_gbit_per_s:
            continue
        if any(growth((before.counters.get(name), after.counters.get(name))) for name in UNSETTLED):
            continue
        errors += growth((before.counters[COUNTER], after.counters[COUNTER]))
        bits += (end_s - start_s) * after.rate_gbit_per_s * BITS_PER_GBIT
        seconds += end_s - start_s
    return Measured(errors, bits, seconds)


def _finding(port: PortCounters, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    evidence = {COUNTER: str(port.counters.get(COUNTER, ""))}
    return Finding(ID, port.name, code, verdict, action, because, port.pci, port.node_guid, evidence)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA links whose bit error rate, after error correction, is worse than the specification allows.",
    reading=RdmaCountersReading,
    judge=judge,
    outcomes=(
        Outcome("symbol_ber", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("saturated", Verdict.UNKNOWN),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "bit error rate": f"{LIMIT:.0e} at line rate (InfiniBand specification, ibdiagnet)",
        "length": f"{SHORTEST_S / 60:.0f} min of a link that stands (ibdiagnet: 5 to 10 min)",
        "errors": f"at least {FEWEST_ERRORS} (our choice)",
        "not taken": "120 symbol errors an hour (NVSentinel): at 400 Gb/s that is 8e-14, within the specification",
    },
)
