from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.adapters import Hold
from tests.support.slurm import SlurmCluster


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
