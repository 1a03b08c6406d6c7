"""How often one may ask."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from controller.access.limits import Limits, network_of
from controller.access.roles import Role
from controller.api.problems import Problem
from tests.support.open_cell import open_cell
from tests.support.tokens import bearer, guarded, make_token


def test_a_bucket_empties_and_fills_again() -> None:
    now = [0.0]
    limits = Limits(2.0, 3.0, lambda: now[0])
    for _ in range(3):
        limits.take("a")
    with pytest.raises(Problem) as refused:
        limits.take("a")
    assert (refused.value.status, refused.value.after_s) == (429, 1)
    limits.take("b")
    now[0] = 0.5
    limits.take("a")
    with pytest.raises(Problem):
        limits.take("a")


def test_memory_is_bounded_whoever_comes() -> None:
    limits = Limits(1.0, 50.0, lambda: 0.0, most_clients=100)
    for number in range(10_000):
        limits.take(f"client {number}")
    assert len(limits._buckets) == 100


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_stands_for_a_client(address: str, network: str) -> None:
    assert network == network_of(address)


async def test_one_who_asks_too_often_is_told_when_again_and_others_are_unharmed(tmp_path: Path) -> None:
    file, now = tmp_path / "access-tokens.json", [0.0]
    alice, bob = make_token(file, "alice", Role.VIEWER), make_token(file, "bob", Role.VIEWER)
    access = guarded(file, limits=Limits(1.0, 5.0, lambda: now[0]))
    async with open_cell(tmp_path, access=access) as cell, aiohttp.ClientSession(cell.url) as http:

        async def ask(token: str) -> tuple[int, str]:
            async with http.get("/api/v1/me", headers=bearer(token) if token else {}) as answer:
                return answer.status, answer.headers.get("Retry-After", "")

        assert [(await ask(alice))[0] for _ in range(6)] == [200] * 5 + [429]
        assert await ask(alice) == (429, "1")
        assert [(await ask(""))[0] for _ in range(6)] == [401] * 5 + [429]
        assert await ask(bob) == (200, "")
        now[0] = 1.0
        assert await ask(alice) == (200, "")


async def test_a_body_that_comes_drop_by_drop_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.api.serving.BODY_LIMIT_S", 0.2)
    async with open_cell(tmp_path, access=guarded(tmp_path / "access-tokens.json")) as cell:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(cell.url.rpartition(":")[2]))
        said = ("POST /login HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Content-Length: 60000")
        writer.write("\r\n".join((*said, "", "{")).encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
