"""The process that asks NVML, so that the agent itself never does: `python -m agent.sources.nvml_child`.

Each line on standard input is answered with one line of JSON. It imports pynvml and the little it needs, because it
stays in memory beside the agent on every host. It ends when the agent does, even from within a call that hangs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import signal
import sys
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

import pynvml

FAILURES: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "library_not_found",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "version_mismatch",
}

ABSENT: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
"""This GPU or driver cannot tell: the value is None, and nothing is wrong. Source: NVML API reference, nvmlReturn_t."""

NO_SUCH_FIELD: Final = ABSENT | {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""How drivers answer for a field, or a link, that they do not know."""

MEMBERS: Final = {
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
"""Member of the value's union by type. Source: nvml.h, nvmlValueType_t."""

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

Gpu = dict[str, Any]


def read_all() -> dict[str, Any]:
    """Return every GPU, or why NVML cannot be asked."""
    try:
        return {
            "driver_version": pynvml.nvmlSystemGetDriverVersion(),
            "gpus": [read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())],
        }
    except pynvml.NVMLError as error:
        return {"failure": FAILURES.get(error.value, "error"), "detail": _say(error)}


def read_gpu(index: int) -> Gpu:
    """Return one GPU with what could be read of it. A lost GPU answers nothing more, so it is asked nothing more."""
    gpu: Gpu = {"index": index, "uuid": "", "pci": "", "errors": {}}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        _note(gpu, FIELDS, error)
        return gpu
    for names, read in READERS:
        if gpu.get("lost"):
            break
        try:
            gpu.update(zip(names, read(handle), strict=True))
        except pynvml.NVMLError as error:
            _note(gpu, names, error)
    return gpu


def _note(gpu: Gpu, names: Iterable[str], error: pynvml.NVMLError) -> None:
    """Record why fields have no value; what a GPU does not have is no error.

    Raises:
        NVMLError: it is about the driver as a whole, e.g. because it is being reloaded.
    """
    if error.value in FAILURES or error.value == pynvml.NVML_ERROR_UNINITIALIZED:
        raise error
    if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
        gpu["lost"] = True
    elif error.value == pynvml.NVML_ERROR_RESET_REQUIRED:
        gpu["reset_required"] = True
    if error.value not in ABSENT:
        gpu["errors"].update(dict.fromkeys(names, _say(error)))


def _say(error: pynvml.NVMLError) -> str:
    return f"{error} ({error.value})"


def _pci(handle: Any) -> tuple[str]:
    info = pynvml.nvmlDeviceGetPciInfo(handle)
    return (f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}",)


def _temperature(handle: Any) -> tuple[int]:
    try:
        return (pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU),)
    except pynvml.NVMLError as error:
        if error.value not in ABSENT:
            raise
    return (pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),)


def _ecc(kind: int) -> Callable[[Any], tuple[int]]:
    return lambda handle: (pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, pynvml.NVML_VOLATILE_ECC),)


def _remapped_rows(handle: Any) -> tuple[int, int, bool, bool]:
    correctable, uncorrectable, pending, failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    return correctable, uncorrectable, bool(pending), bool(failed)


def _recovery_action(handle: Any) -> tuple[int | None]:
    return (_field(handle, pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION),)


def _nvlink_states(handle: Any) -> tuple[dict[int, bool]]:
    """Return link → active, empty without NVLink and while MIG is on, which takes the links away for good reason."""
    if _mig_is_on(handle):
        return ({},)
    count = _field(handle, pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT)
    states: dict[int, bool] = {}
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS if count is None else count):
        try:
            states[link] = bool(pynvml.nvmlDeviceGetNvLinkState(handle, link))
        except pynvml.NVMLError as error:
            if error.value in NO_SUCH_FIELD:
                break
            raise
    return (states,)


def _mig_is_on(handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError as error:
        if error.value in ABSENT:
            return False
        raise


def _field(handle: Any, field: int) -> int | None:
    """Return the value of an NVML field, `None` where driver or GPU do not have it."""
    try:
        value = pynvml.nvmlDeviceGetFieldValues(handle, [field])[0]
        if value.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(value.nvmlReturn)
    except pynvml.NVMLError as error:
        if error.value in NO_SUCH_FIELD:
            return None
        raise
    member = MEMBERS.get(value.valueType)
    return int(getattr(value.value, member)) if member else None


READERS: Final[tuple[tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]], ...]] = (
    (("pci",), _pci),
    (("uuid",), lambda handle: (pynvml.nvmlDeviceGetUUID(handle),)),
    (("serial",), lambda handle: (pynvml.nvmlDeviceGetSerial(handle),)),
    (("name",), lambda handle: (pynvml.nvmlDeviceGetName(handle),)),
    (("temperature_celsius",), _temperature),
    (("ecc_corrected_volatile",), _ecc(pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)),
    (("ecc_uncorrected_volatile",), _ecc(pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)),
    (("remapped_correctable", "remapped_uncorrectable", "remap_pending", "remap_failed"), _remapped_rows),
    (("recovery_action",), _recovery_action),
    (("nvlink_states",), _nvlink_states),
)
"""Fields of a GPU → how they are asked, in this order: identity first, so that a GPU that is lost midway has a name."""

FIELDS: Final = tuple(name for names, _ in READERS for name in names)


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each question until there are no more. NVML is initialised at the first one and then kept open, because
    the last client that closes it makes the driver shut the GPUs down and forget their volatile counters."""
    is_open = False
    for _ in questions:
        answer = {} if is_open else _open()
        is_open = not answer
        answers.write(json.dumps(answer or read_all()).encode() + b"\n")
        answers.flush()


def _open() -> dict[str, Any]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"failure": FAILURES.get(error.value, "error"), "detail": _say(error)}
    return {}


def main() -> None:
    """Serve the agent that started this process."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    if hasattr(libc, "malloc_trim"):
        # Compiling pynvml leaves 12 MiB of free heap behind, which would stay resident for good.
        libc.malloc_trim(0)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
