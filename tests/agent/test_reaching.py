"""Whether a host is reached, against real sockets on loopback: they listen, refuse, or are silent."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.machine import ActionRefused, Done
from agent.reaching import CONTAINER_MARKS, own_address, reach
from wire.orders import Order, OrderAction
from wire.reaching import why_no_address

HERE = "127.0.0.1"
AT_ONCE_S = 0.2
"""Nobody waits for it but the one test of a silent host."""


async def look(*ports: int, addresses: str = HERE, limit_s: float = 2.0) -> Done:
    order = Order("reach/1", "n1", OrderAction.REACH, 0.0, 60.0, 1, parameters={"addresses": addresses})
    return await reach(order, ports=ports, limit_s=limit_s)


@contextlib.contextmanager
def listening(backlog: int = 8) -> Iterator[int]:
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen(backlog)
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port that is taken, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what comes, as a dead host or a black hole does."""
    with listening(backlog=0) as port, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((HERE, port))
        yield port


async def test_a_port_that_answers_proves_that_the_host_lives() -> None:
    with listening() as port:
        assert await look(port) == Done(f"{HERE} answered on port {port}", {HERE: "reached"})


async def test_a_port_that_refuses_proves_it_as_well(refusing: int) -> None:
    assert await look(refusing) == Done(f"{HERE} refused on port {refusing}, so it lives", {HERE: "reached"})


async def test_a_host_that_is_silent_is_not_reached(silent: int) -> None:
    assert await look(silent, limit_s=AT_ONCE_S) == Done(f"{HERE} did not answer", {HERE: "not_reached"})


async def test_one_port_is_enough_and_the_silent_ones_are_not_waited_for(silent: int, refusing: int) -> None:
    assert (await look(silent, refusing, limit_s=60.0)).evidence == {HERE: "reached"}


async def test_each_address_has_a_word_of_its_own(refusing: int) -> None:
    done = await look(refusing, addresses=f"{HERE},127.0.0.2,nowhere.invalid")
    assert done.evidence == {HERE: "reached", "127.0.0.2": "reached", "nowhere.invalid": "unknown"}
    assert "nowhere.invalid could not be looked up" in done.because


async def test_an_address_that_this_host_cannot_even_try_is_unknown_and_not_silent() -> None:
    """The kernel has no way for TCP to the broadcast address of loopback: that says nothing of any other host."""
    done = await look(9, addresses="127.255.255.255")
    assert done.evidence == {"127.255.255.255": "unknown"}


@pytest.mark.parametrize("addresses", ["", "127.1", "$(reboot)", "n1 n2", "a,b,c,d,e"])
async def test_what_is_no_address_is_refused_before_anything_is_looked_up(addresses: str) -> None:
    with pytest.raises(ActionRefused):
        await look(9, addresses=addresses)


def test_the_node_knows_an_address_of_its_own_or_its_name(tmp_path: Path) -> None:
    address = own_address(tmp_path, {})
    assert address == socket.gethostname() or why_no_address(address) == ""


@pytest.mark.parametrize("mark", CONTAINER_MARKS)
def test_i1_a_container_does_not_give_its_own_address_for_that_of_the_host(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert own_address(tmp_path, {}) == ""


def test_i1_a_pod_does_not_give_its_own_address_for_that_of_the_host(tmp_path: Path) -> None:
    assert own_address(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}) == ""
