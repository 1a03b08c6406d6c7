"""Hosts that ask for certificates, and a cell that gives them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from controller.access.token_files import Shelf
from controller.api.enrolling import ENROL, OPERATIONS, Enrolling
from controller.api.openapi import openapi_document
from controller.enrolment import proof
from controller.enrolment.desk import EnrolmentDesk, Given
from controller.enrolment.refusals import Refusals
from controller.enrolment.tokens import KIND, new_token
from controller.enrolment_events import CertificateIssued, EnrolmentEvent, EnrolmentGranted, EnrolmentRefused
from controller.pki import certificates
from controller.pki.authority import Authority
from controller.pki.requests import new_request
from tests.support.open_cell import OpenCell
from tests.support.openapi import conforms
from tests.support.tokens import bearer

BROKER = "mqtts://broker.example:8883"
KEYS = {"AAAAAAAAAAAAAAAA": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}

DESCRIBED = openapi_document(OPERATIONS)


@dataclass(slots=True)
class Host:
    """A host with its key."""

    node: str
    key: EllipticCurvePrivateKey

    @classmethod
    def new(cls, node: str) -> Host:
        """Return a host that was just set up."""
        return cls(node, certificates.new_key())

    def request(self, name: str = "") -> str:
        """Return its request, for another name if that is given."""
        return new_request(self.key, name or self.node).decode()

    def proof(self, certificate: x509.Certificate, *, name: str = "", cell: str = "main", now: float) -> str:
        """Return what it shows to renew a certificate."""
        csr, key = self.request(name).encode(), certificates.key_to_pem(self.key)
        return proof.prove(csr, certificate=certificate, key_pem=key, cell=cell, now=now)


@dataclass(slots=True)
class Office:
    """A cell with an authority, where hosts enrol."""

    cell: OpenCell
    authority: Authority
    tokens: Path
    http: aiohttp.ClientSession
    minute: asyncio.Event

    def token(self, nodes: str = "gpu-1", *, uses: int = 1, replace: bool = False, hours: float = 24.0) -> str:
        """Return the text of a new token."""
        now = self.cell.clock.now
        kept, text = new_token(nodes, uses=uses, replace=replace, now=now, hours=hours, made_by="kim")
        with KIND.changing(self.tokens) as tokens:
            tokens.append(kept)
        return text

    async def ask(self, host: Host, token: str, **other: Any) -> tuple[int, dict[str, Any]]:
        """Return what the controller answers a host that shows a token. `other`: keys of the body to change."""
        body = {"node": host.node, "csr": host.request(), **other}
        return await self.post("", body, **bearer(token))

    async def renew(self, text: str) -> tuple[int, dict[str, Any]]:
        """Return what the controller answers to a proof."""
        return await self.post("/renew", {"proof": text})

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """Return status and body of an answer, which is one that the API's description tells of."""
        async with self.http.post(f"{ENROL}{path}", json=body, headers=headers) as answer:
            assert await is_described(answer)
            return answer.status, await answer.json()

    async def enrolled(self, node: str, *, replace: bool = False) -> tuple[Host, x509.Certificate]:
        """Return a host that has enrolled, and its certificate."""
        host = Host.new(node)
        status, given = await self.ask(host, self.token(node, replace=replace))
        assert status == 200, given
        return host, certificate_in(given)

    def now(self) -> datetime:
        """Return the cell's time."""
        return datetime.fromtimestamp(self.cell.clock.now, UTC)

    async def told(self) -> list[EnrolmentEvent]:
        """Return what the event log has of enrolment, oldest first."""
        entries = await self.cell.cell.log.follow(after=0)
        kinds = (EnrolmentGranted, CertificateIssued, EnrolmentRefused)
        return [entry.event for entry in entries if isinstance(entry.event, kinds)]


async def is_described(answer: aiohttp.ClientResponse) -> bool:
    """Return whether an answer is one that the API's description tells of, its headers too."""
    said = DESCRIBED["paths"][answer.url.path]["post"]["responses"].get(str(answer.status))
    if said is None or not set(said.get("headers", ())) <= set(answer.headers):
        return False
    return conforms(await answer.json(), said["content"]["application/json"]["schema"], DESCRIBED)


def certificate_in(given: dict[str, Any]) -> x509.Certificate:
    """Return the certificate in an answer."""
    return certificates.from_pem(given["certificate"].encode())[0]


def desk_of(cell: OpenCell, authority: Authority, tokens: Path, *, minute: asyncio.Event) -> EnrolmentDesk:
    """Return the desk of a cell, for which a minute is over when that is said."""

    async def sleep(_: float) -> None:
        await minute.wait()

    given = Given("main", (BROKER,), lambda: KEYS)
    refusals = Refusals(cell.front.submit, sleep)
    return EnrolmentDesk(cell.front, authority, Shelf(KIND, tokens), given, 30, refusals, cell.clock)


@contextlib.asynccontextmanager
async def office(cell: OpenCell, folder: Path) -> AsyncIterator[Office]:
    """Have a cell enrol hosts."""
    pki, tokens = folder / "pki", folder / "enrolment-tokens.json"
    authority = Authority.found(pki, now=datetime.fromtimestamp(cell.clock.now, UTC))
    minute = asyncio.Event()
    desk = desk_of(cell, authority, tokens, minute=minute)
    cell.enrolling = Enrolling(desk, cell.front.check_leading)
    await cell.hang_up()
    await cell.answer()
    try:
        async with aiohttp.ClientSession(cell.url) as http:
            yield Office(cell, authority, tokens, http, minute)
    finally:
        await desk.refusals.close()
