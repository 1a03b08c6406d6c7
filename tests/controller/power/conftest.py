"""What tests of power share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture(autouse=True)
async def _connections_end() -> AsyncIterator[None]:
    """Let the loop close the connections whose other end went away, before it ends itself."""
    yield
    open_files = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    for _ in range(500):
        if len(open_files) == 1:
            return
        await asyncio.sleep(0.002)
