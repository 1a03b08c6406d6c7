"""What is read ahead is handed out whole, in order, whatever sizes are asked for."""

from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.read_ahead import CHUNK_BYTES, ReadAhead


@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=8), sizes=st.lists(st.integers(1, 40), min_size=1))
def test_nothing_is_lost_and_nothing_changes_its_place(pieces: list[bytes], sizes: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader, read = ReadAhead(ours), b""
        for piece in pieces:
            theirs.sendall(piece)
        for turn in range(10_000):
            try:
                read += reader.recv(sizes[turn % len(sizes)])
            except (BlockingIOError, ssl.SSLWantReadError):
                break
        assert (read, reader.pending()) == (b"".join(pieces), 0)


def test_what_is_here_already_is_told() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abcdef")
        reader = ReadAhead(ours)
        assert (reader.pending(), reader.recv(1), reader.pending()) == (0, b"a", 5)
        assert (reader.fileno(), reader.recv(CHUNK_BYTES)) == (ours.fileno(), b"bcdef")


def test_the_end_is_told_once_everything_was_read() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"ab")
        theirs.close()
        reader = ReadAhead(ours)
        assert [reader.recv(1), reader.recv(1), reader.recv(1)] == [b"a", b"b", b""]


def test_nothing_there_is_said_as_a_socket_says_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ReadAhead(ours).recv(1)
