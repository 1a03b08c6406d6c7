"""Who of a group is there: real sockets on this host, and whatever may come in through them."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.child import Broken
from agent.bench.nccl import UNIQUE_ID_BYTES
from agent.bench.roll_call import RankMissing, Roll, address_in, answer_roll, call_from
from agent.bench.watch import Watch

NODES = ("node-a", "node-b", "node-c")
LOCAL = struct.pack("=8sHH4s", b"magic", socket.AF_INET, 1, bytes([127, 0, 0, 1])).ljust(UNIQUE_ID_BYTES, b"\0")


def soon(limit_s: float = 5.0) -> Watch:
    return Watch(time.monotonic() + limit_s)


class Rank(threading.Thread):
    """A rank that comes, in a thread of its own, and how that ended."""

    def __init__(self, text: str, number: int, *, gpus: int = 8) -> None:
        super().__init__(daemon=True)
        self.text, self.number, self.gpus = text, number, gpus
        self.ended: Broken | None = None
        self.start()

    def run(self) -> None:
        try:
            answer_roll(call_from(self.text), self.number, NODES, soon(), gpus=self.gpus)
        except Broken as error:
            self.ended = error

    def how(self) -> Broken | None:
        self.join(10)
        assert not self.is_alive()
        return self.ended


def test_all_go_on_once_all_are_there() -> None:
    roll = Roll(LOCAL, 8)
    ranks = [Rank(roll.call.to_text(), number) for number in (1, 2)]

    roll.wait(NODES, soon())

    assert [rank.how() for rank in ranks] == [None, None]


def test_who_is_missing_is_told_to_who_came() -> None:
    roll = Roll(LOCAL, 8)
    rank = Rank(roll.call.to_text(), 2)

    with pytest.raises(RankMissing) as missing:
        roll.wait(NODES, soon(1.0))

    told = rank.how()
    assert isinstance(told, RankMissing)
    assert missing.value.nodes == told.nodes == ("node-b",)


def test_a_rank_with_other_gpus_stops_all() -> None:
    roll = Roll(LOCAL, 8)
    ranks = [Rank(roll.call.to_text(), 1), Rank(roll.call.to_text(), 2, gpus=7)]

    with pytest.raises(Broken, match="node-c: not as many GPUs as node-a has"):
        roll.wait(NODES, soon())

    assert all("node-c" in str(rank.how()) for rank in ranks)


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(16) + struct.pack(">HH", 1, 8),
        b"t" * 16 + struct.pack(">HH", 0, 8),
        b"t" * 16 + struct.pack(">HH", 3, 8),
    ],
)
def test_strangers_are_no_ranks(greeting: bytes) -> None:
    roll = Roll(LOCAL, 8, token=b"t" * 16)
    with socket.create_connection(("127.0.0.1", roll.call.port)) as stranger:
        stranger.sendall(greeting)
        stranger.shutdown(socket.SHUT_WR)
        with pytest.raises(RankMissing) as missing:
            roll.wait(NODES[:2], soon(0.8))

    assert missing.value.nodes == ("node-b",)


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1]\n", b'{"missing":"x"}\n', b"\xff\n"])
def test_a_rank_0_that_talks_nonsense_is_not_believed(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = (LOCAL + struct.pack(">16sH", b"t" * 16, listener.getsockname()[1])).hex()
        rank = Rank(text, 1)
        guest, _ = listener.accept()
        with guest:
            guest.recv(64)
            guest.sendall(answer)

        how = rank.how()

    said = "node-a" in str(how)
    assert said or answer == b"{}"


def test_a_group_of_one_waits_for_nobody() -> None:
    Roll(LOCAL, 8).wait(NODES[:1], soon(0.0))


def test_without_an_address_there_is_no_roll_call() -> None:
    hidden = bytes(UNIQUE_ID_BYTES)
    roll = Roll(hidden, 8)

    roll.wait(NODES, soon(0.0))
    answer_roll(call_from(roll.call.to_text()), 1, NODES, soon(0.0), gpus=8)

    assert roll.call.to_text() == hidden.hex()


def test_addresses_of_both_kinds_are_read() -> None:
    six = struct.pack("=8sHHI16s", b"magic", socket.AF_INET6, 1, 0, bytes.fromhex("2001" + "00" * 13 + "05"))

    assert address_in(LOCAL) == "127.0.0.1"
    assert address_in(six.ljust(UNIQUE_ID_BYTES, b"\0")) == "2001::5"
    assert address_in(six.replace(b"\x20\x01", b"\xfe\x80").ljust(UNIQUE_ID_BYTES, b"\0")) is None


@given(st.one_of(st.text(max_size=400), st.binary(max_size=200).map(bytes.hex)))
def test_any_text_is_a_unique_id_or_an_error(text: str) -> None:
    try:
        call = call_from(text)
    except Broken as error:
        assert str(error).startswith("unique id: ")
        return
    assert call_from(call.to_text()).unique_id == call.unique_id


@given(st.binary(min_size=UNIQUE_ID_BYTES, max_size=UNIQUE_ID_BYTES))
def test_any_unique_id_has_an_address_or_none(unique_id: bytes) -> None:
    assert address_in(unique_id) is None or address_in(unique_id)
