"""Power: when it may be cut, when a restart is believed, and what a BMC's word on a silent node is worth."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from controller import events
from controller.policy.playbook import Answers, Step, Verb
from controller.policy.power_guard import why_not_cycled
from controller.policy.presence import AGENT_LOST, NODE_LOST
from controller.policy.rebooting import HEARD_S, SETTLED_S, STAYS_OFF_S
from controller.policy.rules import Budget, Rules
from tests.support import policy
from tests.support.policy import PolicyRun, xid

SAID = "ForceRestart was taken up by https://n1-bmc.example."


def run_of(*verbs: Verb) -> PolicyRun:
    """Return a run whose incident on n1 is about to take the last of these steps."""
    plan = tuple(Step(verb, verb, 600.0) for verb in verbs)
    book = replace(policy.playbook("gpu_lost", *verbs), steps=plan)
    lost = replace(book, name="node_lost", fault_class="node_lost", precedence=5, answers=(Answers("node.presence"),))
    run = PolicyRun(Rules((book, policy.AGENT_LOST, lost), Budget(nodes=2), breakers=(), domains=()))
    return run.nodes("n1", "n2", "n3", "n4")


def under_way(verb: Verb) -> PolicyRun:
    run = run_of(Verb.CORDON, Verb.DRAIN, verb)
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.end(only(run))
    assert only(run).verb == verb
    return run


def only(run: PolicyRun) -> events.StepIntended:
    (intent,) = run.under_way("n1")
    return intent


def take_up(run: PolicyRun) -> None:
    intent = only(run)
    run.now += 1.0
    run.say(events.StepProgressed(intent.incident_id, intent.step, intent.attempt, intent.key, "accepted", SAID))


def last_end(run: PolicyRun) -> tuple[str, str]:
    ended = [e.event for e in run.log if isinstance(e.event, events.StepEnded)][-1]
    return ended.outcome, ended.because


def lose(run: PolicyRun, state: str = "lost") -> None:
    run.say(events.PresenceChanged("n1", state, "the broker lost it"))


def bmc_says(run: PolicyRun, power: str) -> None:
    words = {"on": "says that it has power", "off": "says that it has no power", "unknown": "cannot be asked: HTTP 401"}
    run.say(events.BmcObserved("n1", power, f"The BMC of n1 {words[power]}.", run.now))


def watched(run: PolicyRun, *, responding: bool | None, jobs: tuple[str, ...] = ()) -> None:
    held = run.belief.nodes["n1"].hold_id
    run.say(events.ScheduleObserved("n1", not held, held, "", list(jobs), run.now, responding))


# --- a restart is believed only when the boot id changed -------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.REBOOT, Verb.POWER_CYCLE])
def test_a_restart_is_believed_when_the_boot_id_is_another_one(verb: Verb) -> None:
    run = under_way(verb)
    run.rebooted("n1")
    assert last_end(run) == ("done", "The node came back with another boot id, boot-2.")


@pytest.mark.parametrize("verb", [Verb.REBOOT, Verb.POWER_CYCLE])
def test_a_restart_is_believed_of_a_node_that_forgets_with_each_boot(verb: Verb) -> None:
    """A node without a disk keeps no outbox: its agent does not know of the boot before, and the boot id is new."""
    run = under_way(verb)
    run.now += 60.0
    run.say(events.AgentStarted("n1", "boot-9", "", False, "1", run.now))
    assert last_end(run)[0] == "done"
    again = under_way(verb)
    again.say(events.NodeSeen("n1", "boot-9", again.belief.nodes["n1"].facts))
    assert last_end(again)[0] == "done"


@pytest.mark.parametrize("verb", [Verb.REBOOT, Verb.POWER_CYCLE])
def test_an_agent_that_says_reboot_under_the_boot_id_of_before_is_not_believed(verb: Verb) -> None:
    run = under_way(verb)
    run.now += 60.0
    run.say(events.AgentStarted("n1", "boot-1", "boot-0", True, "1", run.now))
    assert only(run).verb == verb


def test_a_start_that_comes_late_is_no_restart() -> None:
    """The node was restarted before; the level told so, and the start itself comes only now."""
    run = under_way(Verb.POWER_CYCLE)
    run.say(events.AgentStarted("n1", "boot-0", "", False, "1", run.now))
    run.rebooted("n1")
    late = under_way(Verb.POWER_CYCLE)
    late.belief.nodes["n1"].past_boots = ("boot-0",)
    late.say(events.NodeSeen("n1", "boot-0", late.belief.nodes["n1"].facts))
    assert only(late).verb == Verb.POWER_CYCLE


def test_a_bmc_that_says_204_and_does_nothing_is_found_out_when_the_agent_starts_on_the_boot_of_before() -> None:
    run = under_way(Verb.POWER_CYCLE)
    take_up(run)
    lose(run)
    run.wait(SETTLED_S + 1.0)
    run.restarted("n1")
    assert last_end(run) == (
        "failed",
        "The agent started again on the boot of before, boot-1: the power cycle was taken up (ForceRestart was taken "
        "up by https://n1-bmc.example), and nothing came of it.",
    )
    assert "ticket" in run.verbs("n1")


def test_an_agent_that_starts_just_before_the_power_goes_proves_nothing() -> None:
    run = under_way(Verb.POWER_CYCLE)
    take_up(run)
    run.wait(SETTLED_S - 1.0)
    run.restarted("n1")
    assert only(run).verb == Verb.POWER_CYCLE
    run.rebooted("n1")
    assert last_end(run)[0] == "done"


def test_a_bmc_that_does_nothing_is_found_out_when_the_agent_is_heard_on_the_boot_of_before() -> None:
    run = under_way(Verb.POWER_CYCLE)
    lose(run)
    take_up(run)
    run.wait(SETTLED_S + 1.0)
    run.say(events.PresenceChanged("n1", "online", "back"))
    run.wait(HEARD_S - 1.0)
    assert only(run).verb == Verb.POWER_CYCLE, "the boot id may come after the presence"
    run.wait(1.0)
    assert last_end(run)[0] == "failed"
    assert last_end(run)[1].startswith("The agent is heard again on the boot of before, boot-1: the power cycle was ta")


def test_a_node_that_was_never_gone_has_the_whole_time_and_then_it_is_said() -> None:
    run = under_way(Verb.POWER_CYCLE)
    take_up(run)
    run.wait(598.0)
    assert only(run).verb == Verb.POWER_CYCLE
    run.wait(2.0)
    assert last_end(run) == (
        "timed_out",
        "It did not end within 600 s. n1 is on the boot of before, boot-1: the power cycle was taken up (ForceRestart "
        "was taken up by https://n1-bmc.example), and nothing came of it.",
    )


def test_a_node_that_stays_off_is_found_out_by_its_bmc() -> None:
    run = under_way(Verb.POWER_CYCLE)
    take_up(run)
    lose(run)
    bmc_says(run, "off")
    run.wait(STAYS_OFF_S - 1.0)
    assert only(run).verb == Verb.POWER_CYCLE
    run.wait(1.0)
    assert last_end(run)[0] == "failed"
    assert last_end(run)[1].startswith(
        "The BMC of n1 says that it has no power. It stays off: the power cycle was taken"
    )


def test_a_reboot_that_was_accepted_and_did_not_happen_is_found_out() -> None:
    run = under_way(Verb.REBOOT)
    run.order_ended(only(run), "accepted")
    run.wait(SETTLED_S + 1.0)
    run.restarted("n1")
    assert last_end(run)[0] == "failed"
    assert "on the boot of before, boot-1: the reboot was taken up (so), and nothing came of it." in last_end(run)[1]


def test_what_a_silent_nodes_bmc_says_stands_in_the_sentence_of_a_step_that_was_late() -> None:
    run = under_way(Verb.POWER_CYCLE)
    take_up(run)
    lose(run)
    bmc_says(run, "on")
    run.wait(601.0)
    assert last_end(run)[1].endswith("The BMC of n1 says that it has power.")


# --- the guard -------------------------------------------------------------------------------------------------------


def refused(run: PolicyRun) -> str:
    return why_not_cycled(run.belief, run.incident())


def held(*verbs: Verb) -> PolicyRun:
    run = run_of(Verb.CORDON, *verbs, Verb.POWER_CYCLE)
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    return run


def test_power_is_not_cut_while_work_may_be_placed_on_the_node() -> None:
    run = run_of(Verb.POWER_CYCLE)
    run.raise_on("n1", xid("79"))
    assert refused(run) == (
        "The power of n1 is not cut: it is not confirmed lost, and it is not held out, so work may be placed on it at "
        "any time."
    )


def test_power_is_not_cut_before_somebody_says_that_no_job_is_left() -> None:
    run = held()
    assert refused(run).endswith("nobody has said since it is held out that no job is left on it.")
    run.now += 1.0
    watched(run, responding=True)
    assert refused(run) == ""


def test_i1_power_is_not_cut_while_nobody_can_tell_what_works_on_the_node() -> None:
    run = held()
    run.now += 1.0
    said = events.ScheduleObserved("n1", False, run.belief.nodes["n1"].hold_id, "", [], run.now)
    run.say(msgspec.structs.replace(said, jobs_unknown="NVML does not answer: timeout"))
    assert refused(run).endswith("nobody can tell what works on it: NVML does not answer: timeout.")
    run.now += 1.0
    watched(run, responding=True)
    assert refused(run) == ""


def test_power_is_not_cut_under_jobs_also_when_they_came_after_the_drain() -> None:
    run = held(Verb.DRAIN)
    run.end(only(run))
    assert refused(run) == ""
    run.now += 1.0
    watched(run, responding=True, jobs=("17", "18"))
    assert refused(run).endswith("the scheduler still has jobs 17, 18 on it.")


def test_power_of_a_node_that_is_confirmed_lost_is_cut_whatever_runs_there() -> None:
    run = run_of(Verb.CORDON, Verb.POWER_CYCLE)
    watched(run, responding=True, jobs=("17",))
    lose(run)
    watched(run, responding=False, jobs=("17",))
    run.wait(31.0)
    assert (run.incident().fault_class, refused(run)) == ("node_lost", "")


def lost_and_out() -> PolicyRun:
    """Return a run in which n1 is confirmed lost, behind whatever happened to it before."""
    run = run_of(Verb.CORDON, Verb.DRAIN, Verb.POWER_CYCLE)
    run.rules = replace(run.rules, budget=Budget(nodes=4))
    return run


def confirm_lost(run: PolicyRun) -> str:
    lose(run)
    bmc_says(run, "off")
    run.wait(31.0)
    (lost,) = (incident for incident in run.belief.incidents.values() if incident.fault_class == "node_lost")
    return why_not_cycled(run.belief, lost)


def test_the_power_of_a_node_that_people_work_on_is_left_alone() -> None:
    """A technician switches a host off to swap a GPU: it must not be switched on under their hands."""
    run = lost_and_out()
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.end(only(run), "failed", "jobs do not go")
    assert run.incident().outcome == "handed_over"
    assert confirm_lost(run) == (
        "The power of n1 is left alone: people have it for inc-000001, and may have their hands in it."
    )


def test_the_power_of_a_node_that_a_person_took_out_is_left_alone() -> None:
    run = lost_and_out()
    run.say(events.OperatorActed("cordon", "n1", "kim", "new DIMMs"))
    run.end(only(run))
    assert confirm_lost(run).startswith("The power of n1 is left alone: a person took it out (inc-000001)")


def test_the_power_of_a_node_that_somebody_else_holds_is_left_alone() -> None:
    run = lost_and_out()
    run.say(events.ScheduleObserved("n1", False, "", "maintenance by hand", [], run.now))
    assert confirm_lost(run).startswith("The power of n1 is left alone: somebody else holds it (maintenance by hand)")


def test_a_node_that_refused_to_be_rebooted_is_not_power_cycled_over_its_head() -> None:
    run = run_of(Verb.CORDON, Verb.DRAIN, Verb.REBOOT, Verb.POWER_CYCLE)
    (book, *others) = run.rules.playbooks
    steps = tuple(replace(each, on_failure="power_cycle") if each.verb is Verb.REBOOT else each for each in book.steps)
    run.rules = replace(run.rules, playbooks=(replace(book, steps=steps), *others))
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.end(only(run))
    run.order_ended(only(run), "refused")
    assert only(run).verb == "power_cycle"
    assert refused(run) == "The power of n1 is not cut: it is not confirmed lost, and it refused to be rebooted: so"


def test_power_is_not_cut_for_silence_alone() -> None:
    run = run_of(Verb.CORDON, Verb.POWER_CYCLE)
    lose(run)
    run.wait(31.0)
    assert run.incident().fault_class == "agent_lost"
    assert "it is not confirmed lost" in refused(run)


def test_power_is_not_cut_when_nothing_is_left_to_mend() -> None:
    run = held(Verb.DRAIN)
    run.end(only(run))
    run.clear_on("n1", xid("79"))
    assert refused(run) == "Nothing is left to mend on n1: every finding of this incident has cleared."


# --- the word of the BMC ---------------------------------------------------------------------------------------------


def silent(*, responding: bool | None, power: str) -> PolicyRun:
    run = run_of(Verb.CORDON, Verb.POWER_CYCLE)
    lose(run)
    watched(run, responding=responding)
    if power:
        bmc_says(run, power)
    run.wait(31.0)
    return run


@pytest.mark.parametrize(
    ("responding", "power", "fault_class", "because"),
    [
        (None, "off", "node_lost", "n1 is lost: its agent is lost, and its BMC says that it has no power."),
        (
            False,
            "on",
            "node_lost",
            "n1 is lost: its agent is lost, and the scheduler's own daemon on it does not answer either; its BMC "
            "says that it has power.",
        ),
        (
            False,
            "unknown",
            "node_lost",
            "n1 is lost: its agent is lost, and the scheduler's own daemon on it does not answer either.",
        ),
        (
            None,
            "on",
            "agent_lost",
            "The agent on n1 is lost for 31 s; its BMC says that it has power, and the node itself may well be "
            "healthy, but nothing is known of it.",
        ),
        (
            None,
            "unknown",
            "agent_lost",
            "The agent on n1 is lost for 31 s; the node itself may well be healthy, but nothing is known of it.",
        ),
        (
            True,
            "off",
            "agent_lost",
            "The agent on n1 is lost for 31 s; the scheduler's daemon on it answers, and its BMC says that it has no "
            "power: one of the two is wrong, but nothing is known of it.",
        ),
    ],
)
def test_i1_who_confirms_that_a_silent_node_is_lost(
    responding: bool | None, power: str, fault_class: str, because: str
) -> None:
    run = silent(responding=responding, power=power)
    assert (run.incident().fault_class, run.incident().because) == (fault_class, because)


def test_i1_a_bmc_may_agree_later_and_take_it_back() -> None:
    run = silent(responding=None, power="unknown")
    bmc_says(run, "off")
    assert NODE_LOST in run.belief.nodes["n1"].findings
    bmc_says(run, "unknown")
    assert NODE_LOST in run.belief.nodes["n1"].findings, "unknown clears nothing"
    bmc_says(run, "on")
    assert set(run.belief.nodes["n1"].findings) == {AGENT_LOST}


def test_i1_power_takes_nothing_back_that_the_scheduler_said() -> None:
    """A host that has panicked has power."""
    run = silent(responding=False, power="")
    watched(run, responding=None)
    bmc_says(run, "on")
    assert NODE_LOST in run.belief.nodes["n1"].findings


def test_i1_a_bmc_that_says_off_of_a_node_that_is_heard_says_nothing() -> None:
    run = run_of(Verb.CORDON, Verb.POWER_CYCLE)
    bmc_says(run, "off")
    run.wait(3600.0)
    assert (run.belief.incidents, run.belief.nodes["n1"].power) == ({}, "")


def test_i1_what_a_bmc_said_in_one_silence_is_forgotten_in_the_next() -> None:
    run = silent(responding=None, power="off")
    run.say(events.PresenceChanged("n1", "online", "back"))
    assert run.belief.nodes["n1"].power == ""
    lose(run)
    run.wait(31.0)
    assert set(run.belief.nodes["n1"].findings) == {AGENT_LOST}


def test_i1_many_that_are_off_together_freeze_the_cell() -> None:
    run = run_of(Verb.CORDON, Verb.POWER_CYCLE)
    for name in ("n1", "n2", "n3"):
        run.believe(events.PresenceChanged(name, "lost", "gone"))
        run.believe(events.BmcObserved(name, "off", "off", run.now))
    run.wait(3600.0)
    assert run.verbs("n1") == run.verbs("n2") == []
