"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_it_comes() -> Iterator[None]:
    """A test that sets logging up as a process does must not leave its closed streams to the next one."""
    yield
    structlog.reset_defaults()
