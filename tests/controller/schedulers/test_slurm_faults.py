"""What goes wrong between fleetmend and a real slurmctld: rights, keys, hangs, answers that break off."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters import Hold
from controller.errors import Permanent, Retryable
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_programs import SlurmPrograms
from tests.support.slurm import SlurmCluster, needs_slurm
from tests.support.slurm_in_front import Programs
from tests.support.slurm_rest import AS_STRANGER, opened

pytestmark = [needs_slurm, pytest.mark.slurm]

OUR_REASON = "fleetmend:inc-000007 why"


@pytest.fixture
def stranger(cluster: SlurmCluster, tmp_path: Path) -> Iterator[SlurmScheduler]:
    """The adapter as a user that is nobody to Slurm."""
    folder = opened(cluster)
    for name in ("scontrol", "squeue", "scancel"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec {" ".join(AS_STRANGER)} {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    known = {**cluster.env(), "SLURM_CONF": str(folder / "slurm.conf")}
    yield SlurmScheduler(SlurmPrograms(environment={**known, "PATH": f"{tmp_path}:{known['PATH']}"}))
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_one_who_may_not_is_told_what_to_do(cluster: SlurmCluster, stranger: SlurmScheduler, hold: Hold) -> None:
    because = "must be root, SlurmUser, or an administrator: sacctmgr modify user fleetmend set adminlevel=admin"
    assert sorted(await stranger.observe()) == cluster.node_names
    with pytest.raises(Permanent, match=because):
        await stranger.cordon("n1", hold)

    cluster.drain("n1", OUR_REASON)
    job = cluster.submit(node="n2")
    cluster.wait_for_job(job, state="RUNNING")
    cluster.drain("n2", OUR_REASON)
    for act in (stranger.reboot("n1", hold), stranger.uncordon("n1", hold), stranger.drain("n2", hold, jobs="requeue")):
        with pytest.raises(Permanent, match=because):
            await act
    assert (cluster.node_reason("n1"), cluster.job_state(job)) == (OUR_REASON, "RUNNING")


@pytest.fixture
def other_key(cluster: SlurmCluster, tmp_path: Path) -> Iterator[SlurmScheduler]:
    """The adapter on a host whose munge key is not the cluster's."""
    key, etc = tmp_path / "key", tmp_path / "etc"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    socket = cluster.sockets / "other"
    files = [f"--socket={socket}", f"--key-file={key}", f"--pid-file={tmp_path}/pid", f"--log-file={tmp_path}/log"]
    munged = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "munged", "--foreground", "--force", *files, f"--seed-file={tmp_path}/seed"],
        env={**os.environ, **cluster.env()},
        stderr=subprocess.DEVNULL,
    )
    shutil.copytree(cluster.conf.parent, etc)
    conf = etc / "slurm.conf"
    conf.write_text(re.sub(r"(?m)^AuthInfo=.*$", f"AuthInfo=socket={socket}", conf.read_text()))
    cluster.until("the other munged listens", socket.exists)
    yield SlurmScheduler(SlurmPrograms(environment={**cluster.env(), "SLURM_CONF": str(conf)}))
    munged.kill()
    munged.wait()


async def test_another_munge_key_looks_like_a_restart_and_is_suspected(
    cluster: SlurmCluster, other_key: SlurmScheduler, hold: Hold
) -> None:
    with pytest.raises(Retryable, match=r"Zero Bytes were transmitted or received .*this host's munge key is not"):
        await other_key.cordon("n1", hold)

    assert cluster.node_state("n1") == "idle"


@pytest.fixture
def hanging(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    cluster.stop_controller()
    yield cluster
    cluster.continue_controller()


async def test_a_slurmctld_that_hangs_costs_its_deadline_and_holds_up_nobody_else(
    hanging: SlurmCluster, hold: Hold
) -> None:
    slurm = SlurmScheduler(SlurmPrograms(0.5, hanging.env()))
    began = time.monotonic()

    tried = await asyncio.gather(
        *(slurm.cordon(name, hold) for name in hanging.node_names), slurm.observe(), return_exceptions=True
    )

    assert [type(each) for each in tried] == [Retryable] * 5
    assert time.monotonic() - began < 3.0
    hanging.continue_controller()
    assert [hanging.node_state(name) for name in hanging.node_names] == ["idle"] * 4


@pytest.mark.parametrize("size", [0, 1, 60, 400])
async def test_an_answer_that_breaks_off_is_asked_for_again(
    cluster: SlurmCluster, programs: Programs, hold: Hold, size: int
) -> None:
    slurm = programs.slurm()
    await slurm.observe()
    programs.put("scontrol", f'[ "$1" = update ] && exec "$REAL" "$@"\n"$REAL" "$@" | head -c {size}')

    with pytest.raises(Retryable, match="ends in the middle of a line" if size else "without a word"):
        await slurm.cordon("n1", hold)

    assert cluster.node_state("n1") == "idle"


async def test_a_write_that_was_not_answered_is_looked_for_and_not_made_again(
    programs: Programs, hold: Hold, tmp_path: Path
) -> None:
    wrote = tmp_path / "wrote"
    lost = 'echo "slurm_update error: Socket timed out on send/recv operation" >&2; exit 1'
    programs.put("scontrol", f'"$REAL" "$@" || exit\n[ "$1" != update ] || {{ echo x >>{wrote}; {lost}; }}')
    slurm = programs.slurm()

    with pytest.raises(Retryable, match="Socket timed out"):
        await slurm.cordon("n1", hold)
    assert await slurm.cordon("n1", hold) == "n1 is drained in Slurm for inc-000007 already."

    assert wrote.read_text() == "x\n"
