"""The NVML libraries under the agent's sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nvml_double import Library, build_double


@pytest.fixture(scope="session")
def nvml_double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled C double."""
    return build_double(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(params=["simulated", "double"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Library:
    """Both libraries, each with two healthy GPUs."""
    double = request.getfixturevalue("nvml_double") if request.param == "double" else None
    chosen = Library(tmp_path, double)
    chosen.say()
    return chosen
