"""slurmrestd, answered for as that of 24.11.5 answered, and by servers that do not keep their word.

`python -m tests.support.slurm_rest_capture` wrote rest.json. A whole incident's worth of calls was run against that
release by hand; the slurmrestd of 22.05, which cannot change nodes, is real in test_slurm_rest_22_05.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Permanent, Retryable
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_rest import SlurmRest, claims, newest_version

EXCHANGES: dict[str, Any] = json.loads((Path(__file__).parent / "slurm_24_11" / "rest.json").read_text())["exchanges"]
VERSIONS = ("v0.0.40", "v0.0.41", "v0.0.42")
NOW = 1_795_813_000.0
OUR_REASON = "fleetmend:inc-000007 GPU 3 has fallen off the bus (Xid 79)."


def token_of(**claimed: object) -> str:
    """Return what looks like a JWT to somebody who has not its key."""
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claimed, {}))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Server:
    """Answers every request with the same; keeps what was asked."""

    url: str = ""
    answering: Answering | None = None
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.asked.append((request.method, request.path, json.loads(body) if body else None))
        self.headers.append(dict(request.headers))
        assert self.answering is not None
        return await self.answering(request)

    def replay(self, name: str) -> None:
        """Answer as slurmrestd did."""
        answer, status = EXCHANGES[name]["answer"], EXCHANGES[name]["status"]
        text = answer if isinstance(answer, str) else json.dumps(answer)

        async def answering(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text=text)

        self.answering = answering


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"SLURM_JWT={token_of(sun='fleetmend', exp=NOW + 600)}\n")
    return path


@pytest.fixture
def rest(server: Server, token: Path) -> SlurmRest:
    nowhere = SlurmPrograms(environment={"PATH": "/nowhere"})
    return SlurmRest(server.url, nowhere, 5.0, token, clock=lambda: NOW, version="v0.0.42")


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_is_read(server: Server, rest: SlurmRest, version: str) -> None:
    rest.version = version
    server.replay(f"{version}: nodes/")
    nodes = await rest.nodes()
    server.replay(f"{version}: drained")
    (drained,) = await rest.nodes("n3")
    server.replay(f"{version}: resumed")
    (resumed,) = await rest.nodes("n3")
    server.replay(f"{version}: jobs/")
    (job,) = await rest.jobs("n2")
    server.replay(f"{version}: reservations/")
    (firmware,) = await rest.reservations()

    assert [node.name for node in nodes] == ["n1", "n2", "n3", "n4"]
    assert (drained.base, drained.held_by, drained.reason) == ("IDLE", "inc-000007", OUR_REASON)
    assert (resumed.drained, resumed.reason) == (False, "")
    assert (job.nodes, job.partition, job.ends_at > NOW) == ("n2", "gpu", True)
    assert (firmware.name, firmware.nodes, "MAINT" in firmware.flags) == ("firmware", "n4", True)
    assert [path for _, path, _ in server.asked] == [
        f"/slurm/{version}/{what}" for what in ("nodes/", "node/n3", "node/n3", "jobs/", "reservations/")
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_asked_for_is_what_slurmrestd_took(server: Server, rest: SlurmRest, version: str) -> None:
    rest.version = version
    for name, change in (("drain", rest.drain_node("n3", OUR_REASON)), ("resume", rest.resume_node("n3"))):
        recorded = EXCHANGES[f"{version}: {name}"]
        server.replay(f"{version}: {name}")
        await change
        assert server.asked[-1] == (recorded["method"], recorded["path"], recorded["body"])


@pytest.mark.parametrize(
    ("name", "error", "because"),
    [
        ("v0.0.42: bad token", Permanent, "is none of this cluster's"),
        ("v0.0.42: no token", Permanent, "answered 401: Authentication failure"),
        ("v0.0.42: wrong method", Permanent, "answered 404"),
        ("v0.0.42: not allowed", Permanent, "must be root, SlurmUser, or an administrator"),
        ("v0.0.42: not drained", Permanent, "answered 500: Failure to update node n3: Invalid node state specified"),
        ("v0.0.42: node/n99", Permanent, "slurmrestd says: Failure to query node n99"),
        ("down", Retryable, "answered 5"),
        ("down: drain", Retryable, "answered 5"),
    ],
)
async def test_each_refusal_is_what_it_is(
    server: Server, rest: SlurmRest, name: str, error: type[Exception], because: str
) -> None:
    server.replay(name)
    with pytest.raises(error, match=because):
        await rest.nodes("n3")


def renew(path: Path, content: str | bytes | None) -> None:
    """Write another token, or none."""
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


async def test_a_token_that_is_over_is_worth_another_try_and_a_renewed_one_is_used(
    server: Server, rest: SlurmRest, token: Path
) -> None:
    renew(token, token_of(sun="fleetmend", exp=NOW - 60))
    server.replay("v0.0.42: bad token")
    with pytest.raises(Retryable, match="was good until 60 s ago: whoever renews it is late"):
        await rest.nodes("n3")

    renew(token, renewed := token_of(sun="somebody", exp=NOW + 60))
    server.replay("v0.0.42: drained")
    await rest.nodes("n3")

    assert server.headers[-1]["X-SLURM-USER-NAME"] == "somebody"
    assert server.headers[-1]["X-SLURM-USER-TOKEN"] == renewed


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"two words"])
async def test_a_token_that_is_not_there_yet_is_waited_for(rest: SlurmRest, token: Path, content: bytes | None) -> None:
    renew(token, content)
    with pytest.raises(Retryable, match=str(token)):
        await rest.nodes("n3")


async def _half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"nodes": [')
    assert request.transport is not None
    request.transport.close()
    return response


async def _hanging(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


def _saying(status: int, text: str) -> Answering:
    async def answering(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={"Location": "http://elsewhere/"})

    return answering


@pytest.mark.parametrize(
    ("answering", "error", "because"),
    [
        (_half, Retryable, "slurmrestd: GET /slurm/v0.0.42/nodes/: "),
        (_saying(200, '{"nodes": ['), Retryable, "what slurmrestd said ends in the middle"),
        (_saying(200, '{"nodes": [}'), Permanent, "slurmrestd is not understood"),
        (_saying(200, "{}"), Permanent, "slurmrestd is not understood: .*nodes"),
        (_saying(502, "<html>Bad Gateway</html>"), Retryable, "answered 502"),
        (_saying(500, "oops"), Retryable, "answered 500: oops"),
        (_saying(429, ""), Retryable, "answered 429"),
        (_saying(302, ""), Permanent, "answered 302"),
        (_saying(403, "no"), Permanent, "answered 403: no"),
        (_hanging, Retryable, "no answer within 0.2 s"),
    ],
    ids=["breaks off", "truncated", "not JSON", "no nodes", "502", "500", "429", "redirect", "403", "hangs"],
)
async def test_a_server_that_does_not_keep_its_word_is_found_out(
    server: Server, rest: SlurmRest, answering: Answering, error: type[Exception], because: str
) -> None:
    server.answering = answering
    rest.deadline_s = 0.2 if answering is _hanging else 5.0
    with pytest.raises(error, match=because):
        await rest.nodes()


async def test_a_server_that_is_not_there_is_worth_another_try(rest: SlurmRest) -> None:
    rest.url = "http://127.0.0.1:1"
    with pytest.raises(Retryable, match=r"slurmrestd: GET /slurm/v0.0.42/nodes/: Cannot connect"):
        await rest.nodes()
    rest.url = "unix:///nowhere/slurmrestd.socket"
    with pytest.raises(Retryable, match=r"slurmrestd: GET /slurm/v0.0.42/nodes/: "):
        await rest.nodes()


async def test_jobs_and_reboots_are_left_to_the_programs(server: Server, rest: SlurmRest) -> None:
    for act in (rest.requeue_job("17", held=False), rest.cancel_job("17"), rest.reboot_node("n3", OUR_REASON)):
        with pytest.raises(Permanent, match="cannot be run: No such file or directory"):
            await act
    assert server.asked == []


async def test_the_newest_version_is_used(server: Server, rest: SlurmRest) -> None:
    unasked = replace(rest, version=None)
    server.replay("openapi")
    with pytest.raises(Permanent, match="slurmrestd is not understood"):
        await unasked.nodes()
    assert [path for _, path, _ in server.asked] == ["/openapi/v3", "/slurm/v0.0.42/nodes/"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({}, ""),
        ({"/slurm/v0.0.38/node/{node_name}": {"get": {}}}, ""),
        ({"/slurm/v0.0.39/node/{node_name}": {"get": {}, "post": {}}}, ""),
        ({"/slurm/v0.0.40/node/{node_name}": {"get": {}}}, ""),
        ({f"/slurm/v0.0.{n}/node/{{node_name}}": {"post": {}} for n in (9, 40, 100)}, "v0.0.100"),
    ],
)
def test_only_a_version_that_changes_nodes_is_used(paths: dict[str, Any], expected: str) -> None:
    assert newest_version(json.dumps({"paths": paths})) == expected


@given(st.text())
def test_no_text_at_all_breaks_the_reading_of_a_token_or_of_an_api(text: str) -> None:
    assert isinstance(claims(text), dict)
    assert isinstance(claims(f"a.{text}.b"), dict)
    with pytest.raises(Permanent, match="not an OpenAPI document"):
        newest_version(text)
