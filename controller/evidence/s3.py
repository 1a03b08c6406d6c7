"""Bundles in an S3-compatible store: nodes put them there by presigned URLs, and the controller makes them whole.

Nothing about them is kept here: the name of a bundle in the store is that of its upload, and what is left to do is what
the log says that a node has sent and nobody has called stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.cell import Cell
from controller.errors import Permanent, Retryable
from controller.events import EvidenceEnded, EvidenceStored
from controller.evidence.desk import Asked, Found, is_known, tell_later, url_of, whatever_happens
from controller.evidence.s3_store import Bucket
from controller.policy.incident import Incident
from controller.sections.evidence import EvidenceSection
from wire.evidence import UPLOAD_ID, Grant, parameter_of
from wire.grants import upload_of

log = structlog.get_logger()

LOOK_EVERY_S: Final = 60.0
BEGIN_LIMIT_S: Final = 10.0
"""An order does not wait longer for a store that does not answer: it goes out without leave to send a bundle."""


@dataclass(slots=True)
class S3Evidence:
    """Bundles in one bucket."""

    cell: Cell
    bucket: Bucket
    key: Ed25519PrivateKey
    settings: EvidenceSection
    clock: Callable[[], float]
    page_url: str
    _given_up: set[str] = field(default_factory=set)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    async def parameters_for(self, asked: Asked) -> dict[str, str]:
        """Return a grant with a URL for each part; nothing, and a word on the timeline, where the store gives none."""
        upload, most = upload_of(asked.order_id, asked.node, key=self.key), self.settings.bundle_bytes
        valid_s = self.settings.valid_s
        try:
            async with asyncio.timeout(BEGIN_LIMIT_S):
                parts = await asyncio.to_thread(self.bucket.begin, upload, bundle_bytes=most, valid_s=valid_s)
        except (Retryable, Permanent, TimeoutError) as error:
            because = str(error) or f"S3: no answer within {BEGIN_LIMIT_S:g} s"
            log.warning("evidence.refused", node=asked.node, incident_id=asked.incident_id, because=because)
            tell_later(self.cell, EvidenceEnded(asked.incident_id, asked.node, upload, "failed", because))
            return {}
        expires_at = self.clock() + valid_s
        return parameter_of(Grant(upload, "s3", most, expires_at, parts=parts.urls, part_bytes=parts.part_bytes))

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """Name bundles by this key from here on; the store, not we, signs what nodes are given."""
        self.key = key

    async def find(self, upload: str) -> Found | None:
        """Return an address that is good for a while."""
        whose = next((each for each in self.cell.belief.incidents.values() if upload in each.bundles), None)
        if whose is None or whose.bundles[upload].state != "stored":
            return None
        name = f"{whose.id}-{whose.node}-{upload[:8]}.tar.gz"
        return Found(address=await asyncio.to_thread(self.bucket.address, upload, file_name=name))

    def ended(self, event: EvidenceEnded) -> None:
        """A node says that it has sent a bundle, or gave up: look at it now."""
        log.info("evidence.sent", node=event.node, incident_id=event.incident_id, outcome=event.outcome)
        if event.outcome != "sent" and UPLOAD_ID.fullmatch(event.upload):
            self._given_up.add(event.upload)
        self._wanted.set()

    async def run(self) -> None:
        """Make whole what nodes have sent, until cancelled."""
        while True:
            self._wanted.clear()
            await whatever_happens(self.look)
            await self._until_wanted()

    async def _until_wanted(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def look(self) -> None:
        """Do so once; what the store does not answer about is looked at again."""
        for incident, upload in self._sent():
            try:
                await self._settle(incident, upload)
            except Retryable as error:
                log.warning("evidence.delayed", incident_id=incident.id, upload=upload, because=str(error))
        for upload in tuple(self._given_up):
            try:
                await asyncio.to_thread(self.bucket.give_up, upload)
            except (Retryable, Permanent) as error:
                log.warning("evidence.left", upload=upload, because=str(error))
            else:
                self._given_up.discard(upload)

    def _sent(self) -> list[tuple[Incident, str]]:
        return [
            (incident, upload)
            for incident in self.cell.belief.incidents.values()
            for upload, bundle in incident.bundles.items()
            if bundle.state == "sent" and UPLOAD_ID.fullmatch(upload)
        ]

    async def _settle(self, incident: Incident, upload: str) -> None:
        bundle = incident.bundles[upload]
        try:
            if bundle.size_bytes > self.settings.bundle_bytes:
                raise Permanent(f"it has {bundle.size_bytes} bytes, and {self.settings.bundle_bytes} are the most")
            await asyncio.to_thread(self.bucket.finish, upload, size_bytes=bundle.size_bytes)
        except Permanent as error:
            log.error("evidence.rejected", node=incident.node, upload=upload, because=str(error))
            self._given_up.add(upload)
            await self.cell.submit([EvidenceEnded(incident.id, incident.node, upload, "failed", str(error))])
            return
        if not is_known(self.cell.belief, incident.id, upload):
            url = url_of(self.page_url, upload)
            await self.cell.submit(
                [EvidenceStored(incident.id, incident.node, upload, bundle.size_bytes, bundle.sha256, url)]
            )
