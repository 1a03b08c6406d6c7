"""NCCL, as far as an all-reduce needs it: communicators of all GPUs of a process, through libnccl.so.2 alone.

What a library of any version from 2.14 on understands is used. A communicator that waits for others is made without
blocking, and is asked again and again how it does: that is the only way to leave it once somebody does not come.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from typing import Final

from agent.bench.child import Broken
from agent.bench.cuda import Context, Stream

LIBRARY: Final = "libnccl.so.2"

SUCCESS, IN_PROGRESS = 0, 7
_INT32, _SUM, _LEAST = 2, 0, 3
_UNDEFINED: Final = -(2**31)
"""Source: nccl.h of NCCL 2.31, enums ncclResult_t, ncclDataType_t, ncclRedOp_t, and NCCL_CONFIG_UNDEF_INT."""

UNIQUE_ID_BYTES: Final = 128
"""Source: nccl.h of NCCL 2.31, NCCL_UNIQUE_ID_BYTES."""

LEAST_VERSION: Final = 21400
"""The first with communicators that do not block. Source: NCCL's release notes, 2.14."""

_MAGIC: Final = 0xCAFEBEEF
"""Source: nccl.h of NCCL 2.31, NCCL_API_MAGIC."""


class UniqueId(ctypes.Structure):
    """What brings the ranks of a communicator together. NCCL takes it by value."""

    _fields_ = [("internal", c_char * UNIQUE_ID_BYTES)]


class _Config(ctypes.Structure):
    """How a communicator is made, in the layout of NCCL 2.14.

    Every later version takes as many bytes as `size` says, and its own defaults for whatever came after `version`. So
    the oldest layout is the one that all of them read alike. The last four bytes are padding there, and a field that is
    left undefined later.

    Source: nccl.h of NCCL 2.14 and 2.31 (ncclConfig_t), init.cc (parseCommConfig).
    """

    _fields_ = [
        ("size", c_size_t),
        ("magic", c_uint),
        ("version", c_uint),
        ("blocking", c_int),
        ("padding", c_int),
    ]


_OUT_INT, _OUT_POINTER = POINTER(c_int), POINTER(c_void_p)
_SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    "ncclGetVersion": (_OUT_INT,),
    "ncclGetUniqueId": (POINTER(UniqueId),),
    "ncclCommInitAll": (_OUT_POINTER, c_int, POINTER(c_int)),
    "ncclCommInitRankConfig": (_OUT_POINTER, c_int, UniqueId, c_int, POINTER(_Config)),
    "ncclCommGetAsyncError": (c_void_p, _OUT_INT),
    "ncclCommFinalize": (c_void_p,),
    "ncclCommDestroy": (c_void_p,),
    "ncclCommAbort": (c_void_p,),
    "ncclGroupStart": (),
    "ncclGroupEnd": (),
    "ncclAllReduce": (c_ulonglong, c_ulonglong, c_size_t, c_int, c_int, c_void_p, c_void_p),
}
"""Source: nccl.h of NCCL 2.31; all of it is there since 2.14."""

_SPLIT: Final = "ncclCommSplit"
"""There since NCCL 2.18."""


class NcclFailed(Broken):
    """A call did not succeed. `code`: NCCL's."""

    def __init__(self, call: str, code: int, says: str) -> None:
        """Keep what failed."""
        self.call, self.code = call, code
        super().__init__(f"NCCL's {call} failed with {code}: {says}")


class Nccl:
    """The library of this host."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Declare what is called.

        Raises:
            Broken: the library is too old.
        """
        self._library = library
        library.ncclGetErrorString.restype = c_char_p
        library.ncclGetLastError.restype = c_char_p
        library.ncclGetLastError.argtypes = (c_void_p,)
        for name, arguments in _SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise Broken(f"{LIBRARY} has no {name}: it is older than NCCL 2.14") from error
            function.argtypes, function.restype = arguments, c_int
        self.can_split = hasattr(library, _SPLIT)
        if self.can_split:
            getattr(library, _SPLIT).argtypes = (c_void_p, c_int, c_int, _OUT_POINTER, c_void_p)

    @property
    def version(self) -> str:
        """E.g. `2.28.3`."""
        number = c_int()
        self.call("ncclGetVersion", byref(number))
        major, rest = divmod(number.value, 10_000)
        return f"{major}.{rest // 100}.{rest % 100}"

    def call(self, name: str, *arguments: object) -> int:
        """Make one call and return its code, success or in progress.

        Raises:
            NcclFailed: it is another one.
        """
        code = int(getattr(self._library, name)(*arguments))
        if code not in (SUCCESS, IN_PROGRESS):
            raise NcclFailed(name, code, self.says(code))
        return code

    def says(self, code: int) -> str:
        """Return the library's words for a code, and for what happened last."""
        words = self._library.ncclGetErrorString(code) or b""
        last = self._library.ncclGetLastError(None) or b""
        return ": ".join(text.decode("utf-8", "replace").strip() for text in (words, last) if text.strip())

    def unique_id(self) -> bytes:
        """Return a new unique id; from now on the library listens for the ranks that have it."""
        made = UniqueId()
        self.call("ncclGetUniqueId", byref(made))
        return bytes(made)

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """Make the calls inside one, as calls for several GPUs of one process must be."""
        self.call("ncclGroupStart")
        try:
            yield
        except BaseException:
            with suppress(NcclFailed):
                self.call("ncclGroupEnd")
            raise
        self.call("ncclGroupEnd")

    def of_node(self, gpus: Sequence[int]) -> Clique:
        """Return communicators of these GPUs alone, by CUDA's numbers. It blocks until they are made."""
        handles = (c_void_p * len(gpus))()
        self.call("ncclCommInitAll", handles, len(gpus), (c_int * len(gpus))(*gpus))
        return Clique(self, [c_void_p(handle) for handle in handles], ranks=len(gpus))

    def of_group(self, contexts: Sequence[Context], unique_id: bytes, *, ranks: int, first: int) -> Clique:
        """Return communicators of these GPUs, of which `first` is the rank of the first. It does not block.

        They are made once `Clique.is_settled`, and that is when all ranks came.
        """
        config = _Config(ctypes.sizeof(_Config), _MAGIC, LEAST_VERSION, 0, _UNDEFINED)
        wanted = UniqueId.from_buffer_copy(unique_id)
        handles = [c_void_p() for _ in contexts]
        with self.grouped():
            for number, (context, handle) in enumerate(zip(contexts, handles, strict=True)):
                context.make_current()
                self.call("ncclCommInitRankConfig", byref(handle), ranks, wanted, first + number, byref(config))
        return Clique(self, handles, ranks=ranks)


@dataclass(frozen=True, slots=True)
class Seat:
    """One GPU's place in an all-reduce: from which address to which, and the stream that it is queued on."""

    stream: Stream
    send: int
    receive: int


class Clique:
    """The communicators of one process in one world, one for each of its GPUs.

    Attributes:
        ranks: how many the world has.
    """

    def __init__(self, nccl: Nccl, handles: Sequence[c_void_p], *, ranks: int) -> None:
        """The handles are the clique's own: `destroy` or `abort` gives them back."""
        self.ranks = ranks
        self._nccl, self._handles = nccl, list(handles)

    def all_reduce(self, seats: Sequence[Seat], words: int, *, least: bool = False) -> None:
        """Queue the sum of so many int32, or the least of them, at each GPU."""
        operation = _LEAST if least else _SUM
        with self._nccl.grouped():
            for handle, seat in zip(self._handles, seats, strict=True):
                send, receive, stream = seat.send, seat.receive, seat.stream.handle
                self._nccl.call("ncclAllReduce", send, receive, words, _INT32, operation, handle, stream)

    def is_settled(self) -> bool:
        """Return whether nothing is under way that the next call would have to wait for.

        Raises:
            NcclFailed: one of the communicators is broken.
        """
        return all(self._is_settled(handle) for handle in self._handles)

    def lanes(self) -> list[Clique]:
        """Return one clique for each GPU, of the GPUs with the same number in every node. It does not block.

        NCCL writes the new communicators down when they are made, which is when this clique and they are settled.
        """
        made = [c_void_p() for _ in self._handles]
        with self._nccl.grouped():
            for number, (handle, lane) in enumerate(zip(self._handles, made, strict=True)):
                self._nccl.call(_SPLIT, handle, number, 0, byref(lane), None)
        ranks = self.ranks // len(self._handles)
        return [Clique(self._nccl, [lane], ranks=ranks) for lane in made]

    def abort(self) -> None:
        """Leave whatever is under way, on the GPUs too. The communicators are gone afterwards."""
        handles, self._handles = self._handles, []
        for handle in handles:
            if handle.value:
                with suppress(NcclFailed):
                    self._nccl.call("ncclCommAbort", handle)

    def finish(self) -> None:
        """Let the last of the work reach the other nodes. It is done once the clique is settled again."""
        for handle in self._handles:
            self._nccl.call("ncclCommFinalize", handle)

    def destroy(self) -> None:
        """Give the communicators back, which must be at rest."""
        handles, self._handles = self._handles, []
        for handle in handles:
            self._nccl.call("ncclCommDestroy", handle)

    def _is_settled(self, handle: c_void_p) -> bool:
        if not handle.value:
            return False
        state = c_int()
        self._nccl.call("ncclCommGetAsyncError", handle, byref(state))
        if state.value not in (SUCCESS, IN_PROGRESS):
            raise NcclFailed("communicator", state.value, self._nccl.says(state.value))
        return state.value == SUCCESS


def load_nccl(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> Nccl:
    """Return the library.

    Raises:
        Broken: the host has none, or one that cannot be used.
    """
    try:
        return Nccl(load(LIBRARY))
    except OSError as error:
        raise Broken(f"NCCL cannot be loaded: {error}; it belongs on the agent's library path") from error
