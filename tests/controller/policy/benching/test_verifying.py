"""A node returns only when the playbook's benchmarks pass too (I6); one that cannot be run keeps none out for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.bench_outcome import Outcome
from checks.finding import Action, Finding, Verdict
from controller import bench_events, events
from controller.bench_events import BenchAsked, BenchEnded, BenchStopped
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.verifying import WAIT_S, Result, judged
from controller.policy.playbook import Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.bench_policy import result_like
from tests.support.policy import HAND_OVER_STEPS, PolicyRun, playbook, xid
from wire.messages import NodeFacts

BENCHMARKS = ("gpu_bandwidth", "nccl_all_reduce")
ORDERS = ["run_checks", "reboot", "bench"]


def verify(name: str = "verify", **parameters: str) -> Step:
    """Return a verification with benchmarks."""
    given = {"benchmarks": ",".join(BENCHMARKS), **parameters}
    return Step(name, Verb.VERIFY, 300.0, attempts=3, parameters=given)


def book(step: Step, *, ladder: bool = False) -> Rules:
    """Return rules with one playbook; `ladder`: it reboots once more when its first verification fails."""
    plain = {each.verb: each for each in playbook("x", Verb.CORDON, Verb.DRAIN, Verb.REBOOT, Verb.UNCORDON).steps}
    first = replace(step, on_success="uncordon", on_failure="again") if ladder else step
    again = (replace(plain[Verb.REBOOT], name="again"), replace(step, name="verify_again")) if ladder else ()
    middle = (plain[Verb.CORDON], plain[Verb.DRAIN], plain[Verb.REBOOT], first, *again, plain[Verb.UNCORDON])
    answering = replace(playbook("gpu_lost"), steps=middle, hand_over=HAND_OVER_STEPS)
    bench = replace(playbook("slow"), steps=middle, answers=(replace(answering.answers[0], check="bench.gemm"),))
    bench = replace(bench, answers=(replace(bench.answers[0], codes=frozenset()),), precedence=60)
    return Rules((answering, bench), Budget(nodes=2), breakers=(), domains=(), bench=BenchRules(idle_by="slurm"))


def mended(
    rules: Rules, *, finding: Finding | None = None, orders: list[str] = ORDERS, clears: bool = True
) -> PolicyRun:
    """Return a node whose repair is over and whose verification is under way: the fresh look is still to come."""
    run, found = PolicyRun(rules), finding or xid("79")
    run.say(
        events.NodeSeen("n1", "boot-1", NodeFacts(orders_allowed=orders, gpu_count=8)),
        events.PresenceChanged("n1", "online", "so"),
    )
    run.say(events.FindingRaised("n1", "boot-1", found, run.now, origin="bench"))
    for _ in ("cordon", "drain"):
        run.end(run.under_way()[0])
    run.order_ended(run.under_way()[0], "accepted")
    run.rebooted("n1")
    if clears:
        run.clear_on("n1", found)
    assert run.under_way()[0].verb == "verify"
    return run


def looked(run: PolicyRun) -> list[events.Event]:
    """The fresh look of the verification passed."""
    return run.order_ended(run.under_way()[0])


def ended(run: PolicyRun, *outcomes: str) -> None:
    """The benchmarks of the verification end, in order; an empty outcome says nothing until its lease expires."""
    for outcome in outcomes:
        lease = run.belief.bench.lease_of("n1")
        assert lease is not None
        if not outcome:
            run.wait(lease.expires_at - run.now)
            continue
        result = result_like(outcome, lease.benchmark)
        run.say(BenchEnded("n1", lease.lease_id, result, run.now, run.now))


def last_end(run: PolicyRun) -> events.StepEnded:
    return [entry.event for entry in run.log if isinstance(entry.event, events.StepEnded)][-1]


def test_i6_benchmarks_are_asked_for_once_fresh_readings_pass() -> None:
    run = mended(book(verify(tier="2")))
    assert not run.belief.bench.runs
    decided = looked(run)
    assert decided[:2] == [
        BenchAsked(
            "inc-000001.verify.1",
            ["n1"],
            list(BENCHMARKS),
            2,
            "verify",
            "fleetmend",
            "Before n1 returns from gpu_lost.",
            "inc-000001",
            wait_s=WAIT_S,
        ),
        events.StepProgressed(
            "inc-000001",
            "verify",
            1,
            "inc-000001/verify/1",
            "waiting",
            "Fresh readings pass; gpu_bandwidth, nccl_all_reduce must pass as well, as inc-000001.verify.1.",
            until=run.now + WAIT_S + 2 * 3 * (360.0 + 60.0),
        ),
    ]
    assert [events.kind_of(each) for each in decided[2:]] == ["bench.lease_granted"]
    assert run.decide() == [], "asked for once"


def test_i6_a_node_returns_when_all_pass() -> None:
    run = mended(book(verify()))
    looked(run)
    assert run.wait(80) == []
    ended(run, "pass")
    assert run.wait(80) == []
    ended(run, "pass")
    assert last_end(run).because == ("Fresh readings pass: gpu.xid. Benchmarks pass: gpu_bandwidth, nccl_all_reduce.")
    assert run.under_way()[0].verb == "uncordon"


def test_benchmarks_have_their_time_after_an_order_that_was_sent_late() -> None:
    run = mended(book(verify()))
    intent = run.under_way()[0]
    where = (intent.incident_id, intent.step, intent.attempt, intent.key)
    run.say(events.StepProgressed(*where, "delayed", "the broker is away", failures=1, retry_at=run.now))
    looked(run)
    assert run.incident().ends_by == run.now + WAIT_S + 2 * 3 * (90.0 + 60.0)


def test_no_benchmark_is_asked_for_while_the_fault_stands() -> None:
    run = mended(book(verify()), clears=False)
    looked(run)
    assert last_end(run).because == "Still found on fresh readings: Xid 79 on GPU-0."
    assert not run.belief.bench.runs


def test_a_failure_leads_to_the_next_rung_at_once() -> None:
    run = mended(book(verify(), ladder=True))
    looked(run)
    ended(run, "pass", "fail")
    end = last_end(run)
    assert (end.outcome, end.because, end.permanent) == (
        "failed",
        "Failed: nccl_all_reduce: It summed 1 + 1 to 3. gpu_bandwidth ended.",
        True,
    )
    assert (run.under_way()[0].verb, run.under_way()[0].step) == ("reboot", "again")


def attempts(run: PolicyRun, *outcomes: str) -> int:
    """Let every attempt end the same way; return how many there were."""
    count = 0
    while run.under_way() and run.under_way()[0].step == "verify":
        looked(run)
        ended(run, *outcomes)
        run.wait(10)
        count += 1
    return count


def test_what_is_weaker_is_measured_again_and_then_people_get_it() -> None:
    run = mended(book(verify(), ladder=True))
    assert attempts(run, "pass", "warn") == 3
    assert last_end(run).because.startswith("Weaker than it should be: nccl_all_reduce: The copy from host memory")
    assert (run.incident().state, last_end(run).attempt) == ("handed_over", 3)


@pytest.mark.parametrize("outcomes", [("pass", "error"), ("", "pass")], ids=["error", "no-result"])
def test_what_broke_is_tried_again_and_then_people_get_it(outcomes: tuple[str, str]) -> None:
    """It says nothing of the node, so that the next rung would be a repair for nothing."""
    run = mended(book(verify(), ladder=True))
    assert attempts(run, *outcomes) == 3
    assert last_end(run).because.startswith("Not measured, which says nothing of the node: ")
    assert run.incident().state == "handed_over"
    assert run.verbs("n1")[-1] == "ticket"


def test_a_host_without_the_means_is_not_kept_out() -> None:
    run = mended(book(verify()))
    assert attempts(run, "pass", "skip") == 3
    assert last_end(run).because == (
        "Fresh readings pass: gpu.xid. Benchmarks pass: gpu_bandwidth. No benchmark was run of nccl_all_reduce: "
        "gpu_bandwidth ended."
    )
    assert run.under_way()[0].verb == "uncordon"


def test_people_get_it_when_the_playbook_wants_proof() -> None:
    run = mended(book(verify(unmeasured="hand_over"), ladder=True))
    assert attempts(run, "pass", "skip") == 3
    assert last_end(run).because == "Not proven healthy: nccl_all_reduce: gpu_bandwidth ended."
    assert run.incident().state == "handed_over"


def test_nothing_to_judge_by_lets_a_node_go_on_and_says_so() -> None:
    run = mended(book(verify()))
    looked(run)
    ended(run, "pass", "unlimited")
    assert last_end(run).because.startswith(
        "Fresh readings pass: gpu.xid. Benchmarks pass: gpu_bandwidth. Measured, and nothing to judge it by: "
        "nccl_all_reduce: The copy from host memory"
    )
    assert run.under_way()[0].verb == "uncordon"


def test_an_agent_that_does_not_allow_it_is_not_asked() -> None:
    run = mended(book(verify()), orders=["run_checks", "reboot"])
    looked(run)
    assert not run.belief.bench.runs
    assert last_end(run).because == (
        "Fresh readings pass: gpu.xid. No benchmark was run of gpu_bandwidth, nccl_all_reduce: the agent of n1 does "
        "not allow the order bench."
    )
    assert run.under_way()[0].verb == "uncordon"


SLOW = Finding("bench.gemm", "GPU-3", "gemm_bf16", Verdict.FAILED, Action.REBOOT, "GPU-3 computes slowly.")


def plain_verify() -> Step:
    return Step("verify", Verb.VERIFY, 300.0, attempts=3)


def test_i6_what_a_benchmark_condemned_returns_when_that_benchmark_passes() -> None:
    run = mended(book(plain_verify()), finding=SLOW, clears=False)
    assert run.under_way()[0].parameters["checks"] == "", "no node can look at a benchmark's finding"
    looked(run)
    (asked,) = run.belief.bench.open()
    assert asked.benchmarks == ("gemm",)
    ended(run, "pass")
    assert last_end(run).because == "Fresh readings pass: every check. Benchmarks pass: gemm."
    assert run.under_way()[0].verb == "uncordon"


@pytest.mark.parametrize("allowed", [True, False])
def test_i6_what_a_benchmark_condemned_never_returns_without_it(*, allowed: bool) -> None:
    run = mended(
        book(plain_verify(), ladder=True), finding=SLOW, clears=False, orders=ORDERS if allowed else ["run_checks"]
    )
    if allowed:
        assert attempts(run, "skip") == 3
    else:
        looked(run)
    assert last_end(run).because.startswith("Not proven healthy: gemm: ")
    assert run.incident().state == "handed_over"
    assert "uncordon" not in run.verbs("n1")


def test_i6_people_who_say_that_it_is_mended_are_verified_by_the_benchmark_too() -> None:
    run = mended(book(plain_verify()), finding=SLOW, clears=False)
    looked(run)
    ended(run, "fail")
    for _ in ("ticket", "page"):
        run.end(run.under_way()[0])
    run.say(events.OperatorActed("approve", "inc-000001", "kim", ""))
    looked(run)
    assert run.belief.bench.runs["inc-000001.verify.2"].benchmarks == ("gemm",)
    ended(run, "pass")
    assert run.under_way()[0].verb == "uncordon"


def test_benchmarks_that_do_not_end_are_given_up_and_stopped() -> None:
    rules = book(verify(), ladder=True)
    run = mended(replace(rules, bench=replace(rules.bench, at_once={"fleet": 0})))
    for _ in range(3):
        looked(run)
        (asked,) = run.belief.bench.open_runs
        assert run.wait(WAIT_S + 2 * 3 * (90.0 + 60.0) - 1) == []
        decided = run.wait(2)
        assert BenchStopped(asked, "fleetmend", "The verification that asked for it is over.") in decided
        run.wait(10)
    assert last_end(run).because == (
        "The benchmarks of inc-000001.verify.3 did not end in time. "
        "Waiting: 0 of 0 benchmarks run in the fleet already."
    )
    assert run.incident().state == "handed_over"


def test_i3_an_abort_waits_for_no_benchmark() -> None:
    run = mended(book(verify()))
    looked(run)
    decided = run.say(events.OperatorActed("abort", "inc-000001", "kim", "enough"))
    kinds = [events.kind_of(event) for event in decided]
    assert kinds[:2] == ["incident.aborted", "bench.stopped"]
    assert run.belief.bench.leases == run.belief.bench.open_runs == {}


def test_runs_of_others_are_left_alone() -> None:
    run = mended(book(verify()))
    asked = bench_events.BenchAsked("mine", ["n1"], ["gemm"], 1, "verify", "kim", "to see")
    run.say(asked, replace_purpose(asked, "operator"))
    looked(run)
    ended_ids = [e.event.run_id for e in run.log if isinstance(e.event, BenchStopped)]
    assert ended_ids == []


def replace_purpose(asked: BenchAsked, purpose: str) -> BenchAsked:
    return BenchAsked(f"{asked.run_id}-2", asked.nodes, asked.benchmarks, 1, purpose, "kim", "to see")


@given(
    outcomes=st.dictionaries(
        st.sampled_from(["gemm", "rdma", "dcgm", "storage"]), st.sampled_from(Outcome), min_size=1
    ),
    limits=st.booleans(),
    condemned=st.sets(st.sampled_from(["gemm", "rdma"])),
    strict=st.booleans(),
    is_last=st.booleans(),
)
def test_i6_only_a_pass_proves(
    outcomes: dict[str, Outcome], limits: bool, condemned: set[str], strict: bool, is_last: bool
) -> None:
    results = {name: Result(outcome, "so", has_limit=limits) for name, outcome in outcomes.items()}
    ending = judged(results, condemned & results.keys(), passed="Fine.", strict=strict, is_last=is_last)
    values = set(outcomes.values())
    if values == {Outcome.PASS}:
        assert ending.outcome == "done"
    if ending.outcome == "done":
        assert values <= {Outcome.PASS, Outcome.SKIP, Outcome.WARN}
        assert all(outcomes[name] is Outcome.PASS for name in condemned & outcomes.keys())
        assert not (strict and values - {Outcome.PASS})
        assert all(name in ending.because for name in outcomes)
        assert not limits or Outcome.WARN not in values
    else:
        assert (ending.outcome, bool(ending.because)) == ("failed", True)
        assert values != {Outcome.PASS}
        assert ending.hands_over or values & {Outcome.FAIL, Outcome.SKIP}
    assert not (ending.hands_over and Outcome.FAIL in values), "a fault that is proven takes the next rung"
