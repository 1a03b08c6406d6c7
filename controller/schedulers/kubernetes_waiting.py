"""What a drain waits for, as people read it on the incident. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from controller.adapters import Waiting
from controller.schedulers.kubernetes_pods import Drain, Mode, Move, PodState

NAMED = 3
"""So many pods are named for each reason. Source: our choice; the rest are counted."""

TO_END_S = 600.0
"""A pod that is evicted at the end of its rule's limit has so long to end. Source: our choice, above usual periods of
grace."""


def waiting_for(planned: Sequence[tuple[PodState, Move]], held_back: Collection[str], drain: Drain) -> Waiting:
    """Return why each pod is still there, and until when the rules of the site may have the drain last.

    Args:
        held_back: uids of the pods that the API would not evict just now.
    """
    by_reason: dict[str, list[PodState]] = {}
    for pod, move in planned:
        by_reason.setdefault(_reason(pod, move, held_back), []).append(pod)
    parts = [f"{_named(pods)} {reason}" for reason, pods in sorted(by_reason.items())]
    until = max((_until(pod, drain) for pod, move in planned if move is Move.LEAVE), default=0.0)
    return Waiting(f"Waits: {'; '.join(parts)}." if parts else "", until)


def _reason(pod: PodState, move: Move, held_back: Collection[str]) -> str:
    if pod.ends_at:
        return "(ending)"
    if pod.uid in held_back:
        return "(held back by a disruption budget)"
    if pod.rule is not None and pod.rule.mode is Mode.NEVER:
        return "(never to be evicted)"
    return "(left to end by itself)" if move is Move.LEAVE else "(asked to go)"


def _named(pods: Iterable[PodState]) -> str:
    titles = sorted(pod.title for pod in pods)
    more = len(titles) - NAMED
    return ", ".join(titles[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _until(pod: PodState, drain: Drain) -> float:
    rule = pod.rule
    if drain.jobs != "requeue" or pod.ends_at or rule is None or rule.mode is not Mode.WAIT or not rule.limit_s:
        return 0.0
    return drain.now - drain.held_for_s + rule.limit_s + TO_END_S
