"""NetBox: the devices of its REST API, page by page, with where each stands.

Racks and locations are unique within a site only: theirs are named `<site>/<name>`. Source: NetBox 4.4 documentation,
"REST API" (pagination, authentication), and the schema of `/api/dcim/devices/`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msgspec

from controller.notices.http import MAX_SAID
from controller.notices.wording import one_line
from controller.topology.source import ByName, Placing, Unreadable
from wire.places import why_no_place

PAGE = 1000
"""Devices a page. Source: NetBox's default MAX_PAGE_SIZE."""

MAX_PAGES = 1000
"""A paging that never ends would be read for ever; a million devices are ten cells."""

MAX_PAGE_BYTES = 64 << 20
TIMEOUT_S = 60.0

FIELDS = ("site", "location", "rack", "role", "cluster", "tenant", "platform", "device_type")
WITHIN_SITE = frozenset({"location", "rack"})
CUSTOM, TAG = "custom_fields.", "tags."


def why_no_field(field: str) -> str:
    """Return why nothing of a device can be taken from there, empty when it can."""
    if field in FIELDS or (field.startswith((CUSTOM, TAG)) and field.partition(".")[2]):
        return ""
    return f"{field!r} is none of {', '.join(FIELDS)}, {CUSTOM}NAME and {TAG}PREFIX"


@dataclass(slots=True)
class NetBox:
    """One NetBox.

    Attributes:
        url: of its root, without `/api`.
        token: empty where it can be read without.
        query: which devices, as in NetBox's own address line, e.g. `role=gpu-server&status=active`.
        fields: kind of place → field of a device, as `why_no_field` knows them.
        ca_file: trusted besides the system's.
    """

    url: str
    token: str
    query: str
    fields: Mapping[str, str]
    ca_file: Path | None = None
    interval_s: float = 600.0
    name: str = "netbox"

    async def read(self) -> ByName:
        """Return where every device stands.

        Raises:
            Unreadable: it cannot be reached, refuses, or answers what NetBox does not.
        """
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
                return self._map([device async for device in self._devices(session)])
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise Unreadable(f"{self.url}: cannot be asked: {str(error) or type(error).__name__}") from error

    async def _devices(self, session: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
        """Yield devices. Of where the next page is only the query is believed: the token goes to no other host."""
        query = [*parse_qsl(self.query), ("limit", str(PAGE)), ("exclude", "config_context")]
        for _ in range(MAX_PAGES):
            page = await self._page(session, query)
            for device in page["results"]:
                yield device
            if not page.get("next"):
                return
            query = parse_qsl(urlsplit(str(page["next"])).query)
        raise Unreadable(f"{self.url}: it has more than {MAX_PAGES} pages of devices")

    async def _page(self, session: aiohttp.ClientSession, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        url = f"{self.url.rstrip('/')}/api/dcim/devices/"
        trusted = _trusting(self.ca_file)
        async with session.get(
            url, params=query, headers=self._headers(), allow_redirects=False, ssl=trusted
        ) as answer:
            if answer.status != 200:
                reason = one_line(answer.reason or "", MAX_SAID)
                raise Unreadable(f"{url}: it answered {answer.status} {reason}".rstrip())
            return _page_of(await _bounded(answer, url), url)

    def _headers(self) -> dict[str, str]:
        """Tokens that begin with `nbt_` are of the second kind. Source: NetBox 4.5, "Authenticating to the API"."""
        scheme = "Bearer" if self.token.startswith("nbt_") else "Token"
        return {"Accept": "application/json"} | ({"Authorization": f"{scheme} {self.token}"} if self.token else {})

    def _map(self, devices: Sequence[Mapping[str, Any]]) -> ByName:
        placing = Placing()
        for device in devices:
            if isinstance(name := device.get("name"), str) and name:
                for kind, field in self.fields.items():
                    if names := [each for each in _names(device, field) if not why_no_place(each)]:
                        placing.put(name, kind, *names)
        return ByName(placing.nodes)


def _names(device: Mapping[str, Any], field: str) -> Iterator[str]:
    """Yield what a field of a device names; nothing where it is empty."""
    if field.startswith(TAG):
        yield from _tagged(device.get("tags"), field.removeprefix(TAG))
    elif field.startswith(CUSTOM):
        custom = device.get("custom_fields")
        yield from _texts(custom.get(field.removeprefix(CUSTOM)) if isinstance(custom, dict) else None)
    else:
        site = _text(device.get("site"))
        for name in _texts(device.get(field) or (device.get("device_role") if field == "role" else None)):
            yield f"{site}/{name}" if field in WITHIN_SITE and site else name


def _tagged(tags: object, prefix: str) -> Iterator[str]:
    """Yield what tags `prefix:name` and `prefix=name` name."""
    for tag in tags if isinstance(tags, list) else ():
        for sign in ":=":
            begin, found, name = _text(tag).partition(sign)
            if found and begin.strip() == prefix:
                yield name.strip()


def _texts(value: object) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if text := _text(each):
            yield text


def _text(value: object) -> str:
    """Return the text of a value: a plain one, a related object, or a choice of a custom field."""
    if isinstance(value, dict):
        return next((value[key].strip() for key in ("name", "model", "display") if isinstance(value.get(key), str)), "")
    return value.strip() if isinstance(value, str) else ""


def _page_of(body: bytes, url: str) -> dict[str, Any]:
    try:
        page: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{url}: it did not answer with JSON: {error}") from error
    results = page.get("results") if isinstance(page, dict) else None
    if not isinstance(results, list) or not all(isinstance(device, dict) for device in results):
        raise Unreadable(f"{url}: its answer has no list of `results`, as every list of NetBox has")
    return dict(page)


async def _bounded(answer: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_PAGE_BYTES:
            raise Unreadable(f"{url}: a page of it is larger than {MAX_PAGE_BYTES >> 20} MiB")
    return bytes(body)


def _trusting(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context
