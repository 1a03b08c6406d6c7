"""Stores for the tests of the controller: SQLite, and a PostgreSQL that the first test starts that asks for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.store.log import EventLog
from controller.store.postgresql import PostgresqlLog
from controller.store.sqlite import SqliteLog
from tests.support.postgres import Postgres, running_postgres

Store = Callable[[], EventLog]
"""Opens the log of one cell, again and again."""
NewStore = Callable[[], Store]
"""Makes a place for another cell."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session; every test makes its own database. Nobody cuts its power."""
    with running_postgres("fsync=off") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> NewStore:
    """Places for cells, in files, or in schemas of one database."""
    numbers = itertools.count()
    if request.param == "sqlite":
        return lambda: (lambda path: lambda: SqliteLog(path))(tmp_path / f"{next(numbers)}.sqlite")
    postgres: Postgres = request.getfixturevalue("postgres")
    database = postgres.new_database()

    def new_schema() -> Store:
        server = postgres.new_schema(database, f"cell_{next(numbers)}")
        return lambda: PostgresqlLog(server)

    return new_schema
