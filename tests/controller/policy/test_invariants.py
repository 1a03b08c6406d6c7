"""The invariants under anything that can happen, in any order: a random world, thousands of short histories."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Verdict
from controller import events
from controller.policy.rules import Budget, Rules
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

NODES = ("n1", "n2", "n3", "n4", "n5")
BUDGET = 2
Act = Callable[[PolicyRun], object]

node = st.sampled_from(NODES)
finding = st.builds(
    xid,
    st.sampled_from(["79", "95", "94", "48"]),
    device=st.sampled_from(["GPU-0", "GPU-1"]),
    verdict=st.sampled_from([Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN]),
)


def end_some(run: PolicyRun, which: int, outcome: str) -> object:
    """Let one step under way end as its kind of step ends."""
    under_way = run.under_way()
    if not under_way:
        return None
    intent = under_way[which % len(under_way)]
    if intent.verb in {"cordon", "drain", "uncordon", "ticket", "page"}:
        return run.end(intent, outcome)
    if intent.verb == "reboot" and outcome == "done":
        run.order_ended(intent, "accepted")
        return run.rebooted(intent.node)
    if intent.verb in {"reset_gpu", "verify", "collect", "reboot"}:
        return run.order_ended(intent, outcome)
    return run.wait(61)


def clear_all(run: PolicyRun, name: str) -> object:
    """Everything on a node turns out healthy."""
    for raised in list(run.belief.nodes[name].findings.values()):
        run.clear_on(name, raised.finding)
    return None


def operator(run: PolicyRun, verb: str, which: int, name: str) -> object:
    """A person does something."""
    open_ids = list(run.belief.open_incidents)
    subject = name if verb in {"uncordon", "cordon"} else "fleet"
    if verb in {"abort", "approve"}:
        if not open_ids:
            return None
        subject = open_ids[which % len(open_ids)]
    return run.say(events.OperatorActed(verb, subject, "kim", ""))


acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(lambda n, f: lambda run: run.raise_on(n, f), node, finding),
    st.builds(lambda n: lambda run: clear_all(run, n), node),
    st.builds(
        lambda which, outcome: lambda run: end_some(run, which, outcome),
        st.integers(0, 9),
        st.sampled_from(["done", "done", "done", "failed", "refused"]),
    ),
    st.builds(lambda s: lambda run: run.wait(s), st.sampled_from([1.0, 11.0, 700.0, 4000.0])),
    st.builds(
        lambda verb, which, n: lambda run: operator(run, verb, which, n),
        st.sampled_from(["pause", "resume", "abort", "approve", "uncordon", "cordon"]),
        st.integers(0, 9),
        node,
    ),
    st.builds(
        lambda n, state: lambda run: run.say(events.PresenceChanged(n, state, "so")),
        node,
        st.sampled_from(["lost", "online", "stopped", "silent"]),
    ),
    st.builds(
        lambda n, foreign: (
            lambda run: run.say(
                events.ScheduleObserved(
                    n, not foreign, "" if foreign else run.belief.nodes[n].hold_id, foreign, [], run.now
                )
            )
        ),
        node,
        st.sampled_from(["", "", "by hand"]),
    ),
)


@settings(max_examples=400, deadline=None)
@given(history=st.lists(acts, max_size=40))
def test_whatever_happens_the_invariants_hold(history: list[Act]) -> None:
    run = PolicyRun(Rules((GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=BUDGET))).nodes(*NODES)
    for act in history:
        act(run)
        run.now += 0.01
        assert len(run.belief.held) <= BUDGET, "I2"
        assert run.decide() == [], "what was decided is decided"
    _no_return_without_verification(run)
    _one_key_each(run)
    _open_only_once(run)


def _no_return_without_verification(run: PolicyRun) -> None:
    """I6: an uncordon in the automatic part comes after a verification that passed, in the same incident."""
    verified: set[str] = set()
    for entry in run.log:
        match entry.event:
            case events.StepEnded(incident_id=incident, step=step, outcome="done") if step.startswith("verify"):
                verified.add(incident)
            case events.StepIntended(incident_id=incident, verb="uncordon", phase="automatic" | "returning"):
                assert incident in verified


def _one_key_each(run: PolicyRun) -> None:
    """I4: no idempotency key is ever intended twice."""
    keys = [entry.event.key for entry in run.log if isinstance(entry.event, events.StepIntended)]
    assert len(keys) == len(set(keys))


def _open_only_once(run: PolicyRun) -> None:
    """I11: one open incident per (component, class)."""
    open_at = [(i.part, i.fault_class) for i in run.belief.open_incidents.values() if i.fault_class != "operator"]
    assert len(open_at) == len(set(open_at))
