"""The process that asks NVML, so that the agent itself never does: `python -m agent.sources.nvml_child`.

Each line on standard input (`read SECONDS`, by the agent's monotonic clock) is answered with one line of JSON. It
imports pynvml and the little it needs, because it stays in memory beside the agent on every host. It ends when the
agent does, even from within a call that hangs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

import pynvml

from agent.sources.nvml_fields import ABSENT
from agent.sources.nvml_readers import RARELY_S, READERS, Reader, Values

FAILURES: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "library_not_found",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "version_mismatch",
}

MARKS: Final = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "lost",
    pynvml.NVML_ERROR_RESET_REQUIRED: "reset_required",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "power_cable_missing",
}
"""Answers that say something of the whole GPU."""

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

FIELDS: Final = tuple(name for reader in READERS for name in reader.names)

Gpu = dict[str, Any]


class Memory:
    """What GPUs answered before, so that nothing is asked more often than it has to be.

    A GPU without a name has no past.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[float, Values | None]] = {}

    def holds(self, uuid: str, reader: Reader, at_s: float) -> bool:
        """Return whether what the GPU last answered still holds."""
        if not uuid or (uuid, reader.names) not in self._kept:
            return False
        asked_s, values = self._kept[uuid, reader.names]
        return 0.0 <= at_s - asked_s < (RARELY_S if values is None else reader.every_s)

    def recall(self, uuid: str, reader: Reader) -> Values | None:
        """Return what the GPU last answered, `None` when it does not have that."""
        return self._kept[uuid, reader.names][1]

    def keep(self, uuid: str, reader: Reader, at_s: float, values: Values | None) -> None:
        """Keep an answer that need not be asked again at once."""
        if reader.every_s or values is None:
            self._kept[uuid, reader.names] = (at_s, values)

    def counted_at_s(self, uuid: str) -> float:
        """Return when the counters among the details were asked, 0 when they never were."""
        return self._kept.get((uuid, ("pcie_errors",)), (0.0, None))[0]


def read_all(memory: Memory, at_s: float) -> dict[str, Any]:
    """Return every GPU, or why NVML cannot be asked."""
    try:
        return {
            "driver_version": pynvml.nvmlSystemGetDriverVersion(),
            "gpus": [read_gpu(index, memory, at_s) for index in range(pynvml.nvmlDeviceGetCount())],
        }
    except pynvml.NVMLError as error:
        return {"failure": FAILURES.get(error.value, "error"), "detail": say(error)}


def read_gpu(index: int, memory: Memory, at_s: float) -> Gpu:
    """Return one GPU with what could be read of it. A lost GPU answers nothing more, so it is asked nothing more."""
    gpu: Gpu = {"index": index, "uuid": "", "pci": "", "errors": {}, "details": {}}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        _note(gpu, FIELDS, error)
        return gpu
    for reader in READERS:
        if gpu.get("lost"):
            break
        values = _ask(handle, reader, gpu, memory, at_s)
        if values is not None:
            part = gpu["details"] if reader.every_s else gpu
            part.update(zip(reader.names, values, strict=True))
    gpu["details"]["counted_at_s"] = memory.counted_at_s(gpu["uuid"])
    return gpu


def _ask(handle: Any, reader: Reader, gpu: Gpu, memory: Memory, at_s: float) -> Values | None:
    """Return the values of a reader, `None` when the GPU does not have or does not tell them."""
    if memory.holds(gpu["uuid"], reader, at_s):
        return memory.recall(gpu["uuid"], reader)
    values: Values | None = None
    try:
        values = reader.read(handle)
    except pynvml.NVMLError as error:
        _note(gpu, reader.names, error)
        if error.value not in ABSENT:
            return None
    memory.keep(gpu["uuid"], reader, at_s, values)
    return values


def _note(gpu: Gpu, names: Iterable[str], error: pynvml.NVMLError) -> None:
    """Record why fields have no value; what a GPU does not have is no error.

    Raises:
        NVMLError: it is about the driver as a whole, e.g. because it is being reloaded.
    """
    if error.value in FAILURES or error.value == pynvml.NVML_ERROR_UNINITIALIZED:
        raise error
    if error.value in MARKS:
        gpu[MARKS[error.value]] = True
    if error.value not in ABSENT:
        gpu["errors"].update(dict.fromkeys(names, say(error)))


def say(error: pynvml.NVMLError) -> str:
    """Return an error in NVML's words, with its number."""
    return f"{error} ({error.value})"


def serve(questions: IO[bytes], answers: IO[bytes], answer: Callable[[bytes], dict[str, Any]]) -> None:
    """Answer each question until there are no more. NVML is initialised at the first one and then kept open, because
    the last client that closes it makes the driver shut the GPUs down and forget their volatile counters."""
    is_open = False
    for question in questions:
        failure = {} if is_open else _open()
        is_open = not failure
        answers.write(json.dumps(failure or answer(question)).encode() + b"\n")
        answers.flush()


def _asked_at_s(question: bytes) -> float:
    _, _, at_s = question.partition(b" ")
    return float(at_s) if at_s.strip() else time.monotonic()


def _open() -> dict[str, Any]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"failure": FAILURES.get(error.value, "error"), "detail": say(error)}
    return {}


def main(answer: Callable[[bytes], dict[str, Any]] | None = None) -> None:
    """Serve the agent that started this process: with readings, unless another answer is given."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    if hasattr(libc, "malloc_trim"):
        # Compiling pynvml leaves 12 MiB of free heap behind, which would stay resident for good.
        libc.malloc_trim(0)
    memory = Memory()
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, answer or (lambda asked: read_all(memory, _asked_at_s(asked))))
    except BrokenPipeError:
        # Nobody is there any more to hear the answer, nor what Python would say of it when it ends.
        os._exit(0)


if __name__ == "__main__":
    main()
