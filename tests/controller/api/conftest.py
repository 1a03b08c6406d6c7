"""A running cell and an HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.open_cell import OpenCell, open_cell


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell with n1 to n10, all well, of which two may be out."""
    async with open_cell(tmp_path) as opened:
        await opened.add_nodes(*(f"n{number}" for number in range(1, 11)))
        yield opened


@pytest.fixture
async def http(cell: OpenCell) -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose addresses are relative to the cell's."""
    async with aiohttp.ClientSession(cell.url) as session:
        yield session
