"""Takes bundles from nodes over HTTP, by tus 1.0: announced by POST, asked about by HEAD, sent piece by piece by PATCH.

Whoever comes shows the token of a grant, and may do what that says and nothing else; the address alone opens nothing.
What came before a connection broke is kept, so a node goes on where it was. Nothing waits for a node that stops
sending, and no more than a piece is ever in memory.

Source: tus resumable upload protocol 1.0.0, core and the extensions creation and expiration (tus.io/protocols).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

import msgspec
import structlog
from aiohttp import ClientError, web
from aiohttp.typedefs import Handler

from controller.api.problems import Problem
from controller.api.serving import failure_response, told
from controller.api.shapes import Failure
from controller.evidence.desk import ControllerEvidence, Locked
from controller.evidence.shelf import Mismatch, NoRoom, Record
from wire.evidence import TUS_VERSION, UPLOADS, BadUpload, Claims, parse_checksum, parse_length
from wire.messages import Refused

log = structlog.get_logger()

MAX_PIECE_BYTES: Final = 16 << 20
"""Of one PATCH. Source: our choice; what a broken connection may cost, and what must come within `PIECE_LIMIT_S`."""

WRITE_BYTES: Final = 1 << 20
IDLE_LIMIT_S: Final = 20.0
"""After so long without a byte a connection is given up. Source: our choice; TCP repairs a loss within seconds."""

PIECE_LIMIT_S: Final = 120.0
"""For one PATCH: nobody keeps a place by sending a byte now and then. Source: our choice; 16 MiB at about 1 Mbit/s."""

RETRY_AFTER_S: Final = 5
IDLE_CONNECTION_S: Final = 15.0

CHECKSUM_MISMATCH: Final = 460
"""Source: tus 1.0.0, extension checksum."""

TUS: Final = {"Tus-Resumable": TUS_VERSION, "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Serves uploads.

    Attributes:
        check_leading: raises NotLeading on a controller that stands by.
    """

    desk: ControllerEvidence
    check_leading: Callable[[], None]
    idle_limit_s: float = IDLE_LIMIT_S
    piece_limit_s: float = PIECE_LIMIT_S

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Take bundles at these addresses."""
        router.add_route("POST", UPLOADS, self.announce)
        router.add_route("HEAD", f"{UPLOADS}/{{upload}}", self.look)
        router.add_route("PATCH", f"{UPLOADS}/{{upload}}", self.take)

    def app(self) -> web.Application:
        """Return an application that takes bundles and does nothing else."""
        app = web.Application(middlewares=[_problems])
        self.add_to(app.router)
        return app

    async def announce(self, request: web.Request) -> web.StreamResponse:
        """Begin a bundle, or find the one that was begun."""
        claims = self._claims(request)
        length, sha256 = _length_in(request, "Upload-Length"), _checksum_in(request)
        if not 0 < length <= claims.most_bytes:
            raise Problem(413, f"{length} bytes", f"the grant is for 1 to {claims.most_bytes}", field="Upload-Length")
        try:
            with self.desk.turn(claims.upload):
                record = await self.desk.announce(claims, size_bytes=length, sha256=sha256)
                await self.desk.settle(claims)
        except (Locked, NoRoom, Mismatch) as error:
            return _refusal(error)
        return self._standing(record, claims, 201, Location=f"{UPLOADS}/{claims.upload}")

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Say how much of a bundle is here."""
        claims = self._claims(request)
        return self._standing(self._announced(claims), claims, 200)

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Add a piece to a bundle."""
        claims = self._claims(request)
        record = self._announced(claims)
        offset = _length_in(request, "Upload-Offset")
        self._check_piece(request, record, offset)
        if self.desk.is_full:
            return _answer(429, "enough others are sending", "try again later", **{"Retry-After": str(RETRY_AFTER_S)})
        try:
            with self.desk.turn(claims.upload):
                here = self.desk.shelf.offset(claims.upload)
                if offset != here:
                    hint = f"go on at {here}"
                    return _answer(409, f"byte {offset} is not the next", hint, **{"Upload-Offset": str(here)})
                await self._receive(request, claims)
                await self.desk.settle(claims)
        except (Locked, NoRoom, Mismatch) as error:
            return _refusal(error)
        return self._standing(record, claims, 204)

    async def _receive(self, request: web.Request, claims: Claims) -> None:
        """Write down what comes, also when it ends early: the next piece begins there."""
        piece = bytearray()
        try:
            async with asyncio.timeout(self.piece_limit_s):
                while data := await asyncio.wait_for(request.content.readany(), self.idle_limit_s):
                    piece += data
                    if len(piece) >= WRITE_BYTES:
                        whole, piece = piece, bytearray()
                        await self.desk.append(claims, bytes(whole))
        except TimeoutError as late:
            raise Problem(408, "the piece did not come in time", "go on where Upload-Offset says") from late
        except (ClientError, ConnectionError) as error:
            raise Problem(400, "the connection broke", "go on where Upload-Offset says") from error
        finally:
            if piece:
                await self.desk.append(claims, bytes(piece))

    def _check_piece(self, request: web.Request, record: Record, offset: int) -> None:
        if request.content_type != "application/offset+octet-stream":
            raise Problem(415, f"the body is {request.content_type!r}", "it must be application/offset+octet-stream")
        packed = request.headers.get("Content-Encoding", "identity")
        if packed != "identity":
            raise Problem(415, f"the piece is packed by {packed!r}", "send it as it is", field="Content-Encoding")
        length = request.content_length
        if length is None:
            raise Problem(411, "no Content-Length", "say how long the piece is", field="Content-Length")
        if length > MAX_PIECE_BYTES or offset + length > record.size_bytes:
            hint = f"at most {MAX_PIECE_BYTES} bytes, and no more than were announced ({record.size_bytes})"
            raise Problem(413, f"a piece of {length} bytes at {offset}", hint, field="Content-Length")

    def _claims(self, request: web.Request) -> Claims:
        """Return what the caller may do.

        Raises:
            Problem: 401, no good grant; 403, a grant for another bundle; 412, another version of tus.
        """
        self.check_leading()
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(401, "no grant", "Authorization: Bearer, with the token of the order", field="Authorization")
        try:
            claims = self.desk.claims(token.strip())
        except Refused as refusal:
            raise Problem(401, str(refusal), "only an order gives a grant", field="Authorization") from refusal
        if request.match_info.get("upload", claims.upload) != claims.upload:
            raise Problem(403, "the grant is for another bundle", "use the address that POST answered with")
        if request.headers.get("Tus-Resumable") != TUS_VERSION:
            raise Problem(412, "another version of tus", f"Tus-Resumable: {TUS_VERSION}", field="Tus-Resumable")
        return claims

    def _announced(self, claims: Claims) -> Record:
        record = self.desk.shelf.announced(claims.upload)
        if record is None:
            raise Problem(404, "no such bundle was announced", f"POST {UPLOADS} announces one")
        return record

    def _standing(self, record: Record, claims: Claims, status: int, **headers: str) -> web.Response:
        standing = {
            "Upload-Offset": str(self.desk.shelf.offset(record.upload)),
            "Upload-Length": str(record.size_bytes),
            "Upload-Expires": formatdate(claims.expires_at, usegmt=True),
        }
        return web.Response(status=status, headers={**TUS, **standing, **headers})


def _length_in(request: web.Request, name: str) -> int:
    try:
        return parse_length(request.headers.get(name), name=name)
    except BadUpload as error:
        raise Problem(400, str(error), "a decimal number of bytes", field=name) from error


def _checksum_in(request: web.Request) -> str:
    try:
        return parse_checksum(request.headers.get("Upload-Metadata"))
    except BadUpload as error:
        raise Problem(400, str(error), "sha256 and its value in base64", field="Upload-Metadata") from error


def tls_of(certificate: str, key: str) -> ssl.SSLContext:
    """Return how the port for uploads proves who it is.

    Raises:
        OSError: certificate or key cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        return failure_response(told(error, request))


def _refusal(error: Locked | NoRoom | Mismatch) -> web.Response:
    match error:
        case Locked():
            return _answer(423, "another connection sends it", "try again", **{"Retry-After": str(RETRY_AFTER_S)})
        case NoRoom():
            return _answer(507, str(error), "the operator has to make room", **{"Retry-After": "60"})
        case Mismatch():
            return _answer(CHECKSUM_MISMATCH, str(error), "announce it again, and send it from its beginning")


def _answer(status: int, error: str, hint: str, **headers: str) -> web.Response:
    body = msgspec.json.encode(Failure(error, hint))
    reason = "Checksum Mismatch" if status == CHECKSUM_MISMATCH else None
    return web.Response(
        status=status, reason=reason, body=body, content_type="application/json", headers={**TUS, **headers}
    )
