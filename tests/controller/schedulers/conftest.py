from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters import Hold
from controller.schedulers.slurm import SlurmScheduler
from controller.schedulers.slurm_programs import SlurmPrograms
from tests.support.slurm import SlurmCluster
from tests.support.slurm_in_front import Programs


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One cluster for all tests of this folder."""
    with SlurmCluster(tmp_path_factory.mktemp("slurm"), nodes=4) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: SlurmCluster) -> SlurmCluster:
    """The cluster with every node idle and no job."""
    running_cluster.clean()
    return running_cluster


@pytest.fixture
def hold() -> Hold:
    return Hold("inc-000007", "GPU 3 has fallen off the bus (Xid 79).", "inc-000007/cordon/1", 1)


@pytest.fixture
def slurm(cluster: SlurmCluster) -> SlurmScheduler:
    return SlurmScheduler(SlurmPrograms(environment=cluster.env()))


@pytest.fixture
def programs(cluster: SlurmCluster, tmp_path: Path) -> Programs:
    return Programs(tmp_path, cluster)
