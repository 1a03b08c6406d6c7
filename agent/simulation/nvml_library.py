"""NVML of a simulated machine, in place of libnvidia-ml.so.1 under the real pynvml and the real child of the agent.

`python -m agent.simulation.nvml_library STATE` is agent.sources.nvml_child over this library. It answers the C calls
from a text file that is read again once it was replaced, so that a fault shows itself as soon as it is injected. The C
double in tests/doubles/nvml answers from the same text; a machine that simulates needs no compiler.

Each line is a fact: `driver VERSION`, `init CODE`, `count N`, `hang FUNCTION [stubborn]`, `fail FUNCTION CODE`,
`missing FUNCTION`, or of one GPU `gpu INDEX KEY VALUE` with `uuid`, `pci`, `serial`, `name`, `temperature`, `margin`,
`thresholds SHUTDOWN SLOWDOWN MEMORY GPU`, `ecc CORRECTED UNCORRECTED`, `dram CORRECTED UNCORRECTED`, `sram CORRECTED
UNCORRECTED LIFETIME EXCEEDED`, `rows CORRECTABLE UNCORRECTABLE PENDING FAILED`, `histogram MAX HIGH PARTIAL LOW NONE`,
`retired SINGLE DOUBLE PENDING UNIX_TIME`, `recovery ACTION`, `field ID VALUE ...`, `links` (the state of each, a
digit), `link_counter N VALUE ...` (of nvmlDeviceGetNvLinkErrorCounter), `fabric STATE STATUS CLUSTER CLIQUE MASK
[SUMMARY]` (without SUMMARY, of a driver that knows none), `reasons BITS`, `pstate N`, `utilization GPU MEMORY`, `power
USED LIMIT DEFAULT`, `clocks SM MEMORY MAX_SM MAX_MEMORY SET_SM SET_MEMORY`, `pcie GENERATION WIDTH MAX_GENERATION
MAX_WIDTH`, `persistence MODE`, `ecc_mode NOW [PENDING]`, `mig NOW [PENDING]`, `vbios`, `inforom`, `gsp VERSION`,
`gsp_mode ENABLED DEFAULT`, `repair CHANNEL TPC`, `unrepairable FLAG`, `processes PID:BYTES ...`, `graphics` and `mps`
(the same), `memory USED_BYTES`, `compute_mode MODE`, `sway CELSIUS` (by how much the temperature rises
and falls, and the power with it), `return CODE` (of every call), `hang` and `fail`. A FUNCTION may
be `*`. Of a field and a link counter, the values are those of scope 0, 1 and so on, or one for all; `!CODE` in place of
a value is an error. A fact that is not given is not supported by that GPU.
"""

from __future__ import annotations

import ctypes
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn

import pynvml

from agent.bench import nvml_child as bench_child
from agent.sources import nvml_child

Facts = dict[str, str]
Handler = Callable[..., int]

SUCCESS: Final[int] = pynvml.NVML_SUCCESS
INVALID_ARGUMENT: Final[int] = pynvml.NVML_ERROR_INVALID_ARGUMENT
NOT_SUPPORTED: Final[int] = pynvml.NVML_ERROR_NOT_SUPPORTED
INSUFFICIENT_SIZE: Final[int] = pynvml.NVML_ERROR_INSUFFICIENT_SIZE
VERSION_MISMATCH: Final[int] = pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH

GPU_WORDS: Final = 2
WORD_BYTES: Final = 4
LONG_BYTES: Final = 8
RETIRED_AT: Final = 3
SWAY_S: Final = 1_200.0
SWAYS_APART: Final = 32
MILLIWATTS_A_DEGREE: Final = 1_500
"""How long the air of the room takes from warm to warm, which part of that a GPU is behind the one before it, and what
fans and leakage take more when it is warmer. Source: our choice, so that the pictures of a node have something to show.
"""
UNDISTURBED: Final = frozenset({"nvmlErrorString", "nvmlShutdown"})
ACTIONS: Final = frozenset({"hang", "fail", "missing", "field", "link_counter"})
"""Words whose next word belongs to the key."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The facts about one GPU."""

    facts: Facts
    index: int

    def get(self, key: str) -> str | None:
        """Return one fact."""
        return self.facts.get(f"gpu {self.index} {key}")


class SimulatedLibrary:
    """What pynvml takes for the loaded library: an attribute for each C function."""

    def __init__(self, state: Path) -> None:
        """Answer from this file."""
        self._state = state

    def __getattr__(self, name: str) -> Any:
        """Return the C function of this name.

        Raises:
            AttributeError: the library has no such symbol.
        """
        if name not in CALLS or f"missing {name}" in read_facts(self._state):
            raise AttributeError(name)
        signature, handler = CALLS[name]
        function = ctypes.CFUNCTYPE(*signature)(lambda *arguments: _call(self._state, name, handler, arguments))
        count = len(signature) - 1
        # pynvml leaves out the last argument of nvmlDeviceGetRetiredPages_v2 when it asks for the number of pages only.
        return lambda *arguments: function(*arguments, *(None,) * (count - len(arguments)))


def read_facts(state: Path) -> Facts:
    """Return fact → value, e.g. `gpu 0 uuid` → its UUID, and `hang nvmlDeviceGetName` → `stubborn` or nothing."""
    seen = state.stat()
    return _read_facts(state, (seen.st_ino, seen.st_size, seen.st_mtime_ns))


@lru_cache(maxsize=1)
def _read_facts(state: Path, _version: tuple[int, ...]) -> Facts:
    facts: Facts = {}
    for line in state.read_text().splitlines():
        words = line.split(" ")
        key_words = (GPU_WORDS if words[0] == "gpu" else 0) + 1
        key_words += words[key_words - 1] in ACTIONS
        facts[" ".join(words[:key_words])] = " ".join(words[key_words:])
    return facts


def _call(state: Path, name: str, handler: Handler, arguments: tuple[Any, ...]) -> int:
    """Hang, fail or answer as the file says now; what it says of one GPU comes before what it says of all."""
    facts = read_facts(state)
    gpu = _gpu(facts, name, arguments)
    abouts = ("",) if gpu is None else (f"gpu {gpu.index} ", "")
    for about in () if name in UNDISTURBED else abouts:
        for function in (name, "*"):
            if (manner := facts.get(f"{about}hang {function}")) is not None:
                hang(is_stubborn=manner == "stubborn")
            if (code := facts.get(f"{about}fail {function}")) is not None:
                return int(code)
    if gpu is None:
        return handler(facts, *arguments)
    return int(gpu.get("return") or 0) or handler(gpu, *arguments[1:])


def _gpu(facts: Facts, name: str, arguments: tuple[Any, ...]) -> Gpu | None:
    """Return the GPU that a call is about. Its handle is its index and one, for no handle is NULL."""
    if not name.startswith("nvmlDevice") or name == "nvmlDeviceGetCount_v2":
        return None
    return Gpu(facts, arguments[0] if name == "nvmlDeviceGetHandleByIndex_v2" else arguments[0] - 1)


def hang(*, is_stubborn: bool) -> NoReturn:
    """Never return. A stubborn hang does not end on SIGTERM either."""
    if is_stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def _put(kind: Any, address: int, value: int) -> int:
    kind.from_address(address).value = value
    return SUCCESS


def _put_text(text: str | None, address: int, length: int) -> int:
    if text is None:
        return NOT_SUPPORTED
    if len(text) >= length:
        return INSUFFICIENT_SIZE
    ctypes.memmove(address, text.encode() + b"\0", len(text) + 1)
    return SUCCESS


def _init(facts: Facts, _flags: int) -> int:
    return int(facts.get("init", "0"))


def _driver_version(facts: Facts, address: int, length: int) -> int:
    return _put_text(facts.get("driver"), address, length)


def _count(facts: Facts, address: int) -> int:
    return _put(ctypes.c_uint, address, int(facts.get("count", "0")))


def _handle(gpu: Gpu, address: int) -> int:
    if gpu.index >= int(gpu.facts.get("count", "0")):
        return INVALID_ARGUMENT
    return _put(ctypes.c_void_p, address, gpu.index + 1)


def _text(key: str) -> Handler:
    return lambda gpu, address, length: _put_text(gpu.get(key), address, length)


def _pci_info(gpu: Gpu, address: int) -> int:
    domain, bus, device = (int(part, 16) for part in (gpu.get("pci") or "0:0:0").split(":"))
    info = pynvml.nvmlPciInfo_t.from_address(address)
    info.domain, info.bus, info.device = domain, bus, device
    info.busId = f"{domain:08X}:{bus:02X}:{device:02X}.0".encode()
    return SUCCESS


def _temperature(gpu: Gpu, address: int) -> int:
    if (text := gpu.get("temperature")) is None:
        return NOT_SUPPORTED
    pynvml.c_nvmlTemperature_v1_t.from_address(address).temperature = int(text) + round(swayed(gpu, time.time()))
    return SUCCESS


def _power_used(gpu: Gpu, address: int) -> int:
    if not (numbers := (gpu.get("power") or "").split()):
        return NOT_SUPPORTED
    return _put(ctypes.c_uint, address, int(numbers[0]) + round(MILLIWATTS_A_DEGREE * swayed(gpu, time.time())))


def swayed(gpu: Gpu, at: float) -> float:
    """Return by how many degrees the air of the room makes a GPU warmer at a moment, each after the one before it."""
    return float(gpu.get("sway") or 0.0) * math.sin(2.0 * math.pi * (at / SWAY_S - gpu.index / SWAYS_APART))


def _rows(gpu: Gpu, *addresses: int) -> int:
    return _put_all(gpu, "rows", ctypes.c_uint, addresses)


def _put_all(gpu: Gpu, key: str, kind: Any, addresses: Iterable[int]) -> int:
    if (text := gpu.get(key)) is None:
        return NOT_SUPPORTED
    for address, number in zip(addresses, text.split(), strict=True):
        _put(kind, address, int(number))
    return SUCCESS


def _number(key: str, position: int = 0, kind: Any = ctypes.c_uint) -> Handler:
    """Return what answers with one number of a fact."""
    return lambda gpu, address: _put_number(gpu, key, position, kind, address)


def _put_number(gpu: Gpu, key: str, position: int, kind: Any, address: int) -> int:
    numbers = (gpu.get(key) or "").split()
    return _put(kind, address, int(numbers[position])) if position < len(numbers) else NOT_SUPPORTED


def _pair(key: str) -> Handler:
    return lambda gpu, *addresses: _put_pair(gpu, key, *addresses)


def _put_pair(gpu: Gpu, key: str, first: int, second: int) -> int:
    """Put two numbers; the second is the first where the fact has one only."""
    numbers = (gpu.get(key) or "").split()
    if not numbers:
        return NOT_SUPPORTED
    _put(ctypes.c_uint, first, int(numbers[0]))
    return _put(ctypes.c_uint, second, int(numbers[-1]))


def _array(key: str, offset: int = 0) -> Handler:
    """Return what answers with all numbers of a fact, side by side from the word `offset` of a structure on."""
    return lambda gpu, address: _put_all(
        gpu, key, ctypes.c_uint, (address + WORD_BYTES * (offset + place) for place in range(_length(gpu, key)))
    )


def _length(gpu: Gpu, key: str) -> int:
    return len((gpu.get(key) or "").split())


def _ecc(gpu: Gpu, kind: int, _counter: int, address: int) -> int:
    return _put_number(gpu, "ecc", kind, ctypes.c_ulonglong, address)


def _dram(gpu: Gpu, kind: int, _counter: int, location: int, address: int) -> int:
    if location != pynvml.NVML_MEMORY_LOCATION_DRAM:
        return NOT_SUPPORTED
    return _put_number(gpu, "dram", kind, ctypes.c_ulonglong, address)


def _sram(gpu: Gpu, address: int) -> int:
    if (text := gpu.get("sram")) is None:
        return NOT_SUPPORTED
    status = pynvml.c_nvmlEccSramErrorStatus_v1_t.from_address(address)
    numbers = (int(word) for word in text.split())
    status.volatileCor, status.volatileUncSecDed, status.aggregateUncSecDed, status.bThresholdExceeded = numbers
    return SUCCESS


def _clock(first: int) -> Handler:
    """Return what answers with a clock; the SM's is number `first` of the fact, the memory's the next."""
    return lambda gpu, kind, address: (
        _put_number(gpu, "clocks", first + (kind == pynvml.NVML_CLOCK_MEM), ctypes.c_uint, address)
        if kind in (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
        else INVALID_ARGUMENT
    )


def _threshold(gpu: Gpu, threshold: int, address: int) -> int:
    return _put_number(gpu, "thresholds", threshold, ctypes.c_uint, address)


def _retired(gpu: Gpu, cause: int, count: int, pages: int | None, times: int | None = None) -> int:
    if (text := gpu.get("retired")) is None:
        return NOT_SUPPORTED
    numbers = [int(word) for word in text.split()]
    held, room = numbers[cause], ctypes.c_uint.from_address(count).value
    _put(ctypes.c_uint, count, held)
    if not pages or not times or room < held:
        return INSUFFICIENT_SIZE if held else SUCCESS
    for page in range(held):
        _put(ctypes.c_ulonglong, times + LONG_BYTES * page, numbers[RETIRED_AT])
    return SUCCESS


def _running(key: str) -> Handler:
    """Return what answers with the processes of a fact."""
    return lambda gpu, count, address: _put_processes(gpu, key, count, address)


def _put_processes(gpu: Gpu, key: str, count: int, address: int | None) -> int:
    if (text := gpu.get(key)) is None:
        return NOT_SUPPORTED
    words, room = text.split(), ctypes.c_uint.from_address(count).value
    _put(ctypes.c_uint, count, len(words))
    if not address or room < len(words):
        return INSUFFICIENT_SIZE if words else SUCCESS
    for process, word in zip((pynvml.c_nvmlProcessInfo_v3_t * room).from_address(address), words, strict=False):
        process.pid, process.usedGpuMemory = (int(number) for number in word.split(":"))
    return SUCCESS


def _memory(gpu: Gpu, address: int) -> int:
    if (text := gpu.get("memory")) is None:
        return NOT_SUPPORTED
    pynvml.c_nvmlMemory_v2_t.from_address(address).used = int(text)
    return SUCCESS


def _inforom_is_valid(gpu: Gpu) -> int:
    return NOT_SUPPORTED if gpu.get("inforom") is None else SUCCESS


def _gsp_version(gpu: Gpu, address: int) -> int:
    return _put_text(gpu.get("gsp"), address, pynvml.NVML_GSP_FIRMWARE_VERSION_BUF_SIZE)


def _link(gpu: Gpu, link: int, address: int) -> int:
    links = gpu.get("links") or ""
    if link >= len(links):
        return INVALID_ARGUMENT if links else NOT_SUPPORTED
    return _put(ctypes.c_uint, address, int(links[link]))


def _link_counter(gpu: Gpu, link: int, counter: int, address: int) -> int:
    code, value = _scoped(gpu.get(f"link_counter {counter}"), link)
    return code or _put(ctypes.c_ulonglong, address, value)


def _fields(gpu: Gpu, count: int, address: int) -> int:
    for value in (pynvml.c_nvmlFieldValue_t * count).from_address(address):
        value.nvmlReturn, value.value.sllVal = _scoped(_field_text(gpu, value.fieldId), value.scopeId)
        value.valueType = pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG
    return SUCCESS


def _field_text(gpu: Gpu, field: int) -> str | None:
    links = gpu.get("links")
    if (text := gpu.get(f"field {field}")) is not None:
        return text
    if field == pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION:
        return gpu.get("recovery")
    if field == pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT and links is not None:
        return str(len(links))
    return " ".join(links) if field == pynvml.NVML_FI_DEV_NVLINK_GET_STATE and links else None


def _scoped(text: str | None, scope: int) -> tuple[int, int]:
    """Return code and value of one scope: the one value that stands for all, or the scope's own."""
    if text is None:
        return NOT_SUPPORTED, 0
    values = text.split()
    if len(values) > 1 and scope >= len(values):
        return INVALID_ARGUMENT, 0
    value = values[scope if len(values) > 1 else 0]
    return (int(value[1:]), 0) if value.startswith("!") else (SUCCESS, int(value))


def _fabric(gpu: Gpu, address: int) -> int:
    if (text := gpu.get("fabric")) is None:
        return NOT_SUPPORTED
    state, status, cluster, clique, mask, *summary = text.split()
    asked = ctypes.c_uint.from_address(address).value
    if asked not in (pynvml.nvmlGpuFabricInfo_v2, pynvml.nvmlGpuFabricInfo_v3 if summary else 0):
        return VERSION_MISMATCH
    information = pynvml.c_nvmlGpuFabricInfo_v2_t.from_address(address)
    information.clusterUuid[:] = bytes.fromhex(cluster)
    information.state, information.status, information.cliqueId = int(state), int(status), int(clique)
    information.healthMask = int(mask, 16)
    if asked == pynvml.nvmlGpuFabricInfo_v3:
        pynvml.c_nvmlGpuFabricInfo_v3_t.from_address(address).healthSummary = int(summary[0])
    return SUCCESS


_ERROR_TEXT: Final = ctypes.create_string_buffer(b"simulated error")
_WORD, _POINTER, _INT = ctypes.c_uint, ctypes.c_void_p, ctypes.c_int

_ONE = (_INT, _POINTER, _POINTER)
_TWO = (_INT, _POINTER, _POINTER, _POINTER)
_CHOICE = (_INT, _POINTER, _WORD, _POINTER)
_TEXT = (_INT, _POINTER, _POINTER, _WORD)

_NUMBERS: Final[dict[str, Handler]] = {
    "nvmlDeviceGetMarginTemperature": _array("margin", 1),
    "nvmlDeviceGetCurrentClocksEventReasons": _number("reasons", kind=ctypes.c_ulonglong),
    "nvmlDeviceGetCurrentClocksThrottleReasons": _number("reasons", kind=ctypes.c_ulonglong),
    "nvmlDeviceGetPerformanceState": _number("pstate"),
    "nvmlDeviceGetUtilizationRates": _array("utilization"),
    "nvmlDeviceGetPowerUsage": _power_used,
    "nvmlDeviceGetEnforcedPowerLimit": _number("power", 1),
    "nvmlDeviceGetPowerManagementDefaultLimit": _number("power", 2),
    "nvmlDeviceGetPowerManagementLimit": _number("power", 1),
    "nvmlDeviceGetComputeMode": _number("compute_mode"),
    "nvmlDeviceGetCurrPcieLinkGeneration": _number("pcie", 0),
    "nvmlDeviceGetCurrPcieLinkWidth": _number("pcie", 1),
    "nvmlDeviceGetMaxPcieLinkGeneration": _number("pcie", 2),
    "nvmlDeviceGetMaxPcieLinkWidth": _number("pcie", 3),
    "nvmlDeviceGetPersistenceMode": _number("persistence"),
    "nvmlDeviceGetRowRemapperHistogram": _array("histogram"),
    "nvmlDeviceGetRepairStatus": _array("repair", 1),
    "nvmlDeviceGetUnrepairableMemoryFlag_v1": _array("unrepairable", 1),
    "nvmlDeviceGetRetiredPagesPendingStatus": _number("retired", 2),
    "nvmlDeviceGetSramEccErrorStatus": _sram,
    "nvmlDeviceGetGspFirmwareVersion": _gsp_version,
}
"""Calls that fill in one thing."""

CALLS: Final[dict[str, tuple[tuple[Any, ...], Handler]]] = {
    "nvmlInitWithFlags": ((_INT, _WORD), _init),
    "nvmlShutdown": ((_INT,), lambda _: SUCCESS),
    "nvmlErrorString": ((_POINTER, _INT), lambda *_: ctypes.addressof(_ERROR_TEXT)),
    "nvmlSystemGetDriverVersion": ((_INT, _POINTER, _WORD), _driver_version),
    "nvmlDeviceGetCount_v2": ((_INT, _POINTER), _count),
    "nvmlDeviceGetHandleByIndex_v2": ((_INT, _WORD, _POINTER), _handle),
    "nvmlDeviceGetUUID": ((_INT, _POINTER, _POINTER, _WORD), _text("uuid")),
    "nvmlDeviceGetSerial": ((_INT, _POINTER, _POINTER, _WORD), _text("serial")),
    "nvmlDeviceGetName": ((_INT, _POINTER, _POINTER, _WORD), _text("name")),
    "nvmlDeviceGetPciInfo_v3": ((_INT, _POINTER, _POINTER), _pci_info),
    "nvmlDeviceGetTemperatureV": ((_INT, _POINTER, _POINTER), _temperature),
    "nvmlDeviceGetTotalEccErrors": ((_INT, _POINTER, _WORD, _WORD, _POINTER), _ecc),
    "nvmlDeviceGetRemappedRows": ((_INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER), _rows),
    "nvmlDeviceGetFieldValues": ((_INT, _POINTER, _INT, _POINTER), _fields),
    "nvmlDeviceGetNvLinkState": ((_INT, _POINTER, _WORD, _POINTER), _link),
    "nvmlDeviceGetNvLinkErrorCounter": ((_INT, _POINTER, _WORD, _WORD, _POINTER), _link_counter),
    "nvmlDeviceGetGpuFabricInfoV": (_ONE, _fabric),
    "nvmlDeviceGetMemoryErrorCounter": ((_INT, _POINTER, _WORD, _WORD, _WORD, _POINTER), _dram),
    "nvmlDeviceGetTemperatureThreshold": (_CHOICE, _threshold),
    "nvmlDeviceGetClockInfo": (_CHOICE, _clock(0)),
    "nvmlDeviceGetMaxClockInfo": (_CHOICE, _clock(2)),
    "nvmlDeviceGetApplicationsClock": (_CHOICE, _clock(4)),
    "nvmlDeviceGetEccMode": (_TWO, _pair("ecc_mode")),
    "nvmlDeviceGetMigMode": (_TWO, _pair("mig")),
    "nvmlDeviceGetGspFirmwareMode": (_TWO, _pair("gsp_mode")),
    "nvmlDeviceGetVbiosVersion": (_TEXT, _text("vbios")),
    "nvmlDeviceGetInforomImageVersion": (_TEXT, _text("inforom")),
    "nvmlDeviceValidateInforom": ((_INT, _POINTER), _inforom_is_valid),
    "nvmlDeviceGetRetiredPages_v2": ((_INT, _POINTER, _WORD, _POINTER, _POINTER, _POINTER), _retired),
    "nvmlDeviceGetComputeRunningProcesses_v3": (_TWO, _running("processes")),
    "nvmlDeviceGetGraphicsRunningProcesses_v3": (_TWO, _running("graphics")),
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": (_TWO, _running("mps")),
    "nvmlDeviceGetMemoryInfo_v2": (_ONE, _memory),
    **{name: (_ONE, handler) for name, handler in _NUMBERS.items()},
}
"""Name → result and arguments, and who answers. Source: nvml.h."""


def main() -> None:
    """Serve the agent that started this process, from the state that the command line names.

    With `bench` behind it, as agent.bench.nvml_child does.
    """
    pynvml.nvmlLib = SimulatedLibrary(Path(sys.argv[1]))
    nvml_child.main(bench_child.answer if sys.argv[2:] == ["bench"] else None)


if __name__ == "__main__":
    main()
