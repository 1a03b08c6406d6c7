"""Who and what is turned away: other sites, other names, wrong types, too much. Nothing of it reaches the log."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from controller.api.app import create_app
from controller.api.guards import host_name
from tests.support.open_cell import OpenCell, open_cell
from wire.loopback import is_loopback

PAUSE = "/api/v1/pause"


async def raw(
    http: aiohttp.ClientSession, method: str, path: str, *, data: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    """Return status and JSON of a request with exactly these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.request(method, path, data=data, headers=named) as answer:
        return answer.status, await answer.json()


async def pauses(cell: OpenCell) -> int:
    """Return how often the fleet was paused, from the log."""
    return sum(1 for entry in await cell.front.timeline() if getattr(entry.event, "verb", "") == "pause")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "10.0.0.7", "[", ""])
@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v1/nodes"), ("GET", "/"), ("POST", PAUSE)])
async def test_a_request_by_another_host_name_is_refused(
    cell: OpenCell, http: aiohttp.ClientSession, method: str, path: str, host: str
) -> None:
    status, answer = await raw(http, method, path, data=b"{}", Host=host, Content_Type="application/json")
    assert (status, answer["field"]) == (403, "Host")
    assert await pauses(cell) == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8642", "127.0.0.1", "127.8.8.8:1", "[::1]:8642"])
async def test_a_loopback_name_is_accepted(http: aiohttp.ClientSession, host: str) -> None:
    assert (await raw(http, "GET", "/api/v1/nodes", Host=host))[0] == 200


@pytest.mark.parametrize(
    ("path", "host", "told"),
    [
        ("/api/v1/nodes", "localhost", True),
        ("/api/v1/nodes/n99", "localhost", True),
        ("/", "localhost", False),
        ("/healthz", "localhost", False),
        ("/api/v1/nodes", "evil.example", False),
    ],
)
async def test_who_may_use_the_api_is_told_the_controller_s_version(
    http: aiohttp.ClientSession, path: str, host: str, *, told: bool
) -> None:
    async with http.get(path, headers={"Host": host}) as answer:
        assert answer.headers.get("Fleetmend-Version") == (version("fleetmend") if told else None)


async def test_a_configured_name_is_accepted(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        runner = web.AppRunner(create_app(cell.front, hosts=["Fleet.Example"]))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession(site.name) as http:
            assert (await raw(http, "GET", "/api/v1/nodes", Host="fleet.example:8642"))[0] == 200
            assert (await raw(http, "GET", "/api/v1/nodes", Host="fleet.example.org"))[0] == 403
        await runner.cleanup()


async def test_a_probe_may_use_any_name(http: aiohttp.ClientSession) -> None:
    assert await raw(http, "GET", "/healthz", Host="10.1.2.3:8642") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_cannot_act(
    cell: OpenCell, http: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    status, _ = await raw(http, "POST", PAUSE, data=b"{}", Content_Type="application/json", **headers)
    assert (status, await pauses(cell)) == (403, 0)


async def test_the_own_page_can_act(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    own = {"Origin": cell.url, "Sec_Fetch_Site": "same-origin"}
    status, _ = await raw(http, "POST", PAUSE, data=b"{}", Content_Type="application/json", **own)
    assert (status, await pauses(cell)) == (200, 1)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_is_not_declared_as_json_is_415(
    cell: OpenCell, http: aiohttp.ClientSession, kind: str
) -> None:
    status, answer = await raw(http, "POST", PAUSE, data=b"{}", Content_Type=kind)
    assert (status, await pauses(cell)) == (415, 0)
    assert "application/json" in answer["hint"]


async def test_an_oversized_body_is_413(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    body = b'{"because": "' + b"x" * 70_000 + b'"}'
    status, answer = await raw(http, "POST", PAUSE, data=body, Content_Type="application/json")
    assert (status, answer["hint"], await pauses(cell)) == (413, "at most 65536 bytes", 0)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        (PAUSE, b"", 400, ""),
        (PAUSE, b"{", 400, ""),
        (PAUSE, b"[]", 400, ""),
        (PAUSE, b"\xff\xfe", 400, ""),
        (PAUSE, b"[" * 60_000, 400, ""),
        (PAUSE, b'{"because": 7}', 400, "because"),
        (PAUSE, b'{"becuase": "x"}', 400, "becuase"),
        (PAUSE, b'{"scope": ""}', 422, "scope"),
        (PAUSE, b'{"because": "' + b"x" * 501 + b'"}', 422, "because"),
        (PAUSE, b'{"because": "a\\nb"}', 422, "because"),
        (PAUSE, b'{"because": "a\\u001b[2Jb"}', 422, "because"),
        ("/api/v1/drills", b"{}", 400, "node"),
        ("/api/v1/drills", b'{"node": "n1"}', 400, "fault"),
        ("/api/v1/drills", b'{"node": "n1", "fault": "../../etc"}', 422, "fault"),
        ("/api/v1/drills", b'{"node": "n1", "fault": "x", "parameters": {"a": 1}}', 400, "parameters[...]"),
        ("/api/v1/drills", b'{"node": "n1", "fault": "x", "parameters": {"fault": "y"}}', 422, "parameters.fault"),
        ("/api/v1/drills", b'{"node": "n1", "fault": "x", "parameters": {"a": "\\u0000"}}', 422, "parameters.a"),
    ],
)
async def test_a_wrong_body_is_answered_with_the_field(
    cell: OpenCell, http: aiohttp.ClientSession, path: str, body: bytes, status: int, field: str
) -> None:
    seen, answer = await raw(http, "POST", path, data=body, Content_Type="application/json")
    assert (status, field) == (seen, answer.get("field", "")), answer
    assert answer["error"] and answer["hint"]
    assert await pauses(cell) == 0 and cell.nodes.orders == []


@pytest.mark.parametrize("name", ["x" * 65, "al\x9bice"])
async def test_a_name_that_is_none_is_refused(cell: OpenCell, http: aiohttp.ClientSession, name: str) -> None:
    headers = {"Content_Type": "application/json", "X_Fleetmend_User": name}
    status, answer = await raw(http, "POST", PAUSE, data=b"{}", **headers)
    assert (status, answer["field"], await pauses(cell)) == (400, "X-Fleetmend-User", 0)


@pytest.mark.parametrize("path", ["/", "/nodes/n1", "/nodes/nope", "/api/v1/nodes", "/api/v1/nope", "/static/x.css"])
async def test_every_answer_carries_the_headers_that_confine_a_page(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "name"), [("a:1", "a"), ("[::1]:80", "::1"), ("[", ""), ("", ""), ("A.B", "a.b"), ("x@evil", "evil")]
)
def test_the_name_of_a_host_header(host: str, name: str) -> None:
    assert name == host_name(host)


@pytest.mark.parametrize(("name", "expected"), [("127.1.2.3", True), ("::1", True), ("128.0.0.1", False), ("", False)])
def test_what_loopback_is(name: str, expected: bool) -> None:
    assert expected is is_loopback(name)
