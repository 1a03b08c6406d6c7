"""Faults found, isolated, mended and back again, on logs that can be added up by hand."""

from __future__ import annotations

import math

import pytest

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.notice_events import NoticeFiled
from controller.policy import beta
from controller.policy.reporting.shapes import FailureRow, FixRow, NoticeRow, Report, Spread
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY
from tests.support.told_log import BECAUSE, BEGIN, HOUR, ToldLog, lost_gpu, with_class
from wire.messages import NodeFacts

DAY = 24 * HOUR


def the_fix(report: Report, action: str = "reboot") -> FixRow:
    """Return the only row of an action."""
    (row,) = [each for each in report.fixes if each.action == action]
    return row


def counts(row: FixRow) -> tuple[int, int, int, int]:
    """Return fixed, not fixed, pending and not done."""
    return row.fixed, row.not_fixed, row.pending, row.not_done


def failures(report: Report, by: str, name: str, unit: str) -> FailureRow:
    """Return one row of the table of failures."""
    (row,) = [row for row in report.failures if (row.by, row.name, row.unit) == (by, name, unit)]
    return row


def test_detection_is_from_the_faults_own_time_and_isolation_from_the_finding() -> None:
    """Two faults, found 2 s and 4 s after they happened (mean 3); cordoned 10 s after that."""
    log = ToldLog().node("n1", "n2")
    for node, at, observed in (("n1", 100, 2.0), ("n2", 200, 4.0)):
        name = log.fault(node, at, observed=observed, finding=lost_gpu(serial=node))
        log.step(name, node, "cordon", at, at + 10)
    row = log.report(HOUR).detection[0]
    assert (row.fault_class, row.found) == ("all", Spread(2, 3.0, 2.0, 4.0, 4.0))
    assert (row.decided, row.isolated) == (Spread(2, 0.0, 0.0, 0.0, 0.0), Spread(2, 10.0, 10.0, 10.0, 10.0))


@pytest.mark.parametrize("origin", ["level", "controller", "scheduler", "bench"])
def test_a_finding_without_a_time_of_its_own_is_no_detection(origin: str) -> None:
    log = ToldLog().node("n1")
    log.fault("n1", 100, observed=50.0, origin=origin)
    row = log.report(HOUR).detection[0]
    assert (row.found, row.timeless) == (None, 1)


def test_a_clock_that_is_ahead_gives_no_negative_time() -> None:
    log = ToldLog().node("n1")
    log.fault("n1", 100, observed=-5.0)
    row = log.report(HOUR).detection[0]
    assert (row.found, row.clock_ahead) == (Spread(1, 0.0, 0.0, 0.0, 0.0), 1)


def test_repair_is_split_and_its_parts_add_up() -> None:
    """Cordon 10, drain 50, repair 600, verify 40, probation 200: 900 s in all."""
    log = ToldLog().node("n1")
    log.repaired("n1", 100)
    every, row = log.report(HOUR).repair
    assert (every.fault_class, row.fault_class, row.total) == ("all", "gpu_lost", Spread(1, 900.0, 900.0, 900.0, 900.0))
    parts = {"handling": 10.0, "drain": 50.0, "repair": 600.0, "verify": 40.0, "probation": 200.0}
    assert row.parts_s == {"wait": 0.0, "people": 0.0, **parts}
    assert sum(row.parts_s.values()) == row.total.mean_s


def test_waits_and_people_are_parts_of_a_repair() -> None:
    """Waits 100 s for a budget; out; people have it for 1000 s; verified for 50 s."""
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.say(0, events.IncidentWaiting(name, "budget", BECAUSE))
    log.step(name, "n1", "cordon", 100, 100).say(100, events.IncidentHandedOver(name, BECAUSE))
    log.step(name, "n1", "ticket", 100, 110).say(1100, events.IncidentReturning(name, BECAUSE))
    log.step(name, "n1", "verify", 1100, 1150).step(name, "n1", "uncordon", 1150, 1150)
    log.say(1150, events.IncidentClosed(name, "returned", BECAUSE))
    report = log.report(HOUR)
    assert {part: s for part, s in report.repair[0].parts_s.items() if s} == {
        "wait": 100.0,
        "people": 1000.0,
        "verify": 50.0,
    }
    assert [(row.opened, row.handed_over, row.closed) for row in report.outcomes] == [(1, 1, {"returned": 1})]


def test_an_incident_that_never_took_its_node_out_is_no_repair() -> None:
    log = ToldLog().node("n1")
    log.say(9, events.IncidentClosed(log.fault("n1", 0), "recovered", BECAUSE))
    report = log.report(HOUR)
    assert report.repair == [] and report.outcomes[0].closed == {"recovered": 1}


def test_time_between_failures_is_exposure_over_failures_with_its_exact_interval() -> None:
    """Two nodes of eight GPUs for 100 h, one failure of a GPU: 200 node-hours, 1600 GPU-hours, 200 adapter-hours.

    With one failure the ends are T / q(0.95 of Gamma(2)) and T / q(0.05 of Gamma(1)); the last is -ln 0.95.
    """
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    report = log.report(100 * HOUR)
    gpu = failures(report, "part", "gpu", "GPU")
    assert (gpu.failures, gpu.device_hours, gpu.mtbf_h) == (1, 1600.0, 1600.0)
    assert gpu.between_h.high == pytest.approx(1600.0 / -math.log(0.95))
    assert gpu.between_h.low == pytest.approx(1600.0 / 4.743865, rel=1e-6)
    assert failures(report, "rack", "r1", "node").mtbf_h == 200.0
    assert failures(report, "sku", "NVIDIA H100 80GB HBM3", "GPU").mtbf_h == 1600.0
    assert failures(report, "part", "rdma", "RDMA adapter").device_hours == 200.0


def test_without_a_failure_there_is_a_lower_end_alone() -> None:
    """T / -ln 0.05: with 95 % confidence the mean is not shorter."""
    row = failures(ToldLog().node("n1").report(100 * HOUR), "part", "any", "node")
    assert (row.failures, row.mtbf_h, row.between_h.high) == (0, None, None)
    assert row.between_h.low == pytest.approx(100.0 / -math.log(0.05))


def test_zero_exposure_gives_no_rate() -> None:
    """A node of which nobody hears has failures told by others, and no hour in which one would have been seen."""
    log = ToldLog().node("n1", presence="lost")
    log.fault("n1", HOUR, origin="scheduler")
    row = failures(log.report(10 * HOUR), "part", "any", "node")
    assert (row.failures, row.device_hours, row.mtbf_h) == (1, 0.0, None)
    assert (row.between_h.low, row.between_h.high) == (None, None)


def test_parts_are_told_apart_by_their_checks() -> None:
    log = ToldLog().node("n1")
    for number, check in enumerate(("fabric.rdma_port", "fabric.nvlink", "storage.nvme", "host.memory", "npu.ecc")):
        found = Finding(check, f"d{number}", "", Verdict.FAILED, Action.REBOOT, "so", serial=f"S{number}")
        log.fault("n1", HOUR + number, finding=found, playbook=with_class(GPU_LOST, check))
    report = log.report(10 * HOUR)
    counted = {(row.name, row.unit): row.failures for row in report.failures if row.by == "part"}
    each = {("rdma", "RDMA adapter"), ("nvlink", "GPU"), ("storage", "node"), ("host", "node"), ("gpu", "GPU")}
    assert counted == {**dict.fromkeys(each, 1), ("any", "node"): 5}


def test_a_verified_repair_that_lasted_is_a_fix() -> None:
    """One fixed, none not: posterior Beta(1.5, 0.5), mean 0.75."""
    log = ToldLog().node("n1")
    log.repaired("n1", 0)
    row = the_fix(log.report(8 * DAY))
    assert (row.fault_class, row.sku, counts(row)) == ("gpu_lost", "NVIDIA H100 80GB HBM3", (1, 0, 0, 0))
    assert row.probability == 0.75
    assert row.between.low == pytest.approx(beta.quantile(1.5, 0.5, 0.05))


def test_a_verified_repair_is_pending_until_its_window_is_over() -> None:
    log = ToldLog().node("n1")
    log.repaired("n1", 0)
    row = the_fix(log.report(6 * DAY))
    assert (counts(row), row.probability, row.between.low) == ((0, 0, 1, 0), None, None)
    assert counts(the_fix(log.report(6 * DAY, lasting_s=5 * DAY))) == (1, 0, 0, 0)


def test_a_fault_that_comes_back_on_the_same_part_was_not_fixed() -> None:
    """First reboot: back after a day. Second one: lasts. Beta(1.5, 1.5), mean 0.5."""
    log = ToldLog().node("n1")
    log.repaired("n1", 0)
    log.repaired("n1", DAY)
    row = the_fix(log.report(9 * DAY))
    assert (counts(row), row.probability) == ((1, 1, 0, 0), 0.5)


def test_the_part_is_followed_into_another_node() -> None:
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", 0)
    log.fault("n2", DAY)
    assert counts(the_fix(log.report(9 * DAY))) == (0, 1, 0, 0)


def test_another_part_or_another_class_is_another_fault() -> None:
    log = ToldLog().node("n1")
    log.repaired("n1", 0)
    log.fault("n1", DAY, finding=lost_gpu("GPU-1", serial="S2"))
    log.fault("n1", DAY, playbook=GPU_MEMORY)
    assert counts(the_fix(log.report(9 * DAY))) == (1, 0, 0, 0)


def test_a_fault_that_comes_back_too_late_does_not_undo_the_fix() -> None:
    log = ToldLog().node("n1")
    log.repaired("n1", 0)
    log.repaired("n1", 8 * DAY)
    assert counts(the_fix(log.report(9 * DAY))) == (1, 0, 1, 0)


def test_a_verification_that_fails_judges_the_repair_before_it() -> None:
    """Reset, not verified; then reboot, verified and lasting."""
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "reset_gpu", 10, 20).step(name, "n1", "verify", 20, 30, "failed")
    log.step(name, "n1", "reboot", 30, 40).step(name, "n1", "verify", 40, 50)
    log.say(60, events.IncidentClosed(name, "returned", BECAUSE))
    report = log.report(8 * DAY)
    assert counts(the_fix(report, "reset_gpu")) == (0, 1, 0, 0)
    assert counts(the_fix(report, "reboot")) == (1, 0, 0, 0)


def test_what_failed_counts_no_sooner_than_what_holds() -> None:
    """Both repairs of one hour count in one moment; else a short log would say that less is fixed than is."""
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", 0)
    name = log.fault("n2", 0, finding=lost_gpu(serial="S2"))
    log.step(name, "n2", "reboot", 10, 20).step(name, "n2", "verify", 20, 30, "failed")
    assert counts(the_fix(log.report(6 * DAY))) == (0, 0, 2, 0)
    assert counts(the_fix(log.report(8 * DAY))) == (1, 1, 0, 0)


def test_a_week_counts_the_repairs_of_the_week_before() -> None:
    """Of no repair is it known within the week in which it was made whether it holds for a week."""
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", 0)
    log.fault("n2", 2 * DAY)
    log.repaired("n1", 8 * DAY)
    row = the_fix(log.report(12 * DAY, since=5 * DAY))
    assert counts(row) == (0, 1, 1, 0)


def test_an_action_that_could_not_be_carried_out_says_nothing() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "reset_gpu", 10, 20, "refused").step(name, "n1", "reboot", 30, 40, "timed_out")
    report = log.report(8 * DAY)
    assert [(row.action, counts(row), row.probability) for row in report.fixes] == [
        ("reboot", (0, 0, 0, 1), None),
        ("reset_gpu", (0, 0, 0, 1), None),
    ]


def test_a_fault_that_comes_back_in_probation_was_not_fixed() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "reboot", 10, 20).step(name, "n1", "verify", 20, 30)
    log.step(name, "n1", "probation", 30, 90, "failed")
    assert counts(the_fix(log.report(8 * DAY))) == (0, 1, 0, 0)


def test_a_repair_that_is_handed_over_unverified_was_none() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "reboot", 10, 20).say(30, events.IncidentHandedOver(name, BECAUSE))
    assert counts(the_fix(log.report(8 * DAY))) == (0, 1, 0, 0)


def test_people_fix_things_too() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.say(30, events.IncidentHandedOver(name, BECAUSE)).say(DAY, events.IncidentReturning(name, BECAUSE))
    log.step(name, "n1", "verify", DAY, DAY + 60)
    assert counts(the_fix(log.report(9 * DAY), "people")) == (1, 0, 0, 0)


def drilled() -> ToldLog:
    """Return a log with a drill on n1, found 3 s later and mended, and an honest fault on n2."""
    log = ToldLog().node("n1", "n2").say(100, events.DrillStarted("n1", "gpu-off-bus", "drill/1/1", {}, "kim"))
    log.repaired("n1", 103)
    log.repaired("n2", 2000, finding=lost_gpu(serial="S9"))
    return log


def test_drills_are_counted_apart_and_nowhere_else() -> None:
    """Out for the drill: 890 s, which is no state against availability. The other fault: 890 s of 2 h - 890 s."""
    report = drilled().report(HOUR)
    assert (report.drills.injected, report.drills.incidents, report.drills.returned) == (1, 1, 1)
    assert report.drills.found == Spread(1, 3.0, 3.0, 3.0, 3.0)
    assert report.availability.nodes == pytest.approx(1 - 890 / (7200 - 890))
    assert [row.total.count for row in report.repair] == [1, 1]
    assert {row.kind for row in report.losses.rows} == {"fault", "drill"}
    assert report.losses.gpu_hours == pytest.approx(890 * 8 / 3600, abs=1e-6)
    assert counts(the_fix(report)) == (0, 0, 1, 0)
    assert failures(report, "part", "gpu", "GPU").failures == 1
    assert [(row.opened, row.closed) for row in report.outcomes] == [(1, {"returned": 1})]


def test_drills_count_like_others_when_asked_for() -> None:
    report = drilled().report(HOUR, drills=True)
    assert report.availability.nodes == pytest.approx(1 - 2 * 890 / 7200)
    assert failures(report, "part", "gpu", "GPU").failures == 2
    assert {row.kind for row in report.losses.rows} == {"fault"}
    assert (report.drills.incidents, report.drills.returned) == (1, 1)


def test_tickets_and_pages_are_counted_by_node_and_month() -> None:
    """Two nodes for a day are 48 node-hours, of 730.5 in a month: one ticket is 15.2 a node-month."""
    log = ToldLog().node("n1", "n2")
    name = log.fault("n1", 0)
    log.step(name, "n1", "ticket", 10, 20).step(name, "n1", "page", 20, 30, "failed")
    ticket, page = log.report(DAY).notices
    assert (ticket.sent, page) == (1, NoticeRow("page", 0, 0.0))
    assert ticket.per_node_month == pytest.approx(730.5 / 48)


def test_notices_that_joined_another_reached_nobody_anew() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", "ticket", 10, 20)
    for joined in (False, True):
        filed = NoticeFiled(name, "ticket", "jira", "OPS-1", "", "n1", f"k{joined}", "so", joined=joined)
        log.say(30, filed)
    assert [(row.kind, row.sent) for row in log.report(DAY).notices] == [("ticket", 1), ("page", 0)]


def test_lemons_have_the_score_that_the_cell_goes_by() -> None:
    log = ToldLog().node(*(f"n{number}" for number in range(1, 101)))
    for day in range(4):
        log.repaired("n7", day * DAY + HOUR, finding=lost_gpu(serial=f"S{day}"))
    (row,) = log.report(10 * DAY).lemons
    assert (row.node, row.failures, row.days, row.is_lemon) == ("n7", 4, 4, True)
    assert row.score > 0.95 and row.times_fleet > 5.0


def test_an_incident_that_began_before_the_log_tells_is_said_and_not_invented() -> None:
    whole = ToldLog().node("n1")
    name = whole.fault("n1", 100)
    whole.step(name, "n1", "cordon", 100, 110).say(DAY, events.IncidentClosed(name, "returned", BECAUSE))
    cut = ToldLog(log=whole.log[-2:])
    report = cut.report(2 * DAY)
    assert report.repair == [] and report.outcomes == []
    assert "2 entries are about incidents that began before the log tells; they are left out." in report.notes
    assert report.span.log_tells_from == BEGIN + 110


def test_reclassified_incidents_count_as_what_they_became() -> None:
    log = ToldLog().node("n1")
    name = log.fault("n1", 0, playbook=GPU_MEMORY)
    log.say(5, events.IncidentReclassified(name, "gpu_lost", GPU_LOST, lost_gpu(), BECAUSE))
    log.say(9, events.IncidentClosed(name, "cancelled", BECAUSE))
    outcomes = {row.fault_class: row.closed for row in log.report(HOUR).outcomes}
    assert outcomes == {"gpu_memory": {}, "gpu_lost": {"cancelled": 1}}


@pytest.mark.parametrize("by", ["power_cycle", "reboot"])
@pytest.mark.parametrize("taken_up", [True, False])
def test_a_node_that_does_not_come_back_was_not_fixed_and_one_that_never_went_says_nothing(
    by: str, taken_up: bool
) -> None:
    """A BMC says that it took a power cycle up, an agent that it restarts; of the rest nobody said so."""
    log = ToldLog().node("n1")
    name = log.fault("n1", 0)
    log.step(name, "n1", by, 100, 100 + HOUR, "timed_out")
    intended, end = log.log.pop(-2), log.log.pop()
    assert isinstance(intended.event, events.StepIntended)
    key = intended.event.key
    log.say(100, intended.event)
    if taken_up and by == "reboot":
        log.say(101, events.OrderEnded("n1", key, "accepted", "It restarts.", 1.0, 1.0))
    elif taken_up:
        log.say(101, events.StepProgressed(name, by, 1, key, "accepted", "The BMC took it up."))
    log.say(100 + HOUR, end.event)
    row = the_fix(log.report(8 * DAY), by)
    assert counts(row) == ((0, 1, 0, 0) if taken_up else (0, 0, 0, 1))


def test_a_silent_agent_whose_node_turns_out_dead_is_one_failure_from_then_on() -> None:
    log = ToldLog().node("n1", "n2")
    for day in (0, 1):
        name = log.fault("n1", day * DAY + 100, playbook=AGENT_LOST)
        assert failures(log.report(day * DAY + 110), "part", "any", "node").failures == day
        log.say(day * DAY + 120, events.IncidentReclassified(name, "gpu_lost", GPU_LOST, lost_gpu(), BECAUSE))
        log.say(day * DAY + 140, events.IncidentReclassified(name, "gpu_memory", GPU_MEMORY, lost_gpu(), BECAUSE))
        log.say(day * DAY + 160, events.IncidentClosed(name, "cancelled", BECAUSE))
    report = log.report(2 * DAY)
    assert failures(report, "part", "any", "node").failures == 2
    assert [(row.node, row.failures) for row in report.lemons] == [("n1", 2)]


def test_a_shadow_incident_repairs_nothing() -> None:
    log = ToldLog().node("n1", facts=NodeFacts())
    name = log.fault("n1", 0)
    opened = log.log[-1]
    assert isinstance(opened.event, events.IncidentOpened)
    shadow = events.IncidentOpened(
        name, "n1", "GPU-0", "gpu_lost", GPU_LOST, opened.event.findings, BECAUSE, "shadow", "S1"
    )
    log.log[-1] = events.Logged(opened.event_id, opened.at, shadow)
    log.say(1, events.StepSkipped(name, "cordon", "cordon", "Shadow mode"))
    log.say(1, events.IncidentClosed(name, "shadowed", BECAUSE))
    report = log.report(HOUR)
    assert (report.availability.nodes, report.fixes, report.outcomes[0].closed) == (1.0, [], {"shadowed": 1})
