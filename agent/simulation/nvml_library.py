"""NVML of a simulated machine, in place of libnvidia-ml.so.1 under the real pynvml and the real child of the agent.

`python -m agent.simulation.nvml_library STATE` is agent.sources.nvml_child over this library. It answers the C calls
from a text file that is read again at each call, so that a fault shows itself as soon as it is injected. The C double
in tests/doubles/nvml answers from the same text; a machine that simulates needs no compiler.

Each line is a fact: `driver VERSION`, `init CODE`, `count N`, `hang FUNCTION [stubborn]`, `fail FUNCTION CODE`,
`missing FUNCTION`, or of one GPU `gpu INDEX KEY VALUE` with `uuid`, `pci`, `serial`, `name`, `temperature`,
`ecc CORRECTED UNCORRECTED`, `rows CORRECTABLE UNCORRECTABLE PENDING FAILED`, `recovery ACTION`, `links` (a digit each),
`mig MODE`, `return CODE` (of every call), `hang` and `fail`. A FUNCTION may be `*`. A fact that is not given is not
supported by that GPU.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import pynvml

from agent.sources import nvml_child

Facts = dict[str, str]
Handler = Callable[..., int]

SUCCESS: Final[int] = pynvml.NVML_SUCCESS
INVALID_ARGUMENT: Final[int] = pynvml.NVML_ERROR_INVALID_ARGUMENT
NOT_SUPPORTED: Final[int] = pynvml.NVML_ERROR_NOT_SUPPORTED
INSUFFICIENT_SIZE: Final[int] = pynvml.NVML_ERROR_INSUFFICIENT_SIZE

GPU_WORDS: Final = 2
UNDISTURBED: Final = frozenset({"nvmlErrorString", "nvmlShutdown"})
ACTIONS: Final = frozenset({"hang", "fail", "missing"})


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
        return ctypes.CFUNCTYPE(*signature)(lambda *arguments: _call(self._state, name, handler, arguments))


def read_facts(state: Path) -> Facts:
    """Return fact → value, e.g. `gpu 0 uuid` → its UUID, and `hang nvmlDeviceGetName` → `stubborn` or nothing."""
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
    if not name.startswith("nvmlDeviceGet") or name == "nvmlDeviceGetCount_v2":
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
    pynvml.c_nvmlTemperature_v1_t.from_address(address).temperature = int(text)
    return SUCCESS


def _ecc(gpu: Gpu, kind: int, _counter: int, address: int) -> int:
    if (text := gpu.get("ecc")) is None:
        return NOT_SUPPORTED
    return _put(ctypes.c_ulonglong, address, int(text.split()[kind]))


def _rows(gpu: Gpu, *addresses: int) -> int:
    if (text := gpu.get("rows")) is None:
        return NOT_SUPPORTED
    for address, number in zip(addresses, text.split(), strict=True):
        _put(ctypes.c_uint, address, int(number))
    return SUCCESS


def _mig(gpu: Gpu, current: int, pending: int) -> int:
    if (text := gpu.get("mig")) is None:
        return NOT_SUPPORTED
    _put(ctypes.c_uint, current, int(text))
    return _put(ctypes.c_uint, pending, int(text))


def _link(gpu: Gpu, link: int, address: int) -> int:
    links = gpu.get("links") or ""
    if link >= len(links):
        return INVALID_ARGUMENT if links else NOT_SUPPORTED
    return _put(ctypes.c_uint, address, int(links[link]))


def _fields(gpu: Gpu, count: int, address: int) -> int:
    for value in (pynvml.c_nvmlFieldValue_t * count).from_address(address):
        text = _field_text(gpu, value.fieldId)
        value.nvmlReturn = SUCCESS if text is not None else NOT_SUPPORTED
        value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
        value.value.uiVal = int(text or 0)
    return SUCCESS


def _field_text(gpu: Gpu, field: int) -> str | None:
    if field == pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION:
        return gpu.get("recovery")
    if field == pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT and (links := gpu.get("links")) is not None:
        return str(len(links))
    return None


_ERROR_TEXT: Final = ctypes.create_string_buffer(b"simulated error")
_WORD, _POINTER, _INT = ctypes.c_uint, ctypes.c_void_p, ctypes.c_int

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
    "nvmlDeviceGetMigMode": ((_INT, _POINTER, _POINTER, _POINTER), _mig),
    "nvmlDeviceGetNvLinkState": ((_INT, _POINTER, _WORD, _POINTER), _link),
}
"""Name → result and arguments, and who answers. Source: nvml.h."""


def main() -> None:
    """Serve the agent that started this process, from the state that the command line names."""
    pynvml.nvmlLib = SimulatedLibrary(Path(sys.argv[1]))
    nvml_child.main()


if __name__ == "__main__":
    main()
