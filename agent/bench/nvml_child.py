"""The process that asks NVML for a benchmark: `python -m agent.bench.nvml_child`.

Beside agent/sources/nvml_child.py, as it is asked several times a second who works on the GPUs, is told to set them,
and lives no longer than one benchmark. Each line is a question (`look`, `count`, `modes`, or `set` with a JSON object),
answered with one line of JSON. It ends when the agent does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pynvml

from agent.sources import nvml_child
from agent.sources.nvml_child import FAILURES, Memory, read_all, say
from agent.sources.nvml_fields import ABSENT

Gpu = dict[str, Any]

MODES: Final[dict[str, Callable[[Any], Any]]] = {
    "persistence": pynvml.nvmlDeviceGetPersistenceMode,
    "compute_mode": pynvml.nvmlDeviceGetComputeMode,
    "sm_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetApplicationsClock(gpu, pynvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetApplicationsClock(gpu, pynvml.NVML_CLOCK_MEM),
    "power_limit_milliwatts": pynvml.nvmlDeviceGetPowerManagementLimit,
}
"""What a benchmark or a tool may change of a GPU, and NVML tells. A lock of the clocks it does not tell."""


def look() -> dict[str, Any]:
    """Return who is on each GPU, and how much they use it."""
    return {"gpus": [_look_at(uuid, handle) for uuid, handle in _handles()]}


def modes() -> dict[str, Any]:
    """Return UUID → how the GPU is set; what it does not have is left out."""
    found: dict[str, Any] = {}
    for uuid, handle in _handles():
        values = {name: _told(read, handle) for name, read in MODES.items()}
        found[uuid] = {name: value for name, value in values.items() if value is not None}
    return {"modes": found}


def set_modes(wanted: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Set GPUs, by UUID, and return what could not be set, as sentences."""
    problems = []
    gpus = dict(_handles())
    for uuid, values in wanted.items():
        if uuid not in gpus:
            problems.append(f"{uuid} is not there")
            continue
        for name, call in _calls(gpus[uuid], values).items():
            try:
                call()
            except pynvml.NVMLError as error:
                problems.append(f"{name} of {uuid} could not be set: {say(error)}")
    return {"problems": problems}


def answer(question: bytes) -> dict[str, Any]:
    """Return the answer to one question, or why NVML cannot be asked."""
    what, _, rest = question.strip().partition(b" ")
    try:
        match what:
            case b"look":
                return look()
            case b"modes":
                return modes()
            case b"set":
                return set_modes(json.loads(rest))
            case _:
                return read_all(Memory(), time.monotonic())
    except pynvml.NVMLError as error:
        return {"failure": FAILURES.get(error.value, "error"), "detail": say(error)}


def _handles() -> Iterator[tuple[str, Any]]:
    """Yield UUID and handle of every GPU."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        yield pynvml.nvmlDeviceGetUUID(handle), handle


def _look_at(uuid: str, handle: Any) -> Gpu:
    gpu: Gpu = {"name": uuid, "errors": []}
    for name, read in _LOOKS.items():
        try:
            gpu[name] = read(handle)
        except pynvml.NVMLError as error:
            gpu["errors"].append(f"{name.replace('_', ' ')} of {uuid}: {say(error)}")
    return gpu


def _processes(handle: Any) -> list[int]:
    """Return who computes on the GPU, draws on it, or shares it by MPS."""
    pids = {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    for call in (pynvml.nvmlDeviceGetGraphicsRunningProcesses, pynvml.nvmlDeviceGetMPSComputeRunningProcesses):
        pids |= {process.pid for process in _told(call, handle) or ()}
    return sorted(pids)


def _used_bytes(handle: Any) -> int:
    """Return the memory in use; without what the driver keeps for itself, where it tells that apart (since 510)."""
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used)
    except pynvml.NVMLError as error:
        if error.value not in ABSENT:
            raise
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


def _told(call: Callable[[Any], Any], handle: Any) -> Any:
    """Return what NVML says, `None` where the GPU or its driver does not have it."""
    try:
        return call(handle)
    except pynvml.NVMLError as error:
        if error.value not in ABSENT:
            raise
    return None


def _calls(handle: Any, values: dict[str, int]) -> dict[str, Callable[[], Any]]:
    """Return mode → the call that sets it. Both clocks are set by one."""
    calls: dict[str, Callable[[], Any]] = {}
    if "persistence" in values:
        calls["persistence"] = lambda: pynvml.nvmlDeviceSetPersistenceMode(handle, values["persistence"])
    if "compute_mode" in values:
        calls["compute_mode"] = lambda: pynvml.nvmlDeviceSetComputeMode(handle, values["compute_mode"])
    if "power_limit_milliwatts" in values:
        limit = values["power_limit_milliwatts"]
        calls["power_limit_milliwatts"] = lambda: pynvml.nvmlDeviceSetPowerManagementLimit(handle, limit)
    if "sm_clock_mhz" in values and "memory_clock_mhz" in values:
        clocks = values["memory_clock_mhz"], values["sm_clock_mhz"]
        calls["clocks"] = lambda: pynvml.nvmlDeviceSetApplicationsClocks(handle, *clocks)
    return calls


_LOOKS: Final[dict[str, Callable[[Any], Any]]] = {
    "processes": _processes,
    "used_bytes": _used_bytes,
    "utilization_percent": lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
}


if __name__ == "__main__":
    nvml_child.main(answer)
