"""`gpu.power`: GPUs that draw more than their limit, or whose limit is lower than that of their siblings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable, unreadable, usual
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.power"
OVER = 1.10
"""Source: our choice. What NVML tells is an average over a second, which the regulator holds within some percent."""
MAX_WATTS = 1_500.0
"""Source: NVIDIA Health Validation for GB200 and GB300: an average from 65 to 1,500 W."""

FIELDS = ("power_milliwatts", "power_limit_milliwatts")


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU with too much power, or too little for its model on this host."""
    gpus = judgeable(readings[-1])
    return tuple(finding for gpu in gpus for finding in _judge_gpu(gpu, usual(gpu, gpus, _limit)))


def _limit(gpu: GpuReading) -> int | None:
    return gpu.details.power_limit_milliwatts


def _judge_gpu(gpu: GpuReading, usual_limit: int | None) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, *FIELDS)
    watts, limit, common = _watts(gpu.power_milliwatts), _watts(_limit(gpu)), _watts(usual_limit)
    if watts > MAX_WATTS:
        because = f"it says that it draws {watts:.0f} W, no GPU draws more than {MAX_WATTS:.0f} W: its sensor is broken"
        yield about(ID, gpu, "implausible", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)
    elif limit and watts > limit * OVER:
        because = f"it draws {watts:.0f} W, more than {OVER - 1:.0%} above its limit of {limit:.0f} W"
        yield about(ID, gpu, "over_limit", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)
    if limit and limit < common:
        default = _watts(gpu.details.default_power_limit_milliwatts)
        because = (
            f"its power is limited to {limit:.0f} W, that of most GPUs like it on this host to {common:.0f} W "
            f"(the board's own limit is {default:.0f} W)"
        )
        yield about(ID, gpu, "limit_lowered", Verdict.DEGRADED, Action.NONE, because)


def _watts(milliwatts: int | None) -> float:
    return (milliwatts or 0) / 1000


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that draw more power than their limit, and limits lower than their siblings'.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("implausible", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("over_limit", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("limit_lowered", Verdict.DEGRADED),
    ),
    policy=Policy(
        raise_after=4,
        clear_after=2,
        because="peaks of the load last less than a second, a broken regulator does not stop",
    ),
    thresholds={
        "over_limit": f"{OVER - 1:.0%} above the enforced limit (our choice)",
        "limit_lowered": "below that of most GPUs of the same model on the host",
        "implausible": f"{MAX_WATTS:.0f} W (NVIDIA Health Validation)",
    },
)
