"""A broker per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.broker import Mosquitto
from tests.support.broker import running_broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """Give a running Mosquitto of this test alone."""
    async with running_broker(tmp_path / "broker") as running:
        yield running
