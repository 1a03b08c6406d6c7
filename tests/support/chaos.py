"""A whole cell that is killed at random under load: is every fault that happened in the log at the end?

The broker, the controller and agents on simulated nodes are the real programs. Faults happen all the while, by records
in the nodes' kernel logs, each one of its own kind, so that none can stand for another. Who is killed (`kill -9`), and
when, is drawn by a seed; who was killed is started again at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from agent.node import OUTBOX_FILE
from agent.simulation import states
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import XID_SEVERITY, SimulatedMachine
from cli.broker import CONTROLLER, Mosquitto
from cli.cell_files import Access, AgentPlan, ControllerPlan, write_agent, write_controller
from cli.client import Client, Failed
from cli.ports import free_port
from controller import keys
from controller.events import FindingRaised, StepIntended
from controller.sealing import FILE, witness
from controller.store.auditing import audit
from controller.store.seals import KnownKeys
from controller.store.sqlite import SqliteLog
from controller.store.taken import Taken

AGENT, BROKER = "agent", "broker"
VICTIMS = (AGENT, CONTROLLER, BROKER, AGENT)
"""Agents are many, and their outbox is what a loss would come from."""

FIRST_CODE = 10_000
"""Xids that NVIDIA gives no meaning: each is a finding of its own, and people are asked about it."""

FAULTS_EVERY_S = 0.1
LONGEST_PAUSE_S = 2.5
"""A controller starts in about two seconds: some kills meet one that is just starting."""

ORDERS = ("run_checks", "collect", "reach")
UNTIL_STARTED_S, UNTIL_CALM_S = 90.0, 120.0

RAISED = """
    SELECT node, json_extract(body, '$.finding.code') FROM events WHERE kind = 'finding.raised'
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was left at the end.

    Attributes:
        faults: how many happened.
        lost: those of which the log knows nothing.
        healed: those that only a node's level told, because the edge was lost.
        events_lost: events that an agent had on its disk and that were never stored.
        chain_flaws: what an audit of the log finds.
        intended_twice: steps that the controller meant to carry out twice.
        kills: who was killed, how often.
        calm_after_s: from the last kill until every outbox was empty.
    """

    faults: int
    lost: list[tuple[str, int]]
    healed: int
    events_lost: int
    chain_flaws: list[str]
    intended_twice: list[str]
    kills: Counter[str]
    calm_after_s: float


@dataclass(slots=True)
class Program:
    """One process of the cell, started again whenever it ended."""

    module: str
    config: Path
    log: Path
    process: asyncio.subprocess.Process | None = None
    starts: int = 0

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.process is not None and self.process.returncode is None:
            return
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module, "--config", str(self.config)), stdout=output, stderr=output
            )
        self.starts += 1

    async def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        await self.process.wait()


@dataclass(slots=True)
class ChaosCell:
    """A cell with simulated nodes, and what happened to it."""

    directory: Path
    broker: Mosquitto
    random: random.Random
    nodes: tuple[str, ...]
    port: int = field(default_factory=free_port)
    programs: dict[str, Program] = field(default_factory=dict)
    machines: dict[str, SimulatedMachine] = field(default_factory=dict)
    faults: list[tuple[str, int]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> Path:
        """Where the controller has its files."""
        return self.directory / CONTROLLER

    async def start(self) -> None:
        """Start everything and return when every node is heard of."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for user in (CONTROLLER, *self.nodes):
            self.broker.credentials(user)
        await self.broker.start()
        key = keys.load_or_make(self.state / "signing-key.pem")
        plan = ControllerPlan(self.state, "127.0.0.1", self.port, "none", None, "100%", 3_600.0)
        config = write_controller(plan, self._access(CONTROLLER))
        self.programs[CONTROLLER] = Program("controller.main", config, self.directory / "controller.log")
        for node in self.nodes:
            machine = self.directory / "machines" / node
            self.machines[node] = SimulatedMachine.create(machine, name=node, seed=1, speedup=3_600.0)
            told = AgentPlan(
                node,
                self.directory / "agents" / node,
                ORDERS,
                keys.key_id(key),
                keys.public_text(key),
                simulation=machine,
            )
            config = write_agent(told, self._access(node))
            self.programs[node] = Program("agent", config, self.directory / f"{node}.log")
        await self.start_all()
        await self._until(lambda: set(self.nodes) <= self._heard_of(), UNTIL_STARTED_S)

    def _access(self, user: str) -> Access:
        return Access(self.broker.url, *self.broker.credentials(user))

    def _heard_of(self) -> set[str]:
        try:
            told = Client(f"http://127.0.0.1:{self.port}", timeout_s=5.0).get("nodes")
        except Failed:
            return set()
        return {node["name"] for node in told if node["last_seen_s"] is not None}

    async def start_all(self) -> None:
        """Start whatever does not run."""
        if not self.broker.alive():
            await self.broker.start()
        for program in self.programs.values():
            await program.start()

    async def happen(self) -> None:
        """Have faults happen, on any node, until cancelled."""
        while True:
            await asyncio.sleep(self.random.expovariate(1 / FAULTS_EVERY_S))
            self.break_something()

    def break_something(self) -> None:
        """Have the driver of one node report a fault that was not there before."""
        node, code = self.random.choice(self.nodes), FIRST_CODE + len(self.faults)
        machine = self.machines[node]
        gpu = self.random.choice(machine.hardware().gpus)
        log = KernelLogFiles(machine.directory)
        with states.locked(machine.directory):
            line = f"NVRM: Xid (PCI:{gpu.pci}): {code}, chaos"
            log.append([line], severity=XID_SEVERITY, booted_at=machine.state().booted_at)
        self.faults.append((node, code))

    async def kill(self, victim: str) -> None:
        """Kill one process, and start it and whatever else ended again."""
        self.kills[victim] += 1
        if victim == BROKER:
            assert self.broker.process is not None
            self.broker.process.kill()
            await self.broker.process.wait()
        else:
            name = CONTROLLER if victim == CONTROLLER else self.random.choice(self.nodes)
            await self.programs[name].end(signal.SIGKILL)
        await self.start_all()

    async def calm_down(self) -> float:
        """Wait until all that happened is stored, or long enough; return how long that took."""
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await self._until(lambda: not self.missing() and not any(map(self._waiting, self.nodes)), UNTIL_CALM_S)
        return time.monotonic() - began

    def missing(self) -> list[tuple[str, int]]:
        """Return the faults of which the log knows nothing."""
        with closing(_reading(self.state / "events.sqlite")) as database:
            raised = set(database.execute(RAISED).fetchall())
        return [(node, code) for node, code in self.faults if (node, str(code)) not in raised]

    def _waiting(self, node: str) -> int:
        """Return how much a node has to tell."""
        with closing(_reading(self.directory / "agents" / node / OUTBOX_FILE)) as database:
            return int(database.execute("SELECT count(*) FROM events").fetchone()[0])

    def events_lost(self, taken: dict[tuple[str, str], Taken]) -> int:
        """Return how many events that have a number are neither in the log nor on a disk: numbers have no gaps."""
        lost = 0
        for node in self.nodes:
            with closing(_reading(self.directory / "agents" / node / OUTBOX_FILE)) as database:
                boots = database.execute("SELECT boot_id, last_seq FROM boots").fetchall()
                waiting = database.execute("SELECT boot_id, seq FROM events").fetchall()
            for boot_id, last in boots:
                numbers = taken[node, boot_id]
                ranges = [tuple(map(int, part.split("-"))) for part in str(numbers).split(",")]
                stored = sum(end - begin + 1 for begin, end in ranges)
                on_disk = sum(1 for boot, seq in waiting if boot == boot_id and seq not in numbers)
                lost += last - ranges[0][0] + 1 - stored - on_disk
        return lost

    async def _until(self, holds: Callable[[], bool], limit_s: float) -> None:
        """Wait until something holds; whatever ends meanwhile is started again.

        Raises:
            TimeoutError: it did not in time.
        """
        async with asyncio.timeout(limit_s):
            while not await asyncio.to_thread(holds):
                await self.start_all()
                await asyncio.sleep(0.2)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End everything."""
        await asyncio.gather(*(program.end(number) for program in self.programs.values()))
        await self.broker.stop()


async def chaos(directory: Path, *, kills: int, seed: int, nodes: int = 3) -> Outcome:
    """Kill so many processes of a cell under load and return what was left."""
    chance = random.Random(seed)
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    cell = ChaosCell(directory, Mosquitto(directory / "broker"), chance, names)
    try:
        await cell.start()
        happening = asyncio.create_task(cell.happen())
        for victim in _victims(kills, seed):
            await asyncio.sleep(chance.uniform(0.0, LONGEST_PAUSE_S))
            await cell.kill(victim)
        happening.cancel()
        calm_after_s = await cell.calm_down()
    except BaseException:
        await cell.stop(signal.SIGKILL)
        raise
    await cell.stop()
    return _outcome(cell, calm_after_s)


def _victims(kills: int, seed: int) -> list[str]:
    """Return who is killed: everybody, as often as there are of each, in an order that the seed gives."""
    drawn = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    random.Random(seed).shuffle(drawn)
    return drawn


def _outcome(cell: ChaosCell, calm_after_s: float) -> Outcome:
    with closing(SqliteLog(cell.state / "events.sqlite")) as log:
        events = [entry.event for entry in log.read()]
        head = witness(cell.state / FILE)
        known = KnownKeys("main", keys.known(cell.state / "signing-key.pem"))
        found = audit(log, known, witnesses=[head] if head else [])
        events_lost = cell.events_lost(log.recall_taken())
    raised = [event for event in events if isinstance(event, FindingRaised)]
    edges = {(event.node, event.finding.code) for event in raised if event.origin == "edge"}
    told = {(event.node, event.finding.code) for event in raised}
    happened = {(node, str(code)) for node, code in cell.faults}
    intents = Counter(event.key for event in events if isinstance(event, StepIntended))
    return Outcome(
        len(happened),
        cell.missing(),
        len((told - edges) & happened),
        events_lost,
        found.flaws,
        [key for key, times in intents.items() if times > 1],
        cell.kills,
        calm_after_s,
    )


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)
