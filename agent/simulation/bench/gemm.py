"""`gemm` of a simulated machine: how fast each GPU multiplies matrices, and whether the products are right."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from agent.simulation.bench.speeds import TFLOPS
from agent.simulation.bench.subject import Subject
from agent.simulation.hardware import DRIVER_VERSION, GPU_MODEL, SimulatedGpu
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchResult

METRIC: Final = "gemm_bf16"
WRONG: Final = "wrong_result"
GOLDEN: Final = "golden"
LIBRARY: Final = "120804"
"""Version of cuBLASLt, which decides the bits of a product on machines of one kind."""

TAKES_S: Final = 20.0
"""In simulated seconds. Source: the budget of the first tier."""

PRODUCT_TERAFLOP: Final = 2 * 8192**3 / 1e12
"""Of one multiplication of square matrices of 8192."""


def run(subject: Subject) -> BenchResult:
    """Multiply on each GPU, and hold the products against the fleet's, else against each other."""
    gpus = subject.gpus()
    subject.spend(TAKES_S, f"matrices on {len(gpus)} GPUs")
    numbers = tuple(
        subject.number(METRIC, TFLOPS * gpu.compute_share, device=gpu.uuid, amount=PRODUCT_TERAFLOP) for gpu in gpus
    )
    digests = {gpu.uuid: digest_of(gpu) for gpu in gpus}
    golden = _golden(subject.wish.options.get(GOLDEN, ""))
    faults = tuple(_wrong(digests, golden))
    because = faults[0].because if faults else f"{len(gpus)} GPUs multiplied alike, to the bit."
    alike = set(digests.values())
    return BenchResult(
        Benchmark.GEMM,
        Outcome.FAIL if faults else Outcome.PASS,
        because,
        numbers,
        faults,
        subject.measured_on(len(gpus)),
        digest=f"{LIBRARY}:{alike.pop()}" if len(alike) == 1 else "",
    )


def _golden(handed_out: str) -> str:
    """Return the digest that this machine's library decides, empty when it is another library's or nobody knows it."""
    library, _, digest = handed_out.rpartition(":")
    return digest if library == LIBRARY else ""


def digest_of(gpu: SimulatedGpu) -> str:
    """Return the digest of a GPU's products: one for a kind of GPU and a driver, another for one that is wrong."""
    keys = (GPU_MODEL, DRIVER_VERSION, gpu.uuid if gpu.computes_wrong else "")
    return hashlib.sha256("/".join(keys).encode()).hexdigest()


def _wrong(digests: Mapping[str, str], golden: str) -> Iterator[BenchFault]:
    right = golden or _most_common(digests)
    whose = "the fleet's" if golden else "its neighbours'"
    for uuid, digest in digests.items():
        if digest != right:
            yield BenchFault(WRONG, f"The products of {uuid} differ from {whose}.", uuid)


def _most_common(digests: Mapping[str, str]) -> str:
    return Counter(digests.values()).most_common(1)[0][0]
