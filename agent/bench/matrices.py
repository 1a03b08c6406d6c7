"""The matrices that are multiplied: the same bits on every host, without a program that runs on the GPU."""

from __future__ import annotations

import ctypes
import hashlib
from typing import Final

from agent.bench.cublaslt import BFLOAT16_BYTES, MatrixProduct
from agent.bench.cuda import Stream

SEED: Final = b"fleetmend gemm 1"
"""A change of it, or of what follows, makes every golden vector a wrong one."""

PATTERN_BYTES: Final = 2 * 2_097_143
"""A prime number of values, so that no two rows of a matrix are alike."""

DIGEST_LETTERS: Final = 32
"""128 bits tell results apart that nobody forges."""

_SIGNS: Final = bytes(0xBF if byte & 1 else 0x3F for byte in range(256))
"""Any byte → the upper half of a bfloat16 between 0.5 and 2 or -0.5 and -2. Source: its layout, 1 sign, 8 exponent and
7 fraction bits."""


def pattern(seed: bytes, size_bytes: int) -> bytes:
    """Return bfloat16 values whose signs and fractions are random, and whose products stay far from any overflow."""
    values = bytearray(hashlib.shake_128(seed).digest(size_bytes))
    values[1::2] = values[1::2].translate(_SIGNS)
    return bytes(values)


def fill(product: MatrixProduct, stream: Stream, host: int, host_bytes: int) -> None:
    """Put the pattern into both matrices; the copies are queued, and the host's memory is read until they are done.

    Args:
        host: address of the pattern in the host's memory, and its length.
    """
    whole = product.matrix_bytes
    for matrix, shift in ((product.first, 0), (product.second, BFLOAT16_BYTES * (host_bytes // 4))):
        done = 0
        while done < whole:
            start = shift if done == 0 else 0
            some = min(host_bytes - start, whole - done)
            stream.copy_in(matrix + done, host + start, some)
            done += some


def digest_of(host: int, size_bytes: int) -> str:
    """Return the digest of what stands at an address of the host's memory."""
    held = (ctypes.c_char * size_bytes).from_address(host)
    return hashlib.sha256(memoryview(held)).hexdigest()[:DIGEST_LETTERS]
