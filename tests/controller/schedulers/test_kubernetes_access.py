"""The way to a Kubernetes API that takes a connection and says nothing on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.errors import Retryable
from controller.schedulers.kubernetes_access import Access, config_of
from tests.support.eventually import eventually

KUBECONFIG = """
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


@dataclass(slots=True)
class Silent:
    """Takes connections, reads what comes and never answers.

    Attributes:
        port: where it listens.
        taken: so many connections were made.
        greeted: so many of them brought something.
        left: so many of them were closed by who made them.
    """

    port: int = 0
    taken: int = 0
    greeted: int = 0
    left: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.taken += 1
        with suppress(ConnectionError):
            await reader.read(1)
            self.greeted += 1
            while await reader.read(4096):
                pass
        self.left += 1

    def close(self) -> None:
        for writer in self._open:
            writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    found = Silent()
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found
        found.close()


def access_to(silent: Silent, directory: Path, *, deadline_s: float) -> Access:
    path = directory / "kubeconfig"
    path.write_text(KUBECONFIG.format(port=silent.port))
    return Access(config_of(path, ""), deadline_s)


async def test_a_question_that_is_let_go_of_leaves_no_connection(silent: Silent, tmp_path: Path) -> None:
    access = access_to(silent, tmp_path, deadline_s=60.0)
    question = asyncio.create_task(access.node("n1"))
    await eventually("TLS is begun", lambda: silent.greeted == 1)
    question.cancel()
    with suppress(asyncio.CancelledError):
        await question
    await eventually("the connection is closed", lambda: silent.left == 1)
    await access.close()


async def test_each_question_without_an_answer_in_time_closes_its_connection(silent: Silent, tmp_path: Path) -> None:
    access = access_to(silent, tmp_path, deadline_s=0.3)
    for _ in range(2):
        with pytest.raises(Retryable, match="reading node n1: no answer in time"):
            await access.node("n1")
    await eventually("every connection is closed", lambda: 0 < silent.taken == silent.left)
    await access.close()


async def test_a_watch_that_is_let_go_of_leaves_no_connection(silent: Silent, tmp_path: Path) -> None:
    access = access_to(silent, tmp_path, deadline_s=60.0)

    async def watch() -> None:
        async with access.stream("api/v1/nodes", {"watch": "true"}, 60.0):
            raise AssertionError

    watching = asyncio.create_task(watch())
    await eventually("TLS is begun", lambda: silent.greeted == 1)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await eventually("the connection is closed", lambda: silent.left == 1)
    await access.close()
