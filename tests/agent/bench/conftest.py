"""What tests of benchmarks share: the doubles, compiled once, a host that has them, and a node that runs benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bench_site import BenchSite
from tests.support.cuda_double import CudaHost, build_cuda_doubles
from tests.support.nvml_double import Library


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


@pytest.fixture
def site(tmp_path: Path, nvml_double: Path, monkeypatch: pytest.MonkeyPatch) -> BenchSite:
    """A node with two idle GPUs."""
    library = Library(tmp_path, nvml_double)
    library.say()
    environment = library.environment or {}
    for name in ("LD_LIBRARY_PATH", "NVML_DOUBLE_STATE"):
        monkeypatch.setenv(name, environment[name])
    return BenchSite(tmp_path, library)
