"""`fabric.rdma_pcie`: adapters whose PCIe link is narrower or slower than both of its ends can be.

Half the lanes are half the bandwidth, and a collective is as slow as the slowest of its ranks. So it matters whether
the link still carries what the adapter's ports do: a 200 Gb/s adapter loses nothing on half of a generation 5 slot, a
400 Gb/s one is the slowest of the job. Adapters keep lanes and generation at rest, other than GPUs; only where firmware
lowers idle links by itself may a generation mean nothing, so it alone never takes a node out as failed. Errors on the
link are for `host.pcie`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.rdma import ACTIVE
from checks.rdma_adapters import about
from checks.readings import PcieLink, RdmaAdapter, RdmaAdaptersReading

ID = "fabric.rdma_pcie"

GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
ENCODED = {1: 0.8, 2: 0.8, 3: 128 / 130, 4: 128 / 130, 5: 128 / 130, 6: 242 / 256}
"""Of the bits on the wire, those that carry anything. Source: PCI Express Base Specification: 8b/10b, 128b/130b, flits
of 256 bytes."""


def judge(readings: Sequence[RdmaAdaptersReading]) -> tuple[Finding, ...]:
    """Return every adapter with a link that could be better; functions of one card share its link, the first speaks."""
    cards: dict[str, list[RdmaAdapter]] = {}
    for adapter in readings[-1].adapters:
        if adapter.pci and not adapter.is_virtual:
            cards.setdefault(adapter.pci, []).append(adapter)
    return tuple(finding for functions in cards.values() for finding in _judge_card(functions))


def _judge_card(functions: Sequence[RdmaAdapter]) -> Iterator[Finding]:
    adapter, wanted = functions[0], _rate(functions)
    link, most_lanes, most = adapter.link, *_possible(adapter)
    carried = _carried(link)
    is_short = carried is not None and carried < wanted
    cost = f"it carries {carried:.0f} Gb/s of the {wanted:g} that its ports have" if is_short else "its ports still fit"
    if link.lanes is not None and most_lanes is not None and link.lanes < most_lanes:
        because = f"the PCIe link of {adapter.name} has {link.lanes} of {most_lanes} lanes: {cost}"
        yield _finding(adapter, "width", because, Verdict.FAILED if is_short else Verdict.DEGRADED, is_short=is_short)
    if link.gt_per_s is not None and most is not None and link.gt_per_s < most:
        because = f"the PCIe link of {adapter.name} runs at {link.gt_per_s:g} of {most:g} GT/s a lane: {cost}"
        yield _finding(adapter, "generation", because, Verdict.DEGRADED, is_short=is_short)


def _finding(adapter: RdmaAdapter, code: str, because: str, verdict: Verdict, *, is_short: bool) -> Finding:
    """A reboot trains the link anew, which is worth a drain only where the link costs a job something."""
    action, what = Action.CHECK_CABLING, "reseat card or riser at the next occasion"
    if is_short:
        action, what = Action.REBOOT, "a reboot trains it anew, else card or riser sits loose"
    return about(ID, adapter, code, verdict, action, f"{because}; {what}", evidence=_evidence(adapter))


def _possible(adapter: RdmaAdapter) -> tuple[int | None, float | None]:
    """Return the lanes and GT/s that adapter and slot have in common; a slot that says nothing is no limit."""
    own, slot = adapter.link, adapter.slot
    lanes = None if own.max_lanes is None else min(own.max_lanes, slot.max_lanes or own.max_lanes)
    speed = None if own.max_gt_per_s is None else min(own.max_gt_per_s, slot.max_gt_per_s or own.max_gt_per_s)
    return lanes, speed


def _carried(link: PcieLink) -> float | None:
    """Return the Gb/s that a link can carry, `None` where it cannot be told."""
    share = ENCODED.get(GENERATIONS.get(link.gt_per_s or 0.0, 0))
    if share is None or link.gt_per_s is None or link.lanes is None:
        return None
    return link.gt_per_s * link.lanes * share


def _rate(functions: Sequence[RdmaAdapter]) -> float:
    """Return the Gb/s of all ports that are up; one that is down wants nothing, and a plane's is that of its port."""
    wanted: dict[str, float] = {}
    for adapter in functions:
        rate = sum(port.rate_gbit_per_s or 0.0 for port in adapter.ports if port.state == ACTIVE)
        wanted[adapter.function] = max(rate, wanted.get(adapter.function, 0.0))
    return sum(wanted.values())


def _evidence(adapter: RdmaAdapter) -> dict[str, str]:
    ends = {"link": adapter.link, "slot": adapter.slot}
    return {
        f"{end}_{name}": f"{value:g}"
        for end, link in ends.items()
        for name in ("lanes", "max_lanes", "gt_per_s", "max_gt_per_s")
        if (value := getattr(link, name)) is not None
    }


CHECK = LevelCheck(
    id=ID,
    summary="RDMA adapters whose PCIe link is narrower or slower than adapter and slot can be.",
    reading=RdmaAdaptersReading,
    judge=judge,
    outcomes=(
        Outcome("width", Verdict.FAILED, Action.REBOOT),
        Outcome("width", Verdict.DEGRADED, Action.CHECK_CABLING),
        Outcome("generation", Verdict.DEGRADED, Action.REBOOT),
        Outcome("generation", Verdict.DEGRADED, Action.CHECK_CABLING),
    ),
    policy=Policy(raise_after=2, clear_after=2, because="a link that trains anew is slow for a moment"),
    thresholds={
        "width": "fewer lanes than adapter and slot have; failed when the ports that are up need more than it carries",
        "generation": "below what adapter and slot have",
    },
)
