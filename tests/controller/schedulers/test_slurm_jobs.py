"""What becomes of jobs: never more than the site allows; and what a drain says it waits for. On a real slurmctld."""

from __future__ import annotations

import time

import pytest

from controller.adapters import Explaining, Hold, Waiting
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_jobs import MARGIN_S, JobRule, is_held, waiting_for, way_of
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_view import SlurmJob, moment
from tests.support.slurm import SlurmCluster, needs_slurm

JOB = SlurmJob("17", "RUNNING", "n1", "long", "physics", "normal", 1_795_815_270.0)


@pytest.mark.parametrize(
    ("rules", "asked", "expected"),
    [
        ((), "cancel", "cancel"),
        ((JobRule("wait", partition="long"),), "cancel", "wait"),
        ((JobRule("requeue", partition="long"),), "cancel", "requeue"),
        ((JobRule("requeue", partition="long"),), "wait", "wait"),
        ((JobRule("wait", partition="short"),), "cancel", "cancel"),
        ((JobRule("wait", partition="long", qos="high"),), "cancel", "cancel"),
        ((JobRule("requeue"), JobRule("wait", account="physics")), "cancel", "wait"),
        ((JobRule("wait", qos="normal"), JobRule("requeue")), "requeue", "wait"),
    ],
)
def test_the_mildest_of_what_is_asked_and_allowed_is_done(
    rules: tuple[JobRule, ...], asked: str, expected: str
) -> None:
    assert way_of(rules, JOB, asked) == expected


def test_a_job_is_held_when_a_rule_about_it_says_so() -> None:
    assert is_held((JobRule("requeue", held=True, account="physics"),), JOB)
    assert not is_held((JobRule("requeue", held=True, account="chemistry"), JobRule("requeue")), JOB)


def test_what_is_waited_for_is_said_with_its_end() -> None:
    endless = SlurmJob("18", "RUNNING", "n1")

    assert waiting_for([JOB], [JOB]) == Waiting(
        "Waits for job 17 (partition long, ends by 2026-11-27 21:34 UTC).", JOB.ends_at + MARGIN_S
    )
    assert waiting_for([JOB, endless], [JOB, endless]).until == 0.0
    assert waiting_for([JOB, endless], []) == Waiting(
        "Waits for jobs 17 (partition long, ends by 2026-11-27 21:34 UTC), 18 (without a time limit)."
    )
    assert waiting_for([endless] * 5, []).because.endswith(" and 2 more.")


@needs_slurm
@pytest.mark.slurm
async def test_a_job_that_the_site_spares_is_waited_for_until_its_own_end(cluster: SlurmCluster, hold: Hold) -> None:
    slurm = SlurmScheduler(SlurmPrograms(environment=cluster.env()), (JobRule("wait", partition="gpu"),))
    assert isinstance(slurm, Explaining)
    job = cluster.submit(node="n2", options=("--time=10",))
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)

    assert await slurm.drain("n2", hold, jobs="cancel") == (job,)

    waiting = slurm.waits_for("n2")
    assert waiting.because == f"Waits for job {job} (partition gpu, ends by {moment(waiting.until - MARGIN_S)})."
    assert 0.0 < waiting.until - MARGIN_S - time.time() <= 600.0
    assert cluster.job_state(job) == "RUNNING"


@needs_slurm
@pytest.mark.slurm
async def test_a_requeued_job_waits_for_a_person_where_the_site_wants_that(cluster: SlurmCluster, hold: Hold) -> None:
    slurm = SlurmScheduler(SlurmPrograms(environment=cluster.env()), (JobRule("requeue", held=True),))
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    await slurm.cordon("n2", hold)

    await slurm.drain("n2", hold, jobs="cancel")

    cluster.wait_for_job(job, state="PENDING")
    assert cluster.run("squeue", "-h", "-j", job, "-o", "%r") == "job requeued in held state"
    assert await slurm.drain("n2", hold, jobs="cancel") == ()
    assert slurm.waits_for("n2") == Waiting("")
