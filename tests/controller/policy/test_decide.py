"""The policy as tables of what happens and what is decided. I-numbers are the design's invariants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy.belief import Belief
from controller.policy.incident import Incident, Phase
from controller.policy.playbook import Answers, Mode, Verb
from controller.policy.rules import Budget, Rules
from tests.support.policy import GPU_LOST, GPU_MEMORY, NODE_LOST, PolicyRun, playbook, xid

ALL = frozenset({Verdict.FAILED, Verdict.DEGRADED})


def only(run: PolicyRun, node: str = "n1") -> events.StepIntended:
    (intent,) = run.under_way(node)
    return intent


def through_repair(run: PolicyRun, node: str = "n1") -> None:
    """Take a GPU_LOST incident to the end of its reboot."""
    run.end(only(run, node))
    run.end(only(run, node))
    assert only(run, node).verb == "reboot"
    run.order_ended(only(run, node), "accepted")
    run.rebooted(node)


def test_a_fault_becomes_a_returned_node() -> None:
    run = PolicyRun().nodes("n1", "n2", "n3")
    run.raise_on("n1", xid("79"))
    assert only(run).verb == "cordon"
    through_repair(run)
    run.clear_on("n1", xid("79"))
    assert only(run).verb == "verify"
    run.order_ended(only(run))
    assert only(run).verb == "probation"
    run.wait(61)
    run.end(only(run))
    assert run.verbs("n1") == ["cordon", "drain", "reboot", "verify", "probation", "uncordon"]
    assert (run.incident().state, run.incident().outcome) == ("closed", "returned")
    assert run.belief.held == set()


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.OK])
def test_i1_unknown_never_acts(verdict: Verdict) -> None:
    run = PolicyRun().nodes("n1")
    assert run.raise_on("n1", xid("79", verdict=verdict)) == []


def test_i1_one_silent_agent_is_a_notice_and_never_a_cordon() -> None:
    run = PolicyRun().nodes("n1", "n2", "n3", "n4")
    run.say(events.PresenceChanged("n1", "lost", "the broker lost it"))
    assert run.under_way() == []
    run.wait(31)
    assert only(run).verb == "wait"
    run.wait(700)
    assert "cordon" not in run.verbs("n1")
    assert run.incident().outcome in {"handed_over", ""}


def silent_run(*, responding: bool | None) -> PolicyRun:
    run = PolicyRun().nodes("n1", "n2", "n3", "n4")
    run.rules = replace(run.rules, playbooks=(*run.rules.playbooks, NODE_LOST))
    run.say(events.PresenceChanged("n1", "lost", "the broker lost it"))
    watched(run, responding=responding)
    run.wait(31)
    return run


def watched(run: PolicyRun, *, responding: bool | None) -> None:
    held = run.belief.nodes["n1"].hold_id
    run.say(events.ScheduleObserved("n1", True, held, "", [], run.now, responding))


def test_i1_a_node_is_lost_when_somebody_else_who_watches_it_agrees() -> None:
    run = silent_run(responding=False)
    assert (run.incident().fault_class, only(run).verb) == ("node_lost", "cordon")
    assert run.incident().because == (
        "n1 is lost: its agent is lost, and the scheduler's own daemon on it does not answer either."
    )
    run.end(only(run))
    run.say(events.PresenceChanged("n1", "online", "back"))
    assert run.belief.nodes["n1"].findings == {}


def test_i1_an_agent_alone_is_lost_while_the_scheduler_hears_the_node() -> None:
    run = silent_run(responding=True)
    assert (run.incident().fault_class, run.verbs("n1")) == ("agent_lost", ["wait"])
    assert "the scheduler's daemon on it answers, so the node lives" in run.incident().because


def test_i1_the_scheduler_may_agree_later_and_take_it_back() -> None:
    run = silent_run(responding=None)
    assert run.incident().fault_class == "agent_lost"
    watched(run, responding=False)
    assert (run.incident().fault_class, only(run).verb) == ("node_lost", "cordon")
    watched(run, responding=True)
    assert {key.check for key in run.belief.nodes["n1"].findings} == {"agent.presence"}
    run.say(events.PresenceChanged("n1", "online", "back"))
    assert (run.belief.nodes["n1"].findings, run.belief.agents_lost) == ({}, {})


def test_i1_a_daemon_of_the_scheduler_that_is_silent_alone_is_no_fault_of_the_node() -> None:
    run = PolicyRun().nodes("n1", "n2", "n3", "n4")
    watched(run, responding=False)
    run.wait(3600)
    assert (run.belief.incidents, run.belief.nodes["n1"].findings) == ({}, {})


def test_i1_many_silent_agents_freeze_the_cell_and_page_once() -> None:
    run = PolicyRun().nodes(*(f"n{i}" for i in range(1, 7)))
    lost = [events.PresenceChanged(f"n{i}", "lost", "gone") for i in range(1, 5)]
    run.say(*lost)
    run.wait(60)
    assert [i.verb for i in run.under_way()] == ["page"]
    run.raise_on("n6", xid("79"))
    assert run.verbs("n6") == []
    assert run.incident(1).waiting_for == "freeze"
    run.end(run.under_way()[0])
    run.say(*(events.PresenceChanged(f"n{i}", "online", "back") for i in range(1, 5)))
    assert run.incident(0).outcome == "recovered"
    assert run.verbs("n6") == ["cordon"]


def test_i2_the_budget_holds_at_every_instant_and_says_what_it_waits_for() -> None:
    run = PolicyRun().nodes(*(f"n{i}" for i in range(10)))
    for i in range(10):
        run.raise_on(f"n{i}", xid("79"))
        assert len(run.belief.held) <= 2
    waiting = [i for i in run.belief.open_incidents.values() if i.waiting_for == "budget"]
    assert len(waiting) == 8
    reasons = [e.event.reason for e in run.log if isinstance(e.event, events.IncidentWaiting)]
    assert "2 nodes" in reasons[0].because and "n0" in reasons[0].inputs["held"]


def test_i3_a_pause_never_holds_back_the_way_home() -> None:
    run = PolicyRun().nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    run.clear_on("n1", xid("79"))
    run.say(events.OperatorActed("pause", "fleet", "kim", "maintenance"))
    run.raise_on("n2", xid("79"))
    assert run.verbs("n2") == []
    run.order_ended(only(run))
    run.wait(61)
    run.end(only(run))
    assert run.incident(0).outcome == "returned"
    run.say(events.OperatorActed("resume", "fleet", "kim", ""))
    assert run.verbs("n2") == ["cordon"]


def test_i5_a_foreign_hold_is_waited_out_and_not_touched() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run), "refused", "drained by hand: memory test")
    assert run.incident().waiting_for == "foreign hold"
    assert run.belief.held == set()
    run.wait(3600)
    assert run.verbs("n1") == ["cordon"]
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now))
    assert run.verbs("n1") == ["cordon", "cordon"]


def test_i5_a_manual_uncordon_in_the_scheduler_cancels_the_plan() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.now += 1
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now))
    assert (run.incident().outcome, run.verbs("n1")) == ("cancelled", ["cordon", "drain"])
    assert run.decide() == []


def test_i5_a_look_older_than_the_cordon_cancels_nothing() -> None:
    run = PolicyRun().nodes("n1")
    asked_at = run.now
    run.raise_on("n1", xid("79"))
    run.now += 1
    run.end(only(run))
    run.say(events.ScheduleObserved("n1", True, "", "", [], asked_at))
    assert run.incident().state == "running"


def test_i6_no_return_while_the_finding_stands() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    for _ in range(3):
        run.order_ended(only(run))
        run.wait(10)
    assert run.incident().outcome == "handed_over"
    assert run.verbs("n1")[-1] == "ticket"
    assert run.belief.held == {"n1"}
    assert "uncordon" not in run.verbs("n1")


def test_i6_a_check_that_cannot_look_proves_nothing() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    run.clear_on("n1", xid("79"))
    intent = only(run)
    run.say(events.OrderEnded("n1", intent.key, "done", "so", run.now, run.now, {"gpu.xid": "unknown"}))
    assert run.incident().last_failure.startswith("Not proven healthy")


def test_i6_what_comes_back_in_probation_hands_over() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    run.clear_on("n1", xid("79"))
    run.order_ended(only(run))
    run.now += 5
    run.raise_on("n1", xid("79"))
    assert run.incident().outcome == "handed_over"
    assert "came back during probation" in run.incident().because


def test_i11_one_burst_on_one_gpu_is_one_incident_with_the_root_in_charge() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("94"))
    run.raise_on("n1", xid("48"))
    run.raise_on("n1", xid("79"))
    assert len(run.belief.incidents) == 1
    run.end(only(run))
    assert (run.incident().fault_class, run.incident().playbook.name) == ("gpu_lost", "gpu_lost")
    assert len(run.incident().condemned_by) == 3


def adapter(check: str, device: str, code: str, *, pci: str = "0000:ce:00") -> Finding:
    return Finding(check, device, code, Verdict.FAILED, Action.REBOOT, f"{code} on {device}", pci=pci)


OF_ADAPTERS = (Answers("fabric.rdma_kernel"), Answers("fabric.rdma_port", frozenset({"missing"})))
OF_PORTS = (Answers("fabric.rdma_port", frozenset({"down"})),)
RDMA = Rules(
    (
        replace(playbook("rdma_adapter", Verb.CORDON, Verb.DRAIN), answers=OF_ADAPTERS, precedence=71),
        replace(playbook("rdma_port", Verb.CORDON, Verb.DRAIN), answers=OF_PORTS, precedence=70),
    ),
    Budget(nodes=2),
)


def test_i11_an_adapter_and_its_port_are_one_incident_whichever_is_seen_first() -> None:
    firmware = adapter("fabric.rdma_kernel", "0000:ce:00.0", "firmware")
    port = adapter("fabric.rdma_port", "mlx5_6/1", "missing")
    for first, second in ((firmware, port), (port, firmware)):
        run = PolicyRun(RDMA).nodes("n1", "n2")
        run.raise_on("n1", first)
        decided = run.raise_on("n1", second)
        assert [first.key, second.key] == list(run.incident().condemned_by)
        (joined,) = (event for event in decided if isinstance(event, events.IncidentJoined))
        assert joined.reason.because == (
            f"It belongs to inc-000001, for it is the same part (0000:ce:00): {second.because}"
        )


@pytest.mark.parametrize(
    "other",
    [
        adapter("fabric.rdma_port", "mlx5_7/1", "missing", pci="0000:df:00"),
        adapter("fabric.rdma_port", "mlx5_7/1", "missing", pci=""),
        adapter("fabric.rdma_port", "mlx5_6/1", "down"),
    ],
    ids=["another adapter", "an unknown address", "another playbook"],
)
def test_i11_what_another_part_or_another_playbook_has_is_another_incident(other: Finding) -> None:
    run = PolicyRun(RDMA).nodes("n1", "n2")
    run.raise_on("n1", adapter("fabric.rdma_kernel", "0000:ce:00.0", "firmware"))
    run.raise_on("n1", other)
    assert ["0000:ce:00.0", other.device] == [incident.device for incident in run.belief.incidents.values()]


def test_two_gpus_of_one_node_are_repaired_one_after_the_other_under_one_hold() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79", device="GPU-0"))
    run.end(only(run))
    run.end(only(run))
    assert only(run).verb == "reboot"
    run.raise_on("n1", xid("95", device="GPU-1"))
    second = run.incident(1)
    run.end(next(i for i in run.under_way() if i.verb == "cordon"))
    run.end(next(i for i in run.under_way() if i.verb == "drain"))
    assert second.waiting_for == "node"
    first = next(i for i in run.under_way() if i.verb == "reboot")
    run.order_ended(first, "accepted")
    run.rebooted("n1")
    run.clear_on("n1", xid("79", device="GPU-0"))
    run.order_ended(next(i for i in run.under_way() if i.incident_id == run.incident(0).id))
    run.wait(61)
    assert run.incident(0).outcome == "returned"
    assert run.incident(0).because.startswith(f"n1 stays out for {second.id};")
    assert "uncordon" not in run.verbs("n1")
    assert run.belief.held == {"n1"}
    assert run.belief.nodes["n1"].hold_id == run.incident(0).id


def test_the_ladder_goes_up_one_rung_when_the_lower_one_failed() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("95"))
    run.end(only(run))
    run.end(only(run))
    assert only(run).verb == "reset_gpu"
    run.order_ended(only(run), "failed")
    assert only(run).verb == "reboot"


def test_a_repair_is_skipped_when_nothing_is_left_to_mend() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.clear_on("n1", xid("79"))
    run.end(only(run))
    assert run.verbs("n1") == ["cordon", "drain", "verify"]


def test_abort_leaves_the_node_out_and_uncordon_gives_it_back() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    incident = run.incident()
    run.say(events.OperatorActed("abort", incident.id, "kim", "we look ourselves"))
    assert (incident.state, run.belief.held, run.under_way()) == ("aborted", {"n1"}, [])
    run.say(events.OperatorActed("uncordon", "n1", "kim", "fine"))
    run.end(only(run))
    assert (incident.state, incident.outcome) == ("closed", "cancelled")
    assert run.wait(1000) == []


def test_abort_waits_for_a_cordon_that_is_being_made() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    cordon = only(run)
    run.say(events.OperatorActed("abort", run.incident().id, "kim", ""))
    assert only(run) == cordon
    run.end(cordon)
    assert (run.incident().state, run.belief.held) == ("aborted", {"n1"})


def test_approve_returns_a_node_that_people_mended_after_verifying_it() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    for _ in range(3):
        run.order_ended(only(run))
        run.wait(10)
    run.end(only(run))
    run.end(only(run))
    assert run.incident().state == "handed_over"
    run.clear_on("n1", xid("79"))
    run.say(events.OperatorActed("approve", run.incident().id, "kim", "GPU swapped"))
    assert (run.incident().phase, only(run).verb) == (Phase.RETURNING, "verify")
    run.order_ended(only(run))
    run.wait(61)
    run.end(only(run))
    assert run.incident().outcome == "returned"


def handed_over(run: PolicyRun) -> None:
    """Let the repair of n1 prove nothing, so that people get it."""
    run.raise_on("n1", xid("79"))
    through_repair(run)
    fail_verification(run)


def fail_verification(run: PolicyRun) -> None:
    for _ in range(3):
        run.order_ended(only(run))
        run.wait(10)


def test_i4_an_approval_that_proves_wrong_tells_people_no_second_time() -> None:
    run = PolicyRun().nodes("n1")
    handed_over(run)
    run.end(only(run))
    run.end(only(run))
    run.say(events.OperatorActed("approve", run.incident().id, "kim", "GPU swapped"))
    fail_verification(run)

    incident = run.incident()
    assert (incident.state, run.under_way(), run.belief.held) == ("handed_over", [], {"n1"})
    assert incident.because.startswith("Handed to people again: Still found on fresh readings")
    assert [run.verbs("n1").count(verb) for verb in ("ticket", "page")] == [1, 1]


def test_a_ticket_that_never_arrived_is_sent_at_the_next_hand_over() -> None:
    run = PolicyRun().nodes("n1")
    handed_over(run)
    for _ in range(3):
        run.end(only(run), "failed", "503")
        run.wait(26)
    assert only(run).verb == "page"
    run.end(only(run))
    run.say(events.OperatorActed("approve", run.incident().id, "kim", "GPU swapped"))
    fail_verification(run)
    assert only(run).verb == "ticket"
    run.end(only(run))
    assert (run.incident().state, run.under_way()) == ("handed_over", [])


def test_a_lost_agent_is_handed_over_with_its_silence() -> None:
    asking = replace(playbook("agent_lost", Verb.VERIFY), answers=(Answers("agent.presence"),))
    run = PolicyRun(Rules((asking,), Budget(nodes=2), agent_lost_after_s=30.0)).nodes("n1", "n2", "n3", "n4")
    run.say(events.PresenceChanged("n1", "lost", "the broker lost it"))
    run.wait(31)
    for _ in range(3):
        run.wait(601)
        run.wait(11)

    assert run.incident().because == (
        "Handed to people: verify was not answered within 600 s: the agent on n1 is lost since "
        "1970-01-12 13:46:40 UTC, for 1856 s."
    )


def test_ask_mode_waits_for_a_person() -> None:
    asking = playbook("gpu_lost", Verb.CORDON, Verb.VERIFY, Verb.UNCORDON, mode=Mode.ASK)
    run = PolicyRun(Rules((asking,), Budget(nodes=5))).nodes("n1")
    run.raise_on("n1", xid("79"))
    assert (run.incident().waiting_for, run.under_way()) == ("approval", [])
    run.say(events.OperatorActed("approve", run.incident().id, "kim", ""))
    assert only(run).verb == "cordon"


def test_shadow_mode_touches_nothing() -> None:
    shadow = playbook("gpu_lost", Verb.CORDON, Verb.REBOOT, Verb.VERIFY, Verb.UNCORDON, mode=Mode.SHADOW)
    run = PolicyRun(Rules((shadow,), Budget(nodes=5))).nodes("n1")
    run.raise_on("n1", xid("79"))
    assert (run.under_way(), run.incident().outcome, run.belief.held) == ([], "shadowed", set())


def test_a_fault_that_goes_by_itself_before_anything_was_done_is_closed() -> None:
    run = PolicyRun(Rules((GPU_LOST,), Budget(nodes=0))).nodes("n1")
    run.raise_on("n1", xid("79"))
    assert run.incident().waiting_for == "budget"
    run.clear_on("n1", xid("79"))
    assert run.incident().outcome == "recovered"


def test_a_late_older_edge_changes_nothing() -> None:
    run = PolicyRun().nodes("n1")
    run.say(events.FindingCleared("n1", xid("79").key, "gone", run.now + 5))
    assert run.raise_on("n1", xid("79")) == []


def test_a_persons_cordon_is_carried_out_and_kept_until_a_person_ends_it() -> None:
    run = PolicyRun().nodes("n1")
    run.say(events.OperatorActed("cordon", "n1", "kim", "burn-in"))
    run.end(only(run))
    run.wait(10_000)
    assert (run.belief.held, run.incident().state) == ({"n1"}, "running")
    run.say(events.OperatorActed("uncordon", "n1", "kim", ""))
    run.end(only(run))
    assert run.incident().outcome == "cancelled"


def test_simulated_nodes_wait_shorter() -> None:
    rules = Rules((GPU_LOST, GPU_MEMORY), Budget(nodes=2), simulated_speedup=60.0)
    run = PolicyRun(rules).nodes("n1", simulated=True)
    run.raise_on("n1", xid("79"))
    through_repair(run)
    run.clear_on("n1", xid("79"))
    run.order_ended(only(run))
    assert (only(run).verb, only(run).parameters["for_s"]) == ("probation", "1")


def test_i10_every_decision_says_why() -> None:
    run = PolicyRun().nodes("n1")
    decided = run.raise_on("n1", xid("79"))
    for event in decided:
        assert isinstance(event, events.IncidentOpened | events.StepIntended)
        assert event.reason.because.endswith(".")
        assert event.reason.inputs


def test_i12_a_log_replays_to_the_same_decisions() -> None:
    run = PolicyRun().nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    through_repair(run)
    run.clear_on("n1", xid("79"))
    run.order_ended(only(run))
    run.wait(61)
    run.end(only(run))
    given = (
        events.NodeSeen,
        events.PresenceChanged,
        events.FindingRaised,
        events.FindingCleared,
        events.AgentStarted,
        events.OrderEnded,
        events.StepEnded,
    )
    again = PolicyRun(run.rules)
    for entry in run.log:
        if isinstance(entry.event, given) and not _decided(run, entry):
            again.now = entry.at
            again.say(entry.event)
        elif len(again.log) < entry.event_id:
            again.now = entry.at
            again.decide()
    assert again.log == run.log


def _decided(run: PolicyRun, entry: events.Logged) -> bool:
    """Whether a step's end was concluded by the policy itself rather than reported by an effect."""
    if not isinstance(entry.event, events.StepEnded):
        return False
    intent = next(
        e.event for e in run.log if isinstance(e.event, events.StepIntended) and e.event.key == entry.event.key
    )
    return intent.verb not in {"cordon", "uncordon", "drain", "ticket", "page"}


def test_a_new_fault_on_a_degraded_finding_of_the_same_key_is_answered_again() -> None:
    run = PolicyRun().nodes("n1")
    soft = Finding("gpu.xid", "GPU-0", "79", Verdict.DEGRADED, Action.NONE, "Hm.")
    (left,) = run.raise_on("n1", soft)
    assert isinstance(left, events.FindingLeft)
    run.raise_on("n1", xid("79"))
    assert run.verbs("n1") == ["cordon"]


def soft_finding(code: str = "31", device: str = "GPU-0") -> Finding:
    return Finding("gpu.xid", device, code, Verdict.DEGRADED, Action.NONE, "Hm.")


def test_i10_a_finding_that_no_playbook_answers_is_left_once_and_says_why() -> None:
    run = PolicyRun().nodes("n1")
    (left,) = run.raise_on("n1", soft_finding())
    assert isinstance(left, events.FindingLeft)
    assert left.because == "No playbook answers gpu.xid 31 when it is degraded."
    assert (run.wait(60), run.belief.unanswered) == ([], {})


def test_what_was_left_belongs_to_a_later_incident_of_its_device() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", soft_finding())
    run.raise_on("n1", soft_finding(device="GPU-1"))
    run.raise_on("n1", xid("79"))
    assert {key.code for key in run.incident().condemned_by} == {"79", "31"}
    assert list(run.belief.left["n1"]) == [soft_finding(device="GPU-1").key]


def test_what_was_left_is_asked_again_under_other_rules() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", soft_finding())
    run.rules = replace(run.rules, playbooks=(playbook("new", Verb.TICKET, code="31"),))
    assert run.rules.digest() != PolicyRun().rules.digest()
    assert run.wait(60) == []
    run.say(events.RulesLoaded(run.rules.digest(), "Changed."))
    assert run.belief.left["n1"] == {soft_finding().key: None}
    harder = replace(playbook("new", Verb.TICKET, code="31"), answers=(Answers("gpu.xid", verdicts=ALL),))
    run.rules = replace(run.rules, playbooks=(harder,))
    run.say(events.RulesLoaded(run.rules.digest(), "Changed."))
    assert (run.belief.left, run.verbs("n1")) == ({}, ["ticket"])


def test_what_is_cleared_is_not_left_either() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", soft_finding())
    run.clear_on("n1", soft_finding())
    assert run.belief.left == {}


def test_the_same_rules_have_the_same_digest() -> None:
    assert PolicyRun().rules.digest() == PolicyRun().rules.digest()
    assert PolicyRun(replace(PolicyRun().rules, budget=Budget(nodes=3))).rules.digest() != PolicyRun().rules.digest()


def test_closed_incidents_leave_memory_and_their_numbers_are_not_given_again() -> None:
    run = PolicyRun(belief=Belief(closed_kept=2)).nodes("n1")
    for _ in range(4):
        run.raise_on("n1", xid("79"))
        for outcome in ("failed", "done", "done", "done"):
            run.end(only(run), outcome)
        run.clear_on("n1", xid("79"))
    assert list(run.belief.incidents) == ["inc-000003", "inc-000004"]
    run.raise_on("n1", xid("79"))
    assert next(iter(run.belief.open_incidents)) == "inc-000005"


def test_one_decision_costs_what_is_open_and_not_what_exists() -> None:
    """Twice as many nodes at once: about twice the looks at incidents, not four times."""
    looks = [burst_of(count) for count in (50, 100)]
    assert looks[1] < 2.5 * looks[0]


def burst_of(count: int) -> int:
    """Return how often an incident was looked at until a burst of so many nodes was decided."""
    looked_at = LookedAt()
    rules = replace(PolicyRun().rules, budget=Budget(nodes=count), breakers=())
    run = PolicyRun(rules, belief=Belief(open_incidents=looked_at)).nodes(*(f"n{i}" for i in range(count)))
    run.say(*(events.FindingRaised(f"n{i}", "boot-1", xid("79"), run.now) for i in range(count)))
    assert len(run.under_way()) == count
    return looked_at.times


class LookedAt(dict[str, Incident]):
    """Counts how often it is asked whether an incident is open, which is once a look."""

    times = 0

    def __contains__(self, key: object) -> bool:
        self.times += 1
        return super().__contains__(key)
