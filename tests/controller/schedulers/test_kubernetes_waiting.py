"""What people read of a drain that takes its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.adapters import Waiting
from controller.schedulers.kubernetes_pods import Drain, Mode, PodPolicies, PodRule, PodState, moves
from controller.schedulers.kubernetes_waiting import waiting_for

POD = PodState("ml", "a", "u-a", "1", "n1", "ml/a")
ENDING = replace(POD, name="b", uid="u-b", ends_at=900.0)
NEVER = replace(POD, name="c", uid="u-c", rule=PodRule(Mode.NEVER))
ALONE = replace(POD, name="d", uid="u-d", unmanaged=True)
LIMITED = replace(POD, name="e", uid="u-e", rule=PodRule(Mode.WAIT, limit_s=3600.0))
REQUEUE = Drain("requeue", held_for_s=60.0, now=1060.0)


@pytest.mark.parametrize(
    ("pods", "held_back", "drain", "waiting"),
    [
        ([], set(), REQUEUE, Waiting("")),
        ([POD], set(), REQUEUE, Waiting("Waits: ml/a (asked to go).")),
        ([POD], {"u-a"}, REQUEUE, Waiting("Waits: ml/a (held back by a disruption budget).")),
        ([ENDING], {"u-b"}, REQUEUE, Waiting("Waits: ml/b (ending).")),
        (
            [NEVER, ALONE, POD],
            set(),
            REQUEUE,
            Waiting("Waits: ml/a (asked to go); ml/d (left to end by itself); ml/c (never to be evicted)."),
        ),
        ([POD], set(), replace(REQUEUE, jobs="wait"), Waiting("Waits: ml/a (left to end by itself).")),
        ([LIMITED], set(), REQUEUE, Waiting("Waits: ml/e (left to end by itself).", 5200.0)),
        ([LIMITED], set(), replace(REQUEUE, jobs="wait"), Waiting("Waits: ml/e (left to end by itself).")),
        ([LIMITED], set(), replace(REQUEUE, held_for_s=3600.0), Waiting("Waits: ml/e (asked to go).")),
    ],
)
def test_each_pod_is_named_with_why_it_is_still_there(
    pods: list[PodState], held_back: set[str], drain: Drain, waiting: Waiting
) -> None:
    assert waiting_for(moves(pods, drain, PodPolicies()), held_back, drain) == waiting


def test_many_pods_are_counted() -> None:
    pods = [replace(POD, name=f"p{number}", uid=str(number)) for number in range(9)]

    said = waiting_for(moves(pods, REQUEUE, PodPolicies()), (), REQUEUE).because

    assert said == "Waits: ml/p0, ml/p1, ml/p2 and 6 more (asked to go)."
