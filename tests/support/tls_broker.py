"""A real Mosquitto that speaks TLS alone, as `fleetmend pki broker-config` sets it up, and the authority behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

from cli.broker import find_mosquitto
from cli.commands.pki import kind_of
from cli.ports import LOOPBACK, free_port
from controller.access.files import write
from controller.pki.authority import Authority, utc_now
from controller.pki.broker import TlsListener, access_rules
from tests.support.broker import require_mosquitto
from wire.tls import TlsFiles
from wire.transport import BrokerSettings


class TlsBroker:
    """One broker with its authority, below one folder.

    Attributes:
        authority: whose certificates it takes.
        port: of its listener, the same over restarts.
        process: the broker.
    """

    def __init__(self, folder: Path) -> None:
        """Make the authority and the broker's certificate; nothing is started yet."""
        folder.mkdir(exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.authority = Authority.found(folder / "pki", now=utc_now())
        self.issue("broker", hosts=(LOOPBACK,))
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtts://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> str:
        """What the broker said."""
        return (self.folder / "mosquitto.log").read_text()

    def issue(
        self,
        name: str,
        *,
        days: int = 30,
        now: datetime | None = None,
        hosts: tuple[str, ...] = (),
        by: Authority | None = None,
        place: str = "",
    ) -> TlsFiles:
        """Write a new certificate for a name into the folder of that name, and return its files."""
        issued = (by or self.authority).issue(
            common_name=name, kind=kind_of(name), days=days, now=now or utc_now(), hosts=hosts
        )
        folder = self.folder / (place or name)
        folder.mkdir(exist_ok=True)
        write(folder / "key.pem", issued.key_pem)
        write(folder / "ca.pem", self.authority.bundle())
        write(folder / "certificate.pem", issued.certificate_pem)
        return TlsFiles(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")

    def expired(self, name: str) -> TlsFiles:
        """Write a certificate that was good until an hour ago."""
        return self.issue(name, days=1, now=utc_now() - timedelta(days=1, hours=1))

    def access(self, name: str, files: TlsFiles | None = None, *, client_id: str = "") -> BrokerSettings:
        """Return how somebody reaches the broker, by a new certificate unless files are given."""
        return BrokerSettings(self.url, client_id or name, tls=files or self.issue(name))

    async def start(self) -> None:
        """Start it and return when it takes connections."""
        listener = TlsListener(self.folder / "broker", self.folder / "pki", self.port, LOOPBACK)
        (self.folder / "broker" / "acl").write_text(access_rules("main"))
        (self.folder / "broker" / "acl").chmod(0o600)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"user {pwd.getpwuid(os.geteuid()).pw_name}\n{listener.configuration()}"
            f"persistence true\npersistence_location {self.folder}/\n"
        )
        with (self.folder / "mosquitto.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                find_mosquitto(), "-c", config, stdout=output, stderr=output
            )
        async with asyncio.timeout(20):
            while not await _works(self.port):
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.02)

    async def reload(self) -> None:
        """Have it read its files anew, and return when it did. It may forget the signal that comes while it reads."""
        assert self.process is not None
        before = self.log.count("Reloading config.")
        async with asyncio.timeout(20):
            while self.log.count("Reloading config.") == before:
                self.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@contextlib.asynccontextmanager
async def running_tls_broker(folder: Path) -> AsyncIterator[TlsBroker]:
    """Give a running broker; it is ended however the test ends."""
    require_mosquitto()
    broker = TlsBroker(folder)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def _works(port: int) -> bool:
    """Return whether it throws out who speaks no TLS: the kernel takes connections before it is ready for signals."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(bytes(16))
        await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return True
