"""I7: agents, the controller and the broker are killed at random under load, and nothing that happened is lost.

A short run; `make chaos` is the long one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.broker import require_mosquitto
from tests.support.chaos import chaos

pytestmark = pytest.mark.broker


async def test_i7_nothing_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    require_mosquitto()
    outcome = await chaos(tmp_path / "cell", kills=4, seed=3, nodes=2)
    assert outcome.kills == {"agent": 2, "controller": 1, "broker": 1}
    assert outcome.faults > 10
    assert (outcome.lost, outcome.events_lost) == ([], 0)
    assert (outcome.chain_flaws, outcome.intended_twice) == ([], [])
