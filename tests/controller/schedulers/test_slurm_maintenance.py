"""Reservations: what people maintain is theirs for as long as they said; on a real slurmctld."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.adapters import Hold
from controller.errors import Refused, Retryable
from controller.policy.rules import Budget
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_own_node import OwnNode
from tests.support.slurm import SlurmCluster, needs_slurm

pytestmark = [needs_slurm, pytest.mark.slurm]

THEIRS = r"maintenance reservation firmware \(20\d\d-.* UTC to 20\d\d-.* UTC\)"


@pytest.fixture
def maintained(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """n1 is ours already when people begin to work at n1 and n2."""
    cluster.drain("n1", "fleetmend:inc-000007 why")
    job = cluster.submit(node="n1")
    cluster.reserve("firmware", "n[1-2]", "StartTime=now", "Flags=MAINT,IGNORE_JOBS")
    yield cluster
    cluster.run("scancel", job)
    cluster.unreserve("firmware")


async def test_a_node_in_maintenance_is_theirs(maintained: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    seen = await slurm.observe()

    assert [seen[name].schedulable for name in ("n1", "n2", "n3")] == [False, False, True]
    assert (seen["n1"].held_by, seen["n2"].held_by) == ("inc-000007", "")
    assert seen["n1"].foreign_reason == seen["n2"].foreign_reason != ""
    with pytest.raises(Refused, match=f"^n2 is held in Slurm by somebody else: {THEIRS}$"):
        await slurm.cordon("n2", hold)
    assert maintained.node_reason("n2") == "none"


async def test_a_node_in_maintenance_is_not_rebooted(
    maintained: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    with pytest.raises(Retryable, match=f"^n1 is not rebooted now: it is in {THEIRS}$"):
        await slurm.reboot("n1", hold)

    assert maintained.node_reason("n1") == "fleetmend:inc-000007 why"


async def test_our_own_hold_ends_during_a_maintenance_and_theirs_does_not(
    maintained: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    assert (await slurm.uncordon("n1", hold)).startswith("n1 is given back to Slurm")

    seen = (await slurm.observe())["n1"]
    assert (seen.schedulable, seen.held_by, bool(seen.foreign_reason)) == (False, "", True)
    assert maintained.node_reason("n1") == "none"


async def test_no_job_is_moved_from_a_node_in_maintenance(
    cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold
) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)
    cluster.reserve("firmware", "n2", "StartTime=now", "Flags=MAINT,IGNORE_JOBS")
    try:
        assert await slurm.drain("n2", hold, jobs="cancel") == (job,)
        assert slurm.waits_for("n2").because.startswith("Moves no job of n2: it is in maintenance reservation firmware")
    finally:
        cluster.unreserve("firmware")

    assert cluster.job_state(job) == "RUNNING"


async def test_a_health_check_leaves_a_node_to_those_who_work_at_it(
    maintained: SlurmCluster, slurm: SlurmScheduler
) -> None:
    stand = await OwnNode("n2", slurm, Budget(nodes=4)).take_out("gpu.count: 7 of 8")

    assert not stand.is_out
    assert stand.because.startswith("n2 is left to those who work at it: ")
    assert maintained.node_state("n2") != "drained"


async def test_who_will_lack_the_node_is_said(cluster: SlurmCluster, slurm: SlurmScheduler, hold: Hold) -> None:
    cluster.reserve("big-run", "n[3-4]", "StartTime=now+1hour")
    try:
        said = await slurm.cordon("n3", hold)
        seen = await slurm.observe()
    finally:
        cluster.unreserve("big-run")

    assert said.startswith("n3 is drained in Slurm for inc-000007. n3 is in reservation big-run (20")
    assert (seen["n4"].schedulable, seen["n4"].foreign_reason) == (True, "")
