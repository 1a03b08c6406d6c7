"""The GPUs of a host, opened for a benchmark together with what was found so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from agent.bench.child import Broken
from agent.bench.cuda import Context, Cuda, CudaFailed, load_cuda
from agent.bench.nearness import near
from agent.bench.sums import STAGE_BYTES
from agent.bench.watch import Overdue, Watch
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult


@dataclass(frozen=True, slots=True)
class Rig:
    """GPUs that are open. `stage`: address of `sums.STAGE_BYTES` of the host's memory, to look at what GPUs hold."""

    cuda: Cuda
    contexts: tuple[Context, ...]
    stage: int
    watch: Watch

    @property
    def memory_bytes(self) -> int:
        """Of the GPU that has least."""
        return min(context.gpu.memory_bytes for context in self.contexts)


@dataclass(slots=True)
class Found:
    """What a benchmark found so far, which counts even when it breaks off."""

    machine: BenchMachine = field(default_factory=BenchMachine)
    numbers: list[BenchNumber] = field(default_factory=list)
    faults: list[BenchFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()

    def result(self, benchmark: Benchmark, because: str, *, broken: Broken | None = None) -> BenchResult:
        """Return the result: a failure when a fault is one, an error when it broke off.

        Args:
            because: it says when nothing is wrong.
        """
        fails = [fault for fault in self.faults if fault.severity is Outcome.FAIL]
        outcome = Outcome.FAIL if fails else Outcome.ERROR if broken is not None else Outcome.PASS
        return BenchResult(
            benchmark,
            outcome,
            fails[0].because if fails else str(broken) if broken is not None else because,
            numbers=tuple(self.numbers),
            faults=tuple(self.faults),
            machine=self.machine,
            missing=self.missing,
            notes=tuple(self.notes),
        )


def measured(benchmark: Benchmark, measure: Callable[[Rig, Found], str], watch: Watch) -> BenchResult:
    """Return what a benchmark found, also when it breaks off in the middle.

    Args:
        measure: does it, and returns the sentence about it.

    Raises:
        NotHere: the host has no GPU to measure.
    """
    found, because = Found(), ""
    broken: Broken | None = None
    try:
        with opened_rig(watch) as rig:
            because = measure(rig, found)
    except CudaFailed as error:
        broken = error
        found.faults += [BenchFault(error.hardware, str(error), error.device)] if error.hardware else []
    except Broken as error:
        broken = error
    return found.result(benchmark, because, broken=broken)


@contextmanager
def opened_rig(watch: Watch) -> Iterator[Rig]:
    """Give all GPUs of the host, and close them again.

    Raises:
        NotHere: the host has no GPU to measure.
        Broken: it has, and they cannot be used.
    """
    cuda = load_cuda()
    gpus = cuda.gpus()
    if not gpus:
        raise Broken("CUDA's driver finds no GPU")
    with ExitStack() as open_gpus:
        contexts = tuple(open_gpus.enter_context(cuda.opened(gpu)) for gpu in gpus)
        with near(gpus[0].pci):
            stage = contexts[0].allocate_host(STAGE_BYTES)
        try:
            yield Rig(cuda, contexts, stage, watch)
        except Overdue:
            cuda.keep_all()
            raise
