"""`fabric.nvlink`: NVLinks that should be up and are down, or that are up and carry no traffic.

NVML does not say which links are wired, so three witnesses are heard: the link was up earlier in the window; it is up
on most other GPUs of the same model; or, where no other GPU contradicts that, most links of the same GPU are up. A link
that is down on every GPU of a model and never was up (a bridged card uses some of its links only) is no fault. Nor is a
link that sleeps, as Blackwell's do when they are idle, nor one of a GPU that is divided by MIG, which has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvlink import INACTIVE, SHARED_CAUSE, TRAFFIC_DISABLED, UP
from checks.nvml import UNREADABLE, about, history, judgeable, unreadable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "fabric.nvlink"
WINDOW_S = 3600.0
"""Source: our choice: how long it is remembered that a link was up."""

FAULTS: dict[int | None, tuple[str, Verdict, Action, str, str]] = {
    INACTIVE: ("down", Verdict.FAILED, Action.RESET_GPU, "are down", "drain and reset the GPU"),
    TRAFFIC_DISABLED: (
        "traffic_disabled",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "are up but their traffic is disabled",
        "somebody, Fabric Manager or a fault that was contained turned it off",
    ),
}
"""State of a link that should be up → code, verdict, action, what is wrong, what to do or think about it."""

UNTOLD = (UNREADABLE, Verdict.UNKNOWN, Action.NONE, "do not tell their state", "they did before, or should")


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU with links at fault, one finding for each kind of fault."""
    gpus = judgeable(readings[-1])
    return tuple(finding for gpu in gpus for finding in _judge_gpu(gpu, gpus, readings))


def _judge_gpu(gpu: GpuReading, gpus: Sequence[GpuReading], readings: Sequence[NvmlReading]) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "nvlink")
    if (gpu.nvlink is not None and gpu.nvlink.mig) or "nvlink" in gpu.errors:
        return
    peers = [peer for peer in gpus if peer.uuid != gpu.uuid and peer.name == gpu.name and _states(peer)]
    states, count = _states(gpu), max(len(_states(each)) for each in (gpu, *peers))
    not_up = [link for link in range(count) if _state(states, link) not in UP]
    if not not_up:
        return
    before = frozenset(link for seen in history(readings, gpu.uuid) for link in _up(seen))
    wanted = [link for link in not_up if link in before or _should_be_up(link, gpu, peers)]
    for fault in (*FAULTS.values(), UNTOLD):
        if links := [link for link in wanted if FAULTS.get(_state(states, link), UNTOLD) is fault]:
            yield _finding(gpu, fault, links)


def _states(gpu: GpuReading) -> tuple[int | None, ...]:
    """Return the states of the links that MIG has not taken away."""
    return () if gpu.nvlink is None or gpu.nvlink.mig else gpu.nvlink.states


def _state(states: Sequence[int | None], link: int) -> int | None:
    return states[link] if link < len(states) else None


def _up(gpu: GpuReading) -> frozenset[int]:
    return frozenset(link for link, state in enumerate(_states(gpu)) if state in UP)


def _should_be_up(link: int, gpu: GpuReading, peers: Sequence[GpuReading]) -> bool:
    witnesses = sum(_state(_states(peer), link) in UP for peer in peers)
    if peers and not witnesses:
        return False
    return 2 * witnesses > len(peers) or 2 * len(_up(gpu)) > len(_states(gpu))


def _finding(gpu: GpuReading, fault: tuple[str, Verdict, Action, str, str], links: Sequence[int]) -> Finding:
    code, verdict, action, what, then = fault
    named = ", ".join(map(str, links))
    because = f"{len(links)} NVLinks {what} (link {named}): {then}"
    return replace(about(ID, gpu, code, verdict, action, because), evidence={"links": named})


CHECK = LevelCheck(
    id=ID,
    summary="NVLinks that should be up and are down, or carry no traffic.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome(UNREADABLE, Verdict.UNKNOWN),
        Outcome("down", Verdict.FAILED, Action.RESET_GPU),
        Outcome("down", Verdict.FAILED, SHARED_CAUSE.action),
        Outcome("traffic_disabled", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("traffic_disabled", Verdict.DEGRADED, SHARED_CAUSE.action),
    ),
    window_s=WINDOW_S,
    policy=Policy(
        raise_after=2,
        peers=SHARED_CAUSE,
        because="links retrain for a moment after a reset; links of most GPUs at once are the fault of what they share",
    ),
    thresholds={
        "inactive links": "0 (NVIDIA Health Validation: any inactive link is drained and reset)",
        "readings": "2 in a row: links retrain for a moment after a reset (our choice)",
        "shared cause": f"more than half of the GPUs, at least {SHARED_CAUSE.minimum} (our choice)",
    },
)
