"""What tests of benchmarks on GPUs share: the doubles, compiled once, and a host that has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cuda_double import CudaHost, build_cuda_doubles


@pytest.fixture(scope="session")
def cuda_doubles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the doubles of libcuda.so.1 and libnccl.so.2."""
    return build_cuda_doubles(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def host(cuda_doubles: Path, tmp_path: Path) -> CudaHost:
    """A host with eight healthy H100."""
    made = CudaHost(tmp_path / "node-a", cuda_doubles)
    made.say()
    return made
