"""A node that runs benchmarks over the C double of NVML."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bench_site import BenchSite
from tests.support.nvml_double import Library


@pytest.fixture
def site(tmp_path: Path, nvml_double: Path, monkeypatch: pytest.MonkeyPatch) -> BenchSite:
    """A node with two idle GPUs."""
    library = Library(tmp_path, nvml_double)
    library.say()
    environment = library.environment or {}
    for name in ("LD_LIBRARY_PATH", "NVML_DOUBLE_STATE"):
        monkeypatch.setenv(name, environment[name])
    return BenchSite(tmp_path, library)
