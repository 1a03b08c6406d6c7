"""A node that runs benchmarks: real processes over the C double of NVML, with a benchmark that behaves as it is told.

Half a second in which nobody is on the GPUs is enough for it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bench.running import THREADS_FIELD
from agent.benches import Benches, BenchPlace
from agent.clock import Clock
from agent.deeds import Deeds
from agent.desk import Desk
from agent.orders import Orders, Rules
from agent.telling import Telling
from checks.bench_result import Benchmark, BenchResult
from tests.support.agent_node import MemoryJournal, ScriptedMachine
from tests.support.eventually import eventually
from tests.support.nvml_double import Library
from wire.bench import BenchWish, to_parameters
from wire.messages import BenchEnded, BenchProgress, CheckLevel, Envelope, NodeFacts, OrderEnded, Status
from wire.orders import Order, OrderAction
from wire.signatures import sign

BENCHMARK = Path(__file__).parent.parent / "doubles" / "bench" / "benchmark.py"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
FASTER = 20.0
LEASE = "lease-1"


def fast_clock(faster: float = FASTER) -> Clock:
    """Return a clock by which so many seconds go by in one."""
    return Clock(
        wall=lambda: time.time() * faster,
        monotonic=lambda: time.monotonic() * faster,
        sleep=lambda seconds: asyncio.sleep(seconds / faster),
    )


@dataclass(slots=True)
class Looks:
    """A runner without sources, and with a kernel log that a test writes."""

    believed_lines: tuple[str, ...] = ()
    kernel_lines: tuple[str, ...] = ()
    last_readings: dict[str, Any] = field(default_factory=dict)

    async def run_checks(self, ids: Any) -> dict[str, CheckLevel]:
        """Judge nothing."""
        assert ids
        return {}

    def status(self) -> Status:
        """Return an empty level."""
        return Status(NodeFacts(), [], {}, 0, 0.0, 0.0)


@dataclass(slots=True)
class BenchSite:
    """The node.

    Attributes:
        library: answers for NVML.
        manner: how the benchmark behaves (tests/doubles/bench).
        journal: the outbox, in memory unless a test has it outlive a process.
    """

    root: Path
    library: Library
    manner: str = "measures"
    journal: Any = field(default_factory=MemoryJournal)
    machine: ScriptedMachine = field(default_factory=ScriptedMachine)
    looks: Looks = field(default_factory=Looks)
    allowed: frozenset[OrderAction] = frozenset(OrderAction)
    clock: Clock = field(default_factory=Clock)
    sees_processes: bool = True
    said: list[BenchProgress] = field(default_factory=list)
    benches: Benches = field(init=False)
    orders: Orders = field(init=False)

    def __post_init__(self) -> None:
        """Start its agent, or start it again on the same disk."""
        desk = Desk((), journal=self.journal, boot_id=self.machine.boot, notify=lambda: None, clock=self.clock)
        telling = Telling(self.journal, desk, lambda: None)
        place = BenchPlace(
            self.root, self.machine.boot_id, lambda: self.sees_processes, command_of=self.command, speedup=FASTER
        )
        self.benches = Benches(place, self.looks, telling, self.clock, self.said.append)
        deeds = Deeds(self.machine, self.looks, desk, self.clock, bench=self.benches)
        rules = Rules("n1", {"main": KEY.public_key().public_bytes_raw()}, self.allowed)
        self.orders = Orders(rules, deeds, telling, self.clock)

    @property
    def written(self) -> Path:
        """Where the benchmark writes its processes."""
        return self.root / "processes"

    def command(self, benchmark: Benchmark) -> tuple[str, ...]:
        """Return the command of the benchmark."""
        assert benchmark
        return (sys.executable, str(BENCHMARK), self.manner, str(self.written))

    def wish(self, **changes: Any) -> BenchWish:
        """Return what is asked for, as changed."""
        wanted: dict[str, Any] = {
            "lease": LEASE,
            "benchmark": Benchmark.GPU_BANDWIDTH,
            "tier": 1,
            "limit_s": 3_000.0,
            "lease_ends_at": self.clock.wall() + 6_000.0,
            "idle_by": "slurm",
        }
        return BenchWish(**(wanted | changes))

    async def give(self, parameters: Mapping[str, str], order_id: str = "o1", action: Any = OrderAction.BENCH) -> None:
        """Let an order come; return before it is carried out."""
        now = self.clock.wall()
        order = Order(order_id, "n1", action, now, now + 60_000.0, 1, parameters=dict(parameters))
        signed = sign(order, key_id="main", key=KEY)
        await self.orders.receive(signed, Envelope(1, "n1", "", 0, 0.0, signed))

    async def run(self, **changes: Any) -> BenchResult:
        """Run a benchmark to its end and return what was told of it."""
        await self.orders.recover()
        await self.give(to_parameters(self.wish(**changes)))
        await self.orders.idle()
        return self.results[-1]

    async def begin(self, **changes: Any) -> tuple[int, ...]:
        """Begin a benchmark that stays; return its processes once it runs."""
        await self.orders.recover()
        await self.give(to_parameters(self.wish(**changes)))
        await eventually("the benchmark runs", self.written.exists, limit_s=60.0)
        return tuple(int(pid) for pid in self.written.read_text().split())

    @property
    def results(self) -> list[BenchResult]:
        """What was told of benchmarks."""
        return [event.result for event in self.journal.events if isinstance(event, BenchEnded)]

    @property
    def answers(self) -> list[tuple[str, str]]:
        """What was told of orders: id and outcome."""
        return [(event.order_id, event.outcome) for event in self.journal.events if isinstance(event, OrderEnded)]


def is_alive(pid: int) -> bool:
    """Return whether there is such a process, and any thread of it has not ended: what it held is free after that."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return words[0] not in "ZX" or int(words[THREADS_FIELD]) > 1
