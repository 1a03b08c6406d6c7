"""TLS: the broker's certificate is checked against the given authority, and the encrypted stream can be paused too."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.broker import find_mosquitto
from cli.ports import free_port
from tests.support.broker import Listener, listening, require_mosquitto, until
from tests.support.certificates import write_certificate
from wire.tls import TlsFiles
from wire.transport import BrokerSettings, MqttTransport, Received

pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def tls_broker(directory: Path) -> AsyncIterator[tuple[str, Path]]:
    """Give the URL and the certificate of a broker that speaks TLS alone."""
    require_mosquitto()
    certificate, port = write_certificate(directory, "server"), free_port()
    config = directory / "tls.conf"
    config.write_text(
        f"user {pwd.getpwuid(os.geteuid()).pw_name}\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
        f"certfile {certificate}\nkeyfile {directory}/server.key\nmax_queued_messages 0\n"
    )
    process = await asyncio.create_subprocess_exec(
        find_mosquitto(), "-c", config, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"mqtts://127.0.0.1:{port}", certificate
    finally:
        process.terminate()
        await process.wait()


async def test_messages_travel_over_tls_and_a_slow_consumer_pauses_them(tmp_path: Path) -> None:
    most_waiting = 0
    heard: list[int] = []

    async def take(received: Received) -> None:
        nonlocal most_waiting
        most_waiting = max(most_waiting, _count_unacknowledged(transport))
        heard.append(int(received.payload[:5]))
        await asyncio.sleep(0.001)
        received.acknowledge()

    async def connected() -> None:
        pass

    async with tls_broker(tmp_path) as (url, certificate):
        transport = MqttTransport(
            BrokerSettings(url, "controller", tls=TlsFiles(certificate)),
            subscriptions=("events",),
            will=None,
            max_unacknowledged=50,
        )
        running = asyncio.create_task(transport.run(on_message=take, on_connected=connected))
        await until(lambda: transport.connected)
        async with listening(BrokerSettings(url, "n1", tls=TlsFiles(certificate))) as node:
            await asyncio.gather(
                *(node.transport.publish("events", b"%05d" % number + bytes(2043)) for number in range(1500))
            )
        await until(lambda: len(heard) >= 1500)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert heard == list(range(1500))
    assert 1 <= most_waiting <= 50


def _count_unacknowledged(transport: MqttTransport) -> int:
    assert transport._connection is not None
    return len(transport._connection._unacknowledged)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_broker_with_another_authoritys_certificate_is_not_trusted(tmp_path: Path) -> None:
    """paho leaves a socket whose handshake failed to the garbage collector, which warns about it."""
    other = write_certificate(tmp_path, "other")
    async with tls_broker(tmp_path) as (url, _):
        await asyncio.sleep(0.3)
        transport = MqttTransport(
            BrokerSettings(url, "n1", tls=TlsFiles(other)), subscriptions=(), will=None, jitter=lambda: 0.0
        )
        listener = Listener(transport)
        running = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
        await asyncio.sleep(1.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        gc.collect()

    assert listener.connections == 0


def test_an_unusable_authority_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ca_file .*missing\.pem"):
        MqttTransport(
            BrokerSettings("mqtts://127.0.0.1", "n1", tls=TlsFiles(tmp_path / "missing.pem")),
            subscriptions=(),
            will=None,
        )
