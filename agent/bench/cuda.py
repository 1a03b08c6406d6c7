"""CUDA's driver, as far as a benchmark needs it: memory, copies, streams and events, through libcuda.so.1 alone.

That library comes with the driver, so a host that can run a job has it: no toolkit, no compiler, no torch. It is loaded
in the process of a benchmark and nowhere else, because a context takes memory of every GPU, keeps the driver from
resetting it, and looks like a job to whoever asks who uses the GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from agent.bench.child import Broken, NotHere
from agent.bench.cuda_calls import (
    CAPABILITY_MAJOR,
    CAPABILITY_MINOR,
    HARDWARE,
    LIBRARY,
    MULTICAST,
    NON_BLOCKING_STREAM,
    NOT_READY,
    OF_THE_WHOLE_GPU,
    OUT_OF_MEMORY,
    PEER_ACCESS_ALREADY_ENABLED,
    PERFORMANCE_RANK,
    PORTABLE,
    SENTENCES,
    SIGNATURES,
    SUCCESS,
)

KERNEL_SIDE: Final = Path("/proc/driver/nvidia")
"""There when the driver's kernel module is loaded. Source: NVIDIA driver README, chapter on /proc."""

_NAME_BYTES: Final = 128
_PCI_BYTES: Final = 32


class CudaFailed(Broken):
    """A call did not succeed.

    Attributes:
        code: the driver's.
        hardware: a fault's name where it speaks of the GPU, or empty.
        device: the GPU's UUID, empty where it was a call for no GPU.
    """

    def __init__(self, call: str, code: int, says: str) -> None:
        """Keep what failed."""
        self.call, self.code, self.device = call, code, ""
        self.hardware = HARDWARE.get(code, "")
        super().__init__(f"CUDA's {call} failed with {code}: {SENTENCES.get(code, says)}")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        index: as CUDA counts them, by PCI address when CUDA_DEVICE_ORDER says so.
        pci: address as in sysfs, e.g. `0000:3b:00.0`.
        capability: e.g. (9, 0) for Hopper.
        multicast: whether the driver offers the reduction in the NVSwitch that NVLS needs.
    """

    index: int
    handle: int
    uuid: str
    pci: str
    model: str
    memory_bytes: int
    capability: tuple[int, int]
    multicast: bool


class Cuda:
    """The driver of this host."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Declare what is called.

        Raises:
            Broken: the driver is so old that it lacks a call, or does not let itself be used.
        """
        self._library, self._gives_back = library, True
        for name, arguments in SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                if name == OF_THE_WHOLE_GPU:
                    continue
                raise Broken(f"the driver's {LIBRARY} has no {name}: it is older than CUDA 11.4") from error
            function.argtypes, function.restype = arguments, c_int
        self.call("cuInit", 0)

    @property
    def version(self) -> tuple[int, int]:
        """The newest CUDA that the driver can run, e.g. (12, 4)."""
        number = self._number("cuDriverGetVersion")
        return number // 1000, number % 1000 // 10

    def call(self, name: str, *arguments: object, also: tuple[int, ...] = ()) -> int:
        """Make one call and return its code, which is 0 or one of `also`.

        Raises:
            CudaFailed: it is another one.
        """
        code = int(getattr(self._library, name)(*arguments))
        if code != SUCCESS and code not in also:
            raise CudaFailed(name, code, self._says(code))
        return code

    def free(self, name: str, *arguments: object) -> None:
        """Make a call that gives something back. After an error that stays it fails too, which is of no interest."""
        if self._gives_back:
            with suppress(CudaFailed):
                self.call(name, *arguments)

    def keep_all(self) -> None:
        """Give nothing back from now on: behind work that hangs such a call would hang too. The process's end will."""
        self._gives_back = False

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs, in CUDA's order.

        Raises:
            NotHere: a GPU is partitioned (MIG), and its parts are no GPUs to measure.
        """
        return tuple(self._gpu(index) for index in range(self._number("cuDeviceGetCount")))

    def can_copy_between(self, one: Gpu, other: Gpu) -> bool:
        """Return whether the first reads and writes the memory of the other by itself."""
        return self._number("cuDeviceCanAccessPeer", one.handle, other.handle) == 1

    def rank_between(self, one: Gpu, other: Gpu) -> int:
        """Return how fast the driver holds their link to be, 0 for the fastest that is there."""
        return self._number("cuDeviceGetP2PAttribute", PERFORMANCE_RANK, one.handle, other.handle)

    @contextmanager
    def opened(self, gpu: Gpu) -> Iterator[Context]:
        """Give the GPU's primary context, the one that NCCL uses too; all that was taken of it is freed at the end."""
        handle = c_void_p()
        self.call("cuDevicePrimaryCtxRetain", byref(handle), gpu.handle)
        with ExitStack() as taken:
            taken.callback(self.free, "cuDevicePrimaryCtxRelease_v2", gpu.handle)
            yield Context(self, gpu, handle, taken)

    def _gpu(self, index: int) -> Gpu:
        handle = self._number("cuDeviceGet", index)
        uuid = self._bytes("cuDeviceGetUuid_v2", 16, handle)
        whole = self._bytes(OF_THE_WHOLE_GPU, 16, handle) if hasattr(self._library, OF_THE_WHOLE_GPU) else uuid
        if uuid != whole:
            raise NotHere(f"GPU {_uuid(whole)} is partitioned (MIG), and a part of it has no links to measure")
        total = c_size_t()
        self.call("cuDeviceTotalMem_v2", byref(total), handle)
        return Gpu(
            index=index,
            handle=handle,
            uuid=_uuid(uuid),
            pci=self._text("cuDeviceGetPCIBusId", _PCI_BYTES, handle).lower(),
            model=self._text("cuDeviceGetName", _NAME_BYTES, handle),
            memory_bytes=total.value,
            capability=(self._attribute(CAPABILITY_MAJOR, handle), self._attribute(CAPABILITY_MINOR, handle)),
            multicast=self._has_multicast(handle),
        )

    def _has_multicast(self, handle: int) -> bool:
        """Return whether it is offered; drivers before CUDA 12.1 do not know the question, nor have it."""
        value = c_int()
        invalid = 1
        self.call("cuDeviceGetAttribute", byref(value), MULTICAST, handle, also=(invalid,))
        return value.value == 1

    def _attribute(self, attribute: int, handle: int) -> int:
        return self._number("cuDeviceGetAttribute", attribute, handle)

    def _number(self, name: str, *arguments: object) -> int:
        value = c_int()
        self.call(name, byref(value), *arguments)
        return value.value

    def _bytes(self, name: str, size: int, handle: int) -> bytes:
        text = ctypes.create_string_buffer(size)
        self.call(name, text, handle)
        return text.raw

    def _text(self, name: str, size: int, handle: int) -> str:
        text = ctypes.create_string_buffer(size)
        self.call(name, text, size, handle)
        return text.value.decode("utf-8", "replace")

    def _says(self, code: int) -> str:
        text = c_char_p()
        known = self._library.cuGetErrorString(code, byref(text)) == SUCCESS and text.value
        return text.value.decode("utf-8", "replace") if known and text.value else "an error that it has no words for"


class Context:
    """One GPU in use. Every method makes it the thread's current one first, so contexts may be used in turn."""

    def __init__(self, cuda: Cuda, gpu: Gpu, handle: c_void_p, taken: ExitStack) -> None:
        """`taken`: frees what is taken here, the last first."""
        self.gpu, self.handle = gpu, handle
        self._cuda, self._taken = cuda, taken

    def make_current(self) -> None:
        """Let the thread's next calls, and those of NCCL and cuBLAS, mean this GPU."""
        self._cuda.call("cuCtxSetCurrent", self.handle)

    def call(self, name: str, *arguments: object, also: tuple[int, ...] = ()) -> int:
        """Make one call on this GPU.

        Raises:
            CudaFailed: it did not succeed.
        """
        try:
            self.make_current()
            return self._cuda.call(name, *arguments, also=also)
        except CudaFailed as failed:
            failed.device = self.gpu.uuid
            raise

    def free_bytes(self) -> int:
        """Return how much memory nobody has taken."""
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def allocate(self, size_bytes: int) -> int:
        """Return the address of memory on the GPU, which is freed with the context.

        Raises:
            Broken: there is not so much left, because another process has it.
        """
        address = c_ulonglong()
        if self.call("cuMemAlloc_v2", byref(address), size_bytes, also=(OUT_OF_MEMORY,)) == OUT_OF_MEMORY:
            raise Broken(self._too_little(size_bytes))
        self._free_later("cuMemFree_v2", c_ulonglong(address.value))
        return address.value

    def allocate_host(self, size_bytes: int) -> int:
        """Return the address of the host's memory that copies to every GPU at full speed, freed with the context.

        The kernel takes it from the memory next to the CPU on which the thread runs.
        """
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), size_bytes, PORTABLE)
        self._free_later("cuMemFreeHost", c_void_p(address.value))
        return int(address.value or 0)

    @contextmanager
    def host_memory(self, size_bytes: int) -> Iterator[int]:
        """Give the address of memory as of `allocate_host`, which is freed at the end, if nothing failed meanwhile."""
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), size_bytes, PORTABLE)
        yield int(address.value or 0)
        self._free("cuMemFreeHost", address)

    def stream(self) -> Stream:
        """Return a new queue of work, which is destroyed with the context."""
        handle = c_void_p()
        self.call("cuStreamCreate", byref(handle), NON_BLOCKING_STREAM)
        self._free_later("cuStreamDestroy_v2", handle)
        return Stream(self, handle)

    def event(self) -> c_void_p:
        """Return a new mark for a stream, which is destroyed with the context."""
        handle = c_void_p()
        self.call("cuEventCreate", byref(handle), 0)
        self._free_later("cuEventDestroy_v2", handle)
        return handle

    def let_copy_to(self, other: Context) -> None:
        """Let this GPU reach the memory of the other one, which `Cuda.can_copy_between` must allow."""
        self.call("cuCtxEnablePeerAccess", other.handle, 0, also=(PEER_ACCESS_ALREADY_ENABLED,))

    def is_reached(self, event: c_void_p) -> bool:
        """Return whether the stream has come to the mark.

        Raises:
            CudaFailed: the work before it failed, as CUDA tells it: at the next call.
        """
        return self.call("cuEventQuery", event, also=(NOT_READY,)) == SUCCESS

    def seconds_between(self, first: c_void_p, second: c_void_p) -> float:
        """Return the time between two marks that the stream has come to."""
        milliseconds = c_float()
        self.call("cuEventElapsedTime", byref(milliseconds), first, second)
        return milliseconds.value / 1000

    def _free_later(self, name: str, handle: object) -> None:
        self._taken.callback(self._free, name, handle)

    def _free(self, name: str, handle: object) -> None:
        self._cuda.free("cuCtxSetCurrent", self.handle)
        self._cuda.free(name, handle)

    def _too_little(self, size_bytes: int) -> str:
        free, total = self.free_bytes() / 2**30, self.gpu.memory_bytes / 2**30
        return (
            f"GPU {self.gpu.uuid} has {free:.1f} of its {total:.1f} GiB left, and {size_bytes / 2**30:.1f} GiB more "
            "are needed: another process holds its memory"
        )


class Stream:
    """A queue of work on one GPU. Nothing here waits: `Context.is_reached` tells when a mark is reached."""

    def __init__(self, context: Context, handle: c_void_p) -> None:
        """Queue nothing yet."""
        self.context, self.handle = context, handle

    def fill(self, address: int, value: int, words: int) -> None:
        """Write a 32-bit value into so many words."""
        self.context.call("cuMemsetD32Async", address, value & 0xFFFFFFFF, words, self.handle)

    def copy_in(self, device: int, host: int, size_bytes: int) -> None:
        """Copy from the host to the GPU."""
        self.context.call("cuMemcpyHtoDAsync_v2", device, host, size_bytes, self.handle)

    def copy_out(self, host: int, device: int, size_bytes: int) -> None:
        """Copy from the GPU to the host."""
        self.context.call("cuMemcpyDtoHAsync_v2", host, device, size_bytes, self.handle)

    def copy_within(self, target: int, source: int, size_bytes: int) -> None:
        """Copy from one place of the GPU's memory to another."""
        self.context.call("cuMemcpyDtoDAsync_v2", target, source, size_bytes, self.handle)

    def copy_to(self, other: Context, target: int, source: int, size_bytes: int) -> None:
        """Copy from this GPU to another one."""
        own = self.context.handle
        self.context.call("cuMemcpyPeerAsync", target, other.handle, source, own, size_bytes, self.handle)

    def is_idle(self) -> bool:
        """Return whether all of the work is done.

        Raises:
            CudaFailed: some of it failed.
        """
        return self.context.call("cuStreamQuery", self.handle, also=(NOT_READY,)) == SUCCESS

    def mark(self, event: c_void_p) -> None:
        """Put a mark behind the work that is queued."""
        self.context.call("cuEventRecord", event, self.handle)


def load_cuda(
    load: Callable[[str], ctypes.CDLL] = ctypes.CDLL, *, has_driver: Callable[[], bool] = KERNEL_SIDE.exists
) -> Cuda:
    """Return the driver.

    Raises:
        NotHere: the host has no NVIDIA driver.
        Broken: it has one that cannot be used.
    """
    try:
        library = load(LIBRARY)
    except OSError as error:
        if not has_driver():
            raise NotHere(f"the host has no NVIDIA driver ({error})") from error
        raise Broken(f"the driver is loaded and its library is not: {error}") from error
    return Cuda(library)


def _uuid(text: bytes) -> str:
    return f"GPU-{UUID(bytes=text)}"
