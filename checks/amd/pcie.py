"""`amd.pcie`: an AMD GPU's link to its host that is narrower than it was, or that sends much again.

What a GPU could do is no measure: cards with eight lanes say that they could have sixteen. So the width is compared
with the widest that it ever had here. The speed is not judged: a GPU at rest lowers it to save power.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import about, history, judgeable
from checks.check import LevelCheck, Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import AcceleratorDevice, AmdReading

ID = "amd.pcie"
WINDOW_S = 3600.0
REPLAYS = 100
"""Source: our choice; a link that is well sends a packet again some times a day."""


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every GPU whose link is narrow, or sends much again."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device, readings))


def _judge_device(device: AcceleratorDevice, readings: Sequence[AmdReading]) -> Iterator[Finding]:
    link = device.pcie
    if link is None:
        return
    if link.width and link.best_width and link.width < link.best_width:
        because = f"its PCIe link has {link.width} lanes where it had {link.best_width}: reboot when the host is empty"
        yield about(ID, device, "narrow", (Verdict.DEGRADED, Action.REBOOT), because, width=link.width)
    totals = [each.pcie.replays for _, each in history(readings, device) if each.pcie is not None]
    new = growth(since_reset(totals))
    if new >= REPLAYS:
        because = f"its PCIe link sent {new} packets again within {WINDOW_S / 60:.0f} min, the limit is {REPLAYS}"
        yield about(ID, device, "replays", (Verdict.DEGRADED, Action.NONE), because, replays=link.replays)


CHECK = LevelCheck(
    id=ID,
    summary="The links of AMD GPUs to their host.",
    reading=AmdReading,
    judge=judge,
    outcomes=(
        Outcome("narrow", Verdict.DEGRADED, Action.REBOOT),
        Outcome("replays", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, because="a link is narrow for a moment while it trains"),
    thresholds={
        "width": "the widest that this GPU ever had on this host",
        "replays": f"{REPLAYS} within {WINDOW_S / 60:.0f} min (our choice)",
    },
)
