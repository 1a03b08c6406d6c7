"""Reboots by Slurm: at most once for a key, and the node comes back held; on a real slurmctld and its slurmd."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.adapters import Hold, NodeSchedule, Rebooting
from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.slurm import SlurmScheduler
from tests.support.slurm import SlurmCluster, needs_slurm
from tests.support.slurm_in_front import Programs

pytestmark = [needs_slurm, pytest.mark.slurm]


@pytest.fixture
def first(hold: Hold) -> Hold:
    return replace(hold, key="inc-000007/reboot/1")


async def test_a_node_is_rebooted_once_for_a_key_and_comes_back_held(
    cluster: SlurmCluster, slurm: SlurmScheduler, first: Hold
) -> None:
    assert isinstance(slurm, Rebooting)
    before = cluster.reboots("n1")
    await slurm.cordon("n1", first)

    assert (await slurm.reboot("n1", first)).startswith("Slurm reboots n1, which is ")
    assert (await slurm.reboot("n1", first)).startswith("Slurm was asked already to reboot n1, which is ")
    cluster.until("slurmd is told to reboot n1", lambda: cluster.reboots("n1") == before + 1)
    cluster.come_back("n1")

    assert (await slurm.observe())["n1"] == NodeSchedule(False, held_by="inc-000007", responding=True)
    assert (await slurm.reboot("n1", first)) == "Slurm was asked already to reboot n1, which is IDLE+DRAIN."
    assert cluster.node_reason("n1").endswith("(inc-000007/reboot/1) : reboot issued")

    await slurm.reboot("n1", replace(first, key="inc-000007/reboot/2"))
    cluster.until("slurmd is told again", lambda: cluster.reboots("n1") == before + 2)
    cluster.come_back("n1")
    await slurm.uncordon("n1", first)
    cluster.wait_for("n1", state="idle")
    assert cluster.node_reason("n1") == "none"


async def test_only_what_is_ours_is_rebooted(cluster: SlurmCluster, slurm: SlurmScheduler, first: Hold) -> None:
    cluster.drain("n3", "memory test by hand")

    with pytest.raises(Refused, match="n3 is held in Slurm by somebody else: memory test by hand"):
        await slurm.reboot("n3", first)
    with pytest.raises(Refused, match="n2 is not held in Slurm for inc-000007: it is IDLE"):
        await slurm.reboot("n2", first)

    assert cluster.node_reason("n3") == "memory test by hand"


async def test_no_reboot_waits_in_slurm_for_a_job_to_end(
    cluster: SlurmCluster, slurm: SlurmScheduler, first: Hold
) -> None:
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", first)

    with pytest.raises(Retryable, match=f"n2 is not rebooted now: there is still work on it, job {job}"):
        await slurm.reboot("n2", first)

    assert cluster.node_state("n2") == "draining"


async def test_no_reboot_waits_in_slurm_for_a_daemon_to_come_back(
    cluster: SlurmCluster, programs: Programs, first: Hold
) -> None:
    slurm = programs.slurm()
    await slurm.cordon("n2", first)
    programs.put("scontrol", '"$REAL" "$@" | sed "s/State=IDLE+DRAIN /State=IDLE+DRAIN+NOT_RESPONDING /"')

    with pytest.raises(Refused, match=r"slurmd on n2 does not answer \(IDLE\+DRAIN\+NOT_RESPONDING\)"):
        await slurm.reboot("n2", first)

    assert cluster.node_state("n2") == "drained"


async def test_a_reboot_that_slurm_only_says_it_does_is_an_error(
    cluster: SlurmCluster, programs: Programs, first: Hold
) -> None:
    slurm = programs.slurm()
    await slurm.cordon("n2", first)
    programs.put("scontrol", '[ "$1" = reboot ] || exec "$REAL" "$@"')

    with pytest.raises(Retryable, match=r"Slurm accepted the reboot of n2, which is IDLE\+DRAIN all the same"):
        await slurm.reboot("n2", first)

    assert cluster.reboots("n2") == 0


async def test_a_cluster_without_a_reboot_program_is_said(programs: Programs, first: Hold) -> None:
    slurm = programs.slurm()
    await slurm.cordon("n2", first)
    said = "scontrol: error: RebootProgram isn't defined"
    programs.put("scontrol", f'[ "$1" = reboot ] || exec "$REAL" "$@"\necho "{said}" >&2; exit 1')

    with pytest.raises(Permanent, match="RebootProgram isn't defined"):
        await slurm.reboot("n2", first)


async def test_what_slurm_set_down_after_a_reboot_that_took_too_long_is_drained_before_the_next(
    cluster: SlurmCluster, slurm: SlurmScheduler, first: Hold
) -> None:
    late = "fleetmend:inc-000007 why (inc-000007/reboot/1) : reboot issued : reboot timed out"
    before = cluster.reboots("n4")
    cluster.run("scontrol", "update", "NodeName=n4", "State=DOWN", f"Reason={late}")
    assert (await slurm.observe())["n4"].held_by == "inc-000007"

    await slurm.reboot("n4", replace(first, key="inc-000007/reboot/2"))
    cluster.until("slurmd is told to reboot n4", lambda: cluster.reboots("n4") == before + 1)
    cluster.come_back("n4")

    assert (await slurm.observe())["n4"] == NodeSchedule(False, held_by="inc-000007", responding=True)
