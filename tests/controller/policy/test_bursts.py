"""What belongs together: bursts of one part are one incident, and what has nothing to do with it is another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy.bursts import BURSTS, SILENCE_S, SYMPATHIES
from controller.policy.rules import Budget, Rules
from tests.support.policy import PolicyRun
from tests.support.shipped import SHIPPED

RULES = Rules(SHIPPED, Budget(nodes=5))
CLASSES = {playbook.fault_class for playbook in RULES.playbooks}


def shipped_run() -> PolicyRun:
    return PolicyRun(RULES).nodes("n1", "n2")


def xid(code: str, device: str = "GPU-0") -> Finding:
    action = Action.REBOOT if code == "79" else Action.RESET_GPU
    return Finding("gpu.xid", device, code, Verdict.FAILED, action, f"Xid {code}.")


def soft(code: str, device: str = "GPU-0") -> Finding:
    return Finding("gpu.xid", device, code, Verdict.DEGRADED, Action.NONE, f"Xid {code}.")


def classes(run: PolicyRun) -> list[str]:
    return [incident.fault_class for incident in run.belief.open_incidents.values()]


def begin_repair(run: PolicyRun) -> None:
    """Let the cordon and all drains and collections end, so that a repair is under way."""
    while (intent := run.under_way("n1")[0]).verb in {"cordon", "drain", "collect"}:
        if intent.verb == "collect":
            run.order_ended(intent)
        else:
            run.end(intent)
    assert intent.verb in {"reset_gpu", "reboot"}


def test_the_rules_name_classes_that_exist_and_say_why() -> None:
    for burst in BURSTS:
        assert burst.fault_classes <= CLASSES
        assert burst.because and burst.source
    for sympathy in SYMPATHIES:
        assert sympathy.followers | sympathy.roots <= CLASSES
        assert sympathy.because and sympathy.source
    assert len({name for burst in BURSTS for name in burst.fault_classes}) == sum(len(b.fault_classes) for b in BURSTS)


@pytest.mark.parametrize("codes", [("48", "63", "94", "45"), ("45", "94", "64", "48"), ("63", "45", "48", "94")])
def test_i11_48_with_63_or_64_94_and_45_is_one_memory_incident(codes: tuple[str, ...]) -> None:
    run = shipped_run()
    for code in codes:
        finding = soft(code) if code == "45" else xid(code)
        run.raise_on("n1", finding)
        run.now += 1.0
        for intent in run.under_way("n1"):
            if intent.verb == "cordon":
                run.end(intent)
    assert classes(run) == ["gpu_memory"]
    assert {key.code for key in run.incident().condemned_by} == set(codes)


@pytest.mark.parametrize("first_lost", [True, False])
def test_i11_nvlink_faults_and_the_loss_of_one_gpu_are_judged_by_precedence(first_lost: bool) -> None:
    run = shipped_run()
    for code in ("79", "74") if first_lost else ("74", "79"):
        run.raise_on("n1", xid(code))
        for intent in run.under_way("n1"):
            run.end(intent)
    assert classes(run) == ["gpu_lost"]


def test_i11_peers_that_report_their_links_to_a_lost_gpu_belong_to_its_incident() -> None:
    run = shipped_run()
    run.raise_on("n1", xid("79", device="GPU-0"))
    for peer in range(1, 8):
        run.raise_on("n1", xid("74", device=f"GPU-{peer}"))
    assert classes(run) == ["gpu_lost"]
    run.raise_on("n1", xid("95", device="GPU-3"))
    assert classes(run) == ["gpu_lost", "gpu_memory"]


def test_i11_a_peer_that_reports_its_links_much_later_has_a_fault_of_its_own() -> None:
    run = shipped_run()
    run.raise_on("n1", xid("79", device="GPU-0"))
    run.now += SILENCE_S + 1.0
    run.raise_on("n1", xid("74", device="GPU-1"))
    assert classes(run) == ["gpu_lost", "nvlink"]


def test_faults_that_no_rule_joins_are_two_incidents_even_on_one_device() -> None:
    run = shipped_run()
    run.raise_on("n1", Finding("host.memory", "host", "low", Verdict.FAILED, Action.NONE, "Low."))
    run.raise_on("n1", Finding("host.dstate", "host", "driver", Verdict.FAILED, Action.REBOOT, "Stuck."))
    run.wait(601.0)
    assert sorted(classes(run)) == ["host_memory", "host_reboot"]


def test_one_open_incident_for_a_part_and_class_however_late_the_next_finding_comes() -> None:
    run = shipped_run()
    run.raise_on("n1", xid("48"))
    begin_repair(run)
    run.now += 10 * SILENCE_S
    run.raise_on("n1", xid("94"))
    assert classes(run) == ["gpu_memory"]


@pytest.mark.parametrize(("after_s", "count"), [(SILENCE_S, 1), (SILENCE_S + 1.0, 2)])
def test_once_a_repair_has_begun_another_class_joins_only_within_the_burst(after_s: float, count: int) -> None:
    run = shipped_run()
    run.raise_on("n1", xid("48"))
    last = run.incident().last_finding_at
    begin_repair(run)
    run.now = last + after_s
    run.raise_on("n1", xid("79"))
    assert len(classes(run)) == count


def test_before_a_repair_has_begun_the_worse_fault_takes_over_however_late() -> None:
    run = shipped_run()
    run.raise_on("n1", xid("48"))
    run.end(run.under_way("n1")[0])
    run.now += 3600.0
    run.raise_on("n1", xid("79"))
    assert classes(run) == ["gpu_lost"]


def test_what_people_have_is_not_repaired_under_their_hands() -> None:
    run = shipped_run()
    run.raise_on("n1", Finding("gpu.temperature", "GPU-0", "core", Verdict.FAILED, Action.CONTACT_SUPPORT, "Hot."))
    while run.under_way("n1"):
        intent = run.under_way("n1")[0]
        if intent.verb == "collect":
            run.order_ended(intent)
        else:
            run.end(intent)
    assert run.incident().state == "handed_over"
    run.now += 7200.0
    run.raise_on("n1", xid("48"))
    assert classes(run) == ["gpu_thermal"]
    assert "reset_gpu" not in run.verbs("n1")


def test_what_nobody_answers_does_not_join_long_after_the_burst() -> None:
    run = shipped_run()
    run.raise_on("n1", soft("31"))
    run.now += SILENCE_S + 1.0
    run.raise_on("n1", xid("79"))
    assert [key.code for key in run.incident().condemned_by] == ["79"]
    assert list(run.belief.left["n1"]) == [soft("31").key]


def test_a_gpu_known_by_its_address_and_by_its_name_is_one() -> None:
    run = shipped_run()
    by_address = xid("94", device="0000:3b:00")
    by_name = replace(xid("48", device="GPU-0"), pci="0000:3b:00")
    run.raise_on("n1", by_address)
    run.raise_on("n1", by_name)
    assert len(classes(run)) == 1


def test_i10_a_join_says_by_which_rule() -> None:
    run = shipped_run()
    run.raise_on("n1", xid("48"))
    run.raise_on("n1", Finding("gpu.clocks", "GPU-0", "slow", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "Slow."))
    (joined,) = [entry.event for entry in run.log if isinstance(entry.event, events.IncidentJoined)]
    assert joined.reason.because.startswith("It belongs to inc-000001, for no repair of this part has begun, and")


def unmeant(previous_boot_id: str) -> Finding:
    """Return what an agent finds that was not there when its host went down."""
    evidence = {"previous_boot_id": previous_boot_id}
    return Finding("host.reboot", "host", "unexpected", Verdict.DEGRADED, Action.NONE, "Up again.", evidence=evidence)


@pytest.mark.parametrize("late", [False, True])
def test_our_own_restart_is_no_fault_to_an_agent_that_was_dead(late: bool) -> None:
    """A reboot by the scheduler or a BMC ends the host without its agent, which cannot tell it from a crash."""
    run = shipped_run()
    run.raise_on("n1", Finding("host.dstate", "host", "driver", Verdict.FAILED, Action.REBOOT, "Stuck."))
    begin_repair(run)
    (intent,), before = run.under_way("n1"), run.belief.nodes["n1"].boot_id
    run.order_ended(intent, "accepted")
    if not late:
        run.raise_on("n1", unmeant(before))
    run.rebooted("n1")
    if late:
        run.raise_on("n1", unmeant(before))
    assert [finding.check for finding in run.incident().condemned_by.values()] == ["host.dstate"]


def test_a_crash_after_our_restart_is_a_fault_of_the_host() -> None:
    run = shipped_run()
    run.raise_on("n1", Finding("host.dstate", "host", "driver", Verdict.FAILED, Action.REBOOT, "Stuck."))
    begin_repair(run)
    run.order_ended(run.under_way("n1")[0], "accepted")
    run.rebooted("n1")
    run.raise_on("n1", unmeant(run.belief.nodes["n1"].boot_id))
    assert [finding.check for finding in run.incident().condemned_by.values()] == ["host.dstate", "host.reboot"]
