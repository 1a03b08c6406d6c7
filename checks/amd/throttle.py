"""`amd.throttle`: AMD GPUs that slow themselves down because something is too hot or too weak.

That the power limit is reached (`ppt`) is how a GPU under load works, and no fault. The word `THROTTLED` that graphics
cards print at rest is not looked at: it was captured on cards at 30 °C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import about, history, judgeable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import PeerRule, Policy
from checks.readings import AcceleratorDevice, AmdReading

ID = "amd.throttle"
WINDOW_S = 1800.0
SHARE = 0.6
"""Of the time between two readings. Source: our choice, the 6 of 10 minutes at which gpud calls it a fault."""

KINDS = {
    "prochot": "the board says that the GPU is too hot or its power too weak",
    "socket_thermal": "the GPU is too hot",
    "vr_thermal": "its voltage regulators are too hot",
    "hbm_thermal": "its memory is too hot",
}


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every reason for which a GPU was slow most of the time."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device, readings))


def _judge_device(device: AcceleratorDevice, readings: Sequence[AmdReading]) -> Iterator[Finding]:
    seen = [each for _, each in history(readings, device)][-2:]
    for throttle in device.throttles:
        share = _share(throttle.kind, seen)
        if share is None:
            share = 1.0 if throttle.active else 0.0
        if throttle.kind in KINDS and share >= SHARE:
            because = f"{KINDS[throttle.kind]}: it slowed down for {share:.0%} of the time, the limit is {SHARE:.0%}"
            judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
            yield about(ID, device, throttle.kind, judgement, because, accumulated=throttle.accumulated)


def _share(kind: str, seen: Sequence[AcceleratorDevice]) -> float | None:
    """Return the share of the time between the last two readings, `None` where it is not counted."""
    if len(seen) < 2:
        return None
    clocks = [device.throttle_clock for device in seen]
    totals = [each.accumulated for device in seen for each in device.throttles if each.kind == kind]
    if clocks[0] is None or clocks[1] is None or len(totals) < 2 or totals[0] is None or totals[1] is None:
        return None
    passed, slow = clocks[1] - clocks[0], totals[1] - totals[0]
    return min(1.0, slow / passed) if passed > 0 and slow >= 0 else None


CHECK = LevelCheck(
    id=ID,
    summary="AMD GPUs that slow themselves down because of heat or of weak power.",
    reading=AmdReading,
    judge=judge,
    outcomes=tuple(Outcome(kind, Verdict.DEGRADED, Action.CONTACT_SUPPORT) for kind in KINDS),
    window_s=WINDOW_S,
    policy=Policy(
        raise_after=2,
        peers=PeerRule(Action.CONTACT_SUPPORT, "so it is the cooling or the power of the host"),
        because="some seconds of heat cost a job nothing, and heat that most GPUs share is not theirs",
    ),
    thresholds={"share": f"{SHARE:.0%} of the time between two readings (our choice, after gpud)"},
)
