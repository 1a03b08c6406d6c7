"""Products of matrices on GPUs that are doubles: the library is told right, and GPUs that err are found."""

from __future__ import annotations

import hashlib
import struct
from ctypes.util import find_library
from itertools import product
from pathlib import Path

import pytest

from agent.bench.matrices import PATTERN_BYTES, SEED, pattern
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, wish_for
from tests.support.cublaslt_double import build_cublaslt_double
from tests.support.cuda_double import CudaHost, build_cuda_doubles, gpu_uuid

SIZE = 16
FIRST_VALUES = "483f4abfbabf3a3f"
TAKEN = {"cuMemAlloc": "cuMemFree", "cuMemHostAlloc": "cuMemFreeHost", "cublasLtCreate": "cublasLtDestroy"}
CODE = (
    "from functools import partial; from agent.bench.child import carry_out; "
    f"from agent.bench.children.gemm import run; carry_out(partial(run, size={SIZE}))"
)


@pytest.fixture(scope="module")
def doubles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the compiled libraries."""
    folder = build_cuda_doubles(tmp_path_factory.mktemp("doubles"))
    build_cublaslt_double(folder)
    return folder


@pytest.fixture
def host(tmp_path: Path, doubles: Path) -> CudaHost:
    """Return a host with three GPUs."""
    host = CudaHost(tmp_path / "host", doubles)
    host.say("gpus 3")
    return host


def multiply(host: CudaHost, options: dict[str, str] | None = None, *, limit_s: float = 60.0) -> BenchResult:
    wish = wish_for(Benchmark.GEMM, {"seconds": "1", **(options or {})}, tier=1, limit_s=limit_s)
    with BenchProcess(wish, code=CODE, environment=host.environment) as process:
        return process.result()


def test_every_gpu_has_its_number_and_nothing_is_left_taken(host: CudaHost) -> None:
    host.say("gpus 3", "gpu 1 tflops 500")
    result = multiply(host)
    assert result.outcome is Outcome.PASS, result.because
    values = {number.device: number.value for number in result.numbers}
    assert values == pytest.approx({gpu_uuid(0): 700.0, gpu_uuid(1): 500.0, gpu_uuid(2): 700.0}, rel=1e-3)
    assert {number.metric for number in result.numbers} == {shipped_limits().metric("gemm_bf16").name}
    assert (result.machine.sku, result.machine.gpus, result.machine.topology) == ("H100", 3, "cuBLASLt 120804")
    assert {taken: host.count(taken) for taken in TAKEN} == {taken: host.count(freed) for taken, freed in TAKEN.items()}


def test_the_result_is_the_product_to_the_last_bit(host: CudaHost) -> None:
    """All products and sums are exact here, so that Python gets the same bits."""
    result = multiply(host)
    version, _, digest = result.digest.partition(":")
    assert (version, digest) == ("120804", digest_of_product())


def test_the_golden_vector_of_an_earlier_result_is_held_up(host: CudaHost) -> None:
    golden = multiply(host).digest
    result = multiply(host, {"golden": golden})
    assert (result.outcome, result.faults, result.notes) == (Outcome.PASS, (), ())


def test_a_single_gpu_that_errs_is_found_by_the_golden_vector_alone(host: CudaHost) -> None:
    golden = multiply(host).digest
    host.say("gpus 1", "wrong_gemm 1")
    assert multiply(host).outcome is Outcome.PASS
    result = multiply(host, {"golden": golden})
    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [("wrong_result", gpu_uuid(0))]


def test_a_gpu_that_errs_is_found_beside_the_others(host: CudaHost) -> None:
    host.say("gpus 3", "gpu 2 wrong_gemm 1")
    result = multiply(host)
    assert result.outcome is Outcome.FAIL
    assert [fault.device for fault in result.faults] == [gpu_uuid(2)]
    assert result.digest == ""
    assert "no golden vector was given" in result.notes[0]


def test_a_gpu_that_begins_to_err_is_found_beside_itself(host: CudaHost) -> None:
    """The warm-up is 3 products, a chunk 64."""
    host.say("gpus 1", "fickle_gemm 100")
    result = multiply(host)
    assert result.outcome is Outcome.FAIL
    assert "2 different results" in result.because


def test_a_golden_vector_of_another_library_is_not_used(host: CudaHost) -> None:
    result = multiply(host, {"golden": "130000:0123"})
    assert result.outcome is Outcome.PASS
    assert "of cuBLASLt 130000" in result.notes[0]


def test_a_golden_vector_that_no_gpu_agrees_with_condemns_none(host: CudaHost) -> None:
    result = multiply(host, {"golden": "120804:0123"})
    assert result.outcome is Outcome.PASS
    assert [(fault.code, fault.severity) for fault in result.faults] == [("golden_vector", Outcome.WARN)]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("no_algorithm 1", "no way to multiply"),
        ("fail cublasLtMatmul 13", "cublasLtMatmul failed with 13: the GPU did not carry it out"),
        ("fail cublasLtCreate 1", "could not be set up"),
        ("gpu 1 hang_gemm 1", "the multiplication of matrices was not done"),
        ("gpu 1 foreign_gib 79.999", "another process holds its memory"),
    ],
)
def test_what_cannot_be_carried_out_is_an_error(host: CudaHost, state: str, said: str) -> None:
    host.say("gpus 3", state)
    result = multiply(host, limit_s=5.0)
    assert result.outcome is Outcome.ERROR
    assert all(number.value is None for number in result.numbers)
    assert said in result.because


def test_a_gpu_whose_memory_fails_is_condemned_by_the_driver(host: CudaHost) -> None:
    host.say("gpus 3", "gpu 1 fail cuEventQuery 214")
    result = multiply(host)
    assert result.outcome is Outcome.FAIL
    assert result.faults[0].code == "uncorrectable_memory"


@pytest.mark.skipif(find_library("cublasLt") is not None, reason="this machine has the library")
def test_a_host_without_the_library_is_skipped(host: CudaHost, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "libcuda.so.1").symlink_to(host.doubles / "libcuda.so.1")
    result = multiply(CudaHost(host.root, alone))
    assert (result.outcome, "libcublasLt" in result.because) == (Outcome.SKIP, True)


def test_the_matrices_are_what_they_have_always_been() -> None:
    """Golden vectors of a fleet depend on it. Half of the values are negative, and none is beyond 2."""
    values = pattern(SEED, 1 << 16)
    assert values[:8].hex() == FIRST_VALUES
    numbers = [number for (number,) in struct.iter_unpack("<f", widened(values))]
    assert all(0.5 <= abs(number) < 2.0 for number in numbers)
    assert 0.45 < sum(number < 0 for number in numbers) / len(numbers) < 0.55


def widened(values: bytes) -> bytes:
    """Return bfloat16 values as float32."""
    return b"".join(b"\0\0" + values[place : place + 2] for place in range(0, len(values), 2))


def digest_of_product() -> str:
    """Return the digest of the product of the two matrices, the first transposed, both column by column."""
    values = pattern(SEED, PATTERN_BYTES)
    shift = 2 * (PATTERN_BYTES // 4)
    first, second = (
        [number for (number,) in struct.iter_unpack("<f", widened(values[start : start + 2 * SIZE * SIZE]))]
        for start in (0, shift)
    )
    sums = (
        sum(first[row * SIZE + inner] * second[column * SIZE + inner] for inner in range(SIZE))
        for column, row in product(range(SIZE), repeat=2)
    )
    return hashlib.sha256(struct.pack(f"<{SIZE * SIZE}f", *sums)).hexdigest()[:32]
