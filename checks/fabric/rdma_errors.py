"""`fabric.rdma_errors`: ports that count errors faster than they should.

Totals since the boot say nothing, so rates count, and growth within the hour where any error at all is one too many.
Congestion and what follows a dying job elsewhere (retries, timeouts) never take a node out: they are watched, or shown
beside a fault. Sources of the limits name the tool that uses them; where that tool calls a node failed for what the far
side or a job can cause, it is `degraded` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from checks.check import LevelCheck, Outcome
from checks.counters import growth, rate_per_s
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.rdma_counters import CONGESTION, SATURATES_AT, history, is_saturated, lost, samples, wraps_at
from checks.readings import PortCounters, RdmaCountersReading

ID = "fabric.rdma_errors"
WINDOW_S = 3600.0
RATE_OVER_S = 50.0
"""Source: our choice: the minute between two readings, less what a beat may be late. Shorter stretches make one error a
rate."""

FAILED_AFTER = 3
"""Readings within the hour. Source: NVSentinel, three lesser events in an hour count as a fatal one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A counter that may grow, but not faster than this. `limit` counts within `period_s` and is still well."""

    counter: str
    limit: float
    period_s: float
    action: Action
    meaning: str


@dataclass(frozen=True, slots=True)
class Never:
    """A counter that should not grow at all.

    Attributes:
        failed_after: in so many readings of the hour it has to have grown before the port counts as failed.
    """

    counter: str
    failed_after: int
    action: Action
    meaning: str


RATES = (
    Rate("symbol_error", 10, 1.0, Action.CHECK_CABLING, "bit errors on the lanes"),
    Rate("link_error_recovery", 5, 60.0, Action.CHECK_CABLING, "the link keeps retraining"),
    Rate("port_rcv_errors", 10, 1.0, Action.CHECK_CABLING, "packets arrive damaged"),
    Rate("rx_icrc_encapsulated", 0, 1.0, Action.CHECK_CABLING, "RoCE packets were changed on their way"),
    Rate("rx_roce_errors", 10, 1.0, Action.CHECK_CABLING, "RoCE packets arrive damaged"),
    Rate("port_xmit_constraint_errors", 0, 1.0, Action.CONTACT_SUPPORT, "packets of a foreign partition are sent"),
    Rate("port_rcv_constraint_errors", 0, 1.0, Action.CONTACT_SUPPORT, "packets of a foreign partition arrive"),
    Rate("unrecoverable_err", 0, 1.0, Action.CONTACT_SUPPORT, "connections break without recovery"),
    Rate("cmds_err", 10, 60.0, Action.CONTACT_SUPPORT, "the adapter refuses its driver's commands"),
    Rate("port_xmit_discards", 100, 1.0, Action.NONE, "packets cannot be sent: congestion, or no credit"),
    Rate("rx_drops", 100, 1.0, Action.NONE, "received packets are dropped: the host does not keep up"),
    Rate("local_ack_timeout_err", 1, 1.0, Action.NONE, "packets are not acknowledged: a lossy path or a dead peer"),
    Rate("max_retry_exceeded", 1, 1.0, Action.NONE, "packets are not acknowledged: a lossy path or a dead peer"),
    Rate("rnr_nak_retry_err", 0, 1.0, Action.NONE, "a peer is not ready to receive"),
    Rate("roce_slow_restart", 10, 1.0, Action.NONE, "RoCE starts over and over after losses"),
    Rate("unresponsive_remote_events", 1, 1.0, Action.NONE, "a peer does not answer"),
    Rate("impaired_remote_conn_events", 1, 1.0, Action.NONE, "connections to a peer are impaired"),
)
"""Source: NVSentinel's NIC monitor; AWS EFA counters by the same; for bnxt_re those of mlx5 with the same meaning. Its
`rnr_nak_retry_err` is fatal there. Any at all for ICRC, constraint and unrecoverable errors: our choice, as each is
damage or a wrong configuration."""

NEVER = (
    Never("local_link_integrity_errors", FAILED_AFTER, Action.CHECK_CABLING, "more bit errors than the link endures"),
    Never("excessive_buffer_overrun_errors", FAILED_AFTER, Action.CHECK_CABLING, "the far end sends without credit"),
    Never("no_completion_cmds", 1, Action.REBOOT, "the adapter no longer answers its driver"),
)
"""Source: NVSentinel, fatal on any increase. The first two also count when a link comes up, so they must come again."""

JUDGED = tuple(rule.counter for rule in (*RATES, *NEVER))

Seen = Sequence[tuple[float, PortCounters]]


def judge(readings: Sequence[RdmaCountersReading]) -> tuple[Finding, ...]:
    """Return every port with errors, one finding a counter, and those whose counters say nothing."""
    return tuple(finding for port in readings[-1].ports for finding in _judge_port(port, history(readings, port.name)))


def _judge_port(port: PortCounters, seen: Seen) -> Iterator[Finding]:
    unread = lost(seen, JUDGED) or (["all of them"] if port.unread and not port.counters else [])
    if unread:
        because = f"counters of port {port.name} cannot be read ({', '.join(unread)}): errors on it go unseen"
        yield _finding(port, "unreadable", Verdict.UNKNOWN, Action.NONE, because, {})
    there = port.counters.keys()
    yield from (finding for rule in RATES if rule.counter in there for finding in _judge_rate(rule, port, seen))
    yield from (finding for rule in NEVER if rule.counter in there for finding in _judge_never(rule, port, seen))
    yield from (_saturated(port, counter) for counter in JUDGED if is_saturated(port, counter))


def _judge_rate(rule: Rate, port: PortCounters, seen: Seen) -> Iterator[Finding]:
    rate = rate_per_s(samples(seen, rule.counter), over_s=RATE_OVER_S, wraps_at=wraps_at(rule.counter))
    if rate is None or rate * rule.period_s <= rule.limit:
        return
    unit = "s" if rule.period_s == 1.0 else "min"
    because = (
        f"{rule.counter} of port {port.name} grows by {rate * rule.period_s:.3g} a {unit}, "
        f"more than {rule.limit:g}: {rule.meaning}"
    )
    yield _finding(port, rule.counter, Verdict.DEGRADED, rule.action, because, _beside(port, rule.counter, seen))


def _judge_never(rule: Never, port: PortCounters, seen: Seen) -> Iterator[Finding]:
    values = [value for _, value in samples(seen, rule.counter) if value is not None]
    grown = growth(values, wraps_at=wraps_at(rule.counter))
    if not grown:
        return
    times = sum(growth(pair, wraps_at=wraps_at(rule.counter)) > 0 for pair in pairwise(values))
    has_failed = times >= rule.failed_after
    because = (
        f"{rule.counter} of port {port.name} grew by {grown} in {times} of the readings of the last "
        f"{WINDOW_S / 60:.0f} min: {rule.meaning}"
    )
    verdict, action = (Verdict.FAILED, rule.action) if has_failed else (Verdict.DEGRADED, Action.NONE)
    yield _finding(port, rule.counter, verdict, action, because, _beside(port, rule.counter, seen))


def _saturated(port: PortCounters, counter: str) -> Finding:
    because = (
        f"{counter} of port {port.name} stands at its maximum of {SATURATES_AT[counter]} and counts no more: "
        "reset it with perfquery -R"
    )
    return _finding(port, f"{counter}_saturated", Verdict.UNKNOWN, Action.NONE, because, {})


def _beside(port: PortCounters, counter: str, seen: Seen) -> dict[str, str]:
    """Return the counter's total, and by how much each counter of congestion grew within the hour."""
    grown = {name: growth((v for _, v in samples(seen, name)), wraps_at=wraps_at(name)) for name in CONGESTION}
    return {counter: str(port.counters[counter])} | {f"{name}_growth": str(n) for name, n in grown.items() if n}


def _finding(
    port: PortCounters, code: str, verdict: Verdict, action: Action, because: str, evidence: dict[str, str]
) -> Finding:
    return Finding(ID, port.name, code, verdict, action, because, port.pci, port.node_guid, evidence)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA ports that count errors faster than they should, or whose counters are full.",
    reading=RdmaCountersReading,
    judge=judge,
    outcomes=(
        *(Outcome(rule.counter, Verdict.DEGRADED, rule.action) for rule in RATES),
        *(Outcome(rule.counter, Verdict.DEGRADED) for rule in NEVER if rule.failed_after > 1),
        *(Outcome(rule.counter, Verdict.FAILED, rule.action) for rule in NEVER),
        Outcome("*_saturated", Verdict.UNKNOWN),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=3, because="a burst while a job dies or a link comes up is over by the third reading"),
    thresholds={
        **{rule.counter: f"more than {rule.limit:g} in {rule.period_s:.0f} s, {rule.meaning}" for rule in RATES},
        **{
            rule.counter: f"any growth within {WINDOW_S / 60:.0f} min; failed in {rule.failed_after} of the readings"
            for rule in NEVER
        },
        "source": "NVSentinel's NIC monitor and AWS's EFA counters; any at all where it means damage (our choice)",
        "saturated": "at 15, 255 or 65535 by the width of the counter (InfiniBand specification)",
    },
)
