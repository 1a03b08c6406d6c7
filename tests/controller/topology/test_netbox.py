"""NetBox over HTTP, against a server of our own that speaks what NetBox documents: lists in pages, tokens, fields.

The devices have the fields of NetBox 4.4's device serializer, those that nothing reads left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.topology.netbox import NetBox, _names, _page_of, why_no_field
from controller.topology.source import Unreadable
from wire.places import why_no_place

TOKEN = "0123456789abcdef0123456789abcdef01234567"
FIELDS = {
    "site": "site",
    "rack": "rack",
    "pool": "tags.pool",
    "leaf": "custom_fields.leaf_switches",
    "pdu": "custom_fields.pdu",
    "role": "role",
}


def device(number: int, **more: Any) -> dict[str, Any]:
    """Return a device as NetBox shows it."""
    return {
        "id": number,
        "url": f"http://netbox.example/api/dcim/devices/{number}/",
        "display": f"gpu-{number:03d}",
        "name": f"gpu-{number:03d}",
        "device_type": {"id": 1, "manufacturer": {"id": 1, "name": "NVIDIA"}, "model": "DGX H100"},
        "role": {"id": 2, "name": "GPU server", "slug": "gpu-server"},
        "site": {"id": 7, "display": "Frankfurt 1", "name": "FRA1", "slug": "fra1"},
        "location": None,
        "rack": {"id": 3, "display": "R12", "name": "R12", "description": ""},
        "cluster": None,
        "status": {"value": "active", "label": "Active"},
        "tags": [{"id": 5, "name": "pool:train", "slug": "pool-train"}, {"id": 6, "name": "leased"}],
        "custom_fields": {"leaf_switches": ["leaf-1", "leaf-2"], "pdu": {"id": 9, "name": "PDU-4"}, "empty": None},
        **more,
    }


@dataclass
class Shown:
    """What the server has, and what it was asked.

    Attributes:
        elsewhere: the host that it names in `next`, as behind a proxy that it does not know.
    """

    devices: list[dict[str, Any]] = field(default_factory=list)
    page: int = 2
    status: int = 200
    body: bytes = b""
    elsewhere: str = "http://other.example"
    asked: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request for a page."""
        self.asked.append(request)
        if self.status != 200 or self.body:
            return web.Response(status=self.status, body=self.body)
        if request.headers.get("Authorization") != f"Token {TOKEN}":
            return web.json_response({"detail": "Invalid token"}, status=403)
        offset = int(request.query.get("offset", "0"))
        end = offset + self.page
        more = f"{self.elsewhere}/api/dcim/devices/?limit={self.page}&offset={end}&status=active"
        results = self.devices[offset:end]
        following = more if end < len(self.devices) else None
        return web.json_response({"count": len(self.devices), "next": following, "previous": None, "results": results})


@asynccontextmanager
async def served(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve the list of devices; yield the root's address."""
    app = web.Application()
    app.router.add_get("/netbox/api/dcim/devices/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/netbox/"
    finally:
        await runner.cleanup()


def netbox(url: str, token: str = TOKEN) -> NetBox:
    return NetBox(url, token, "status=active", FIELDS)


async def test_every_page_is_read_and_each_field_is_found() -> None:
    shown = Shown([device(number) for number in range(1, 6)])
    async with served(shown.answer) as url:
        read = await netbox(url).read()
    assert read.places_of("gpu-005.fra1.example") == {
        "site": ("FRA1",),
        "rack": ("FRA1/R12",),
        "pool": ("train",),
        "leaf": ("leaf-1", "leaf-2"),
        "pdu": ("PDU-4",),
        "role": ("GPU server",),
    }
    assert len(read.nodes) == 5
    first, second, third = shown.asked
    assert tuple(first.query[name] for name in ("status", "limit", "exclude")) == ("active", "1000", "config_context")
    assert (second.query["offset"], third.query["offset"]) == ("2", "4")


async def test_what_a_device_does_not_have_places_it_nowhere() -> None:
    bare = device(1, site=None, rack=None, tags=[], custom_fields={}, role=None, device_role={"name": "old"})
    shown = Shown([bare, device(2, name=None), device(3, rack={"name": "R\x071"})])
    async with served(shown.answer) as url:
        read = await netbox(url).read()
    assert read.places_of("gpu-001") == {"role": ("old",)}
    assert "rack" not in read.places_of("gpu-003")
    assert len(read.nodes) == 2


async def test_a_token_of_the_second_kind_is_a_bearer_token() -> None:
    assert netbox("", "nbt_abc.def")._headers() == {"Accept": "application/json", "Authorization": "Bearer nbt_abc.def"}
    assert netbox("", "")._headers() == {"Accept": "application/json"}


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (Shown(status=500), "it answered 500 Internal Server Error"),
        (Shown(status=302), "it answered 302 Found"),
        (Shown(body=b"<html>"), "it did not answer with JSON"),
        (Shown(body=b'{"results": {}}'), "has no list of `results`"),
        (Shown(body=b'{"results": [1]}'), "has no list of `results`"),
    ],
)
async def test_what_is_no_netbox_is_said(shown: Shown, told: str) -> None:
    async with served(shown.answer) as url:
        with pytest.raises(Unreadable, match=told):
            await netbox(url).read()


async def test_a_wrong_token_and_a_closed_door_are_said() -> None:
    async with served(Shown([device(1)]).answer) as url:
        with pytest.raises(Unreadable, match="it answered 403 Forbidden"):
            await netbox(url, "wrong").read()
    with pytest.raises(Unreadable, match="cannot be asked"):
        await netbox(url).read()


async def test_pages_without_end_are_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.topology.netbox.MAX_PAGES", 3)
    body = msgspec.json.encode({"results": [], "next": "http://127.0.0.1/api/dcim/devices/?offset=1"})
    async with served(Shown(body=body).answer) as url:
        with pytest.raises(Unreadable, match="more than 3 pages"):
            await netbox(url).read()


@pytest.mark.parametrize("field", ["racks", "custom_fields.", "tags", "name", ""])
def test_a_field_that_nobody_has_is_refused(field: str) -> None:
    assert why_no_field(field)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "site", "rack", "tags", "custom_fields", "pdu", "results"]), inner)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(list(FIELDS.values())))
def test_any_device_names_places_or_none(value: Any, field: str) -> None:
    try:
        page = _page_of(msgspec.json.encode(value), "url")
    except Unreadable:
        page = {"results": [value] if isinstance(value, dict) else []}
    for each in page["results"]:
        assert all(isinstance(name, str) for name in _names(each, field) if not why_no_place(name))
