"""`fabric.rdma_congestion`: hosts that stop the network around them, and adapters that stumble over their PCI slot.

A receiver that is stuck sends pauses until its whole fabric stands still, so the adapter gives up after some seconds
and says so: that node has to go. A share of time in pauses is watched. All other counters of flow control and drops are
shown beside a fault and never are one: a network that is used to the full counts there. A host without `ethtool` is not
looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth, rate_per_s
from checks.finding import Action, Finding, Verdict
from checks.readings import PortCongestion, RdmaCongestionReading

ID = "fabric.rdma_congestion"
WINDOW_S = 1800.0

STORM, STORM_WARNING = "tx_pause_storm_error_events", "tx_pause_storm_warning_events"
"""The adapter sent pauses for so long that it was stopped from sending more, or nearly so. Source: kernel,
Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst."""

SHARE_OVER_S = 290.0
"""Source: our choice: five minutes, less what a beat may be late."""

PAUSING_SHARE = 0.1
PAUSED_SHARE = 0.5
"""Of the time. Source: our choice: a host that takes in what it is sent asks for pauses of milliseconds; one that is
told to wait suffers from others, which is to be seen and not to be acted on."""

PCI_RECOVERIES = 10
"""In the window. Source: our choice; the driver's manual asks to try another slot when it grows at all, and public
check scripts fail an adapter at 10."""

PCI_SIGNAL = ("rx_pci_signal_integrity", "tx_pci_signal_integrity")
PERCENTAGES = ("outbound_pci_stalled_rd", "outbound_pci_stalled_wr")

_SENT = re.compile(r"tx_(?:prio[0-7]|global)_pause_duration|pfc_pri[0-7]_tx_duration_us")
_TAKEN = re.compile(r"rx_(?:prio[0-7]|global)_pause_duration|pfc_pri[0-7]_rx_duration_us")

MICROSECONDS = 1e6

FAILED = (Verdict.FAILED, Action.REBOOT)
TICKET = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
RESEAT = (Verdict.DEGRADED, Action.CHECK_CABLING)
WATCH = (Verdict.DEGRADED, Action.NONE)
UNKNOWN = (Verdict.UNKNOWN, Action.NONE)

Seen = Sequence[tuple[float, Mapping[str, int]]]
"""Time and counters of each reading, oldest first."""

Judged = tuple[str, tuple[Verdict, Action], str]
"""Code, judgement, and the sentence after the port's name."""


def judge(readings: Sequence[RdmaCongestionReading]) -> tuple[Finding, ...]:
    """Return every port that stops its fabric, stands still for long, or has trouble with its slot."""
    return tuple(finding for port in readings[-1].ports for finding in _judge_port(port, readings))


def _judge_port(port: PortCongestion, readings: Sequence[RdmaCongestionReading]) -> Iterator[Finding]:
    if port.unreadable:
        yield _finding(port, "unreadable", UNKNOWN, f"its interface could not be asked: {port.unreadable}", {})
        return
    seen = [
        (reading.at_s, each.counters)
        for reading in readings
        for each in reading.ports
        if (each.name, each.interface) == (port.name, port.interface) and not each.unreadable
    ]
    beside = _beside(seen)
    for code, judgement, because in (*_judge_storms(seen), *_judge_shares(seen), *_judge_slot(seen)):
        yield _finding(port, code, judgement, because, beside)


def _judge_storms(seen: Seen) -> Iterator[Judged]:
    within = f"within {WINDOW_S / 60:.0f} min"
    if errors := _grown(seen, STORM):
        because = (
            f"pause storms {within}: {errors}; it sent pauses for so long that its adapter stopped it: the host takes "
            "in too little, and the fabric around it stands still"
        )
        yield "storm", FAILED, because
    if warnings := _grown(seen, STORM_WARNING):
        yield "storm_warning", TICKET, f"beginnings of pause storms {within}: {warnings}; the host takes in too little"


def _judge_shares(seen: Seen) -> Iterator[Judged]:
    over = f"of the last {SHARE_OVER_S / 60:.0f} min"
    sent, taken = _share(seen, _SENT.fullmatch), _share(seen, _TAKEN.fullmatch)
    if sent > PAUSING_SHARE:
        because = f"it told the network to wait for {sent:.0%} {over}: the host does not take in what it is sent"
        yield "pausing", TICKET, because
    if taken > PAUSED_SHARE:
        yield "paused", WATCH, f"the network told it to wait for {taken:.0%} {over}: there is congestion elsewhere"


def _judge_slot(seen: Seen) -> Iterator[Judged]:
    recoveries = sum(_grown(seen, name) for name in PCI_SIGNAL)
    if recoveries >= PCI_RECOVERIES:
        because = (
            f"its PCI Express link had to recover {recoveries} times within {WINDOW_S / 60:.0f} min: reseat the "
            "adapter, then try another slot"
        )
        yield "pci_signal", RESEAT, because


def _share(seen: Seen, is_duration: Callable[[str], object]) -> float:
    """Return the share of the time that the priority with the most pauses spent in them, 0.0 where it is not known."""
    names = [name for name in seen[-1][1] if is_duration(name)]
    rates = [rate_per_s([(at_s, counters.get(name)) for at_s, counters in seen], over_s=SHARE_OVER_S) for name in names]
    return min(1.0, max((rate / MICROSECONDS for rate in rates if rate is not None), default=0.0))


def _grown(seen: Seen, name: str) -> int:
    return growth(counters.get(name) for _, counters in seen)


def _beside(seen: Seen) -> dict[str, str]:
    """Return by how much everything grew within the window, and the percentages as they are."""
    newest = seen[-1][1]
    grown = {f"{name}_growth": _grown(seen, name) for name in newest if name not in PERCENTAGES}
    return {
        name: str(count) for name, count in {**grown, **{n: newest.get(n, 0) for n in PERCENTAGES}}.items() if count
    }


def _finding(
    port: PortCongestion, code: str, judgement: tuple[Verdict, Action], because: str, evidence: dict[str, str]
) -> Finding:
    shown = {"interface": port.interface, **evidence}
    sentence = f"port {port.name} ({port.interface}): {because}"
    return Finding(ID, port.name, code, *judgement, sentence, port.pci, port.node_guid, shown)


CHECK = LevelCheck(
    id=ID,
    summary="RDMA ports that stop their fabric with pauses, stand still for long, or stumble over their PCI slot "
    "(needs `ethtool`).",
    reading=RdmaCongestionReading,
    judge=judge,
    outcomes=(
        Outcome("storm", *FAILED),
        Outcome("storm_warning", *TICKET),
        Outcome("pausing", *TICKET),
        Outcome("paused", *WATCH),
        Outcome("pci_signal", *RESEAT),
        Outcome("unreadable", *UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "storm": f"any growth of {STORM} within {WINDOW_S / 60:.0f} min (mlx5)",
        "storm_warning": f"any growth of {STORM_WARNING} within {WINDOW_S / 60:.0f} min (mlx5)",
        "pausing": f"pauses sent for more than {PAUSING_SHARE:.0%} of {SHARE_OVER_S:.0f} s (our choice)",
        "paused": f"pauses received for more than {PAUSED_SHARE:.0%} of {SHARE_OVER_S:.0f} s (our choice)",
        "pci_signal": f"{PCI_RECOVERIES} recoveries within {WINDOW_S / 60:.0f} min (our choice)",
        "information": "PFC, ECN and CNP counters and drops are shown beside a fault and never are one",
    },
)
