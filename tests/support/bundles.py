"""The bundles of one node, with their folder, and a clock and a controller that a test has."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.bundles.keeper import Keeper, Whose
from agent.bundles.plan import BUNDLE, PACKED, PLAN, Origin, Packed, Plan
from agent.clock import Clock
from agent.settings import Bundles
from wire.evidence import Grant
from wire.messages import EvidenceEnded

CONTENT = os.urandom(3 << 20)


class Node:
    """A node's bundles, and what it said of them."""

    def __init__(self, directory: Path, now: Callable[[], float], **settings: Any) -> None:
        self.folder, self.now, self.said = directory / "evidence", now, list[EvidenceEnded]()
        self.settings = Bundles(**{"keep_free_bytes": 0, "rate_bytes_per_s": 1 << 30, **settings})
        self.keeper = self.again()

    def again(self) -> Keeper:
        """Return the keeper as an agent that starts anew makes it."""
        clock = Clock(wall=self.now, sleep=lambda _: asyncio.sleep(0.05))
        whose = Whose("n1", "boot-1", "0.1.0", simulated=True)
        self.keeper = Keeper(self.folder, self.settings, whose, self.said.append, clock)
        return self.keeper

    def put(self, grant: Grant, content: bytes = CONTENT, *, order: str = "inc-000001/collect/1") -> Path:
        """Lay a bundle in its place as if it had been gathered."""
        folder = self.folder / grant.upload
        folder.mkdir(parents=True)
        origin = Origin("n1", order.partition("/")[0], order, "boot-1", "0.1.0", self.now())
        plan = Plan(origin, grant, {}, 60.0, 64 << 20, 16 << 20, 0)
        (folder / PLAN).write_bytes(msgspec.json.encode(plan))
        (folder / BUNDLE).write_bytes(content)
        packed = Packed(len(content), hashlib.sha256(content).hexdigest(), 1)
        (folder / PACKED).write_bytes(msgspec.json.encode(packed))
        return folder
