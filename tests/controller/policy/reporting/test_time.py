"""Where time goes: states, availability, GPU-hours lost and money, on logs that can be added up by hand."""

from __future__ import annotations

import pytest

from checks.bench_outcome import Outcome
from checks.finding import Action, Finding, Verdict
from controller import bench_events, events
from controller.policy.opening import OPERATOR_CORDON
from controller.policy.playbook import ADMISSION_CLASS
from controller.policy.presence import NODE_LOST
from controller.policy.reporting.asked import Prices
from tests.support.policy import GPU_LOST
from tests.support.told_log import BECAUSE, BEGIN, FACTS, HOUR, ToldLog, hours_by_state, lost_hours, with_class
from wire.messages import NodeFacts

LOST = Finding(NODE_LOST.check, NODE_LOST.device, NODE_LOST.code, Verdict.FAILED, Action.POWER_CYCLE, "No answer.")


def test_a_repair_is_held_out_from_the_confirmed_cordon_to_the_uncordon() -> None:
    """Two nodes for 10 h. n1 is found at 1 h, cordoned 10 s later, back 900 s after the finding: out for 890 s.

    In service: 20 h - 890 s = 19.752778 h. Availability: 19.752778 / 20 = 0.987639. GPUs: the same, all have eight.
    """
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    report = log.report(10 * HOUR)
    assert hours_by_state(report) == {"in_service": pytest.approx(19.752778), "held_out": pytest.approx(0.247222)}
    assert report.availability.nodes == pytest.approx(1 - 890 / 72_000)
    assert report.availability.gpus == report.availability.nodes
    assert report.availability.nodes_at_least == report.availability.nodes_at_most == report.availability.nodes


def test_time_out_is_put_down_to_what_was_done_meanwhile() -> None:
    """Of the 890 s out: drain 50, repair 600, verify 40, probation 200. Times 8 GPUs, over 3600."""
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    assert lost_hours(log.report(10 * HOUR)) == {
        ("fault", "gpu_lost", "drain"): pytest.approx(50 * 8 / 3600, abs=1e-6),
        ("fault", "gpu_lost", "repair"): pytest.approx(600 * 8 / 3600, abs=1e-6),
        ("fault", "gpu_lost", "verify"): pytest.approx(40 * 8 / 3600, abs=1e-6),
        ("fault", "gpu_lost", "probation"): pytest.approx(200 * 8 / 3600, abs=1e-6),
    }


def test_the_time_before_the_cordon_is_at_risk_and_not_lost() -> None:
    """The incident waits one hour for the budget, and 10 s for its cordon: 3610 s in service with a fault."""
    log = ToldLog().node("n1")
    name = log.fault("n1", HOUR)
    log.say(HOUR, events.IncidentWaiting(name, "budget of rack r1", BECAUSE))
    log.step(name, "n1", "cordon", 2 * HOUR, 2 * HOUR + 10)
    report = log.report(3 * HOUR)
    risk = {(row.cause, row.doing): row.node_hours for row in report.losses.at_risk}
    assert risk == {("gpu_lost", "wait:budget"): 1.0, ("gpu_lost", "handling"): pytest.approx(10 / 3600, abs=1e-6)}
    assert report.losses.gpu_hours == pytest.approx((3600 - 10) * 8 / 3600)


def test_waiting_for_approval_and_for_people_are_told_apart() -> None:
    """Out from 10 s on. Approval is waited for from 100 s to 1100 s, people have it from then to 5000 s."""
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "cordon", 0, 10)
    log.say(100, events.IncidentWaiting(name, "approval", BECAUSE))
    log.say(1100, events.IncidentHandedOver(name, BECAUSE))
    log.step(name, "n1", "ticket", 1100, 1101)
    hours = lost_hours(log.report(5000))
    assert hours == {
        ("fault", "gpu_lost", "handling"): pytest.approx(90 * 8 / 3600, abs=1e-6),
        ("fault", "gpu_lost", "wait:approval"): pytest.approx(1000 * 8 / 3600, abs=1e-6),
        ("fault", "gpu_lost", "people"): pytest.approx(3900 * 8 / 3600, abs=1e-6),
    }


def test_what_people_take_out_is_planned_and_counts_against_nothing() -> None:
    """n1: by fleetmend from 1 h to 3 h. n2: by the scheduler from 1 h to 2 h. Of 10 h each, 17 h are in service."""
    log = ToldLog().node("n1", "n2")
    name = log.fault("n1", HOUR, playbook=OPERATOR_CORDON)
    log.step(name, "n1", "cordon", HOUR, HOUR)
    log.say(HOUR, events.ScheduleObserved("n2", False, "", "bios update (bob)", [], BEGIN + HOUR))
    log.say(2 * HOUR, events.ScheduleObserved("n2", True, "", "", [], BEGIN + 2 * HOUR))
    log.step(name, "n1", "uncordon", 3 * HOUR, 3 * HOUR)
    log.say(3 * HOUR, events.IncidentClosed(name, "cancelled", BECAUSE))
    report = log.report(10 * HOUR)
    assert hours_by_state(report) == {"in_service": 17.0, "planned": 3.0}
    assert (report.availability.nodes, report.failures[0].failures) == (1.0, 0)
    assert lost_hours(report) == {("people", "planned", ""): 24.0}
    assert {row.fault_class for row in report.outcomes} == {"operator"}


def test_a_fault_outweighs_the_hold_of_people() -> None:
    """People hold n1 all the time; from 1 h to 2 h a fault does, too."""
    log = ToldLog().node("n1").say(0, events.ScheduleObserved("n1", False, "", "held (bob)", [], BEGIN))
    name = log.fault("n1", HOUR)
    log.step(name, "n1", "cordon", HOUR, HOUR)
    log.step(name, "n1", "uncordon", 2 * HOUR, 2 * HOUR)
    log.say(2 * HOUR, events.IncidentClosed(name, "returned", BECAUSE))
    assert hours_by_state(log.report(4 * HOUR)) == {"planned": 3.0, "held_out": 1.0}


def test_silence_is_unknown_until_somebody_else_says_that_the_node_is_lost() -> None:
    """Heard for 1 h, silent for 2 h, lost for 3 h, back for 4 h.

    Availability of what is known: 5 / (5 + 3) = 0.625; with the unknown out 5/10, in service 7/10.
    """
    log = ToldLog().node("n1")
    log.say(1 * HOUR, events.PresenceChanged("n1", "lost", "Last Will"))
    log.say(3 * HOUR, events.FindingRaised("n1", "b", LOST, BEGIN + 3 * HOUR, "controller"))
    log.say(6 * HOUR, events.PresenceChanged("n1", "online", "so"))
    log.say(6 * HOUR, events.FindingCleared("n1", NODE_LOST, "so", BEGIN + 6 * HOUR, "controller"))
    report = log.report(10 * HOUR)
    assert hours_by_state(report) == {"in_service": 5.0, "unknown": 2.0, "lost": 3.0}
    found = report.availability
    assert (found.nodes, found.nodes_at_least, found.nodes_at_most) == (0.625, 0.5, 0.7)
    assert lost_hours(report) == {("lost", "node_lost", ""): 24.0}


def test_a_node_that_the_scheduler_keeps_out_by_itself_is_told_apart() -> None:
    log = ToldLog().node("n1")
    log.say(HOUR, events.ScheduleObserved("n1", False, "", "", [], BEGIN + HOUR, responding=False))
    log.say(2 * HOUR, events.ScheduleObserved("n1", True, "", "", [], BEGIN + 2 * HOUR))
    assert hours_by_state(log.report(4 * HOUR)) == {"in_service": 3.0, "kept_out": 1.0}


def test_an_older_look_of_the_scheduler_does_not_undo_our_own_cordon() -> None:
    """It was asked before the cordon was confirmed, and its answer came after that."""
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "cordon", 0, 10)
    log.say(11, events.ScheduleObserved("n1", True, "", "", [], BEGIN + 5))
    assert hours_by_state(log.report(10 + HOUR))["held_out"] == 1.0


def test_a_hold_that_a_person_lifts_in_the_scheduler_is_over() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "cordon", 0, 0)
    log.say(HOUR, events.ScheduleObserved("n1", True, "", "", [], BEGIN + HOUR))
    assert hours_by_state(log.report(2 * HOUR)) == {"held_out": 1.0, "in_service": 1.0}


def test_an_uncordon_that_is_skipped_leaves_the_other_hold() -> None:
    """Two incidents hold n1; the first ends at 1 h without an uncordon, for the second goes on to 2 h."""
    log = ToldLog().node("n1")
    first, second = log.fault("n1", 0), log.fault("n1", 0, playbook=with_class(GPU_LOST, "other"))
    for name in (first, second):
        log.step(name, "n1", "cordon", 0, 0)
    log.say(HOUR, events.StepSkipped(first, "uncordon", "uncordon", "the other holds it"))
    log.say(HOUR, events.IncidentClosed(first, "returned", BECAUSE))
    log.step(second, "n1", "uncordon", 2 * HOUR, 2 * HOUR)
    report = log.report(3 * HOUR)
    assert hours_by_state(report) == {"held_out": 2.0, "in_service": 1.0}
    assert {(kind, cause) for kind, cause, _ in lost_hours(report)} == {("fault", "gpu_lost"), ("fault", "other")}


def test_a_new_node_that_is_measured_first_is_out_on_purpose() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0, playbook=with_class(GPU_LOST, ADMISSION_CLASS))
    log.step(name, "n1", "cordon", 0, 0).step(name, "n1", "verify", 0, HOUR)
    report = log.report(2 * HOUR)
    assert hours_by_state(report) == {"planned": 2.0}
    assert lost_hours(report)["admission", ADMISSION_CLASS, "verify"] == 8.0
    assert report.failures[0].failures == 0


def test_benchmarks_on_idle_nodes_are_lost_to_them_and_take_from_goodput_alone() -> None:
    """One of ten hours on n1; n2 is free. 8 of 160 GPU-hours: usable 152 / 160 = 0.95."""
    log = ToldLog().node("n1", "n2")
    lease = bench_events.LeaseGranted("l1", "r1", ["n1"], "gemm", 2, BEGIN, BECAUSE)
    log.say(HOUR, lease).say(2 * HOUR, bench_events.LeaseEnded("l1", "r1", "done", Outcome.PASS))
    report = log.report(10 * HOUR)
    assert lost_hours(report) == {("benchmarks", "benchmarks", ""): 8.0}
    assert (report.availability.nodes, report.goodput.usable_gpu_hours, report.goodput.at_most) == (1.0, 152.0, 0.95)


def test_hours_with_jobs_are_null_without_a_scheduler_and_counted_with_one() -> None:
    """A job runs from 1 h to 3 h on a node of eight GPUs: 16 GPU-hours."""
    assert ToldLog().node("n1").report(HOUR).goodput.with_jobs_gpu_hours is None
    log = ToldLog().node("n1").say(HOUR, events.ScheduleObserved("n1", True, "", "", ["17"], BEGIN + HOUR))
    log.say(3 * HOUR, events.ScheduleObserved("n1", True, "", "", [], BEGIN + 3 * HOUR))
    assert log.report(10 * HOUR).goodput.with_jobs_gpu_hours == 16.0


def test_jobs_on_a_node_that_is_taken_out_are_counted() -> None:
    log = ToldLog().node("n1").say(0, events.ScheduleObserved("n1", True, "", "", ["17", "18"], BEGIN))
    log.step(log.fault("n1", 1), "n1", "cordon", 1, 2)
    assert log.report(HOUR).goodput.jobs_hit == 2


def test_money_goes_by_kind_of_gpu() -> None:
    """890 s on eight H100 at 3.00, and one hour on four B200 at 5.00: 5.93 + 20.00."""
    log = ToldLog().node("n1").node("n2", facts=NodeFacts(gpu_model="NVIDIA B200", gpu_count=4))
    log.step(log.fault("n2", 0, playbook=with_class(GPU_LOST, "other")), "n2", "cordon", 0, 0)
    log.repaired("n1", 0)
    losses = log.report(HOUR, prices=Prices(None, {"H100": 3.0, "b200": 5.0}, "EUR")).losses
    assert (losses.money, losses.currency, losses.unpriced_gpu_hours) == (25.93, "EUR", 0.0)
    assert [row.money for row in losses.rows if row.cause == "other"] == [20.0]


def test_the_longest_name_that_fits_has_the_price() -> None:
    prices = Prices(3.0, {"h100": 2.0, "H100 80GB": 2.5})
    models = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 NVL", "NVIDIA B200", "")
    assert [prices.of(model) for model in models] == [2.5, 2.0, 3.0, 3.0]


def test_without_a_price_for_every_gpu_no_sum_is_shown() -> None:
    log = ToldLog().node("n1").node("n2", facts=NodeFacts(gpu_model="NVIDIA B200", gpu_count=4))
    for node in ("n1", "n2"):
        log.step(log.fault(node, 0, playbook=with_class(GPU_LOST, node)), node, "cordon", 0, 0)
    losses = log.report(HOUR, prices=Prices(None, {"H100": 3.0}, "EUR")).losses
    assert (losses.money, losses.unpriced_gpu_hours) == (None, 4.0)
    assert {row.cause: row.money for row in losses.rows} == {"n1": 24.0, "n2": None}


def test_only_the_span_counts_but_what_came_before_is_known() -> None:
    """Out from 1 h on. From 2 h to 3 h it is out all the time, and no incident opened."""
    log = ToldLog().node("n1")
    log.step(log.fault("n1", HOUR), "n1", "cordon", HOUR, HOUR)
    report = log.report(3 * HOUR, since=2 * HOUR)
    assert hours_by_state(report) == {"held_out": 1.0}
    assert (report.availability.nodes, report.outcomes[0].opened, report.outcomes[0].open) == (0.0, 0, 1)
    assert report.detection == [] and report.failures[0].failures == 0


def test_a_node_counts_from_when_it_is_known() -> None:
    log = ToldLog().node("n1").node("n2", at=6 * HOUR)
    report = log.report(10 * HOUR)
    assert [(row.node, row.known_h) for row in report.nodes] == [("n1", 10.0), ("n2", 4.0)]


def test_nodes_without_facts_count_in_node_hours_alone() -> None:
    log = ToldLog().say(0, events.PresenceChanged("n1", "online", "so"))
    report = log.report(HOUR)
    assert (report.availability.nodes, report.availability.gpus, report.goodput.at_most) == (1.0, None, None)
    assert "1 of 1 nodes never said what they are: they count in node-hours, not in GPU-hours." in report.notes


def test_other_gpus_count_from_when_they_are_there() -> None:
    """Eight for one hour, four for the next: 12 GPU-hours."""
    log = ToldLog().node("n1")
    log.say(HOUR, events.NodeSeen("n1", "b", NodeFacts(gpu_model=FACTS.gpu_model, gpu_count=4)))
    assert log.report(2 * HOUR).goodput.gpu_hours == 12.0


def test_a_log_without_entries_in_the_span_says_so() -> None:
    report = ToldLog().report(HOUR)
    assert report.availability.nodes is None and report.goodput.at_most is None
    assert report.notes == ["The log has no entry before the end of the span."]


def test_a_log_that_is_younger_than_the_window_of_lemons_says_so() -> None:
    log = ToldLog().node("n1")
    said = {h: [note for note in log.report(h * HOUR).notes if note.startswith("Lemons")] for h in (2, 60, 700)}
    assert said == {
        2: ["Lemons are judged by 2.0 hours, not by 28 days."],
        60: ["Lemons are judged by 2.5 days, not by 28 days."],
        700: [],
    }


def test_time_between_backup_and_restoration_is_unknown() -> None:
    log = ToldLog().node("n1").say(HOUR, events.OperatorActed("pause", "fleet", "kim", ""))
    log.say(4 * HOUR, events.LogRestored(2))
    report = log.report(5 * HOUR)
    assert hours_by_state(report) == {"in_service": 2.0, "unknown": 3.0}
    assert any("restored from a backup" in note for note in report.notes)


def test_slices_add_up_to_the_states() -> None:
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    found = log.report(10 * HOUR).availability
    for index, row in enumerate(found.states):
        assert sum(each.node_hours[index] for each in found.slices) == pytest.approx(row.node_hours, abs=1e-4)
    assert (found.slices[0].begins, found.slices[1].begins - found.slices[0].begins) == (BEGIN, 600.0)


def test_a_clock_that_is_set_back_turns_no_time_back() -> None:
    """n1 goes silent at 5 h; an hour is told twice; it is heard again at 6 h by the second telling."""
    log = ToldLog().node("n1").say(5 * HOUR, events.PresenceChanged("n1", "silent", "so"))
    log.say(4 * HOUR, events.OperatorActed("pause", "fleet", "kim", ""))
    log.say(6 * HOUR, events.PresenceChanged("n1", "online", "so"))
    assert hours_by_state(log.report(10 * HOUR)) == {"in_service": 9.0, "unknown": 1.0}


def test_what_follows_the_end_of_the_span_changes_nothing() -> None:
    """Also when a clock is set back after it."""
    log = ToldLog().node("n1")
    before = log.report(2 * HOUR)
    log.say(3 * HOUR, events.PresenceChanged("n1", "lost", "so"))
    log.say(1 * HOUR, events.PresenceChanged("n1", "silent", "so"))
    after = log.report(2 * HOUR)
    assert after == before and after.span.through == 2
