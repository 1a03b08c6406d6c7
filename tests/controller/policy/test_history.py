"""The repair ladder with history by part, the second strike, and faults that no diagnosis clears."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Finding
from controller import events
from controller.notices.text import notice_for
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.history import (
    DAY_S,
    DRILL_S,
    INCIDENTS_PER_PART,
    LASTING_S,
    STRIKE_S,
    History,
    Past,
    recurrence,
)
from controller.policy.incident import PEOPLE, Incident, Rung
from controller.policy.playbook import LADDER, Answers, Clears, Mode, OnReturn, Playbook, Verb
from controller.policy.rules import Budget, Rules
from controller.rma import bundle_of
from tests.controller.policy.test_invariants import Act, acts
from tests.support.policy import GPU_LOST, GPU_MEMORY, PolicyRun, playbook, xid
from wire.messages import NodeFacts

SERIAL = "1653012345000"
OTHER = "1653099999999"
UUID = "GPU-11111111-2222-3333-4444-555555555555"
RMA_LOST = replace(GPU_LOST, on_return=OnReturn.RMA)
SDC = replace(
    playbook("gpu_sdc", Verb.CORDON, Verb.DRAIN, code="999"), fault_class="gpu_sdc", clears=Clears.PERSON, precedence=5
)
RULES = Rules((RMA_LOST, GPU_MEMORY, SDC), Budget(nodes=3))


def lost(serial: str = SERIAL) -> Finding:
    return replace(xid("79"), serial=serial, pci="0000:3b:00", evidence={"line": "Xid 79"})


def memory(serial: str = SERIAL) -> Finding:
    return replace(xid("95"), serial=serial)


def new_run(playbooks: tuple[Playbook, ...] = RULES.playbooks) -> PolicyRun:
    return PolicyRun(replace(RULES, playbooks=playbooks)).nodes("n1", "n2", "n3")


def take(run: PolicyRun, node: str, finding: Finding, *, fail: str = "") -> None:
    """Let the step under way end: well, unless it is the one to fail. A repair clears the finding."""
    intent = run.under_way(node)[0]
    outcome = "failed" if intent.verb == fail else "done"
    if intent.verb in {"reset_gpu", "reboot", "restart_service"}:
        run.clear_on(node, finding)
    if intent.verb == "reboot" and outcome == "done":
        run.order_ended(intent, "accepted")
        run.rebooted(node)
    elif intent.verb in {"reset_gpu", "verify", "collect", "reboot"}:
        run.order_ended(intent, outcome)
    elif intent.verb in {"probation", "wait"}:
        run.wait(float(intent.parameters["for_s"]) + 1.0)
    else:
        run.end(intent, outcome)


def mend(run: PolicyRun, node: str, finding: Finding, *, fail: str = "") -> Incident:
    """Raise a finding and let its incident run until nothing is under way any more."""
    run.raise_on(node, finding)
    incident = list(run.belief.incidents.values())[-1]
    while run.under_way(node):
        take(run, node, finding, fail=fail)
    return incident


def verbs_of(run: PolicyRun, incident: Incident) -> list[str]:
    return [
        e.event.verb for e in run.log if isinstance(e.event, events.StepIntended) and e.event.incident_id == incident.id
    ]


def test_a_second_strike_is_handed_over_with_what_is_needed_to_send_the_part_back() -> None:
    run = new_run()
    run.say(events.NodeSeen("n1", "boot-1", NodeFacts(driver_version="595.45", kernel="6.8.0", serial="CHASSIS-1")))
    first = mend(run, "n1", lost())
    assert first.outcome == "returned"
    run.now += 20 * DAY_S
    second = mend(run, "n1", lost())
    assert "reboot" not in verbs_of(run, second)
    assert (second.outcome, run.belief.held) == ("handed_over", {"n1"})
    assert second.rma == (
        "Second strike: inc-000001 mended gpu_lost on this part by reboot on 1970-01-12, verified, and the fault is "
        "back within 30 days."
    )
    bundle = bundle_of(run.belief, second)
    assert bundle is not None
    assert (bundle.part, bundle.node, bundle.node_serial, bundle.pci) == (SERIAL, "n1", "CHASSIS-1", "0000:3b:00")
    assert bundle.versions == {"driver": "595.45", "kernel": "6.8.0"}
    assert [past.incident_id for past in bundle.incidents] == [first.id, second.id]
    assert bundle.incidents[0].repairs[0].startswith("reboot on 1970-01-12T")
    assert bundle.incidents[0].repairs[0].endswith("done, verified")
    assert bundle.evidence["gpu.xid 79"] == "Xid 79 on GPU-0.; line=Xid 79"


def test_the_bundle_goes_with_the_ticket_and_not_with_the_page() -> None:
    run = new_run()
    mend(run, "n1", lost())
    second = mend(run, "n1", lost())
    told = [e.event for e in run.log if isinstance(e.event, events.StepIntended) and e.event.incident_id == second.id]
    bundle = bundle_of(run.belief, second)
    notices = {i.verb: notice_for(second, i, at=0.0, page_url="http://x", rma=bundle) for i in told}
    assert (notices["ticket"].rma, notices["page"].rma) == (bundle, None)
    assert notices["page"].facts["rma"] == SERIAL
    assert f"Send back: {SERIAL}. Second strike" in notices["ticket"].body


def test_an_incident_without_a_second_strike_has_no_bundle() -> None:
    run = new_run()
    first = mend(run, "n1", lost(), fail="reboot")
    assert (first.outcome, first.rma, bundle_of(run.belief, first)) == ("handed_over", "", None)


def test_i10_a_second_strike_says_what_would_have_prevented_it() -> None:
    run = new_run()
    mend(run, "n1", lost())
    mend(run, "n1", lost())
    (given,) = [e.event for e in run.log if isinstance(e.event, events.IncidentHandedOver)]
    assert given.reason.because.startswith("Handed to people: Second strike")
    assert given.reason.inputs["part"] == SERIAL
    assert given.reason.unless == "the last verified repair of this part were older than 30 days"


@pytest.mark.parametrize(
    ("after_s", "serial", "node", "is_struck"),
    [
        (DAY_S, SERIAL, "n1", True),
        (STRIKE_S - DAY_S, SERIAL, "n1", True),
        (STRIKE_S + DAY_S, SERIAL, "n1", False),
        (DAY_S, OTHER, "n1", False),
        (DAY_S, SERIAL, "n2", True),
        (DAY_S, OTHER, "n2", False),
    ],
    ids=["soon", "in time", "too late", "another part", "moved", "another part elsewhere"],
)
def test_history_follows_the_part(after_s: float, serial: str, node: str, is_struck: bool) -> None:
    run = new_run()
    mend(run, "n1", lost())
    run.now += after_s
    incident = mend(run, node, lost(serial))
    assert (incident.outcome, bool(incident.rma)) == (("handed_over", True) if is_struck else ("returned", False))


def test_another_class_on_the_same_part_is_no_second_strike() -> None:
    run = new_run()
    mend(run, "n1", memory())
    assert mend(run, "n1", lost()).outcome == "returned"


def test_without_a_serial_history_is_the_places_own() -> None:
    run = new_run()
    mend(run, "n1", lost(serial=""))
    assert run.incident().part == "n1/GPU-0"
    assert mend(run, "n2", lost(serial="")).outcome == "returned"
    assert mend(run, "n1", lost(serial="")).outcome == "handed_over"


def test_a_uuid_names_the_part_when_nothing_tells_its_serial() -> None:
    run = new_run()
    nameless = replace(lost(serial=""), device=UUID)
    mend(run, "n1", nameless)
    assert run.incident().part == UUID
    assert mend(run, "n2", nameless).outcome == "handed_over"


def test_a_serial_is_looked_up_in_the_nodes_facts() -> None:
    run = new_run()
    devices = {
        UUID: f"gpu 0 NVIDIA H100 serial {SERIAL} at 0000:3b:00",
        "mlx5_0": "rdma InfiniBand guid 0xabc firmware 28",
    }
    run.say(events.NodeSeen("n1", "boot-1", NodeFacts(devices=devices)))
    mend(run, "n1", replace(xid("79"), device="0000:3b:00"))
    assert run.incident().part == SERIAL


def test_a_serial_that_is_learnt_after_the_fault_names_the_part() -> None:
    run = new_run()
    run.raise_on("n1", lost(serial=""))
    run.now += 1.0
    run.raise_on("n1", lost())
    assert run.incident().part == SERIAL


def test_a_finding_that_is_told_again_without_a_serial_takes_no_name_away() -> None:
    run = new_run()
    run.raise_on("n1", lost(serial=""))
    run.now += 1.0
    run.raise_on("n1", lost(serial=""))
    assert run.incident().part == "n1/GPU-0"


def test_a_rung_that_did_not_last_is_left_out_and_the_next_one_is_taken() -> None:
    run = new_run()
    first = mend(run, "n1", memory())
    assert verbs_of(run, first)[:4] == ["cordon", "drain", "reset_gpu", "verify"]
    second = mend(run, "n1", memory())
    assert verbs_of(run, second)[:4] == ["cordon", "drain", "reboot", "verify"]
    assert second.outcome == "returned"
    (skipped,) = [e.event for e in run.log if isinstance(e.event, events.StepSkipped) and e.event.verb == "reset_gpu"]
    assert skipped.because.startswith("reset_gpu is not tried again: inc-000001 answered gpu_memory on this part with ")
    third = mend(run, "n1", memory())
    assert verbs_of(run, third) == ["cordon", "drain", "ticket", "page"]
    assert (third.outcome, third.rma) == ("handed_over", "")
    assert "No rung of the ladder is left" in third.because


def test_a_repair_that_lasted_is_tried_again() -> None:
    run = new_run()
    mend(run, "n1", memory())
    run.now += LASTING_S + DAY_S
    assert "reset_gpu" in verbs_of(run, mend(run, "n1", memory()))


def test_a_rung_that_could_not_be_taken_is_not_spent() -> None:
    run = new_run()
    mend(run, "n1", memory(), fail="reset_gpu")
    assert run.belief.history.of(SERIAL)[0].rungs[0].outcome == "failed"
    said = recurrence(
        [replace(run.belief.history.of(SERIAL)[0], rungs=(Rung("reset_gpu", "failed", run.now),))], GPU_MEMORY, run.now
    )
    assert said.spent == ()


def test_no_gpu_is_reset_for_a_fault_that_names_the_node_alone() -> None:
    run = new_run()
    ended = mend(run, "n1", replace(memory(), device="node", serial=""))
    assert verbs_of(run, ended)[:4] == ["cordon", "drain", "reboot", "verify"]
    (skipped,) = [e.event for e in run.log if isinstance(e.event, events.StepSkipped) and e.event.verb == "reset_gpu"]
    assert skipped.because == "No single GPU is to blame, so that none is reset."


def test_in_shadow_a_second_strike_is_only_recorded() -> None:
    run = new_run()
    mend(run, "n1", lost())
    run.rules = replace(run.rules, playbooks=(replace(RMA_LOST, mode=Mode.SHADOW),))
    shadowed = mend(run, "n1", lost())
    assert (shadowed.outcome, shadowed.rma, run.belief.held) == ("shadowed", "", set())
    skipped = [e.event for e in run.log if isinstance(e.event, events.StepSkipped) and e.event.verb == "reboot"]
    assert skipped[-1].because.startswith("Shadow mode, and not even then: Second strike")


def test_a_fault_that_returns_in_probation_is_a_second_strike() -> None:
    run = new_run()
    run.raise_on("n1", lost())
    while run.under_way("n1")[0].verb != "probation":
        take(run, "n1", lost())
    run.now += 5.0
    run.raise_on("n1", lost())
    assert run.incident().rma == "Second strike: gpu.xid 79 came back during probation."
    assert bundle_of(run.belief, run.incident()) is not None


def test_what_people_mended_and_came_back_is_a_second_strike() -> None:
    run = new_run()
    first = mend(run, "n1", lost(), fail="reboot")
    assert first.state == "handed_over"
    run.say(events.OperatorActed("approve", first.id, "kim", "reseated"))
    while run.under_way("n1"):
        take(run, "n1", lost())
    assert first.outcome == "returned"
    assert run.belief.history.of(SERIAL)[0].rungs[-1].verb == PEOPLE
    assert "by the hands of people on" in mend(run, "n1", lost()).rma


def test_a_part_under_a_persons_hands_is_remembered_when_it_turns_up_elsewhere() -> None:
    run = new_run((GPU_LOST, GPU_MEMORY, SDC))
    first = mend(run, "n1", lost())
    assert first.outcome == "returned"
    second = mend(run, "n1", lost())
    assert (second.state, second.closed_at) == ("handed_over", 0.0)
    assert mend(run, "n2", lost()).outcome == "handed_over"


def test_a_drill_says_nothing_about_a_part() -> None:
    run = new_run()
    run.say(events.DrillStarted("n1", "gpu_lost", "drill/1/1", {}, "kim"))
    run.now += DRILL_S
    mend(run, "n1", lost())
    assert run.belief.history.of(SERIAL) == ()
    assert mend(run, "n1", lost()).outcome == "returned"


def test_simulated_machines_forget_faster() -> None:
    run = PolicyRun(replace(RULES, simulated_speedup=60.0)).nodes("n1", simulated=True)
    mend(run, "n1", lost())
    run.now += STRIKE_S / 60.0 + 1.0
    assert mend(run, "n1", lost()).outcome == "returned"


def test_i12_what_history_said_is_in_the_log_and_not_asked_again() -> None:
    run = new_run()
    mend(run, "n1", lost())
    mend(run, "n1", lost())
    again = Belief()
    for entry in run.log:
        folding.apply(again, entry)
    assert again == run.belief
    opened = [e.event for e in run.log if isinstance(e.event, events.IncidentOpened)][-1]
    assert (opened.part, opened.recurrence.strikes, opened.recurrence.rma) == (SERIAL, 1, True)
    assert opened.reason.inputs["history"] == opened.recurrence.because


@pytest.mark.parametrize(
    ("kind", "newer"),
    [
        (events.IncidentOpened, {"part", "recurrence"}),
        (events.IncidentReclassified, {"recurrence"}),
        (events.IncidentHandedOver, {"rma"}),
        (events.IncidentReturning, {"part"}),
        (events.StepSkipped, {"go_to"}),
    ],
)
def test_logs_that_knew_no_history_are_still_read(kind: type[msgspec.Struct], newer: set[str]) -> None:
    required = {each.name for each in msgspec.structs.fields(kind) if each.required}
    assert not newer & required
    run = new_run()
    run.raise_on("n1", lost())
    written = msgspec.to_builtins(next(e for e in run.log if isinstance(e.event, events.IncidentOpened)))
    for name in ("part", "recurrence"):
        del written["event"][name]
    for name in ("on_return", "clears"):
        del written["event"]["playbook"][name]
    read = msgspec.convert(written, events.Logged)
    assert isinstance(read.event, events.IncidentOpened)
    assert (read.event.part, read.event.recurrence) == ("", events.Recurrence())
    assert read.event.playbook.clears is Clears.VERIFICATION


# --- faults that no diagnosis clears ---------------------------------------------------------------------------------


def corrupt(serial: str = SERIAL) -> Finding:
    return replace(xid("999"), serial=serial, pci="0000:3b:00")


def seat(serial: str, uuid: str = UUID, *, node: str = "n1") -> events.NodeSeen:
    facts = NodeFacts(devices={uuid: f"gpu 0 NVIDIA H100 serial {serial} at 0000:3b:00"})
    return events.NodeSeen(node, "boot-2", facts)


def test_i6_silent_corruption_is_not_cleared_by_a_green_diagnosis() -> None:
    run = new_run()
    run.raise_on("n1", corrupt())
    run.clear_on("n1", corrupt())
    while run.under_way("n1"):
        take(run, "n1", corrupt())
    run.wait(365 * DAY_S)
    assert (run.incident().state, run.belief.held) == ("handed_over", {"n1"})
    assert "uncordon" not in run.verbs("n1")
    assert "No diagnosis clears this" in run.incident().because


def test_i6_silent_corruption_that_went_before_anything_was_done_is_not_over() -> None:
    run = PolicyRun(replace(RULES, budget=Budget(nodes=0))).nodes("n1")
    run.raise_on("n1", corrupt())
    run.clear_on("n1", corrupt())
    assert (run.incident().state, run.incident().waiting_for) == ("waiting", "budget")


def test_i6_a_playbook_that_forgot_itself_returns_nothing_that_only_a_person_may() -> None:
    careless = replace(SDC, steps=(*GPU_LOST.steps,))
    run = new_run((careless,))
    mend(run, "n1", corrupt())
    assert ("uncordon" in run.verbs("n1"), run.incident().state) == (False, "handed_over")


def test_i6_a_person_ends_silent_corruption() -> None:
    run = new_run()
    incident = mend(run, "n1", corrupt())
    run.clear_on("n1", corrupt())
    run.say(events.OperatorActed("approve", incident.id, "kim", "my GPU"))
    while run.under_way("n1"):
        take(run, "n1", corrupt())
    assert (incident.outcome, run.belief.held) == ("returned", set())


def test_i6_another_part_in_its_place_ends_silent_corruption_once_it_verifies() -> None:
    run = new_run()
    run.say(seat(SERIAL))
    incident = mend(run, "n1", corrupt())
    run.clear_on("n1", corrupt())
    run.say(seat(SERIAL))
    assert run.under_way("n1") == []
    run.say(seat(OTHER, "GPU-other"))
    (intent,) = run.under_way("n1")
    assert (intent.verb, incident.successor) == ("verify", OTHER)
    while run.under_way("n1"):
        take(run, "n1", corrupt())
    assert incident.outcome == "returned"


def test_i6_another_part_that_does_not_verify_is_tried_once() -> None:
    run = new_run()
    run.say(seat(SERIAL))
    incident = mend(run, "n1", corrupt())
    run.say(seat(OTHER, "GPU-other"))
    for _ in range(3):
        run.order_ended(run.under_way("n1")[0])
        run.wait(10.0)
    assert (incident.state, run.under_way("n1")) == ("handed_over", [])
    assert run.wait(DAY_S) == []


@pytest.mark.parametrize("node", ["n2", "n1"])
def test_a_part_that_was_replaced_for_silent_corruption_is_known_wherever_it_turns_up(node: str) -> None:
    answering = replace(SDC, answers=(*SDC.answers, Answers("part.condemned")))
    run = new_run((answering,))
    run.say(seat(SERIAL))
    mend(run, "n1", corrupt())
    run.clear_on("n1", corrupt())
    run.say(seat(OTHER, "GPU-other"))
    while run.under_way("n1"):
        take(run, "n1", corrupt())
    assert run.belief.held == set()
    run.say(seat(SERIAL, node=node))
    (incident,) = run.belief.open_incidents.values()
    assert (incident.node, incident.fault_class, incident.part) == (node, "gpu_sdc", SERIAL)
    assert incident.because == (f"{UUID} has the serial {SERIAL}, taken out for inc-000001, which no diagnosis clears.")
    while run.under_way(node):
        take(run, node, corrupt())
    assert (incident.state, run.wait(DAY_S)) == ("handed_over", [])
    run.say(seat(OTHER, "GPU-other", node=node))
    while run.under_way(node):
        take(run, node, corrupt())
    assert (incident.outcome, run.belief.nodes[node].findings) == ("returned", {})


@pytest.mark.parametrize("first", [corrupt, lost])
def test_i6_no_other_fault_takes_silent_corruption_with_it(first: object) -> None:
    run = new_run()
    faults = [corrupt(), lost()] if first is corrupt else [lost(), corrupt()]
    for fault in faults:
        run.raise_on("n1", fault)
    assert sorted(i.fault_class for i in run.belief.open_incidents.values()) == ["gpu_lost", "gpu_sdc"]
    for _ in range(40):
        for intent in run.under_way("n1"):
            if intent in run.under_way("n1"):
                end_well(run, intent)
    assert run.belief.held == {"n1"}
    assert [i.fault_class for i in run.belief.open_incidents.values()] == ["gpu_sdc"]


def end_well(run: PolicyRun, intent: events.StepIntended) -> None:
    for fault in (corrupt(), lost()):
        if fault.key in run.belief.nodes["n1"].findings:
            run.clear_on("n1", fault)
    if intent.verb == "reboot":
        run.order_ended(intent, "accepted")
        run.rebooted("n1")
    elif intent.verb in {"verify", "collect"}:
        run.order_ended(intent)
    elif intent.verb == "probation":
        run.wait(float(intent.parameters["for_s"]) + 1.0)
    else:
        run.end(intent)


# --- properties ------------------------------------------------------------------------------------------------------

rungs = st.builds(
    Rung,
    st.sampled_from([*map(str, LADDER), PEOPLE]),
    st.sampled_from(["done", "failed", "timed_out"]),
    st.floats(0.0, 60 * DAY_S),
    st.booleans(),
)
pasts = st.builds(
    lambda ended, fault_class, tried: Past(
        "inc-000001", "n1", "GPU-0", fault_class, 0.0, ended, "returned", "So.", tuple(tried)
    ),
    st.floats(0.0, 60 * DAY_S),
    st.sampled_from(["gpu_lost", "gpu_memory"]),
    st.lists(rungs, max_size=4),
)


@given(past=st.lists(pasts, max_size=5), policy=st.sampled_from(OnReturn))
def test_history_speaks_only_of_the_same_class_within_its_windows(past: list[Past], policy: OnReturn) -> None:
    now = 60 * DAY_S
    said = recurrence(past, replace(GPU_LOST, on_return=policy), now)
    same = [each for each in past if each.fault_class == "gpu_lost"]
    done = {rung.verb for each in same for rung in each.rungs if rung.outcome == "done"}
    assert said == recurrence(same, replace(GPU_LOST, on_return=policy), now)
    assert bool(said.spent or said.rma) == bool(said.because)
    assert not said.rma or (policy is OnReturn.RMA and said.strikes > 0)
    assert not said.spent or LADDER[len(said.spent) - 1] in done
    assert said.spent == tuple(map(str, LADDER[: len(said.spent)]))
    assert recurrence(past, GPU_LOST, now + 100 * DAY_S) == events.Recurrence()


CONDEMNED = replace(SDC, answers=(Answers("gpu.xid", frozenset({"95"})),))
STRICT = replace(RULES, playbooks=(RMA_LOST, replace(GPU_MEMORY, on_return=OnReturn.RMA), CONDEMNED))


@settings(max_examples=200, deadline=None)
@given(history=st.lists(acts, max_size=40))
def test_i6_whatever_happens_a_second_strike_is_not_repaired_and_corruption_not_cleared(history: list[Act]) -> None:
    run = PolicyRun(STRICT).nodes("n1", "n2", "n3", "n4", "n5")
    for act in history:
        act(run)
        run.now += 0.01
    struck, asked = set(), set()
    for entry in run.log:
        match entry.event:
            case events.IncidentOpened(incident_id=incident, recurrence=before) if before.rma:
                struck.add(incident)
            case events.IncidentReclassified(incident_id=incident, recurrence=before):
                (struck.add if before.rma else struck.discard)(incident)
            case events.StepIntended(incident_id=incident, verb="reset_gpu" | "reboot"):
                assert incident not in struck
            case events.OperatorActed(verb="approve", subject=subject):
                asked.add(subject)
            case events.IncidentClosed(incident_id=incident, outcome="returned" | "recovered"):
                assert run.belief.incidents[incident].fault_class != "gpu_sdc" or incident in asked


@given(parts=st.lists(st.sampled_from("abcdefgh"), max_size=200))
def test_history_is_bounded_in_both_ways(parts: list[str]) -> None:
    history = History(parts_kept=4)
    for number, part in enumerate(parts):
        incident = Incident(f"inc-{number}", "n1", "GPU-0", "gpu_lost", GPU_LOST, 0.0, "So.", part=part)
        history.remember(incident, float(number))
        assert history.of(part)[-1].incident_id == incident.id
    assert len(history.parts) <= 4
    assert all(len(of_part) <= INCIDENTS_PER_PART for of_part in history.parts.values())
