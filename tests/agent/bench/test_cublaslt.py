"""Whether libcublasLt is there; what it does is held to it by tests/hardware, on a host that has it."""

from __future__ import annotations

import ctypes

import pytest

from agent.bench.child import Broken, NotHere
from agent.bench.cublaslt import load_cublaslt


def test_a_host_without_it_is_told_from_one_whose_library_is_too_old() -> None:
    def absent(name: str) -> ctypes.CDLL:
        raise OSError(name)

    with pytest.raises(NotHere, match="no libcublasLt"):
        load_cublaslt(absent)
    with pytest.raises(Broken, match="older than CUDA 11"):
        load_cublaslt(lambda _: ctypes.CDLL(None))
