"""What holds for every log: however it is cut, times add up, and nodes that have nothing to do with each other do not
matter to each other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Verdict
from controller import bench_events, events
from controller.policy.places import merged
from controller.policy.reporting.asked import Asked, Known
from controller.policy.reporting.durations import ACCURACY, EXACT, Durations
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.intervals import share_of, time_between
from controller.policy.reporting.shapes import Report
from controller.policy.rules import Budget, Rules
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, START, PolicyRun, xid
from tests.support.told_log import FACTS, HOUR, ToldLog, lost_gpu

NODES = ("n1", "n2", "n3")
Act = Callable[[PolicyRun], object]


def end_one(run: PolicyRun, which: int, outcome: str) -> object:
    """Let one step that is under way end."""
    under_way = run.under_way()
    if not under_way:
        return None
    intent = under_way[which % len(under_way)]
    if intent.verb in {"cordon", "drain", "uncordon", "ticket", "page"}:
        return run.end(intent, outcome)
    if intent.verb == "verify":
        for raised in list(run.belief.nodes[intent.node].findings.values()):
            run.clear_on(intent.node, raised.finding)
    if intent.verb == "reboot" and outcome == "done":
        run.order_ended(intent, "accepted")
        return run.rebooted(intent.node)
    return run.order_ended(intent, outcome) if intent.verb in {"verify", "reset_gpu", "reboot"} else run.wait(61.0)


def lease(run: PolicyRun, node: str) -> None:
    """Let a benchmark run on a node for a while. What it is for is of no concern here."""
    name = f"lease-{len(run.log)}"
    asked = bench_events.BenchAsked(f"run-{name}", [node], ["gemm"], 1, "operator", "kim", "so")
    run.believe(asked)
    granted = bench_events.LeaseGranted(name, f"run-{name}", [node], "gemm", 1, run.now + 60, events.Reason("so"))
    run.believe(granted)
    run.now += 30.0
    run.believe(bench_events.LeaseEnded(name, f"run-{name}", "done", "so", node))
    run.believe(bench_events.BenchRunEnded(f"run-{name}", "pass", "so"))


node = st.sampled_from(NODES)
acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(
        lambda n, code, verdict: lambda run: run.raise_on(n, xid(code, verdict=verdict)),
        node,
        st.sampled_from(["79", "95"]),
        st.sampled_from([Verdict.FAILED, Verdict.DEGRADED]),
    ),
    st.builds(
        lambda which, outcome: lambda run: end_one(run, which, outcome),
        st.integers(0, 9),
        st.sampled_from(["done", "done", "done", "failed", "refused"]),
    ),
    st.builds(lambda s: lambda run: run.wait(s), st.sampled_from([1.0, 61.0, 4000.0])),
    st.builds(
        lambda verb, subject: lambda run: run.say(events.OperatorActed(verb, subject, "kim", "")),
        st.sampled_from(["cordon", "uncordon"]),
        node,
    ),
    st.builds(
        lambda n, state: lambda run: run.say(events.PresenceChanged(n, state, "so")),
        node,
        st.sampled_from(["lost", "online", "silent"]),
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
        st.sampled_from(["", "by hand"]),
    ),
    st.builds(lambda n: lambda run: lease(run, n), node),
    st.builds(lambda n: lambda run: run.say(events.DrillStarted(n, "f", "drill/1/1", {}, "kim")), node),
)


def lived(history: list[Act]) -> PolicyRun:
    """Return a cell after a history, decided upon by the real policy."""
    run = PolicyRun(Rules((GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=2), breakers=(), domains=()))
    for name in NODES:
        run.say(events.NodeSeen(name, "boot-1", FACTS), events.PresenceChanged(name, "online", "so"))
    for act in history:
        act(run)
        run.now += 1.0
    return run


def report_of(log: list[events.Logged], since: float, until: float) -> Report:
    """Return the report on a span."""
    fold = Fold(Asked(since, until))
    fold.take_all(log)
    return fold.report()


@settings(max_examples=50)
@given(history=st.lists(acts, max_size=40), cuts=st.lists(st.floats(0, 1), max_size=3), since=st.floats(0, 1))
def test_a_log_in_pieces_gives_the_same_report(history: list[Act], cuts: list[float], since: float) -> None:
    """Also when the fold is put away between two pieces and taken up again."""
    run = lived(history)
    asked = Asked(START + since * (run.now - START), run.now + HOUR)
    whole, pieces = Fold(asked), Fold(asked)
    whole.take_all(run.log)
    places = sorted(int(cut * len(run.log)) for cut in cuts)
    for first, last in zip([0, *places], [*places, len(run.log)], strict=True):
        pieces.take_all(run.log[first:last])
        pieces = copy.deepcopy(pieces)
    assert pieces.report() == whole.report()


@settings(max_examples=50)
@given(history=st.lists(acts, max_size=40), since=st.floats(0, 0.9))
def test_the_times_of_a_node_add_up_to_its_span(history: list[Act], since: float) -> None:
    run = lived(history)
    begin, end = START + since * (run.now - START), run.now + HOUR
    report = report_of(run.log, begin, end)
    for row in report.nodes:
        assert row.known_h == pytest.approx((end - begin) / HOUR, abs=1e-4)
        states = (row.in_service_h, row.held_out_h, row.kept_out_h, row.lost_h, row.planned_h, row.drill_h)
        assert math.fsum([*states, row.unknown_h]) == pytest.approx(row.known_h, abs=1e-4)
    assert math.fsum(row.share or 0.0 for row in report.availability.states) == pytest.approx(1.0)
    assert math.fsum(sum(each.node_hours) for each in report.availability.slices) == pytest.approx(
        sum(row.known_h for row in report.nodes), abs=1e-3
    )


@settings(max_examples=40)
@given(history=st.lists(acts, max_size=40), middle=st.floats(0.1, 0.9))
def test_two_halves_of_a_span_add_up_to_the_whole(history: list[Act], middle: float) -> None:
    run = lived(history)
    end = run.now + HOUR
    turn = START + middle * (end - START)
    first, second, whole = (
        report_of(run.log, since, until) for since, until in ((START, turn), (turn, end), (START, end))
    )
    for index, row in enumerate(whole.availability.states):
        together = first.availability.states[index].node_hours + second.availability.states[index].node_hours
        assert together == pytest.approx(row.node_hours, abs=1e-4)
    assert first.losses.gpu_hours + second.losses.gpu_hours == pytest.approx(whole.losses.gpu_hours, abs=1e-4)
    opened = [sum(row.opened for row in each.outcomes) for each in (first, second, whole)]
    assert opened[0] + opened[1] == opened[2]


@settings(max_examples=50)
@given(history=st.lists(acts, max_size=40))
def test_who_is_held_is_who_belief_says_is_held(history: list[Act]) -> None:
    """The report folds the log by itself; where belief knows a confirmed hold, so does it."""
    run = lived(history)
    fold = Fold(Asked(START, run.now + HOUR))
    fold.take_all(run.log)
    believed = {i.id for i in run.belief.open_incidents.values() if i.cordoned and i.holding}
    assert {name for each in fold.told.nodes.values() for name in each.holders} == believed
    assert set(fold.told.open) == set(run.belief.open_incidents)
    drills = {i.id for i in run.belief.open_incidents.values() if i.drill}
    assert {name for name, each in fold.told.open.items() if each.kind == "drill"} == drills


@given(order=st.permutations(NODES))
def test_the_order_of_unrelated_nodes_does_not_matter(order: list[str]) -> None:
    """Three nodes fail and come back at the same moments; whose entry was written first tells nothing."""

    def written(names: list[str]) -> Report:
        alone = {name: ToldLog().node(name) for name in names}
        for name, log in alone.items():
            log.opened = NODES.index(name)
            log.repaired(name, 100.0 * NODES.index(name) + HOUR, finding=lost_gpu(serial=name))
        together = sorted((entry for log in alone.values() for entry in log.log), key=lambda entry: entry.at)
        entries = [events.Logged(number, entry.at, entry.event) for number, entry in enumerate(together, 1)]
        return ToldLog(log=entries).report(10 * HOUR)

    assert written(order) == written(list(NODES))


@settings(max_examples=30)
@given(history=st.lists(acts, max_size=40), cut=st.floats(0.05, 0.95))
def test_whatever_is_missing_at_the_beginning_nothing_is_invented(history: list[Act], cut: float) -> None:
    """No node has more time than the log tells of; and what is known besides is used only where it has not changed."""
    run = lived(history)
    log = run.log[int(cut * len(run.log)) :]
    known = {
        name: Known(
            each.facts,
            merged(each.claims) if each.claims else {},
            each.presence,
            each.presence_since,
            each.schedulable or bool(each.hold_id),
            each.foreign_reason,
            each.schedule_observed_at,
        )
        for name, each in run.belief.nodes.items()
    }
    fold = Fold(Asked(START, run.now + HOUR), known=known, deleted_through=log[0].event_id - 1)
    fold.take_all(log)
    report = fold.report()
    told_h = (run.now + HOUR - log[0].at) / HOUR
    assert {row.node for row in report.nodes} == set(NODES)
    assert all(row.known_h == pytest.approx(told_h, abs=1e-4) for row in report.nodes)
    assert report.span.since == log[0].at


def test_a_gap_in_the_middle_begins_the_count_anew() -> None:
    log = ToldLog().node("n1")
    log.repaired("n1", HOUR)
    log.say(5 * HOUR, events.PresenceChanged("n1", "online", "so"))
    log.say(6 * HOUR, events.PresenceChanged("n1", "online", "so"))
    gone = ToldLog(log=[*log.log[:4], *log.log[-2:]])
    report = gone.report(10 * HOUR)
    assert report.span.since == log.log[-2].at and report.nodes[0].known_h == 5.0
    assert report.outcomes == [] or all(not row.closed for row in report.outcomes)
    assert any("are not all in the log" in note for note in report.notes)


def test_a_report_survives_json() -> None:
    log = ToldLog().node("n1")
    log.repaired("n1", HOUR)
    report = log.report(10 * HOUR)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@settings(max_examples=50)
@given(values=st.lists(st.floats(0.0, 1e7), min_size=1, max_size=EXACT + 100), share=st.floats(0.01, 1.0))
def test_quantiles_are_as_accurate_as_they_say(values: list[float], share: float) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    tolerance = 0.0 if len(values) <= EXACT else ACCURACY
    assert durations.quantile(share) == pytest.approx(exact, rel=tolerance * 1.01, abs=1e-3)


@given(events_seen=st.integers(0, 500), exposure=st.floats(1e-3, 1e6))
def test_an_interval_holds_its_mean(events_seen: int, exposure: float) -> None:
    mean, between = time_between(events_seen, exposure)
    assert between.low is not None and between.low > 0.0
    if events_seen:
        assert mean is not None and between.high is not None and between.low < mean < between.high
    else:
        assert mean is None and between.high is None


@given(successes=st.integers(0, 300), failures=st.integers(0, 300))
def test_a_share_lies_between_its_ends(successes: int, failures: int) -> None:
    mean, between = share_of(successes, failures)
    if not successes + failures:
        assert mean is None and between.low is None and between.high is None
    else:
        assert mean is not None and between.low is not None and between.high is not None
        assert 0.0 <= between.low <= mean <= between.high <= 1.0
