"""Sweeps as the policy runs them: what simulated networks measure goes in, verdicts and what follows come out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from benchmarks.localise import is_named
from benchmarks.simulated_fabric import RAILS, Fault, Network, Noise
from benchmarks.simulated_fabric import network as simulated
from checks.bench_outcome import Outcome
from controller.bench_events import BaselineLearnt, BenchAsked, BenchEnded, BenchStopped, LeaseEnded, LeaseGranted
from controller.events import (
    FindingRaised,
    IncidentOpened,
    Logged,
    NodePlaced,
    NodeSeen,
    OrderEnded,
    PresenceChanged,
    ScheduleObserved,
)
from controller.notices.text import notice_for
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.findings import GROUP_SLOW, WRONG_RESULT
from controller.policy.benching.orders import order_id
from controller.policy.localising.verdicts import Kind, Verdict
from controller.policy.playbook import SLOW_NETWORK, SWEEP_STOPPED
from controller.policy.rules import Budget, Rules
from controller.policy.sweeping.book import Sweep
from controller.policy.sweeping.concluding import CHECK
from controller.policy.sweeping.judging import OF_ALL, OF_RAIL
from controller.policy.sweeping.planning import LIMIT_S
from controller.policy.sweeping.taking_over import interrupted
from controller.store.snapshot import belief_of, pieces
from controller.sweep_events import (
    SweepAsked,
    SweepEnded,
    SweepGroupEnded,
    SweepGroupMet,
    SweepNodeLeft,
    SweepRoundJudged,
    SweepStopAsked,
    SweepVerdict,
)
from tests.support.policy import PolicyRun
from tests.support.swept_nodes import SweptNodes
from wire.messages import NodeFacts

Kept = TypeVar("Kept")

QUIET = Noise(wrong=0.0, error=0.0, departs=0.0)
RULES = Rules((), Budget(nodes=2), domains=(), breakers=(), bench=BenchRules(idle_by="slurm"))
FACTS = NodeFacts(gpu_model="NVIDIA H100 80GB HBM3", gpu_count=RAILS)


def network(*faults: Fault, size: int = 32, per_unit: int = 8, noise: Noise = QUIET, seed: int = 1) -> Network:
    """Return a rail-optimised network of units of eight nodes: n0 to n7, n8 to n15, ..."""
    made = Network(size, per_unit, 4, True, True, random.Random(seed), noise)
    made.faults = faults
    return made


@dataclass(slots=True)
class Swept:
    """A cell without a shell, and the nodes of a network that do what it orders."""

    nodes: SweptNodes
    run: PolicyRun = field(default_factory=lambda: PolicyRun(RULES))
    commits: list[int] = field(default_factory=list)
    _seen: int = 0

    def __post_init__(self) -> None:
        """Make the nodes known, idle and placed."""
        made = self.nodes.network
        for number in range(made.size):
            name = made.node(number)
            leaves = [made.leaf(made.unit_of(name), rail) for rail in range(RAILS if made.rail_optimised else 1)]
            self.run.say(
                NodeSeen(name, "boot-1", FACTS),
                PresenceChanged(name, "online", "so"),
                NodePlaced(name, {"leaf": leaves}),
                ScheduleObserved(name, True, "", "", [], self.run.now),
            )

    @property
    def names(self) -> list[str]:
        return [self.nodes.network.node(number) for number in range(self.nodes.network.size)]

    def ask(self, *nodes: str) -> Sweep:
        """Ask for a sweep over these nodes, or all of them."""
        self.run.say(SweepAsked(list(nodes or self.names), "alice", "jobs are slow"))
        return next(reversed(self.run.belief.sweeps.sweeps.values()))

    def answer(self) -> bool:
        """Have the nodes answer what was ordered since; return whether anything was."""
        orders = [e.event for e in self.run.log[self._seen :] if isinstance(e.event, LeaseGranted)]
        self._seen = len(self.run.log)
        for lease in orders:
            self.answer_lease(lease)
        return bool(orders)

    def answer_lease(self, lease: LeaseGranted) -> None:
        """Have the ranks of one group meet and say what they measured."""
        book = self.run.belief.sweeps
        self.run.now += 1.0
        if lease.run_id not in book.groups:
            return
        sweep_id, number = book.groups[lease.run_id]
        said = self.nodes.run(lease.nodes)
        if lease.nodes[0] not in self.nodes.absent | self.nodes.busy.keys():
            self.run.say(SweepGroupMet(sweep_id, number, lease.lease_id))
            self.commits.append(len(self.run.log))
        for node, result in said.items():
            self.run.say(BenchEnded(node, lease.lease_id, result, self.run.now, self.run.now))
            self.commits.append(len(self.run.log))

    def finish(self) -> SweepEnded:
        """Go on until the newest sweep is over; time passes while nobody is asked anything."""
        sweep = next(reversed(self.run.belief.sweeps.sweeps.values()))
        for _ in range(5_000):
            if sweep.ended is not None:
                return sweep.ended
            if not self.answer():
                self.run.wait(30.0)
        raise AssertionError(f"the sweep does not end: {sweep}")

    def said(self, kind: type[Kept]) -> list[Kept]:
        """Return the log's events of a kind."""
        return [entry.event for entry in self.run.log if isinstance(entry.event, kind)]

    def end_steps(self) -> None:
        """Have tickets and pages be sent."""
        while intents := self.run.under_way():
            self.run.end(intents[0])

    def take_over(self, log: list[Logged], *, answers: bool) -> None:
        """Be the controller that comes after one of which this log is left; its nodes may still answer that one."""
        self.run.log, self.run.belief, self.run.now = [], Belief(), log[-1].at
        for entry in log:
            folding.apply(self.run.belief, entry)
            self.run.log.append(entry)
        under_way = [self.run.belief.bench.leases[each] for each in list(self.run.belief.bench.leases)]
        self._seen = len(log)
        self.run.say(*interrupted(self.run.belief))
        for lease in under_way if answers else ():
            for node, result in self.nodes.run(lease.nodes).items():
                self.run.say(BenchEnded(node, lease.lease_id, result, self.run.now, self.run.now))


def as_localised(verdict: SweepVerdict) -> Verdict:
    kind, parts, nodes = Kind(verdict.kind), tuple(verdict.parts), tuple(verdict.nodes)
    return Verdict(kind, parts, nodes, tuple(verdict.rails), verdict.reason)


def swept(*faults: Fault, size: int = 32, noise: Noise = QUIET, seed: int = 1) -> Swept:
    return Swept(SweptNodes(network(*faults, size=size, noise=noise, seed=seed)))


def test_a_slow_node_gets_a_finding_and_every_other_node_is_cleared() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    cell.ask()
    ended = cell.finish()
    assert (ended.outcome, [(v.kind, v.parts) for v in ended.verdicts]) == ("done", [("node", ["n5"])])
    assert set(ended.cleared) == set(cell.names) - {"n5"}
    (raised,) = cell.said(FindingRaised)
    assert (raised.node, raised.finding.check, raised.finding.code, raised.origin) == ("n5", CHECK, GROUP_SLOW, "bench")
    assert raised.finding.because.startswith("n5 was slow in 3 of 3 pairs with nodes that are well (n")
    assert raised.finding.evidence["sweep"] == "sweep-000001"


@pytest.mark.parametrize(
    ("fault", "kind", "parts", "about"),
    [
        (Fault("port", 0.5, node="n3", rail=2), "link", ["n3 rail 2"], "link=n3 rail 2"),
        (Fault("leaf", 0.5, unit=1, rail=4), "switch", ["leaf-12"], "leaf=leaf-12"),
        (Fault("uplink", 0.5, unit=2, rail=1, spine=0), "link", ["uplinks of leaf-17"], "link=uplinks of leaf-17"),
    ],
    ids=["port", "leaf", "uplink"],
)
def test_i11_what_the_network_is_to_blame_for_is_an_incident_of_its_own_and_no_node_is_touched(
    fault: Fault, kind: str, parts: list[str], about: str
) -> None:
    cell = swept(fault)
    cell.ask()
    ended = cell.finish()
    assert [(v.kind, v.parts) for v in ended.verdicts] == [(kind, parts)]
    (opened,) = cell.said(IncidentOpened)
    assert (opened.node, opened.device, opened.playbook.name) == ("", about, SLOW_NETWORK)
    assert opened.incident_id == ended.verdicts[0].answered_by
    assert [intent.parameters["team"] for intent in cell.run.under_way()] == ["network"]
    assert cell.said(FindingRaised) == [] and cell.run.belief.held == {}.keys()
    notice = notice_for(cell.run.incident(), cell.run.under_way()[0], at=cell.run.now, page_url="http://cell")
    assert (notice.kind, notice.team) == ("ticket", "network") and parts[0] in notice.title
    assert "Next: no node is taken out for it" in notice.body
    cell.run.end(cell.run.under_way()[0])
    assert cell.run.incident().state == "running", "it stays open until it is mended"


def test_what_is_slow_in_too_many_places_is_no_list_of_faults_and_pages_once() -> None:
    cell = swept(*(Fault("node", 0.5, node=f"n{number}") for number in (0, 9, 18, 27, 5)))
    for _ in range(2):
        cell.ask()
        ended = cell.finish()
        assert (ended.outcome, ended.verdicts) == ("too_many", [])
        assert "Nothing is condemned." in ended.reason.because
        assert ended.asks == "inc-000001"
    assert [opened.playbook.name for opened in cell.said(IncidentOpened)] == [SWEEP_STOPPED]
    assert [intent.verb for intent in cell.run.under_way()] == ["page"]
    notice = notice_for(cell.run.incident(), cell.run.under_way()[0], at=cell.run.now, page_url="http://cell")
    assert "Next: no node is condemned" in notice.body and "Nothing is condemned." in notice.body
    assert cell.said(FindingRaised) == []


def test_a_later_sweep_that_finds_all_of_it_well_ends_what_an_earlier_one_began() -> None:
    cell = swept(Fault("port", 0.5, node="n3", rail=2), Fault("node", 0.5, node="n20"))
    cell.ask()
    cell.finish()
    assert len(cell.run.belief.open_incidents) == 1 and cell.run.belief.nodes["n20"].findings
    cell.end_steps()
    cell.ask()
    assert [v.answered_by for v in cell.finish().verdicts if v.kind == "link"] == ["inc-000001"]
    assert len(cell.said(IncidentOpened)) == 1, "the same link has one incident"
    cell.nodes.network.faults = ()
    cell.ask(*cell.names[8:])
    cell.finish()
    assert cell.run.belief.open_incidents and not cell.run.belief.nodes["n20"].findings
    cell.ask()
    cell.finish()
    assert cell.run.belief.open_incidents == {}
    assert cell.run.incident().outcome == "recovered"


def test_a_sweep_that_comes_to_its_end_ends_the_page_of_one_that_did_not() -> None:
    cell = swept(*(Fault("node", 0.5, node=f"n{number}") for number in (0, 9, 18, 27, 5)))
    cell.ask()
    cell.finish()
    cell.end_steps()
    cell.nodes.network.faults = ()
    cell.ask()
    assert cell.finish().outcome == "done"
    assert cell.run.belief.open_incidents == {}


def test_what_groups_reach_is_learnt_once_and_shows_a_spine_that_slows_all_that_crosses() -> None:
    """Without a baseline nothing tells slow spines from a network that is built so; and that is said."""
    spines = tuple(Fault("spine", 0.6, spine=number) for number in range(4))
    cell = swept(*spines)
    cell.ask()
    because = cell.finish().reason.because
    assert because.startswith("nothing is slow: 32 cleared")
    assert "Across the leaves groups reached 58% of what they reach below them, and no baseline says" in because
    assert not any(each.baseline.fingerprint.crosses for each in cell.said(BaselineLearnt))
    healthy = swept(size=128)
    healthy.ask()
    assert healthy.finish().reason.because == "nothing is slow: 128 cleared, in 48 groups and 2 rounds."
    learnt = [each.baseline.fingerprint for each in healthy.said(BaselineLearnt)]
    assert {each.crosses for each in learnt} == {False, True}
    assert {each.metric for each in learnt} == {OF_ALL, OF_RAIL}
    healthy.nodes.network.faults = spines
    healthy.ask()
    assert [(v.kind, v.parts) for v in healthy.finish().verdicts] == [("switch", ["the spines"])]
    assert len(healthy.said(BaselineLearnt)) == len(learnt)


# --- how a group ends ------------------------------------------------------------------------------------------------


def test_a_group_of_which_no_rank_speaks_ends_with_its_lease_and_is_asked_once_more() -> None:
    cell = swept()
    cell.ask()
    cell.nodes.hung = set(cell.names)
    ended = cell.finish()
    groups = cell.said(SweepGroupEnded)
    assert {(each.outcome, each.because) for each in groups} == {
        ("error", "no rank said anything before its lease expired")
    }
    assert len(groups) == 2 * (8 + 4), "both rounds of the screen, each twice"
    assert (ended.outcome, ended.cleared, ended.verdicts) == ("done", [], [])
    assert set(ended.untested) == set(cell.names)
    assert cell.run.belief.bench.leases == {} and cell.run.belief.bench.open_runs == {}


@pytest.mark.parametrize("named", [True, False], ids=["named", "not-named"])
def test_a_rank_that_never_arrives_is_left_out_and_the_rest_is_found_all_the_same(named: bool) -> None:
    """Where the others name it, nobody waits for the end of the lease."""
    cell = swept(Fault("node", 0.5, node="n5"))
    cell.nodes.absent, cell.nodes.names_missing = {"n1", "n9"}, named
    cell.ask()
    ended = cell.finish()
    expired = [lease for lease in cell.said(LeaseEnded) if lease.outcome == "expired"]
    assert bool(expired) is not named
    assert [v.parts for v in ended.verdicts] == [["n5"]]
    assert ended.untested == dict.fromkeys(("n1", "n9"), "its rank never arrived")


def test_a_rank_0_that_says_no_unique_id_in_time_is_left_out_long_before_the_lease_ends() -> None:
    cell = swept()
    cell.nodes.absent = {"n0"}
    cell.ask()
    first = next(group for group in cell.run.belief.sweeps.sweeps["sweep-000001"].state.waiting if "n0" in group.nodes)
    assert first.nodes[0] == "n0"
    ended = cell.finish()
    assert ended.untested == {"n0": "its rank never arrived"}
    (group,) = [each for each in cell.said(SweepGroupEnded) if each.missing]
    assert (group.missing, group.because) == (["n0"], "rank 0 on n0 did not say its unique id within 90 s")
    (stopped,) = cell.said(BenchStopped)
    assert stopped.run_id == "sweep-000001-0"


def test_a_node_to_which_a_job_came_leaves_and_its_group_is_asked_without_it() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    cell.ask()
    cell.nodes.busy = {"n2": "a job came: python3 (4711)"}
    ended = cell.finish()
    assert [v.parts for v in ended.verdicts] == [["n5"]]
    assert ended.untested == {"n2": "a job came: python3 (4711)"}
    assert [each.node for each in cell.said(SweepNodeLeft)] == ["n2"]


def test_a_node_that_has_work_before_its_turn_is_never_asked() -> None:
    cell = swept()
    cell.run.say(
        ScheduleObserved("n3", True, "", "", ["4711"], cell.run.now), PresenceChanged("n12", "lost", "no word")
    )
    cell.ask()
    ended = cell.finish()
    assert ended.untested == {"n3": "it has work: 4711", "n12": "its agent is lost"}
    assert not {"n3", "n12"} & {node for asked in cell.said(BenchAsked) for node in asked.nodes}


def test_a_job_that_comes_while_a_group_runs_takes_its_lease_and_its_node_away() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    cell.ask()
    lease = next(each for each in cell.said(LeaseGranted) if "n4" in each.nodes)
    cell.run.say(ScheduleObserved("n4", True, "", "", ["4711"], cell.run.now))
    assert lease.lease_id not in cell.run.belief.bench.leases
    assert [ended.outcome for ended in cell.said(LeaseEnded) if ended.lease_id == lease.lease_id] == ["revoked"]
    assert lease.run_id not in cell.run.belief.sweeps.groups
    ended = cell.finish()
    assert [v.parts for v in ended.verdicts] == [["n5"]]
    assert ended.untested == {"n4": "it has work: 4711"}


def test_a_node_whose_agent_is_lost_while_its_group_runs_ends_that_group() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    cell.ask()
    cell.run.say(PresenceChanged("n4", "lost", "no word"))
    ended = cell.finish()
    assert [v.parts for v in ended.verdicts] == [["n5"]]
    assert ended.untested == {"n4": "its agent is lost"}


def test_a_group_whose_run_somebody_stops_has_no_result_and_is_asked_once_more() -> None:
    cell = swept(size=16)
    cell.ask()
    cell.run.say(BenchStopped("sweep-000001-0", "bob", "not this one"))
    (group,) = cell.said(SweepGroupEnded)
    assert (group.outcome, group.because) == ("skip", "not this one")
    assert len(cell.finish().cleared) == 16


def test_an_order_that_a_node_does_not_take_leaves_it_out() -> None:
    cell = swept()
    cell.ask()
    lease = next(each for each in cell.said(LeaseGranted) if "n4" in each.nodes)
    order = order_id(lease.lease_id, "n4")
    cell.run.say(OrderEnded("n4", order, "refused", "bench is not on its allow-list", 0.0, cell.run.now))
    ended = cell.finish()
    assert ended.untested == {"n4": "it did not take the order: bench is not on its allow-list"}


def test_wrong_sums_in_a_group_are_a_failure_whose_node_is_found() -> None:
    cell = swept()
    cell.nodes.wrong = {"n17"}
    cell.ask()
    ended = cell.finish()
    assert [(v.kind, v.parts) for v in ended.verdicts] == [("node", ["n17"])]
    (raised,) = cell.said(FindingRaised)
    assert (raised.node, raised.finding.code) == ("n17", WRONG_RESULT)
    assert "7 of 268435456 sums are wrong" in raised.finding.because


def test_a_sweep_over_one_group_without_a_baseline_passes_nobody() -> None:
    """What has nothing beside it shows nothing: that is no pass."""
    cell = swept(size=2)
    cell.ask()
    ended = cell.finish()
    assert (ended.verdicts, ended.cleared) == ([], [])
    judged = [result for each in cell.said(SweepRoundJudged) for result in each.results]
    assert {result.outcome for result in judged} == {Outcome.WARN}


# --- when it is broken off -------------------------------------------------------------------------------------------


def test_a_person_stops_a_sweep_and_nothing_is_left_of_it() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    sweep = cell.ask()
    cell.answer()
    running = len(cell.run.belief.bench.leases)
    assert running > 0
    cell.run.say(SweepStopAsked(sweep.sweep_id, "bob", "a job is urgent"))
    assert sweep.ended is not None
    assert (sweep.ended.outcome, sweep.ended.verdicts, sweep.ended.cleared) == ("stopped", [], [])
    assert sweep.ended.reason.because == "It was stopped by bob: a job is urgent."
    cell.run.wait(1.0)
    assert cell.run.belief.bench.leases == {} and cell.run.belief.sweeps.groups == {}
    assert cell.run.belief.bench.open_runs == {}
    assert cell.run.belief.sweeps.questions == 0
    cell.run.say(SweepStopAsked(sweep.sweep_id, "bob", "again"), SweepStopAsked("sweep-000009", "bob", "unknown"))
    assert len(cell.said(SweepEnded)) == 1


def test_a_sweep_that_takes_too_long_says_nothing_of_any_node() -> None:
    cell = swept(Fault("node", 0.5, node="n5"))
    sweep = cell.ask()
    cell.run.wait(LIMIT_S)
    assert sweep.ended is not None
    assert (sweep.ended.outcome, sweep.ended.verdicts) == ("timed_out", [])
    assert set(sweep.ended.untested) == set(cell.names)
    cell.run.wait(1.0)
    assert cell.run.belief.bench.leases == {}


# --- the log is all there is -----------------------------------------------------------------------------------------


def test_i12_the_same_words_of_nodes_give_the_same_decisions() -> None:
    logs = []
    for _ in range(2):
        cell = swept(Fault("port", 0.6, node="n3", rail=2), noise=Noise())
        cell.ask()
        cell.finish()
        logs.append(cell.run.log)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("loses", [True, False], ids=["words-lost", "words-come-late"])
def test_killed_at_every_commit_it_goes_on_and_names_the_same(loses: bool) -> None:
    """A controller that takes over believes the log, ends the groups that were under way, and asks them again."""
    whole = swept(Fault("node", 0.5, node="n5"), size=16)
    whole.ask()
    whole.finish()
    cuts = whole.commits
    assert len(cuts) > 60
    for cut in cuts[int(loses) :: 2]:
        cell = swept(Fault("node", 0.5, node="n5"), size=16)
        cell.take_over(whole.run.log[:cut], answers=not loses)
        ended = cell.finish()
        assert [v.parts for v in ended.verdicts] == [["n5"]], f"after entry {cut}"
        assert set(ended.cleared) == set(cell.names) - {"n5"}, f"after entry {cut}"
        assert len(cell.said(FindingRaised)) == 1, f"after entry {cut}"
        cell.run.wait(1.0)
        assert cell.run.belief.bench.leases == {}, f"after entry {cut}"


def test_belief_of_a_sweep_survives_a_snapshot_at_any_moment() -> None:
    cell = swept(Fault("port", 0.6, node="n3", rail=2), size=16)
    cell.ask()
    for _ in range(12):
        assert belief_of(pieces(cell.run.belief)) == cell.run.belief
        cell.answer()


def test_many_networks_with_noise_accuse_nobody_who_is_well() -> None:
    """References are learnt from the groups themselves here, and depend a little on their size."""
    found = faults = accused = 0
    for seed in range(24):
        made = simulated(seed, sizes=(16, 24, 32, 48, 64))
        cell = Swept(SweptNodes(made))
        cell.ask()
        verdicts = [as_localised(verdict) for verdict in cell.finish().verdicts]
        there = [fault for fault in made.faults if fault.kind not in {"spine", "uplink"}]
        faults += len(there)
        found += sum(any(is_named(made, fault, verdict) for verdict in verdicts) for fault in there)
        accused += sum(not any(is_named(made, fault, verdict) for fault in made.faults) for verdict in verdicts)
    assert (accused, found) == (0, faults)
    assert faults >= 15
