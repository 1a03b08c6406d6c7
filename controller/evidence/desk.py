"""Gives nodes leave to send bundles, takes them in, and keeps the shelf in bounds: every change is an event.

What the engine, the API and housekeeping need of evidence is one protocol; its other kinds are S3
(controller/evidence/s3.py) and none at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from controller.cell import Cell
from controller.events import Event, EvidenceEnded, EvidenceRemoved, EvidenceStored
from controller.evidence.shelf import Mismatch, NoRoom, Record, Shelf
from controller.policy.belief import Belief
from controller.sections.evidence import EvidenceSection
from controller.store.log import StoreError
from wire.evidence import UPLOADS, Claims, Grant, parameter_of
from wire.grants import sign_claims, upload_of, verify_token

log = structlog.get_logger()

SWEEP_EVERY_S: Final = 600.0
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked for evidence: one order to one node."""

    order_id: str
    node: str
    incident_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """A bundle that is there: `path` is a file of ours, else `address` is where it is got from for a while."""

    path: Path | None = None
    address: str = ""


class Evidence(Protocol):
    """Where bundles go."""

    async def parameters_for(self, asked: Asked) -> dict[str, str]:
        """Return what an order has to say so that the node may send a bundle, nothing when it may not.

        Never fails and never takes long: the order goes out either way.
        """
        ...

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """Sign what nodes are given by this key from here on; what is under way stays good for as long as it is."""
        ...

    async def find(self, upload: str) -> Found | None:
        """Return where a bundle is, `None` when it is not there."""
        ...

    def ended(self, event: EvidenceEnded) -> None:
        """Take what a node says of its upload; must not block."""
        ...

    async def run(self) -> None:
        """Keep what is stored in bounds until cancelled."""
        ...


class NoEvidence:
    """No bundles: nodes send the short answer alone."""

    async def parameters_for(self, asked: Asked) -> dict[str, str]:
        """Return nothing."""
        assert asked.order_id
        return {}

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """Nothing is signed."""

    async def find(self, upload: str) -> Found | None:
        """Return `None`."""
        assert upload
        return None

    def ended(self, event: EvidenceEnded) -> None:
        """A node sent what nobody asks for any more: its own word in the log is all there is."""
        log.info("evidence.unasked", node=event.node, incident_id=event.incident_id, because=event.because)

    async def run(self) -> None:
        """Wait."""
        await asyncio.Event().wait()


class Locked(Exception):
    """The same bundle is being sent by another connection."""


@dataclass(slots=True)
class ControllerEvidence:
    """Bundles in a folder of this controller.

    Attributes:
        url: where nodes reach it.
        page_url: where people do.
    """

    cell: Cell
    shelf: Shelf
    key: Ed25519PrivateKey
    settings: EvidenceSection
    clock: Callable[[], float]
    url: str
    page_url: str
    _busy: set[str] = field(default_factory=set)
    _one_by_one: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two that are announced together must not be given the same room."""
    _refused: dict[str, str] = field(default_factory=dict)
    _before: list[tuple[Ed25519PublicKey, float]] = field(default_factory=list)
    """Keys that signed before this one, each with the moment at which the last grant of each has expired."""

    async def parameters_for(self, asked: Asked) -> dict[str, str]:
        """Return the grant of a bundle, the same whenever the same order is asked about."""
        upload = upload_of(asked.order_id, asked.node, key=self.key)
        expires_at = self.clock() + self.settings.valid_s
        most = self.settings.bundle_bytes
        token = sign_claims(Claims(upload, asked.node, asked.incident_id, most, expires_at), key=self.key)
        return parameter_of(Grant(upload, "controller", most, expires_at, url=self.url, token=token))

    def claims(self, token: str) -> Claims:
        """Return what a token claims.

        Raises:
            Refused: it is not good, or not any more.
        """
        now = self.clock()
        before = [key for key, until in self._before if now < until]
        return verify_token(token, keys=[self.key.public_key(), *before], now=now)

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """Sign by this key from here on; what another one signed while this controller ran is believed to its end."""
        if key.public_key() != self.key.public_key():
            self._before.append((self.key.public_key(), self.clock() + self.settings.valid_s))
            self.key = key

    @contextlib.contextmanager
    def turn(self, upload: str) -> Iterator[None]:
        """Let one connection at a time work on a bundle.

        Raises:
            Locked: another one does.
        """
        if upload in self._busy:
            raise Locked(upload)
        self._busy.add(upload)
        try:
            yield
        finally:
            self._busy.discard(upload)

    @property
    def is_full(self) -> bool:
        """Whether as many bundles are being taken as may be at a time."""
        return len(self._busy) >= self.settings.at_once

    async def announce(self, claims: Claims, *, size_bytes: int, sha256: str) -> Record:
        """Begin a bundle, or go on with it when it is the one that was announced before.

        Raises:
            NoRoom: it does not fit.
        """
        known = self.shelf.announced(claims.upload)
        if known is not None and (known.size_bytes, known.sha256) == (size_bytes, sha256):
            return known
        if self.shelf.find(claims.upload) is not None:
            raise NoRoom("another bundle was kept for this grant before")
        try:
            async with self._one_by_one:
                await self._make_room(claims, size_bytes)
                return await asyncio.to_thread(
                    self.shelf.announce, claims, size_bytes=size_bytes, sha256=sha256, now=self.clock()
                )
        except NoRoom as full:
            self._say_full(claims, str(full))
            raise

    async def append(self, claims: Claims, piece: bytes) -> None:
        """Add to a bundle.

        Raises:
            NoRoom: the disk is full.
        """
        try:
            await asyncio.to_thread(self.shelf.append, claims.upload, piece)
        except NoRoom as full:
            self._say_full(claims, str(full))
            raise

    async def settle(self, claims: Claims) -> None:
        """Have what came on the disk; keep the bundle, and say so, if that is all of it.

        Raises:
            Mismatch: it is all of it, and not what was announced.
            NoRoom: the disk is full.
        """
        record = self.shelf.find(claims.upload)
        if record is None:
            await asyncio.to_thread(self.shelf.sync, claims.upload)
            announced = self.shelf.announced(claims.upload)
            if announced is None or self.shelf.offset(claims.upload) < announced.size_bytes:
                return
            try:
                record = await asyncio.to_thread(self.shelf.finish, claims.upload)
            except Mismatch as mismatch:
                log.warning("evidence.rejected", node=claims.node, upload=claims.upload, because=str(mismatch))
                raise
        self._refused.pop(claims.upload, None)
        await self._tell_kept([record])

    async def find(self, upload: str) -> Found | None:
        """Return the file of a bundle."""
        return Found(self.shelf.path(upload)) if self.shelf.find(upload) is not None else None

    def ended(self, event: EvidenceEnded) -> None:
        """Nothing: whether a bundle is whole is known here, and not by what a node says."""

    async def run(self) -> None:
        """Say what was kept without anybody hearing of it, and throw away what is old, again and again."""
        while True:
            await whatever_happens(self.sweep)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self) -> None:
        """Do so once."""
        now = self.clock()
        await self._tell_kept(self.shelf.kept())
        before = now - self.settings.keep_days * DAY_S
        old = self.shelf.outdated(before=before, open_incidents=self._open())
        await self._remove(old, f"It was older than {self.settings.keep_days:g} days.")
        await asyncio.to_thread(self.shelf.drop_forgotten, before=now - self.settings.valid_s)

    async def _make_room(self, claims: Claims, size_bytes: int) -> None:
        going = self.shelf.make_room(claims, size_bytes, open_incidents=self._open())
        await self._remove(going, f"Newer evidence, of {claims.incident_id} on {claims.node}, needed its room.")

    async def _remove(self, records: Collection[Record], because: str) -> None:
        for record in records:
            await asyncio.to_thread(self.shelf.drop, record.upload)
            log.info("evidence.removed", node=record.node, incident_id=record.incident_id, because=because)
        gone: list[Event] = [EvidenceRemoved(r.incident_id, r.node, r.upload, because) for r in records]
        if gone:
            await self.cell.submit(gone)

    async def _tell_kept(self, records: Collection[Record]) -> None:
        """Put into the log what is kept and not known: a controller may have died between the two."""
        unknown: list[Event] = [
            EvidenceStored(r.incident_id, r.node, r.upload, r.size_bytes, r.sha256, url_of(self.page_url, r.upload))
            for r in records
            if not is_known(self.cell.belief, r.incident_id, r.upload)
        ]
        if unknown:
            await self.cell.submit(unknown)

    def _say_full(self, claims: Claims, because: str) -> None:
        """Once for each bundle: a node tries again, and the log must not fill up with that."""
        if self._refused.get(claims.upload) != because[:40]:
            self._refused[claims.upload] = because[:40]
            log.error("evidence.refused", node=claims.node, incident_id=claims.incident_id, because=because)
            tell_later(self.cell, EvidenceEnded(claims.incident_id, claims.node, claims.upload, "delayed", because))

    def _open(self) -> Collection[str]:
        return self.cell.belief.open_incidents.keys()


async def whatever_happens(work: Callable[[], Awaitable[None]]) -> None:
    """Do it once. A folder or a store that fails is said: it must not end the controller, as a lost log must.

    Raises:
        StoreError: the event log cannot be written.
    """
    try:
        await work()
    except StoreError:
        raise
    except Exception as error:
        log.error("evidence.failed", because=repr(error), exc_info=error)


def tell_later(cell: Cell, event: Event) -> None:
    """Put an event into the log without waiting for that; who writes the log says when it cannot be written."""
    cell.submit([event]).add_done_callback(lambda told: None if told.cancelled() else told.exception())


def url_of(page_url: str, upload: str) -> str:
    """Return where people get a bundle."""
    return f"{page_url.rstrip('/')}{UPLOADS}/{upload}"


def is_known(belief: Belief, incident_id: str, upload: str) -> bool:
    """Return whether belief has it that the bundle is stored, or no longer has the incident at all."""
    incident = belief.incidents.get(incident_id)
    if incident is None:
        return True
    bundle = incident.bundles.get(upload)
    return bundle is not None and bundle.state == "stored"
