"""The invariants with everything that only half works: doubts, changed playbooks, questions, hopeless failures."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller import events
from controller.policy import folding
from controller.policy.advancing import DISRUPTIVE
from controller.policy.belief import Belief
from controller.policy.playbook import Mode, Playbook, Verb
from controller.policy.rollout import loaded
from controller.policy.rules import Budget, Rules
from tests.controller.policy.test_invariants import Act, acts, clear_all, end_some
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun

NODES = ("n1", "n2", "n3", "n4", "n5")
BUDGET = 2
ASKING = replace(GPU_MEMORY, mode=Mode.ASK, digest="m1")
TEXTS = tuple(replace(GPU_LOST, digest=f"text-{number}", summary=f"Text {number}.") for number in range(3))


def rules(text: Playbook) -> Rules:
    return Rules((text, ASKING, AGENT_LOST), Budget(nodes=BUDGET))


def load(run: PolicyRun, number: int) -> object:
    """A controller starts with another text."""
    run.rules = rules(TEXTS[number])
    return run.say(*loaded(run.belief, run.rules))


def decide_rollout(run: PolicyRun, verb: str) -> object:
    return run.say(events.OperatorActed(verb, "gpu_lost", "kim", ""))


def half(run: PolicyRun, which: int, how: str) -> object:
    """Let one step under way end in no clear way, or hopelessly, or be put off."""
    under_way = run.under_way()
    if not under_way:
        return None
    intent = under_way[which % len(under_way)]
    name = (intent.incident_id, intent.step, intent.attempt)
    if how in {"delayed", "accepted", "watched"}:
        state = "in_doubt" if how == "watched" else how
        return run.say(events.StepProgressed(*name, intent.key, state, "so", 1, run.now + 5.0))
    outcome = "failed" if how == "permanent" else how
    return run.say(events.StepEnded(*name, outcome, "so", intent.key, permanent=how == "permanent"))


def say_yes(run: PolicyRun, which: int, what: str, for_s: float) -> object:
    """A person says yes, to what is asked or to something else, for a time."""
    open_ids = list(run.belief.open_incidents)
    if not open_ids:
        return None
    return run.say(events.OperatorActed("approve", open_ids[which % len(open_ids)], "kim", "", what, run.now + for_s))


def work(run: PolicyRun, rounds: int, *, mends: bool) -> None:
    """Let whatever is under way end as it should, a few times; what is verified was mended, or was not."""
    for _ in range(rounds):
        for intent in run.under_way():
            if mends and intent.verb == "verify":
                clear_all(run, intent.node)
            end_some(run, 0, "done")
        run.wait(61.0)


more_acts: st.SearchStrategy[Act] = st.one_of(
    acts,
    st.builds(
        lambda rounds, mends: lambda run: work(run, rounds, mends=mends),
        st.integers(1, 8),
        st.sampled_from([True, False]),
    ),
    st.builds(lambda number: lambda run: load(run, number), st.integers(0, 2)),
    st.builds(lambda verb: lambda run: decide_rollout(run, verb), st.sampled_from(["promote", "withdraw"])),
    st.builds(
        lambda which, how: lambda run: half(run, which, how),
        st.integers(0, 9),
        st.sampled_from(["in_doubt", "permanent", "timed_out", "delayed", "accepted", "watched"]),
    ),
    st.builds(
        lambda which, what, for_s: lambda run: say_yes(run, which, what, for_s),
        st.integers(0, 9),
        st.sampled_from(["", "gpu_memory:m1", "gpu_memory:m0", "return"]),
        st.sampled_from([1.0, 10_000.0]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(history=st.lists(more_acts, min_size=5, max_size=50))
def test_whatever_half_happens_the_invariants_hold(history: list[Act]) -> None:
    run = PolicyRun(rules(TEXTS[0])).nodes(*NODES)
    load(run, 0)
    for act in history:
        act(run)
        run.now += 0.01
        assert len(run.belief.held) <= BUDGET, "I2"
        assert run.decide() == [], "what was decided is decided"
        _holds_are_what_is_held(run)
        _one_canary_at_a_time(run)
    _one_key_each(run)
    _only_with_a_yes(run)
    _only_our_holds_are_lifted(run)
    again = Belief()
    for entry in run.log:
        folding.apply(again, entry)
    assert again == run.belief, "I12"


def _holds_are_what_is_held(run: PolicyRun) -> None:
    """A node bears our hold exactly as long as an incident accounts for it."""
    held = {name for name, node in run.belief.nodes.items() if node.hold_id}
    assert held == set(run.belief.held)


def _one_canary_at_a_time(run: PolicyRun) -> None:
    for name in run.belief.rollouts.changed:
        rollout = run.belief.rollouts.by_name[name]
        going_on = [incident for incident, canary in rollout.canaries.items() if not canary.verdict]
        assert len(going_on) <= 1
        assert set(going_on) <= set(run.belief.open_incidents)


def _one_key_each(run: PolicyRun) -> None:
    """I4: no idempotency key is ever intended twice."""
    keys = [entry.event.key for entry in run.log if isinstance(entry.event, events.StepIntended)]
    assert len(keys) == len(set(keys))


def _only_with_a_yes(run: PolicyRun) -> None:
    """Nothing disruptive of a plan that asks begins without a yes to this plan that still holds."""
    asking: set[str] = set()
    until: dict[str, float] = {}
    for entry in run.log:
        match entry.event:
            case events.IncidentOpened() | events.IncidentReclassified() as event:
                (asking.add if event.mode == Mode.ASK else asking.discard)(event.incident_id)
            case events.OperatorActed(verb="approve", subject=incident, what="" | "gpu_memory:m1") as event:
                until[incident] = event.expires_at or float("inf")
            case events.StepIntended(phase="automatic") as event if event.verb in DISRUPTIVE:
                assert event.incident_id not in asking or until.get(event.incident_id, 0.0) > entry.at


def _only_our_holds_are_lifted(run: PolicyRun) -> None:
    """I5: an uncordon is intended only for a node that bears our hold."""
    belief = Belief()
    for entry in run.log:
        if isinstance(entry.event, events.StepIntended) and entry.event.verb == Verb.UNCORDON:
            assert belief.nodes[entry.event.node].hold_id == entry.event.hold_id
        folding.apply(belief, entry)
