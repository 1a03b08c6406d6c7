"""Idle nodes are measured by what that is worth, never beyond the budget, and never where anything is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.bench_events import (
    BenchAsked,
    BenchEnded,
    BenchJudged,
    BenchRunEnded,
    BenchStopped,
    LeaseEnded,
    LeaseGranted,
)
from controller.policy.belief import Belief
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.book import BenchRun
from controller.policy.benching.outlay import DAY_S, HOUR_S, LONGEST_S
from controller.policy.benching.scheduling import SHORTLIST, WAITS_S, scheduled
from controller.policy.benching.when import Admission, WhenRules, Window
from controller.policy.rules import Budget, Freeze, Rules
from controller.policy.scopes import Scope
from tests.support.bench_policy import result_like
from tests.support.policy import GPU_LOST, PolicyRun, xid
from wire.messages import NodeFacts

FACTS = NodeFacts(gpu_count=8, orders_allowed=["bench", "run_checks"])
WHEN = WhenRules()
RULES = Rules((GPU_LOST,), Budget(nodes=9), breakers=(), domains=(), bench=BenchRules(idle_by="slurm"), when=WHEN)


def idle(name: str, at: float, **changed: object) -> events.ScheduleObserved:
    """Return what a scheduler says of a free node."""
    said = events.ScheduleObserved(name, True, "", "", [], at, responding=True)
    return replace_struct(said, **changed)


def replace_struct(said: events.ScheduleObserved, **changed: object) -> events.ScheduleObserved:
    return events.ScheduleObserved(**{**{name: getattr(said, name) for name in said.__struct_fields__}, **changed})


def fleet(*names: str, rules: Rules = RULES, facts: NodeFacts = FACTS) -> PolicyRun:
    """Return a fleet of idle nodes that were there from the beginning."""
    run = PolicyRun(rules)
    for name in names:
        run.say(
            events.NodeSeen(name, "boot-1", facts),
            events.PresenceChanged(name, "online", "so"),
            idle(name, run.now),
        )
    return run


def plan(run: PolicyRun) -> list[BenchAsked]:
    return scheduled(run.belief, run.rules, run.now)


def passes(run: PolicyRun, name: str, *benchmarks: str) -> None:
    """These benchmarks of a node pass now."""
    run_id = f"by-hand-{len(run.log)}"
    run.believe(BenchAsked(run_id, [name], list(benchmarks), 1, "operator", "kim", "to see"))
    for each in benchmarks:
        run.believe(BenchJudged(name, "", run_id, each, "pass", "as it should be"))
    run.believe(BenchRunEnded(run_id, "pass", "so"))


ALL = tuple(str(each) for each in WHEN.benchmarks)


def test_golden_the_most_valuable_first() -> None:
    """n1 passed all two weeks ago, n2 never, n3 yesterday."""
    run = fleet("n1", "n2", "n3")
    run.wait(30 * DAY_S)
    passes(run, "n1", *ALL)
    run.wait(13 * DAY_S)
    passes(run, "n3", *ALL)
    run.wait(DAY_S)
    first, second = plan(run)
    assert first == BenchAsked(
        f"idle.n2.{run.now:.0f}",
        ["n2"],
        ["gpu_bandwidth", "gemm", "rdma", "nccl_all_reduce", "storage"],
        1,
        "idle",
        "fleetmend",
        first.because,
        gpu_minutes=60.0,
    )
    assert first.because.startswith(
        "It is idle, and no benchmark of it passed yet. GPU-minutes that each is expected to save for one that it "
        "costs: gpu_bandwidth: "
    )
    assert (second.nodes, second.benchmarks) == (["n1"], ["gpu_bandwidth"])
    assert second.because.startswith("It is idle, and fails 0.73 times as often as the fleet. GPU-minutes")


def test_what_is_not_worth_its_cost_is_not_run() -> None:
    run = fleet("n1")
    passes(run, "n1", *ALL)
    assert plan(run) == []
    run.wait(3 * DAY_S)
    assert [each.benchmarks for each in plan(run)] == [["gpu_bandwidth"]], "early life: four times as likely"
    cheap = replace(RULES, when=replace(WHEN, loss_gpu_minutes=100.0))
    assert scheduled(run.belief, cheap, run.now) == []


KEPT_FROM: dict[str, Callable[[PolicyRun], object]] = {
    "its agent is lost": lambda run: run.say(events.PresenceChanged("n1", "lost", "so")),
    "it has jobs": lambda run: run.say(idle("n1", run.now, jobs=["7"])),
    "nobody knows its jobs": lambda run: run.say(idle("n1", run.now, jobs_unknown="slurmd is away")),
    "the scheduler's daemon is away": lambda run: run.say(idle("n1", run.now, responding=False)),
    "it is out of service": lambda run: run.say(idle("n1", run.now, schedulable=False)),
    "somebody holds it": lambda run: run.say(idle("n1", run.now, schedulable=False, foreign_reason="by hand")),
    "it has an incident": lambda run: run.raise_on("n1", xid("79")),
    "it is paused": lambda run: run.say(events.OperatorActed("pause", "n1", "kim", "")),
    "the fleet is paused": lambda run: run.say(events.OperatorActed("pause", "fleet", "kim", "")),
    "the agent does not allow it": lambda run: run.say(
        events.NodeSeen("n1", "boot-1", NodeFacts(gpu_count=8, orders_allowed=["run_checks"]))
    ),
    "it says nothing of what it allows": lambda run: run.say(events.NodeSeen("n1", "boot-1", NodeFacts(gpu_count=8))),
    "it has no GPU": lambda run: run.say(events.NodeSeen("n1", "boot-1", NodeFacts(orders_allowed=["bench"]))),
    "a run of it is open": lambda run: run.say(BenchAsked("r", ["n1"], ["gemm"], 1, "operator", "kim", "so")),
}


@pytest.mark.parametrize("why", KEPT_FROM)
def test_i1_a_node_is_left_alone_when(why: str) -> None:
    run = fleet("n1")
    assert [each.nodes for each in plan(run)] == [["n1"]]
    KEPT_FROM[why](run)
    assert plan(run) == []


@pytest.mark.parametrize(
    ("bench", "planned"),
    [(BenchRules(), 0), (BenchRules(idle_by="none"), 0), (BenchRules(idle_by="none", trust_nodes=True), 1)],
    ids=["nobody", "no-scheduler", "nodes-are-trusted"],
)
def test_i1_somebody_must_say_that_a_node_is_idle(bench: BenchRules, planned: int) -> None:
    run = fleet("n1", rules=replace(RULES, bench=bench))
    assert len(plan(run)) == planned


def test_a_node_that_was_always_free_is_measured() -> None:
    """What a scheduler says is told when it changes, and of such a node nothing ever did."""
    run = PolicyRun(RULES)
    run.say(events.NodeSeen("n1", "boot-1", FACTS), events.PresenceChanged("n1", "online", "so"))
    assert [each.nodes for each in plan(run)] == [["n1"]]


def test_nothing_is_begun_in_a_freeze_nor_while_the_cell_is_frozen() -> None:
    freeze = Freeze(Scope("fleet"), "end of the year", begins=PolicyRun().now, ends=PolicyRun().now + 10.0)
    run = fleet("n1", rules=replace(RULES, freezes=(freeze,)))
    assert plan(run) == []
    run.wait(11)
    assert plan(run) != []
    run = fleet("n1", "n2", "n3", "n4", "n5")
    for name in ("n2", "n3", "n4"):
        run.say(events.PresenceChanged(name, "lost", "so"))
    assert plan(run) == []


def test_windows_are_for_what_has_no_other_reason() -> None:
    night = Window(22 * 60, 6 * 60, "Europe/Berlin", daily=True)
    run = fleet("n1", rules=replace(RULES, when=replace(WHEN, windows=(night,))))
    run.now = datetime(2026, 6, 1, 19, 59, tzinfo=UTC).timestamp()
    assert plan(run) == [], "21:59 in Berlin"
    run.now += 60.0
    assert len(plan(run)) == 1
    run.now = datetime(2026, 6, 2, 4, 0, tzinfo=UTC).timestamp()
    assert plan(run) == [], "6:00 in Berlin"
    run.raise_on("n1", symptom())
    assert [each.purpose for each in plan(run)] == ["suspicion"]


def test_a_weekly_window_goes_over_the_end_of_the_week() -> None:
    window = Window(begins=6 * 1440 + 23 * 60, ends=60)
    sunday = datetime(2026, 6, 7, 22, 59, tzinfo=UTC).timestamp()
    assert [window.holds(sunday + minutes * 60.0) for minutes in (0, 1, 120, 121)] == [False, True, True, False]


def symptom(check: str = "fabric.nvlink_errors") -> Finding:
    return Finding(check, "GPU-1", "crc", Verdict.DEGRADED, Action.NONE, "Link 3 of GPU-1 corrects errors.")


def test_a_milder_finding_comes_before_what_is_merely_old() -> None:
    run = fleet("n1", "n2")
    run.wait(30 * DAY_S)
    passes(run, "n2", *ALL)
    run.wait(10.0)
    run.raise_on("n2", symptom())
    first, second = plan(run)
    assert (first.nodes, first.purpose, second.purpose) == (["n2"], "suspicion", "idle")
    assert first.because.startswith("Less than a failure: Link 3 of GPU-1 corrects errors. GPU-minutes")
    assert "nccl_all_reduce" in first.benchmarks
    passes(run, "n2", *ALL)
    assert [each.nodes for each in plan(run)] == [["n1"]], "one look at it is enough"


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.OK])
def test_i1_what_is_not_known_suspects_nobody(verdict: Verdict) -> None:
    run = fleet("n1")
    passes(run, "n1", *ALL)
    run.raise_on("n1", replace(symptom(), verdict=verdict))
    assert plan(run) == []


def test_suspicion_can_be_switched_off() -> None:
    run = fleet("n1", rules=replace(RULES, when=replace(WHEN, suspicion=False)))
    passes(run, "n1", *ALL)
    run.raise_on("n1", symptom())
    assert plan(run) == []


def ask(run: PolicyRun) -> list[BenchAsked]:
    asked = plan(run)
    run.say(*asked)
    return asked


def end(run: PolicyRun, asked: BenchAsked, *, outcome: str = "pass", after_s: float = 30.0) -> None:
    """Let a run's benchmarks come back one after the other."""
    (node,) = asked.nodes
    while (lease := run.belief.bench.lease_of(node)) is not None:
        run.now += after_s
        result = result_like(outcome, lease.benchmark)
        run.say(BenchEnded(node, lease.lease_id, result, run.now, run.now))
    assert asked.run_id not in run.belief.bench.open_runs


def test_a_budget_is_reserved_as_a_whole_and_given_back_when_less_was_used() -> None:
    rules = replace(RULES, when=replace(WHEN, gpu_minutes_per_hour=150.0, at_once=9))
    run = fleet("n1", "n2", "n3", "n4", rules=rules)
    first, second, third = ask(run)
    assert [each.gpu_minutes for each in (first, second, third)] == [60.0, 60.0, 24.0], "the last one is cut down"
    assert plan(run) == []
    end(run, first, after_s=6.0)
    assert run.belief.bench.outlay.spent(HOUR_S, run.now) == pytest.approx(8 * 5 * 0.1 + 84.0)
    assert [(each.nodes, each.gpu_minutes) for each in plan(run)] == [(["n4"], 60.0)]


def test_no_more_than_so_many_at_once() -> None:
    run = fleet(*(f"n{number}" for number in range(9)))
    asked = ask(run)
    assert len(asked) == WHEN.at_once == run.belief.bench.outlay.open
    end(run, asked[0])
    assert len(plan(run)) == 1


def test_what_was_in_vain_is_tried_again_ever_more_rarely() -> None:
    run = fleet("n1")
    waits = []
    for _ in range(12):
        (asked,) = ask(run)
        end(run, asked, outcome="skip")
        ended = run.now
        while not plan(run):
            run.now += HOUR_S
        waits.append((run.now - ended) / HOUR_S)
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_S / HOUR_S
    end(run, ask(run)[0])
    assert run.belief.bench.outlay.tried == {}


def test_an_incident_ends_what_began_by_itself() -> None:
    run = fleet("n1")
    (asked,) = ask(run)
    decided = run.raise_on("n1", xid("79"))
    assert BenchStopped(asked.run_id, "fleetmend", "n1 has an open incident now.") in decided
    assert run.decide() == []


def test_a_run_that_waits_gives_its_budget_back() -> None:
    run = fleet("n1", rules=replace(RULES, bench=replace(RULES.bench, at_once={"fleet": 0})))
    ask(run)
    assert run.wait(WAITS_S - 1) == []
    run.wait(1)
    assert run.belief.bench.outlay.spent(HOUR_S, run.now) == 0.0
    run = fleet("n1")
    run.say(*plan(run), events.OperatorActed("pause", "fleet", "kim", ""))
    end(run, next(e.event for e in run.log if isinstance(e.event, BenchAsked)))
    assert run.belief.bench.open_runs == {}


def test_of_many_the_oldest_are_looked_at_and_all_with_a_reason() -> None:
    names = [f"n{number:03d}" for number in range(SHORTLIST + 50)]
    run = fleet(*names[:3])
    for name in names[3:]:
        for event in (events.NodeSeen(name, "b", FACTS), events.PresenceChanged(name, "online", "so")):
            run.believe(event)
        run.believe(idle(name, run.now))
    for name in names[:-1]:
        passes(run, name, *ALL)
        run.now += 1.0
    run.wait(30 * DAY_S)
    assert plan(run)[0].nodes == [names[-1]]
    run.raise_on(names[-2], symptom())
    assert plan(run)[0].nodes == [names[-2]]


def test_outlays_of_more_than_a_day_ago_are_forgotten() -> None:
    run = fleet("n1", "n2")
    for asked in ask(run):
        end(run, asked)
    assert len(run.belief.bench.outlay.costs) == 2
    run.wait(30 * DAY_S)
    later = ask(run)
    end(run, later[0])
    assert list(run.belief.bench.outlay.costs) == [each.run_id for each in later]


@dataclass(slots=True)
class Random:
    """A fleet to which anything happens, with its own account of every lease."""

    run: PolicyRun

    @property
    def mine(self) -> list[BenchRun]:
        return [run for run in self.run.belief.bench.open() if run.by == "fleetmend"]

    def plan(self) -> None:
        before = {name: node.jobs for name, node in self.run.belief.nodes.items()}
        for asked in plan(self.run):
            (name,) = asked.nodes
            node = self.run.belief.nodes[name]
            assert node.presence == "online" and not before[name] and not node.jobs_unknown and node.schedulable
            assert name not in self.run.belief.open_by_node
            assert not any(scope in self.run.belief.pauses for scope in node.scopes)
            self.run.say(asked)

    def come_back(self, which: int, outcome: str, share: float) -> None:
        leases = list(self.run.belief.bench.leases.values())
        if leases:
            lease = leases[which % len(leases)]
            self.run.now = max(self.run.now, lease.granted_at + 30.0 * share)
            result = result_like(outcome, lease.benchmark)
            self.run.say(BenchEnded(lease.nodes[0], lease.lease_id, result, self.run.now, self.run.now))

    def check(self) -> None:
        """Every sliding hour and day holds what was used in it; a benchmark takes 30 s at the most."""
        when, now = self.run.rules.when, self.run.now
        assert len(self.mine) <= when.at_once
        assert len({run.nodes for run in self.mine}) == len(self.mine)
        begun = {e.event.lease_id: e.at for e in self.run.log if isinstance(e.event, LeaseGranted)}
        ended = {e.event.lease_id: e.at for e in self.run.log if isinstance(e.event, LeaseEnded)}
        for window_s, budget in ((HOUR_S, when.gpu_minutes_per_hour), (DAY_S, when.gpu_minutes_per_day)):
            inside = {lease: at for lease, at in begun.items() if ended.get(lease, now) > now - window_s}
            used = (8 * min(ended.get(lease, now) - at, 30.0) / 60.0 for lease, at in inside.items())
            assert sum(used) <= budget + 1e-6


acts = st.one_of(
    st.just(lambda world: world.plan()),
    st.builds(
        lambda which, outcome, share: lambda world: world.come_back(which, outcome, share),
        st.integers(0, 9),
        st.sampled_from(["pass", "pass", "skip", "error", "warn", "fail"]),
        st.floats(0.0, 1.0),
    ),
    st.builds(lambda s: lambda world: world.run.wait(s), st.sampled_from([1.0, 60.0, 1_800.0, 40_000.0])),
    st.builds(
        lambda n, said: lambda world: world.run.say(idle(n, world.run.now, **said)),
        st.sampled_from(["n0", "n1", "n2"]),
        st.sampled_from([{}, {"jobs": ["1"]}, {"jobs_unknown": "so"}, {"schedulable": False}]),
    ),
    st.builds(
        lambda n, state: lambda world: world.run.say(events.PresenceChanged(n, state, "so")),
        st.sampled_from(["n3", "n4"]),
        st.sampled_from(["lost", "online", "stopped"]),
    ),
    st.builds(lambda n: lambda world: world.run.raise_on(n, xid("79")), st.sampled_from(["n5", "n6"])),
    st.builds(
        lambda verb, n: lambda world: world.run.say(events.OperatorActed(verb, n, "kim", "")),
        st.sampled_from(["pause", "resume"]),
        st.sampled_from(["n7", "fleet"]),
    ),
)


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    history=st.lists(acts, max_size=40),
    hour=st.sampled_from([0.0, 11.0, 75.0, 200.0]),
    day=st.sampled_from([90.0, 300.0]),
    at_once=st.integers(0, 4),
)
def test_whatever_happens_the_budget_holds_at_every_instant(
    history: list[Callable[[Random], object]], hour: float, day: float, at_once: int
) -> None:
    when = replace(WHEN, gpu_minutes_per_hour=hour, gpu_minutes_per_day=day, at_once=at_once)
    world = Random(fleet(*(f"n{number}" for number in range(9)), rules=replace(RULES, when=when)))
    for act in history:
        act(world)
        world.check()
    assert plan(world.run) == plan(world.run), "I12"


def test_i12_a_belief_folded_again_plans_the_same() -> None:
    run = fleet("n1", "n2", "n3")
    end(run, ask(run)[0])
    again = PolicyRun(run.rules, run.now, Belief())
    for entry in run.log:
        again.now = entry.at
        again.believe(entry.event)
    assert again.belief == run.belief
    assert plan(again) == plan(run)


def test_admission_off_makes_a_new_node_one_among_others() -> None:
    off = replace(RULES, when=replace(WHEN, admission=Admission.OFF))
    run = fleet("n1", rules=off)
    run.wait(2 * HOUR_S)
    run.say(events.NodeSeen("n2", "b", FACTS), events.PresenceChanged("n2", "online", "so"), idle("n2", run.now))
    assert {each.purpose for each in plan(run)} == {"idle"}
