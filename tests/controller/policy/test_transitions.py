"""An incident's places are one table: whole, enforced by the fold, and never left by any history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import events
from controller.policy.incident import Incident
from controller.policy.transitions import MOVING, TRANSITIONS, OutOfPlace, Place, hold_to, leads_to, place_of
from tests.controller.policy.test_invariants import Act, acts
from tests.support.policy import GPU_LOST, PolicyRun, xid

BECAUSE = events.Reason("So.")


def an_event(kind: str, incident: Incident) -> events.Event:
    """Return an event of the kind about an incident, as whole as the fold needs it."""
    step = incident.step()
    name, verb = (step.name, step.verb) if step else ("none", "verify")
    key = incident.intent.key if incident.intent else f"{incident.id}/{name}/99"
    made: dict[str, events.Event] = {
        "step.intended": events.StepIntended(
            incident.id, incident.phase, name, verb, 99, f"{incident.id}/{name}/99", "n1", "GPU-0", {}, 0.0, BECAUSE
        ),
        "step.ended": events.StepEnded(incident.id, name, 1, "done", "So.", key),
        "step.skipped": events.StepSkipped(incident.id, name, verb, "So."),
        "incident.waiting": events.IncidentWaiting(incident.id, "budget", BECAUSE),
        "incident.joined": events.IncidentJoined(incident.id, xid("48"), BECAUSE),
        "incident.reclassified": events.IncidentReclassified(incident.id, "gpu_lost", GPU_LOST, xid("79"), BECAUSE),
        "incident.handed_over": events.IncidentHandedOver(incident.id, BECAUSE),
        "incident.returning": events.IncidentReturning(incident.id, BECAUSE),
        "incident.releasing": events.IncidentReleasing(incident.id, BECAUSE),
        "incident.aborted": events.IncidentAborted(incident.id, BECAUSE),
        "incident.closed": events.IncidentClosed(incident.id, "cancelled", BECAUSE),
    }
    return made[kind]


def test_every_place_has_its_row_and_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS) == set(Place)
    reached, todo = {Place.AUTOMATIC}, [Place.AUTOMATIC]
    while todo:
        for after in set(TRANSITIONS[todo.pop()].values()) - reached:
            reached.add(after)
            todo.append(after)
    assert reached == set(Place)
    assert [place for place, ways in TRANSITIONS.items() if not ways] == [Place.CLOSED]


def test_the_table_names_events_that_exist() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in events.Event.__args__}
    assert kinds >= MOVING


@pytest.mark.parametrize("kind", sorted(MOVING))
def test_a_closed_incident_is_closed_for_ever(kind: str) -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    incident = run.incident()
    run.believe(events.IncidentClosed(incident.id, "cancelled", BECAUSE))
    event = an_event(kind, incident)
    if kind == "step.ended":
        run.believe(event)
    else:
        with pytest.raises(OutOfPlace, match="which is closed: it cannot happen there"):
            run.believe(event)
    assert place_of(incident) is Place.CLOSED


@pytest.mark.parametrize("kind", sorted(MOVING))
@pytest.mark.parametrize("before", Place)
def test_what_the_table_does_not_have_is_refused(before: Place, kind: str) -> None:
    incident = Incident("inc-000001", "n1", "GPU-0", "gpu_lost", GPU_LOST, 0.0, "So.")
    event = an_event(kind, incident)
    allowed = TRANSITIONS[before].get(kind)
    if allowed is None and kind != "step.ended":
        with pytest.raises(OutOfPlace, match=incident.id):
            leads_to(before, event)
        return
    late = {before} if kind == "step.ended" else set()
    assert leads_to(before, event) == {allowed or before} | late


def test_a_fold_that_goes_elsewhere_is_stopped() -> None:
    returning = events.IncidentReturning("inc-000001", BECAUSE)
    hold_to(leads_to(Place.HAND_OVER, returning), returning, Place.RETURNING)
    with pytest.raises(OutOfPlace, match="leads to returning, not to closed"):
        hold_to(leads_to(Place.HAND_OVER, returning), returning, Place.CLOSED)


def test_an_event_that_the_table_does_not_know_moves_nothing() -> None:
    said = events.OperatorActed("approve", "inc-000001", "kim", "")
    assert leads_to(Place.HAND_OVER, said) == {Place.HAND_OVER}


@settings(max_examples=300, deadline=None)
@given(
    history=st.lists(acts, max_size=30),
    foreign=st.lists(st.tuples(st.sampled_from(sorted(MOVING)), st.integers(0, 9)), max_size=3),
)
def test_no_history_leaves_the_table(history: list[Act], foreign: list[tuple[str, int]]) -> None:
    """Not even one into which events are put that nobody decided: they move by the table or are refused."""
    run = PolicyRun().nodes("n1", "n2", "n3", "n4", "n5")
    for act in history:
        act(run)
        run.now += 0.01
    for kind, which in foreign:
        open_now = list(run.belief.open_incidents.values())
        if not open_now:
            return
        incident = open_now[which % len(open_now)]
        before = place_of(incident)
        expected = TRANSITIONS[before].get(kind)
        try:
            run.believe(an_event(kind, incident))
        except OutOfPlace:
            return
        assert place_of(incident) is (expected or before)
