"""A changed playbook is tried on few incidents before it answers all; by events alone, so that a restart keeps it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.playbook import Answers, Mode, Playbook, Step, Verb
from controller.policy.rollout import loaded
from controller.policy.rules import Budget, RolloutRule, Rules
from tests.support.policy import GPU_LOST, GPU_MEMORY, PolicyRun, playbook, xid

OLD = replace(GPU_LOST, digest="old-" + "0" * 12)
NEW = replace(GPU_LOST, digest="new-" + "1" * 12, summary="A GPU has fallen off the bus, as we say now.")
NEWER = replace(NEW, digest="newer-" + "2" * 10, summary="And as we say since.")
NODES = tuple(f"n{number}" for number in range(1, 9))


def rules(*books: Playbook, canaries: int = 1, share: float = 0.0) -> Rules:
    return Rules((*books, GPU_MEMORY), Budget(nodes=100), rollout=RolloutRule(canaries, share), breakers=(), domains=())


def load(run: PolicyRun, to: Rules) -> list[events.Event]:
    """Let a controller start with these rules; return what it put into the log."""
    run.rules = to
    said = list(loaded(run.belief, to))
    run.say(*said)
    return said


def changed(**rule: float) -> PolicyRun:
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, rules(NEW, **rule))  # type: ignore[arg-type]
    return run


def text_of(run: PolicyRun, node: str) -> str:
    """Return which text answers the newest incident of a node."""
    found = [incident for incident in run.belief.incidents.values() if incident.node == node]
    return found[-1].playbook.digest[:3]


def only(run: PolicyRun, node: str = "n1") -> events.StepIntended:
    (intent,) = run.under_way(node)
    return intent


def mended(run: PolicyRun, node: str) -> None:
    for _ in range(2):
        run.end(only(run, node))
    run.order_ended(only(run, node), "accepted")
    run.rebooted(node)
    run.clear_on(node, xid("79"))
    run.order_ended(only(run, node))
    run.wait(61)
    run.end(only(run, node))


def stubborn(run: PolicyRun, node: str) -> None:
    """The plan is carried out and does not help."""
    for _ in range(2):
        run.end(only(run, node))
    run.order_ended(only(run, node), "accepted")
    run.rebooted(node)
    for _ in range(3):
        run.order_ended(only(run, node))
        run.wait(10)


def broken(run: PolicyRun, node: str) -> None:
    """The plan cannot be carried out."""
    run.end(only(run, node))
    run.end(only(run, node))
    run.order_ended(only(run, node), "refused")


def aborted(run: PolicyRun, node: str) -> None:
    run.end(only(run, node))
    incident = run.belief.open_on(node)[-1]
    run.say(events.OperatorActed("abort", incident.id, "kim", "this is wrong"))


def recovered(run: PolicyRun, node: str) -> None:
    run.end(only(run, node), "refused", "held by hand")
    run.clear_on(node, xid("79"))


def cancelled(run: PolicyRun, node: str) -> None:
    run.end(only(run, node))
    run.say(events.OperatorActed("uncordon", node, "kim", ""))
    run.end(only(run, node))


def told(run: PolicyRun) -> list[str]:
    return [i.device for i in run.belief.incidents.values() if i.fault_class == "rollout"]


def test_the_first_playbooks_of_a_cell_are_trusted() -> None:
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    (trusted,) = load(run, rules(OLD))
    assert isinstance(trusted, events.PlaybooksTrusted)
    assert [book.name for book in trusted.playbooks] == ["gpu_lost", "gpu_memory"]
    assert (load(run, rules(OLD)), run.belief.rollouts.changed) == ([], {})


def test_a_new_text_answers_one_incident_and_the_others_keep_the_old_one() -> None:
    run = changed()
    for node in ("n1", "n2", "n3"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n1", "n2", "n3")] == ["new", "old", "old"]


@pytest.mark.parametrize(("end", "verdict"), [(mended, "well"), (stubborn, "well")])
def test_a_canary_that_ended_well_has_the_new_text_trusted(end: object, verdict: str) -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    end(run, "n1")  # type: ignore[operator]
    (settled,) = [entry.event for entry in run.log if isinstance(entry.event, events.RolloutSettled)]
    assert (settled.outcome, "inc-000001 ended well" in settled.reason.because) == ("trusted", verdict == "well")
    for node in ("n2", "n3"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n2", "n3")] == ["new", "new"]
    assert (run.belief.rollouts.changed, told(run)) == ({}, [])


@pytest.mark.parametrize("end", [broken, aborted])
def test_a_canary_that_ended_badly_stops_the_rollout_and_people_are_told_once(end: object) -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    end(run, "n1")  # type: ignore[operator]
    assert told(run) == ["playbook=gpu_lost"]
    (ticket,) = [intent for intent in run.under_way() if intent.node == ""]
    assert ticket.verb == "ticket"
    run.end(ticket)
    for node in ("n2", "n3"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n2", "n3")] == ["old", "old"]
    run.wait(86_400)
    load(run, run.rules)
    run.wait(86_400)
    assert told(run) == ["playbook=gpu_lost"]


@pytest.mark.parametrize("end", [recovered, cancelled])
def test_a_canary_that_shows_nothing_makes_room_for_the_next(end: object) -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    end(run, "n1")  # type: ignore[operator]
    assert told(run) == []
    run.raise_on("n2", xid("79"))
    run.raise_on("n3", xid("79"))
    assert [text_of(run, node) for node in ("n2", "n3")] == ["new", "old"]


def test_more_canaries_can_be_wanted() -> None:
    run = changed(canaries=2)
    run.raise_on("n1", xid("79"))
    mended(run, "n1")
    assert list(run.belief.rollouts.changed) == ["gpu_lost"]
    run.raise_on("n2", xid("79"))
    assert text_of(run, "n2") == "new"
    mended(run, "n2")
    assert run.belief.rollouts.changed == {}


def test_i12_a_share_of_incidents_is_chosen_by_their_names() -> None:
    runs = [changed(share=0.5) for _ in range(2)]
    for run in runs:
        for node in NODES:
            run.raise_on(node, xid("79"))
    texts = [[text_of(run, node) for node in NODES] for run in runs]
    assert texts[0] == texts[1]
    assert texts[0][0] == "new" and 1 < texts[0].count("new") < len(NODES)


def test_no_canaries_wanted_trusts_at_once() -> None:
    run = changed(canaries=0)
    for node in ("n1", "n2"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n1", "n2")] == ["new", "new"]


def test_a_restart_keeps_it_all() -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    again = Belief()
    for entry in run.log:
        folding.apply(again, entry)
    assert again == run.belief
    assert list(loaded(again, run.rules)) == []


def test_remarks_alone_change_nothing() -> None:
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    (trusted,) = load(run, rules(replace(OLD, digest="remark")))
    assert isinstance(trusted, events.PlaybooksTrusted)
    for node in ("n1", "n2"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n1", "n2")] == ["rem", "rem"]


def test_the_trusted_text_again_ends_the_trial() -> None:
    run = changed()
    (reverted,) = load(run, rules(OLD))
    assert isinstance(reverted, events.RolloutSettled) and reverted.outcome == "reverted"
    run.raise_on("n1", xid("79"))
    assert (text_of(run, "n1"), run.belief.rollouts.changed) == ("old", {})


def test_another_text_after_a_bad_end_is_tried_anew_and_the_incident_about_it_ends() -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    broken(run, "n1")
    run.end(next(intent for intent in run.under_way() if intent.node == ""))
    load(run, rules(NEWER))
    about = next(i for i in run.belief.incidents.values() if i.fault_class == "rollout")
    assert about.state == "closed"
    run.raise_on("n2", xid("79"))
    assert run.belief.open_on("n2")[-1].playbook == NEWER


@pytest.mark.parametrize("late", [False, True])
def test_people_promote_or_withdraw_exactly_the_text_they_saw(late: bool) -> None:
    run = changed()
    run.say(events.OperatorActed("promote", "gpu_lost", "kim", "", "another digest" if late else NEW.digest))
    for node in ("n1", "n2"):
        run.raise_on(node, xid("79"))
    assert [text_of(run, node) for node in ("n1", "n2")] == (["new", "old"] if late else ["new", "new"])


def test_what_people_withdraw_answers_nothing_more_and_nobody_is_told() -> None:
    run = changed()
    run.raise_on("n1", xid("79"))
    run.say(events.OperatorActed("withdraw", "gpu_lost", "kim", "not today", NEW.digest))
    aborted(run, "n1")
    run.raise_on("n2", xid("79"))
    assert (text_of(run, "n1"), text_of(run, "n2"), told(run)) == ("new", "old", [])


def test_a_new_playbook_is_tried_first_and_the_rest_of_its_findings_wait_for_that() -> None:
    added = playbook("gpu_added", Verb.CORDON, Verb.REBOOT, Verb.VERIFY, Verb.UNCORDON, code="31")
    added = replace(added, digest="added", precedence=11)
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, rules(OLD, added))
    for node in ("n1", "n2"):
        run.raise_on(node, xid("31"))
    assert [bool(run.belief.open_on(node)) for node in ("n1", "n2")] == [True, False]
    run.end(only(run))
    run.order_ended(only(run), "accepted")
    run.rebooted("n1")
    run.clear_on("n1", xid("31"))
    run.order_ended(only(run))
    run.end(only(run))
    assert text_of(run, "n2") == "add"


def test_a_new_playbook_that_did_badly_leaves_its_findings_to_nobody() -> None:
    added = replace(playbook("gpu_added", Verb.CORDON, Verb.REBOOT, code="31"), digest="added", precedence=11)
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, rules(OLD, added))
    run.raise_on("n1", xid("31"))
    run.end(only(run))
    run.order_ended(only(run), "refused")
    run.raise_on("n2", xid("31"))
    assert (run.belief.open_on("n2"), list(run.belief.left)) == ([], ["n2"])
    run.say(events.OperatorActed("promote", "gpu_added", "kim", "", "added"))
    assert text_of(run, "n2") == "add"


def test_a_text_that_answers_less_is_tried_too() -> None:
    """While it is tried, the trusted text still answers what the new one does not."""
    wide = replace(OLD, answers=(Answers("gpu.xid", frozenset({"79", "31"})),))
    narrow = replace(wide, digest="narrow", answers=(Answers("gpu.xid", frozenset({"79"})),))
    run = PolicyRun(rules(wide)).nodes(*NODES)
    load(run, rules(wide))
    load(run, rules(narrow))
    run.raise_on("n1", xid("31"))
    assert text_of(run, "n1") == "old"


def test_a_canary_in_shadow_ends_well() -> None:
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, rules(replace(NEW, mode=Mode.SHADOW)))
    run.raise_on("n1", xid("79"))
    assert (run.incident().outcome, run.belief.rollouts.changed) == ("shadowed", {})


def test_a_plan_that_ends_with_people_by_its_own_words_ends_well() -> None:
    for_people = replace(NEW, steps=(Step("ticket", Verb.TICKET, 60.0, parameters={"team": "x"}),))
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, rules(for_people))
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    assert (run.incident().outcome, run.belief.rollouts.changed) == ("handed_over", {})


def test_a_canary_that_becomes_anothers_incident_is_none() -> None:
    memory = replace(GPU_MEMORY, digest="memory-new")
    run = PolicyRun(rules(OLD)).nodes(*NODES)
    load(run, rules(OLD))
    load(run, Rules((OLD, memory), Budget(nodes=100), breakers=(), domains=()))
    run.raise_on("n1", xid("94"))
    run.end(only(run))
    run.raise_on("n1", xid("79"))
    assert (run.incident().playbook.name, run.belief.rollouts.by_name["gpu_memory"].canaries) == ("gpu_lost", {})
