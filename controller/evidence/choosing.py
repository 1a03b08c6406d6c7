"""Which kind of evidence the settings ask for, and where nodes send it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.cell import Cell
from controller.evidence.desk import ControllerEvidence, Evidence, NoEvidence
from controller.evidence.receiving import IDLE_CONNECTION_S, Receiver, tls_of
from controller.evidence.shelf import Quota, Shelf
from controller.sections.evidence import EvidenceSection
from controller.settings import ControllerSettings, SettingsError
from wire.files import SecretError


@dataclass(frozen=True, slots=True)
class Counter:
    """Evidence, and who takes it in.

    Attributes:
        receiver: takes bundles over HTTP, `None` when this controller takes none.
        has_own_port: it listens by itself; else the API's port serves it.
    """

    evidence: Evidence = field(default_factory=NoEvidence)
    receiver: Receiver | None = None
    section: EvidenceSection = field(default_factory=EvidenceSection)

    @property
    def has_own_port(self) -> bool:
        """Whether uploads have a port of their own."""
        return self.receiver is not None and bool(self.section.port)

    def on_api_port(self) -> Receiver | None:
        """Return what the API's port serves."""
        return None if self.has_own_port else self.receiver

    def hosts(self) -> set[str]:
        """Return the name by which nodes reach the API's port."""
        name = urlsplit(self.section.url).hostname
        return {name} if name and not self.has_own_port else set()

    async def listen(self) -> web.AppRunner | None:
        """Take bundles on a port of their own, if they have one; return what ends that.

        Raises:
            OSError: the port is taken, or certificate and key cannot be used.
        """
        if self.receiver is None or not self.has_own_port:
            return None
        section = self.section
        tls = tls_of(str(section.certificate), str(section.certificate_key)) if section.certificate else None
        runner = web.AppRunner(
            self.receiver.app(),
            access_log=None,
            shutdown_timeout=2.0,
            keepalive_timeout=IDLE_CONNECTION_S,
            auto_decompress=False,
        )
        await runner.setup()
        await web.TCPSite(runner, section.host, section.port, ssl_context=tls).start()
        return runner


def counter_of(
    settings: ControllerSettings,
    cell: Cell,
    *,
    key: Ed25519PrivateKey,
    page_url: str,
    clock: Callable[[], float],
    check_leading: Callable[[], None],
) -> Counter:
    """Return what the settings ask for, with its folder made.

    Raises:
        OSError: the folder cannot be made.
        SettingsError: the extra that S3 needs is not installed, or a secret key or certificate is of no use.
    """
    section = settings.evidence
    if section.where == "none":
        return Counter()
    if section.s3 is not None:
        return Counter(_s3(section, cell, key, clock, page_url))
    shelf = Shelf(
        section.directory or settings.state / "evidence",
        Quota(section.node_bytes, section.total_bytes, section.keep_free_bytes),
    )
    shelf.open()
    _try_certificate(section)
    desk = ControllerEvidence(
        cell, shelf, key, section, clock, url=_url_for_nodes(section, page_url), page_url=page_url
    )
    return Counter(desk, Receiver(desk, check_leading), section)


def _s3(
    section: EvidenceSection, cell: Cell, key: Ed25519PrivateKey, clock: Callable[[], float], page_url: str
) -> Evidence:
    """Import what speaks to the store only now: it is large, and comes with an extra."""
    try:
        store, s3 = import_module("controller.evidence.s3_store"), import_module("controller.evidence.s3")
    except ModuleNotFoundError as error:
        raise SettingsError(f"evidence: where = 's3' needs the extra fleetmend[s3]: {error}") from error
    try:
        bucket = store.Bucket(section.s3)
    except SecretError as error:
        raise SettingsError(f"evidence.s3.secret_key_file: {error}") from error
    found: Evidence = s3.S3Evidence(cell, bucket, key, section, clock, page_url)
    return found


def _try_certificate(section: EvidenceSection) -> None:
    """Find out now what else the port would at the start."""
    if section.certificate is None:
        return
    try:
        tls_of(str(section.certificate), str(section.certificate_key))
    except OSError as error:
        files = f"{section.certificate} with {section.certificate_key}"
        raise SettingsError(f"evidence.certificate: {files}: {error.strerror or error}") from error


def _url_for_nodes(section: EvidenceSection, page_url: str) -> str:
    if section.url:
        return section.url.rstrip("/")
    if section.port:
        scheme = "https" if section.certificate else "http"
        return f"{scheme}://{section.host}:{section.port}"
    return page_url.rstrip("/")
