"""A real S3-compatible server, as a process of its own: moto's, which answers botocore and plain HTTP alike."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session

from cli.ports import free_port

BUCKET = "fleetmend"
LIMIT_S = 30.0


@contextlib.contextmanager
def s3_server(directory: Path) -> Iterator[str]:
    """Give the address of a running server that has an empty bucket."""
    url = f"http://127.0.0.1:{free_port()}"
    program = Path(sys.executable).with_name("moto_server")
    with (directory / "s3.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(program), "-H", "127.0.0.1", "-p", url.rpartition(":")[2]],
            stdout=output,
            stderr=output,
        )
    try:
        _until_answering(url, process)
        client_of(url).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        process.kill()
        process.wait()


def client_of(url: str) -> Any:
    """Return a client with all rights."""
    return botocore.session.Session().create_client(
        "s3", "us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
    )


def _until_answering(url: str, process: subprocess.Popen[bytes]) -> None:
    end, port = time.monotonic() + LIMIT_S, int(url.rpartition(":")[2])
    while True:
        assert process.poll() is None and time.monotonic() < end, "the S3 server did not come up"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        time.sleep(0.05)
