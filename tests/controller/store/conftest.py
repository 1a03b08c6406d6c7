"""The same tests over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from controller.store.log import EventLog
from controller.store.postgresql import PostgresqlLog
from controller.store.sqlite import SqliteLog
from tests.support.postgres import Postgres

Opener = Callable[[], EventLog]


@pytest.fixture(params=["sqlite", "postgresql"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the log of one cell, again and again; every one is closed at the end."""
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        server = postgres.new_database()

    def opened() -> EventLog:
        log: EventLog = SqliteLog(tmp_path / "events.sqlite") if request.param == "sqlite" else PostgresqlLog(server)
        stack.enter_context(closing(log))
        return log

    with ExitStack() as stack:
        yield opened


@pytest.fixture
def log(open_log: Opener) -> EventLog:
    """The log of one cell, in its first term."""
    opened = open_log()
    opened.begin_term()
    return opened
