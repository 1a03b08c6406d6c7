"""Lemons: the statistics against tables, what counts, what is found of a node, and that nothing is done to it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import events
from controller.policy import gamma, lemon
from controller.policy.history import DAY_S
from controller.policy.lemon import LEMON_KEY, WINDOW_S, Exposure, Failure, Failures, score
from controller.policy.offenders import score_of
from controller.policy.playbook import Verb
from controller.policy.probation import GROWTH, LONGEST_S, watch
from controller.policy.rules import Budget, Rules
from tests.support.policy import PolicyRun, playbook, xid
from tests.support.shipped import SHIPPED

SHIPPED_LEMON = next(each for each in SHIPPED if each.name == "node_lemon")
WATCHFUL = playbook("gpu_lost", Verb.CORDON, Verb.VERIFY, Verb.PROBATION, Verb.UNCORDON)
MENDING = playbook("gpu_lost", Verb.CORDON, Verb.REBOOT, Verb.VERIFY, Verb.PROBATION, Verb.UNCORDON)

# --- the distribution ------------------------------------------------------------------------------------------------

CHI_SQUARE = [
    *((1, 0.95, 3.841), (2, 0.95, 5.991), (5, 0.95, 11.070), (10, 0.95, 18.307), (30, 0.95, 43.773)),
    *((1, 0.05, 0.004), (2, 0.05, 0.103), (10, 0.05, 3.940), (30, 0.05, 18.493), (100, 0.05, 77.929)),
    *((1, 0.99, 6.635), (10, 0.99, 23.209), (10, 0.01, 2.558), (100, 0.95, 124.342)),
]
"""Degrees of freedom, probability, quantile. Source: NIST/SEMATECH e-Handbook of Statistical Methods 1.3.6.7.4."""


@pytest.mark.parametrize(("degrees", "probability", "value"), CHI_SQUARE)
def test_quantiles_are_those_of_the_tables(degrees: int, probability: float, value: float) -> None:
    assert 2.0 * gamma.quantile(degrees / 2.0, probability) == pytest.approx(value, abs=6e-4)
    assert gamma.below(degrees / 2.0, value / 2.0) == pytest.approx(probability, abs=1e-3)


@pytest.mark.parametrize("x", [0.001, 0.5, 1.0, 2.5, 10.0, 40.0])
def test_shape_one_is_the_exponential_distribution(x: float) -> None:
    assert gamma.below(1.0, x) == pytest.approx(-math.expm1(-x), rel=1e-11)


@given(count=st.integers(1, 60), x=st.floats(0.01, 120.0))
def test_whole_shapes_are_what_a_poisson_process_leaves_over(count: int, x: float) -> None:
    fewer = math.fsum(math.exp(k * math.log(x) - x - math.lgamma(k + 1)) for k in range(count))
    assert gamma.below(float(count), x) == pytest.approx(1.0 - fewer, abs=1e-10)


@given(shape=st.floats(0.15, 200.0), probability=st.floats(0.001, 0.999))
def test_a_quantile_is_where_the_distribution_reaches_it(shape: float, probability: float) -> None:
    assert gamma.below(shape, gamma.quantile(shape, probability)) == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize(("shape", "x"), [(0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_what_is_no_distribution_is_refused(shape: float, x: float) -> None:
    with pytest.raises(ValueError, match="no gamma distribution"):
        gamma.below(shape, x)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, math.nan])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="no probability"):
        gamma.quantile(1.0, probability)


# --- the score -------------------------------------------------------------------------------------------------------


def failing(node: str, *days: float, weight: float = 1.0) -> Failures:
    failures = Failures()
    for day in days:
        failures.add(Failure(node, day * DAY_S, weight))
    return failures


FLEET = Exposure(28.0, 28.0 * 999)
NOW = 28 * DAY_S


@pytest.mark.parametrize(
    ("days", "is_lemon"),
    [
        ((), False),
        ((1.0,), False),
        ((1.0, 9.0), False),
        ((1.0, 9.0, 17.0, 20.0), True),
        ((9.1, 9.2, 9.3, 9.4, 9.5), False),
        ((9.1, 9.2, 9.3, 9.4, 10.5), True),
    ],
    ids=["none", "one", "two", "four", "five in a day", "five in two days"],
)
def test_a_lemon_fails_often_and_not_in_one_bad_afternoon(days: tuple[float, ...], is_lemon: bool) -> None:
    others = [Failure(f"m{number}", number * DAY_S / 4, 1.0) for number in range(100)]
    failures = Failures()
    for failure in sorted([*others, *failing("n1", *days).recent], key=lambda each: each.at):
        failures.add(failure)
    found = score(failures, "n1", FLEET, NOW)
    assert (found.is_lemon, found.failures) == (is_lemon, len(days))
    assert found.low < found.ratio < found.high


def test_the_score_has_the_numbers_of_its_formula() -> None:
    """Four failures in 28 days at the published rate, of which 0.112 are usual: by hand, kind by kind."""
    found = score(failing("n1", 1, 9, 17, 20), "n1", Exposure(28.0, 0.0), NOW)
    mean, expected = 0.988 + 0.012 * 35, 28 * 0.004
    assert found.expected == pytest.approx(expected)
    ordinary, lemons = 10.0 * mean, 3.0 * mean / 35
    odds = 0.012 * (3 * 4 * 5 * 6) * lemons**3 / (lemons + expected) ** 7
    against = 0.988 * (10 * 11 * 12 * 13) * ordinary**10 / (ordinary + expected) ** 14
    share = odds / (odds + against)
    assert found.rates.kinds[1].share == pytest.approx(share)
    above = [1.0 - gamma.below(7.0, 5 * (lemons + expected)), 1.0 - gamma.below(14.0, 5 * (ordinary + expected))]
    assert found.lemon == pytest.approx(share * above[0] + (1 - share) * above[1])
    assert found.rates.mean == pytest.approx(share * 7 / (lemons + expected) + (1 - share) * 14 / (ordinary + expected))


def test_before_anything_is_known_a_node_is_like_the_fleet() -> None:
    assert lemon._PRIOR.mean == pytest.approx(1.0)
    assert math.fsum(kind.share for kind in lemon._PRIOR.kinds) == pytest.approx(1.0)
    assert lemon._PRIOR.kinds[1].mean / lemon._PRIOR.kinds[0].mean == pytest.approx(lemon.LEMON_TIMES)


def test_a_fleet_that_fails_often_has_fewer_lemons() -> None:
    calm = score(failing("n1", 1, 9, 17, 20), "n1", FLEET, NOW)
    failures = failing("n1", 1, 9, 17, 20)
    failures.weight += 2_000.0
    assert score(failures, "n1", FLEET, NOW).lemon < calm.lemon


@given(
    days=st.lists(st.floats(0.0, 28.0), max_size=12).map(sorted),
    weight=st.floats(0.01, 1.0),
    node_days=st.floats(0.0, 28.0),
)
def test_one_more_failure_never_makes_a_better_node(days: list[float], weight: float, node_days: float) -> None:
    watched = Exposure(node_days, 28_000.0)
    before = score(failing("n1", *days, weight=weight), "n1", watched, NOW)
    after = score(failing("n1", *days, 28.0, weight=weight), "n1", watched, NOW)
    assert 0.0 <= before.lemon <= after.lemon <= 1.0
    assert before.rates.mean < after.rates.mean
    assert before.low <= before.ratio <= before.high


HAPPENED = st.tuples(st.sampled_from("abc"), st.floats(0.0, 5 * DAY_S), st.floats(0.01, 1.0))


@given(happened=st.lists(HAPPENED, max_size=60))
def test_failures_are_forgotten_when_they_leave_the_window(happened: list[tuple[str, float, float]]) -> None:
    failures, at = Failures(), 0.0
    for node, later, weight in happened:
        at += later
        failures.add(Failure(node, at, weight))
        assert all(each.at >= at - WINDOW_S for each in failures.recent)
        assert sorted(map(id, failures.recent)) == sorted(id(f) for of in failures.by_node.values() for f in of)
        assert failures.weight == pytest.approx(math.fsum(each.weight for each in failures.recent), abs=1e-9)


def test_injected_lemons_are_found_and_few_others() -> None:
    """A fleet of the fault model for 60 days: 1.2 % of 1,000 nodes fail 35 times as often. Aims: those of the model."""
    dice = random.Random(20)
    lemons = {f"n{number}" for number in range(12)}
    base = 4.0 / 1000.0 / (0.988 + 0.012 * 35)
    failures, called = Failures(), set()
    for day in range(60):
        for number in range(1000):
            name = f"n{number}"
            if dice.random() < base * (35 if name in lemons else 1):
                now = day * DAY_S + number
                failures.add(Failure(name, now, 1.0))
                watched = lemon.exposure(known_since=0.0, began_at=0.0, nodes=1000, now=now)
                if score(failures, name, watched, now).is_lemon:
                    called.add(name)
    assert len(called & lemons) / len(called) >= 0.85
    assert len(called & lemons) / len(lemons) >= 0.8


# --- what counts -----------------------------------------------------------------------------------------------------


def fail_on(run: PolicyRun, day: float, node: str = "n1", code: str = "79") -> None:
    """Let an incident run its course on a day."""
    run.now = max(run.now, day * DAY_S)
    run.raise_on(node, xid(code))
    run.clear_on(node, xid(code))
    while under_way := [intent for intent in run.under_way(node) if intent.verb != "approve"]:
        intent = under_way[0]
        if intent.verb == "verify":
            run.order_ended(intent)
        elif intent.verb == "probation":
            run.wait(float(intent.parameters["for_s"]) + 1.0)
        else:
            run.end(intent)


def lemon_run() -> PolicyRun:
    run = PolicyRun(Rules((WATCHFUL, SHIPPED_LEMON), Budget(nodes=5)))
    return run.nodes("n1", *(f"m{number}" for number in range(20)))


def test_a_lemon_is_a_proposal_to_people_and_never_an_act() -> None:
    run = lemon_run()
    for day in (12, 13, 14, 15, 16):
        fail_on(run, day)
    found = run.belief.nodes["n1"].findings[LEMON_KEY].finding
    assert found.because.startswith("n1 was taken out ")
    assert "times the fleet's rate (90% between" in found.because
    (incident,) = [i for i in run.belief.open_incidents.values() if i.fault_class == "node_lemon"]
    step = incident.step()
    assert (step.verb if step else "", run.belief.held) == ("approve", set())
    before = run.verbs("n1").count("cordon")
    run.wait(DAY_S)
    assert run.verbs("n1").count("cordon") == before
    run.say(events.OperatorActed("approve", incident.id, "kim", "enough"))
    assert run.verbs("n1").count("cordon") == before + 1


def test_a_lemon_is_forgiven_when_its_failures_leave_the_window() -> None:
    run = lemon_run()
    for day in (12, 15, 18, 21, 24):
        fail_on(run, day)
    assert run.belief.lemons == {"n1"}
    run.now = (21 + 28) * DAY_S + 7200.0
    run.decide()
    assert (run.belief.lemons, LEMON_KEY in run.belief.nodes["n1"].findings) == (set(), False)


@pytest.mark.parametrize(("fault_class", "weight"), [("rdma_link", 0.25), ("gpu_lost", 1.0)])
def test_a_fault_that_may_be_anothers_counts_less_on_a_node_of_a_big_job(fault_class: str, weight: float) -> None:
    link = replace(WATCHFUL, fault_class=fault_class)
    run = PolicyRun(Rules((link,), Budget(nodes=5))).nodes("n1", "n2", "n3", "n4")
    for name in ("n1", "n2", "n3", "n4"):
        run.say(events.ScheduleObserved(name, True, "", "", ["17"] if name != "n1" else ["17", "18"], run.now))
    run.raise_on("n1", xid("79"))
    assert score_of(run.belief, "n1", run.now).weight == weight


def test_a_fault_that_came_back_counts_half_and_one_on_another_part_whole() -> None:
    """It may be the same fault, which says nothing new of the node."""
    run = PolicyRun(Rules((MENDING,), Budget(nodes=5))).nodes("n1")
    for day in (12, 14):
        mend_on(run, day)
    assert score_of(run.belief, "n1", run.now).weight == 1.5
    run.raise_on("n1", xid("79", device="0000:3c:00"))
    assert (score_of(run.belief, "n1", run.now).weight, score_of(run.belief, "n1", run.now).failures) == (2.5, 3)


def test_a_silent_agent_is_no_failure_and_a_dead_node_is_one_and_one_only() -> None:
    """The incident opens for the agent's silence alone, and is about the node once two agree that it is dead."""
    run = PolicyRun(Rules(SHIPPED, Budget(nodes=5))).nodes("n1", "n2", "n3")
    run.say(events.PresenceChanged("n1", "lost", "the broker says that it is gone"))
    run.wait(40.0)
    assert [each.fault_class for each in run.belief.open_incidents.values()] == ["agent_lost"]
    assert run.belief.failures.of("n1", run.now) == []
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now, False))
    run.wait(40.0)
    assert [each.fault_class for each in run.belief.open_incidents.values()] == ["node_lost"]
    assert [each.weight for each in run.belief.failures.of("n1", run.now)] == [1.0]


def test_jobs_are_counted_as_they_come_and_go() -> None:
    run = PolicyRun().nodes("n1", "n2")
    for jobs in (["1", "2"], ["2"], ["2", "3"], []):
        for name in ("n1", "n2"):
            run.say(events.ScheduleObserved(name, True, "", "", jobs, run.now))
        assert run.belief.job_nodes == dict.fromkeys(jobs, 2)


def test_drills_shadows_and_people_are_no_failures() -> None:
    run = lemon_run()
    run.say(events.OperatorActed("cordon", "n1", "kim", "burn-in"))
    run.say(events.DrillStarted("m1", "gpu_lost", "drill/1/1", {}, "kim"))
    run.raise_on("m1", xid("79"))
    assert run.belief.failures == Failures()


def test_what_leaves_the_node_in_service_is_no_failure() -> None:
    run = PolicyRun(Rules((playbook("watch", Verb.TICKET),), Budget(nodes=5))).nodes("n1")
    run.raise_on("n1", xid("79"))
    assert run.belief.failures == Failures()


# --- the watch after a repair ----------------------------------------------------------------------------------------

CALM = score(Failures(), "n1", FLEET, NOW)
SUSPECT = score(failing("n1", 1, 9, 17), "n1", FLEET, NOW)


@given(base_s=st.floats(1.0, 100 * 3600.0), earlier=st.integers(0, 20), suspect=st.booleans())
def test_a_watch_grows_with_history_and_is_bounded(base_s: float, earlier: int, suspect: bool) -> None:
    watched = watch(base_s, earlier=earlier, score=SUSPECT if suspect else CALM)
    assert base_s <= watched.for_s <= max(base_s, LONGEST_S)
    assert watched.for_s <= watch(base_s, earlier=earlier + 1, score=SUSPECT if suspect else CALM).for_s
    assert bool(watched.because) == (watched.for_s > base_s)


def test_a_watch_says_why_it_is_longer() -> None:
    assert watch(600.0, earlier=0, score=CALM).because == ""
    doubled = watch(600.0, earlier=1, score=CALM)
    assert (doubled.for_s, doubled.because) == (
        600.0 * GROWTH,
        "Watched for 1200 s instead of 600 s, for 1 earlier repair of this part.",
    )
    assert "times the fleet's rate" in watch(600.0, earlier=0, score=SUSPECT).because


def mend_on(run: PolicyRun, day: float) -> None:
    """Let a fault be there until the reboot has begun."""
    run.now = max(run.now, day * DAY_S)
    run.raise_on("n1", xid("79"))
    while run.under_way("n1"):
        intent = run.under_way("n1")[0]
        if intent.verb == "reboot":
            run.clear_on("n1", xid("79"))
            run.order_ended(intent, "accepted")
            run.rebooted("n1")
        elif intent.verb == "verify":
            run.order_ended(intent)
        elif intent.verb == "probation":
            run.wait(float(intent.parameters["for_s"]) + 1.0)
        else:
            run.end(intent)


def test_i10_the_next_probation_of_a_part_is_longer_and_says_so() -> None:
    run = PolicyRun(Rules((MENDING,), Budget(nodes=5))).nodes("n1")
    for day in (12, 12 + 8, 12 + 16):
        mend_on(run, day)
    watches = [e.event for e in run.log if isinstance(e.event, events.StepIntended) and e.event.verb == "probation"]
    assert [intent.parameters["for_s"] for intent in watches] == ["60", "120", "480"]
    assert (
        watches[2]
        .reason.inputs["watch"]
        .startswith("Watched for 480 s instead of 60 s, for 2 earlier repairs of this part and a node with ")
    )


def test_an_incident_that_repaired_nothing_makes_no_watch_longer() -> None:
    run = PolicyRun(Rules((WATCHFUL,), Budget(nodes=5))).nodes("n1")
    fail_on(run, 12)
    fail_on(run, 12)
    watches = [e.event for e in run.log if isinstance(e.event, events.StepIntended) and e.event.verb == "probation"]
    assert [intent.parameters["for_s"] for intent in watches] == ["60", "60"]
