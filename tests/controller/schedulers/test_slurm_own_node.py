"""A node that takes itself out: the budget, other people's reasons, who takes the hold over; on a real slurmctld."""

from __future__ import annotations

import asyncio

import pytest

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused
from controller.policy.rules import Budget
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_own_node import OwnNode
from controller.schedulers.slurm_programs import SlurmPrograms
from tests.support.slurm import SlurmCluster, needs_slurm

pytestmark = [needs_slurm, pytest.mark.slurm]

LOST = "gpu.count: GPU at 0000:52:00 does not answer"
TWO, ONE, NONE = Budget(nodes=2), Budget(nodes=1), Budget(nodes=0)


@pytest.fixture
def slurm(cluster: SlurmCluster) -> SlurmScheduler:
    return SlurmScheduler(SlurmPrograms(environment=cluster.env()))


async def test_a_node_drains_itself_once(cluster: SlurmCluster, slurm: SlurmScheduler) -> None:
    own = OwnNode("n1", slurm, ONE)
    first = await own.take_out(LOST)
    again = await own.take_out("another sentence")
    assert (first.is_out, first.because) == (True, "n1 has drained itself in Slurm.")
    assert again.because == f"n1 is out of service in Slurm already: fleetmend:check {LOST}"
    assert again.is_out
    assert (cluster.node_state("n1"), cluster.node_reason("n1")) == ("drained", f"fleetmend:check {LOST}")


@pytest.mark.parametrize("reason", ["memory test by hand", "fleetmend:inc-000007 GPU lost"])
async def test_a_reason_that_stands_already_stays(cluster: SlurmCluster, slurm: SlurmScheduler, reason: str) -> None:
    cluster.drain("n1", reason)
    stand = await OwnNode("n1", slurm, NONE).take_out(LOST)
    assert stand.is_out
    assert cluster.node_reason("n1") == reason


async def test_the_budget_counts_all_that_fleetmend_holds_in_slurm(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    await slurm.cordon("n1", hold)
    assert (await OwnNode("n2", slurm, TWO).take_out(LOST)).is_out
    cluster.drain("n4", "memory test by hand")
    third = await OwnNode("n3", slurm, TWO).take_out(LOST)
    held = "fleetmend holds 2 of the other nodes in Slurm out, at most 2 nodes"
    assert (third.is_out, third.because) == (False, f"n3 is left in service: {held}")
    assert (cluster.node_state("n3"), cluster.node_reason("n3")) == ("idle", "none")


async def test_of_many_that_begin_at_once_none_stays_out_beyond_the_budget(
    cluster: SlurmCluster, slurm: SlurmScheduler
) -> None:
    stands = await asyncio.gather(*(OwnNode(node, slurm, ONE).take_out(LOST) for node in cluster.node_names))
    out = [node for node, stand in zip(cluster.node_names, stands, strict=True) if stand.is_out]
    assert len(out) <= 1
    for node in cluster.node_names:
        assert cluster.node_reason(node) == (f"fleetmend:check {LOST}" if node in out else "none")


async def test_an_incident_takes_over_what_a_node_did_to_itself(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    await OwnNode("n1", slurm, ONE).take_out(LOST)
    assert (await slurm.observe())["n1"] == NodeSchedule(schedulable=False, responding=True)
    with pytest.raises(Refused, match=r"^n1 is not held in Slurm for inc-000007: it is IDLE\+DRAIN$"):
        await slurm.uncordon("n1", hold)
    assert await slurm.cordon("n1", hold) == "n1 is drained in Slurm for inc-000007."
    assert (await slurm.observe())["n1"] == NodeSchedule(schedulable=False, held_by="inc-000007", responding=True)
    await slurm.uncordon("n1", hold)
    cluster.wait_for("n1", state="idle")


async def test_a_name_that_slurm_does_not_know_is_said(cluster: SlurmCluster, slurm: SlurmScheduler) -> None:
    assert cluster.node_names == ["n1", "n2", "n3", "n4"]
    with pytest.raises(Permanent, match=r"^Slurm knows no node 'n9'$"):
        await OwnNode("n9", slurm, ONE).take_out(LOST)
