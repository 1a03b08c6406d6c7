"""Why a connection did not come about: the system's own reason, where to, and nothing of an address that is secret."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest

from cli.ports import free_port
from controller.unreached import NEVER_SENT, why_unreached
from tests.support.certificates import write_certificate
from tests.support.otlp import receiving

SECRET = "s3cr3t"


async def why(url: str, *, connect_s: float | None = None) -> str:
    """Return why a call was never sent."""
    limits = aiohttp.ClientTimeout(sock_connect=connect_s)
    async with aiohttp.ClientSession(timeout=limits) as session:
        with pytest.raises(aiohttp.ClientError) as raised:
            await session.get(f"{url}/{SECRET}")
    assert isinstance(raised.value, NEVER_SENT)
    return why_unreached(raised.value)


async def test_nobody_listens() -> None:
    port = free_port()
    assert await why(f"http://127.0.0.1:{port}") == f"Connection refused (127.0.0.1:{port})"


async def test_no_such_host() -> None:
    said = await why("http://nobody.invalid")
    assert said.endswith("(nobody.invalid:80)") and "ssl:" not in said and SECRET not in said


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    written = write_certificate(tmp_path, "server")
    context.load_cert_chain(written, written.with_suffix(".key"))
    async with receiving(tls=context) as server:
        said = await why(server.url)
    assert said == f"TLS: its certificate is not trusted: self-signed certificate (127.0.0.1:{server.port})"


async def test_what_speaks_no_tls() -> None:
    async with receiving() as server:
        said = await why(server.url.replace("http:", "https:"))
    assert said.startswith("TLS: ") and said.endswith(f"(127.0.0.1:{server.port})")


def test_a_time_out_says_nothing_of_the_address() -> None:
    error = aiohttp.ConnectionTimeoutError(f"Connection timeout to host http://hooks.example/{SECRET}")
    assert why_unreached(error) == "no connection came about in time"
