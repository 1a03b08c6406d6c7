"""Who of a group is there, before any of them enters NCCL, which says nothing of whom it waits for.

Rank 0 listens where NCCL itself will listen; the others come to it and wait. Once all are there, or the time is up, it
tells everybody who is missing. What the others need to find it travels with NCCL's unique id, behind its own bytes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from agent.bench.child import Broken
from agent.bench.nccl import UNIQUE_ID_BYTES
from agent.bench.watch import Overdue, Watch

TOKEN_BYTES: Final = 16
_CALL: Final = struct.Struct(f">{TOKEN_BYTES}sH")
"""What follows the unique id: a token, so that nobody else is taken for a rank, and the port."""

_GREETING: Final = struct.Struct(f">{TOKEN_BYTES}sHH")
"""What a rank says when it comes: the token, its number, and how many GPUs it has."""

_ADDRESS_AT: Final = 8
"""Where the address of rank 0 lies in a unique id. Source: NCCL 2.31, bootstrap.h: ncclBootstrapHandle."""

LOOK_S: Final = 0.2
LONGEST_LINE: Final = 65_536


class _Answer(msgspec.Struct, frozen=True):
    """What rank 0 tells those who came. `uneven`: ranks with another number of GPUs than it has."""

    missing: tuple[int, ...] = ()
    uneven: tuple[int, ...] = ()


_answer = msgspec.json.Decoder(_Answer)


class RankMissing(Broken):
    """Ranks did not come. `nodes`: theirs, empty where it is not known which of several."""

    def __init__(self, because: str, nodes: Sequence[str] = ()) -> None:
        """Keep who is missing."""
        self.nodes = tuple(nodes)
        super().__init__(because)


@dataclass(frozen=True, slots=True)
class Call:
    """Where the ranks of a group meet. `port`: 0 where nobody listens, so that there is no roll call."""

    unique_id: bytes
    token: bytes = b""
    port: int = 0

    def to_text(self) -> str:
        """Return it in hexadecimal, beginning with the unique id."""
        call = _CALL.pack(self.token, self.port) if self.port else b""
        return (self.unique_id + call).hex()


def call_from(text: str) -> Call:
    """Return where the ranks meet.

    Raises:
        Broken: it is no unique id.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise Broken("unique id: it is not hexadecimal") from error
    if len(raw) == UNIQUE_ID_BYTES:
        return Call(raw)
    if len(raw) != UNIQUE_ID_BYTES + _CALL.size:
        raise Broken(f"unique id: it has {len(raw)} bytes, and not {UNIQUE_ID_BYTES}")
    return Call(raw[:UNIQUE_ID_BYTES], *_CALL.unpack(raw[UNIQUE_ID_BYTES:]))


def address_in(unique_id: bytes) -> str | None:
    """Return the address at which NCCL's rank 0 listens, `None` where the unique id does not tell."""
    (family,) = struct.unpack_from("=H", unique_id, _ADDRESS_AT)
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(unique_id[_ADDRESS_AT + 4 : _ADDRESS_AT + 8]))
    if family != socket.AF_INET6:
        return None
    address = ipaddress.IPv6Address(unique_id[_ADDRESS_AT + 8 : _ADDRESS_AT + 24])
    return None if address.is_link_local else str(address)


class Roll:
    """Rank 0's side: it listens from the start, and calls the roll once the unique id is on its way."""

    def __init__(self, unique_id: bytes, gpus: int, *, token: bytes | None = None) -> None:
        """Listen next to NCCL. Where that cannot be done there is no roll call."""
        self.call = Call(unique_id)
        self._gpus = gpus
        self._here: dict[int, tuple[int, socket.socket]] = {}
        self._listener = _listening_at(address_in(unique_id))
        if self._listener is not None:
            port = self._listener.getsockname()[1]
            self.call = Call(unique_id, token or secrets.token_bytes(TOKEN_BYTES), port)

    def wait(self, nodes: Sequence[str], watch: Watch) -> None:
        """Return when the ranks of all nodes but the first are here, and let them go on.

        Raises:
            RankMissing: some are not by the deadline; those that are here are told so, too.
        Broken: some have another number of GPUs.
        """
        listener = self._listener
        if listener is None:
            return
        with contextlib.ExitStack() as closing:
            closing.callback(listener.close)
            with contextlib.suppress(Overdue):
                watch.until(lambda: self._all_came(listener, len(nodes)), "the roll call")
            answer = self._answer(len(nodes))
            for _, guest in self._here.values():
                closing.callback(guest.close)
                with contextlib.suppress(OSError):
                    guest.sendall(msgspec.json.encode(answer) + b"\n")
        _refuse(answer, nodes)

    def _answer(self, ranks: int) -> _Answer:
        missing = tuple(number for number in range(1, ranks) if number not in self._here)
        uneven = tuple(number for number, (gpus, _) in sorted(self._here.items()) if gpus != self._gpus)
        return _Answer(missing, uneven)

    def _all_came(self, listener: socket.socket, ranks: int) -> bool:
        """Let in who waits at the door, and return whether nobody is still to come."""
        with contextlib.suppress(BlockingIOError):
            guest, _ = listener.accept()
            number, gpus = self._greeting_of(guest)
            if 0 < number < ranks:
                self._here[number] = (gpus, guest)
            else:
                guest.close()
        return len(self._here) == ranks - 1

    def _greeting_of(self, guest: socket.socket) -> tuple[int, int]:
        """Return the rank of who came and its GPUs, rank 0 for a stranger."""
        guest.settimeout(LOOK_S)
        try:
            said = guest.recv(_GREETING.size, socket.MSG_WAITALL)
        except OSError:
            return 0, 0
        token, number, gpus = _GREETING.unpack(said) if len(said) == _GREETING.size else (b"", 0, 0)
        return (number, gpus) if secrets.compare_digest(token, self.call.token) else (0, 0)


def answer_roll(call: Call, rank: int, nodes: Sequence[str], watch: Watch, *, gpus: int) -> None:
    """Say to rank 0 that this rank is here, and return when all others are.

    Raises:
        RankMissing: some are not, or rank 0 itself is not there.
        Broken: some have another number of GPUs.
    """
    address = address_in(call.unique_id)
    if not call.port or address is None:
        return
    host = _connected(address, call.port, watch)
    if host is None:
        raise RankMissing(f"rank 0 ({nodes[0]}) does not answer at {address}", nodes[:1])
    with host:
        answer = _told(host, _GREETING.pack(call.token, rank, gpus), watch)
    if answer is None:
        raise RankMissing(f"rank 0 ({nodes[0]}) said no more before all ranks were there")
    _refuse(answer, nodes)


def _listening_at(address: str | None) -> socket.socket | None:
    if address is None:
        return None
    try:
        listener = socket.create_server((address, 0), family=_family(address), backlog=128)
    except OSError:
        return None
    listener.setblocking(False)
    return listener


def _connected(address: str, port: int, watch: Watch) -> socket.socket | None:
    """Return a connection to rank 0, `None` when it refuses, or there was none by the deadline.

    It listens before anybody learns where, so a refusal will not become anything else.
    """
    made: list[socket.socket] = []

    def try_it() -> bool:
        try:
            made.append(socket.create_connection((address, port), timeout=min(LOOK_S, watch.left_s) or LOOK_S))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True

    with contextlib.suppress(Overdue):
        watch.until(try_it, "coming to rank 0")
    return made[0] if made else None


def _told(host: socket.socket, greeting: bytes, watch: Watch) -> _Answer | None:
    """Return what rank 0 says of the others, `None` when it does not say."""
    said = bytearray()

    def has_said() -> bool:
        try:
            piece = host.recv(LONGEST_LINE)
        except TimeoutError:
            return False
        said.extend(piece)
        return not piece or said.endswith(b"\n") or len(said) > LONGEST_LINE

    try:
        host.settimeout(LOOK_S)
        host.sendall(greeting)
        watch.until(has_said, "the roll call")
        return _answer.decode(bytes(said))
    except (OSError, Overdue, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _refuse(answer: _Answer, nodes: Sequence[str]) -> None:
    """Raise what the answer says, if it says that somebody is missing or differs."""
    missing, uneven = (tuple(nodes[n] for n in part if 0 <= n < len(nodes)) for part in (answer.missing, answer.uneven))
    if missing:
        ranks = "the rank of" if len(missing) == 1 else "the ranks of"
        raise RankMissing(f"{ranks} {', '.join(missing)} never arrived", missing)
    if uneven:
        raise Broken(f"{', '.join(uneven)}: not as many GPUs as {nodes[0]} has, which a group needs")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
