"""A PostgreSQL server for the tests of the controller, started by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session; every test makes its own database."""
    with running_postgres() as server:
        yield server
