"""`fabric.nvlink`: NVLinks that should be up and are down.

NVML does not say which links are wired, so three witnesses are heard: the link was up earlier in the window; it is up
on most other GPUs of the same model; or, where no other GPU contradicts that, most links of the same GPU are up. A link
that is down on every GPU of a model and never was up (a bridged card uses some of its links only) is no fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, history, judgeable, unreadable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "fabric.nvlink"
WINDOW_S = 3600.0
"""Source: our choice: how long it is remembered that a link was up."""


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU with links down, one finding each."""
    gpus = judgeable(readings[-1])
    return tuple(finding for gpu in gpus for finding in _judge_gpu(gpu, gpus, readings))


def _judge_gpu(gpu: GpuReading, gpus: Sequence[GpuReading], readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    inactive = [link for link, active in sorted(gpu.nvlink_states.items()) if not active]
    peers = [peer for peer in gpus if peer.uuid != gpu.uuid and peer.name == gpu.name and peer.nvlink_states]
    before = _once_active(gpu.uuid, readings) if inactive else frozenset()
    down = [link for link in inactive if link in before or _should_be_up(link, gpu, peers)]
    return (*unreadable(ID, gpu, "nvlink_states"), *((_finding(gpu, down),) if down else ()))


def _once_active(uuid: str, readings: Sequence[NvmlReading]) -> frozenset[int]:
    """Return the links that were up at any moment of the window."""
    seen = history(readings, uuid)
    return frozenset(link for gpu in seen for link, active in gpu.nvlink_states.items() if active)


def _should_be_up(link: int, gpu: GpuReading, peers: Sequence[GpuReading]) -> bool:
    witnesses = sum(peer.nvlink_states.get(link, False) for peer in peers)
    if peers and not witnesses:
        return False
    return 2 * witnesses > len(peers) or 2 * sum(gpu.nvlink_states.values()) > len(gpu.nvlink_states)


def _finding(gpu: GpuReading, down: Sequence[int]) -> Finding:
    links = ", ".join(map(str, down))
    because = f"{len(down)} of {len(gpu.nvlink_states)} NVLinks are down (link {links}): drain and reset the GPU"
    return replace(about(ID, gpu, "down", Verdict.FAILED, Action.RESET_GPU, because), evidence={"links": links})


CHECK = LevelCheck(
    id=ID,
    summary="NVLinks that should be up and are down.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("down", Verdict.FAILED, Action.RESET_GPU),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, because="links retrain for a moment after a reset"),
    thresholds={
        "inactive links": "0 (NVIDIA Health Validation: any inactive link is drained and reset)",
        "readings": "2 in a row: links retrain for a moment after a reset (our choice)",
    },
)
