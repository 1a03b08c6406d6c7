"""I11, domain first: what one shared domain explains opens one incident against it, and takes no node out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.policy.domains import STARTING_S
from controller.policy.incident import Incident
from controller.policy.playbook import DOMAIN, Answers
from controller.policy.rules import Budget, Rules
from controller.policy.scopes import Scope
from tests.support.policy import AGENT_LOST, GPU_LOST, PolicyRun, xid
from wire.messages import NodeFacts

RDMA = replace(GPU_LOST, name="rdma_port", fault_class="rdma_port", answers=(Answers("fabric.rdma_port"),))


def port_down(device: str = "mlx5_0/1") -> Finding:
    return Finding("fabric.rdma_port", device, "down", Verdict.FAILED, Action.NONE, f"{device} is down.")


def fleet(nodes: int = 32, *, leaves: int = 4) -> PolicyRun:
    """Return nodes n0, n1, ... in blocks of leaves, two leaves to a rack."""
    run = PolicyRun(Rules((GPU_LOST, RDMA, AGENT_LOST), Budget(nodes=100), breakers=(), agent_lost_after_s=30.0))
    run.nodes(*(f"n{i}" for i in range(nodes)))
    for i in range(nodes):
        leaf = i * leaves // nodes
        run.say(events.NodePlaced(f"n{i}", {"leaf": [f"l{leaf}"], "rack": [f"r{leaf // 2}"]}))
    return run


def domains(run: PolicyRun) -> list[Incident]:
    return [i for i in run.belief.incidents.values() if i.playbook.name == DOMAIN]


def raise_all(run: PolicyRun, finding: Finding, *names: str) -> None:
    run.say(*(events.FindingRaised(name, "boot-1", finding, run.now) for name in names))


def through_notices(run: PolicyRun) -> None:
    """Let the ticket and the page of fleet incidents be sent."""
    while notices := [i for i in run.under_way() if not i.node]:
        run.end(notices[0])


def test_i11_three_nodes_of_a_leaf_are_one_incident_and_no_cordon() -> None:
    run = fleet()
    for name in ("n1", "n3", "n6"):
        run.raise_on(name, port_down())
        run.wait(1.0)
    (domain,) = domains(run)
    assert (domain.device, domain.fault_class) == ("leaf=l0", "fabric_domain")
    assert domain.because == (
        "3 of 8 nodes of leaf l0 failed within 60 s, of 3 in the fleet: the leaf switch or its uplinks are suspected. "
        "No node is taken out for it."
    )
    assert [i.verb for i in run.under_way()] == ["ticket"]
    run.raise_on("n7", port_down("mlx5_1/1"))
    run.wait(600)
    assert (set(run.belief.held), set(domain.members)) == (set(), {"n1", "n3", "n6", "n7"})
    assert len(run.belief.incidents) == 1


def test_one_port_alone_waits_for_others_a_moment_and_then_is_its_nodes_own() -> None:
    run = fleet()
    assert run.raise_on("n1", port_down()) == []
    run.wait(5.0)
    assert set(run.belief.held) == {"n1"}


def test_a_node_of_unknown_place_waits_for_nobody() -> None:
    run = fleet()
    run.nodes("loner")
    run.raise_on("loner", port_down())
    assert set(run.belief.held) == {"loner"}


def test_i11_plans_begun_for_single_nodes_end_when_the_domain_is_seen() -> None:
    run = fleet()
    run.raise_on("n1", port_down())
    run.wait(6.0)
    run.end(run.under_way("n1")[0])
    raise_all(run, port_down(), "n2", "n3")
    (domain,) = domains(run)
    assert [i.verb for i in run.under_way("n1")] == ["uncordon"]
    run.end(run.under_way("n1")[0])
    assert (set(run.belief.held), set(domain.members)) == (set(), {"n1", "n2", "n3"})
    first = run.incident(0)
    assert (first.outcome, first.because) == ("cancelled", f"The plan is over: {domain.id} explains it.")


def test_a_repair_that_has_begun_goes_on() -> None:
    run = fleet()
    run.raise_on("n1", port_down())
    run.wait(6.0)
    run.end(run.under_way("n1")[0])
    run.end(run.under_way("n1")[0])
    assert run.under_way("n1")[0].verb == "reboot"
    raise_all(run, port_down(), "n2", "n3")
    assert (len(domains(run)), set(run.belief.held)) == (1, {"n1"})


def test_the_smallest_domain_that_explains_enough_wins() -> None:
    run = fleet()
    raise_all(run, port_down(), "n0", "n1", "n2", "n3", "n9")
    assert [d.device for d in domains(run)] == ["leaf=l0"]
    run = fleet()
    raise_all(run, port_down(), "n0", "n1", "n2", "n9", "n10", "n11")
    assert [d.device for d in domains(run)] == ["rack=r0"]


def test_failures_all_over_have_no_domain() -> None:
    run = fleet()
    raise_all(run, port_down(), "n0", "n8", "n16", "n24")
    run.wait(6.0)
    assert (domains(run), len(run.belief.held)) == ([], 4)


def test_failures_far_apart_in_time_have_no_domain() -> None:
    run = fleet()
    for name in ("n0", "n1", "n2"):
        run.raise_on(name, port_down())
        run.wait(61.0)
    assert (domains(run), len(run.belief.held)) == ([], 3)


def test_it_ends_when_the_nodes_are_well_and_the_few_that_are_not_are_their_own() -> None:
    run = fleet()
    raise_all(run, port_down(), "n0", "n1", "n2", "n3")
    through_notices(run)
    run.wait(61.0)
    for name in ("n0", "n1"):
        run.clear_on(name, port_down())
    (domain,) = domains(run)
    assert domain.outcome == "recovered"
    assert domain.because == "leaf=l0 is well again. Still failing by themselves: n2, n3."
    assert set(run.belief.held) == {"n2", "n3"}


def test_nodes_that_start_after_a_rack_was_without_power_are_waited_for() -> None:
    """The last of them to be heard are no faults of their own as long as a host may take to start."""
    run = fleet()
    run.say(*(events.PresenceChanged(f"n{i}", "lost", "gone") for i in range(4)))
    run.wait(31.0)
    (domain,) = domains(run)
    assert (domain.device, domain.fault_class) == ("rack=r0", "agent_domain")
    through_notices(run)
    run.wait(3_600.0)
    run.say(*(events.PresenceChanged(f"n{i}", "online", "it connected") for i in range(2)))
    run.wait(STARTING_S - 1.0)
    assert domain.outcome == ""
    run.wait(2.0)
    assert (domain.outcome, domain.because) == (
        "recovered",
        "rack=r0 is well again. Still failing by themselves: n2, n3.",
    )


def test_i11_a_check_that_fails_everywhere_is_itself_the_suspect() -> None:
    run = fleet(64, leaves=64)
    raise_all(run, xid("79"), *(f"n{i}" for i in range(0, 40, 2)))
    (domain,) = domains(run)
    assert (domain.device, set(run.belief.held)) == ("check=gpu.xid", set())
    assert "the check itself is suspected before the nodes are" in domain.because


def test_i11_a_driver_version_is_suspected_before_its_nodes() -> None:
    run = fleet(64, leaves=64)
    run.say(*(events.NodeSeen(f"n{i}", "boot-1", NodeFacts(driver_version="570.1")) for i in range(16)))
    raise_all(run, xid("79"), *(f"n{i}" for i in range(0, 16, 3)))
    assert [d.device for d in domains(run)] == ["driver=570.1"]


def test_a_rack_that_loses_its_agents_is_one_incident() -> None:
    run = fleet()
    run.say(*(events.PresenceChanged(f"n{i}", "lost", "gone") for i in range(8)))
    run.wait(31.0)
    assert [d.device for d in domains(run)] == ["rack=r0"]
    assert {i.node for i in run.belief.open_incidents.values()} == {""}
    run.say(*(events.PresenceChanged(f"n{i}", "online", "back") for i in range(8)))
    through_notices(run)
    assert domains(run)[0].outcome == "recovered"


def test_an_abort_has_each_node_answered_by_itself() -> None:
    run = fleet()
    raise_all(run, port_down(), "n0", "n1", "n2")
    (domain,) = domains(run)
    through_notices(run)
    run.wait(120.0)
    run.say(events.OperatorActed("abort", domain.id, "kim", "no"))
    assert (domain.outcome, set(run.belief.held)) == ("aborted", {"n0", "n1", "n2"})


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.UNKNOWN])
def test_i1_what_is_not_failed_makes_no_domain(verdict: Verdict) -> None:
    run = fleet()
    raise_all(run, replace(port_down(), verdict=verdict), "n0", "n1", "n2", "n3")
    assert domains(run) == []


@given(
    acts=st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from(["raise", "clear", "wait", "end", "abort"])), max_size=60
    )
)
@settings(max_examples=80, deadline=None)
def test_whatever_happens_members_are_what_still_stands(acts: list[tuple[int, str]]) -> None:
    run = fleet(16, leaves=4)
    for number, what in acts:
        match what:
            case "raise":
                run.raise_on(f"n{number}", port_down())
            case "clear":
                run.clear_on(f"n{number}", port_down())
            case "wait":
                run.wait(float(number * 5))
            case "end" if run.under_way():
                run.end(run.under_way()[number % len(run.under_way())])
            case "abort" if domains(run) and not domains(run)[-1].closed_at:
                run.say(events.OperatorActed("abort", domains(run)[-1].id, "kim", ""))
        assert run.decide() == []
        for domain in domains(run):
            for node, keys in domain.members.items():
                assert keys <= set(run.belief.nodes[node].findings)
        held = {i.node for i in run.belief.open_incidents.values() if i.holding}
        assert held == set(run.belief.held)
        assert run.belief.ledger.held_in.get(Scope("fleet"), set()) == held
