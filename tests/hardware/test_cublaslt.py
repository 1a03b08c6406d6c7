"""The real libcublasLt: it keeps what it is told by the numbers that are used. It needs no GPU for that."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from ctypes import byref, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

import pytest

from agent.bench.cublaslt import (
    BFLOAT16,
    COMPUTE_FLOAT32,
    FLOAT32,
    LIBRARIES,
    MOST_WORKSPACE,
    NO_REDUCTION,
    REDUCTION_SCHEMES,
    TRANSPOSE_FIRST,
    TRANSPOSED,
    WORKSPACE_BYTES,
    CublasLt,
)

pytestmark = pytest.mark.hardware

COMPUTE_TYPE, SCALE_TYPE = 0, 1
LAYOUT_TYPE, ROWS, LEADING = 0, 2, 4


@pytest.fixture
def library() -> tuple[CublasLt, ctypes.CDLL]:
    """Return the library, and the same with the calls that ask it back."""
    for name in LIBRARIES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        return CublasLt(found), found
    pytest.fail("this machine has no libcublasLt: it comes with CUDA, or as the package nvidia-cublas of PyPI")


def kept(found: ctypes.CDLL, kind: str, handle: c_void_p, attribute: int, value: Any) -> int:
    """Return what an object of the library has for an attribute."""
    ask = getattr(found, f"cublasLt{kind}GetAttribute")
    ask.argtypes = (c_void_p, c_int, c_void_p, c_size_t, c_void_p)
    assert ask(handle, attribute, byref(value), ctypes.sizeof(value), byref(c_size_t())) == 0
    return int(value.value)


def test_it_keeps_what_it_is_told(library: tuple[CublasLt, ctypes.CDLL]) -> None:
    """Run with CUDA 12.9 (120903) and 13.1 (131000)."""
    cublas, found = library
    with ExitStack() as taken:
        product = cublas.made("MatmulDesc", taken, COMPUTE_FLOAT32, FLOAT32)
        cublas.call("cublasLtMatmulDescSetAttribute", product, TRANSPOSE_FIRST, byref(c_int(TRANSPOSED)), 4)
        assert kept(found, "MatmulDesc", product, COMPUTE_TYPE, c_int()) == COMPUTE_FLOAT32
        assert kept(found, "MatmulDesc", product, SCALE_TYPE, c_int()) == FLOAT32
        assert kept(found, "MatmulDesc", product, TRANSPOSE_FIRST, c_int()) == TRANSPOSED
        layout = cublas.made("MatrixLayout", taken, BFLOAT16, 8192, 4096, 8192)
        assert kept(found, "MatrixLayout", layout, LAYOUT_TYPE, c_int()) == BFLOAT16
        assert kept(found, "MatrixLayout", layout, ROWS, c_uint64()) == 8192
        assert kept(found, "MatrixLayout", layout, LEADING, c_int64()) == 8192
        wanted = cublas.made("MatmulPreference", taken)
        set_wanted = "cublasLtMatmulPreferenceSetAttribute"
        cublas.call(set_wanted, wanted, MOST_WORKSPACE, byref(c_uint64(WORKSPACE_BYTES)), 8)
        cublas.call(set_wanted, wanted, REDUCTION_SCHEMES, byref(c_uint32(NO_REDUCTION)), 4)
        assert kept(found, "MatmulPreference", wanted, MOST_WORKSPACE, c_uint64()) == WORKSPACE_BYTES
        assert kept(found, "MatmulPreference", wanted, REDUCTION_SCHEMES, c_uint32(9)) == NO_REDUCTION


def test_it_says_its_version(library: tuple[CublasLt, ctypes.CDLL]) -> None:
    assert library[0].version.isdecimal()
