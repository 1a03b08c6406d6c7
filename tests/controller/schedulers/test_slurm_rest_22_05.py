"""The slurmrestd that is installed here. That of 22.05 cannot change nodes, so the programs do all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.adapters import Hold
from controller.errors import Permanent
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_rest import SlurmRest
from tests.support.slurm import SlurmCluster, needs_slurm, slurm_version
from tests.support.slurm_rest import SlurmRestd, needs_slurmrestd, with_tokens

pytestmark = [needs_slurm, needs_slurmrestd, pytest.mark.slurm]


@pytest.fixture(scope="module")
def slurmrestd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmRestd]:
    directory = tmp_path_factory.mktemp("slurm")
    with (
        SlurmCluster(directory, nodes=1, settings=with_tokens(directory)) as cluster,
        SlurmRestd(cluster) as slurmrestd,
    ):
        yield slurmrestd


@pytest.fixture
def access(slurmrestd: SlurmRestd, tmp_path: Path) -> SlurmRest:
    (tmp_path / "token").write_text(slurmrestd.token())
    programs = SlurmPrograms(environment=slurmrestd.cluster.env())
    return SlurmRest(slurmrestd.url, programs, token_file=tmp_path / "token")


@pytest.mark.parametrize("by", ["tcp", "unix"])
async def test_a_node_is_taken_out_and_given_back_whatever_slurmrestd_can_do(
    slurmrestd: SlurmRestd, access: SlurmRest, hold: Hold, by: str
) -> None:
    slurm = SlurmScheduler(access if by == "tcp" else replace(access, url=slurmrestd.unix_url))

    with capture_logs() as logged:
        await slurm.cordon("n1", hold)
    assert slurmrestd.cluster.node_reason("n1") == f"fleetmend:inc-000007 {hold.reason}"
    assert (await slurm.observe())["n1"].held_by == "inc-000007"
    await slurm.uncordon("n1", hold)

    assert (await slurm.observe())["n1"].held_by == ""
    said = {entry["event"]: entry.get("because", "") for entry in logged}
    if slurm_version() < (23, 11):
        assert "cannot change nodes: Slurm's programs are used" in said["slurm.rest_unusable"]
    else:
        assert "slurm.rest_unusable" not in said


async def test_a_wrong_token_is_said(access: SlurmRest, tmp_path: Path, hold: Hold) -> None:
    (tmp_path / "token").write_text("not.a.token")

    with pytest.raises(Permanent, match=r"the token in .* is none of this cluster's"):
        await SlurmScheduler(access).cordon("n1", hold)
