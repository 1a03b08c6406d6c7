"""Plain requests to servers that tests start, by what needs no event loop."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

LIMIT_S = 60.0


def until_answering(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as something answers at an address, whatever it says; fail when the process ends before."""
    end = time.monotonic() + LIMIT_S
    while True:
        assert process.poll() is None, f"it ended with {process.returncode} before it answered at {url}"
        assert time.monotonic() < end, f"nothing answers at {url}"
        try:
            _exchange("GET", url, None, {})
        except OSError:
            time.sleep(0.05)
        else:
            return


def asked(method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    """Return what a request is answered with; fail when that is no 2xx."""
    status, answer = _exchange(method, url, body, headers)
    assert 200 <= status < 300, f"{method} {url} answered {status}: {answer[:500]!r}"
    return answer


def _exchange(method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30.0)
    try:
        connection.request(method, url.removeprefix(f"{parts.scheme}://{parts.netloc}"), body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
