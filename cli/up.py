"""`fleetmend up`: a whole cell on this machine.

Starts a broker, the controller, a real agent for this very host and, if asked, agents on simulated nodes, each as a
process of its own with ordinary configuration files; watches over them, and stops them in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from agent.simulation.machine import SimulatedMachine
from agent.simulation.neighbours import rack_of
from cli.broker import CONTROLLER, BrokerError, Mosquitto
from cli.cell_files import (
    HOST_ORDERS,
    SET_HERE,
    SIMULATED_ORDERS,
    Access,
    AgentPlan,
    ControllerPlan,
    write_agent,
    write_controller,
    write_token,
)
from cli.children import Child, Progress
from cli.client import Client, Failed, token_in
from cli.exit_codes import ExitCode
from cli.ports import free_port, why_taken
from controller import keys
from controller.playbooks import PlaybookErrors, load_directory
from controller.settings import SettingsError, load_more
from wire.transport import BrokerAddress

START_LIMIT_S = 60.0
SCHEDULERS = ("none", "node", "slurm", "kubernetes", "command")


class CannotStart(Exception):
    """The cell did not come up; the text says which part and why.

    Attributes:
        code: what the program ends with.
    """

    def __init__(self, text: str, code: ExitCode = ExitCode.NO) -> None:
        """Take what is to be told."""
        super().__init__(text)
        self.code = code


class WrongFile(click.BadParameter):
    """The command line is right, and a file that it names is not."""

    exit_code = ExitCode.CONFIG


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for."""

    state: Path
    port: int
    simulate: int
    seed: int
    speed: float
    broker_url: str
    scheduler: str
    hook: Path | None
    budget: str
    playbooks: Path | None
    settings: Path | None
    drill_host: bool
    metrics_port: int


def default_state() -> Path:
    """Return where a cell lives unless told otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "fleetmend"


def this_host() -> str:
    """Return what this host is called as a node: its short name, which must not be the controller's broker user."""
    name = socket.gethostname().split(".", maxsplit=1)[0] or "localhost"
    return f"{name}-host" if name == CONTROLLER else name


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=default_state, help="Where the cell's files live.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="Port of the status page.")
@click.option("--simulate", type=click.IntRange(0, 500), default=0, help="Add N simulated 8-GPU nodes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides whether simulated repairs succeed.")
@click.option("--speed", type=click.FloatRange(1), default=360.0, show_default=True, help="Simulated seconds a second.")
@click.option("--broker", "broker_url", default="", help="Use this MQTT broker (mqtt://host:port), start none.")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), default="none", show_default=True, help="Who places work.")
@click.option("--hook", type=click.Path(path_type=Path, exists=True), help="Program for --scheduler command.")
@click.option("--budget", default="50%", show_default=True, help="Most nodes out at once: a number or a percentage.")
@click.option(
    "--playbooks", type=click.Path(path_type=Path), help="Answer by the playbooks of this directory, not fleetmend's."
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="More of the controller's settings (TOML): kubernetes, limits, breakers, freezes, domains, modes, access, ...",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_000),
    default=0,
    help="Serve the agents' metrics on this port and those after it, this host's first; 0 serves none.",
)
@click.option("--drill-host", is_flag=True, help="Let drills write kernel records on this host too (never repairs).")
def up(**options: Any) -> None:
    """Start a whole cell on this machine: broker, controller, an agent for this host, simulated nodes."""
    wishes = Wishes(**options)
    _check_budget(wishes.budget)
    _check_playbooks(wishes.playbooks)
    _check_broker(wishes.broker_url)
    _check_settings(wishes.settings)
    _check_hook(wishes.scheduler, wishes.hook)
    try:
        asyncio.run(Cell(wishes).run())
    except (CannotStart, BrokerError) as error:
        click.echo(f"fleetmend up: {error}", err=True)
        sys.exit(error.code if isinstance(error, CannotStart) else ExitCode.NO)


def _check_budget(text: str) -> None:
    number = text.removesuffix("%")
    try:
        valid = 0 <= float(number) <= (100 if text.endswith("%") else 1_000_000)
    except ValueError:
        valid = False
    if not valid or (not text.endswith("%") and not number.isdigit()):
        raise click.BadParameter(
            f"{text!r} is neither a number of nodes nor a percentage like 10%", param_hint="--budget"
        )


def _check_playbooks(directory: Path | None) -> None:
    try:
        if directory is not None:
            load_directory(directory)
    except PlaybookErrors as errors:
        raise WrongFile(f"no playbooks that can be used:\n{errors}", param_hint="--playbooks") from errors


def _check_settings(file: Path | None) -> None:
    try:
        if file is not None:
            load_more(file, SET_HERE)
    except SettingsError as error:
        raise WrongFile(f"no settings that can be used:\n{error}", param_hint="--settings") from error


def _check_broker(url: str) -> None:
    try:
        if url:
            BrokerAddress.parse(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--broker") from error


def _check_hook(scheduler: str, hook: Path | None) -> None:
    if (scheduler == "command") != (hook is not None):
        raise click.UsageError("--scheduler command and --hook PROGRAM belong together: give both or neither")


@dataclass(slots=True)
class Cell:
    """The processes of one embedded cell."""

    wishes: Wishes
    progress: Progress = field(default_factory=Progress)
    url: str = ""
    token: Path | None = None
    broker: Mosquitto | None = None
    controller: Child | None = None
    agents: list[Child] = field(default_factory=list)

    async def run(self) -> None:
        """Start, serve until SIGINT or SIGTERM, stop."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        starting = asyncio.create_task(self._start())
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await self._supervise(waiting)
        finally:
            starting.cancel()
            waiting.cancel()
            await self._stop()

    async def _start(self) -> None:
        state = self.wishes.state.absolute()
        state.mkdir(parents=True, exist_ok=True)
        simulated = [f"n{number}" for number in range(1, self.wishes.simulate + 1)]
        host = this_host()
        await self._start_broker(state, [host, *simulated])
        await self._start_controller(state)
        key = keys.load_or_make(state / "controller" / "signing-key.pem")
        trust = (keys.key_id(key), keys.public_text(key))
        await self._start_agents(state, host, simulated, trust)
        await self._until_online({host, *simulated})
        self._invite(simulated)

    async def _start_broker(self, state: Path, nodes: Iterable[str]) -> None:
        if self.wishes.broker_url:
            self.progress.say(f"broker: using {self.wishes.broker_url}")
            return
        self.broker = Mosquitto(state / "broker")
        for node in (CONTROLLER, *nodes):
            self.broker.credentials(node)
        await self.broker.start()
        self.progress.say(f"broker: Mosquitto on {self.broker.url}")

    def _access(self, user: str) -> Access:
        if self.broker is None:
            return Access(self.wishes.broker_url, "", "")
        return Access(self.broker.url, *self.broker.credentials(user))

    async def _start_controller(self, state: Path) -> None:
        plan = ControllerPlan(
            state / "controller",
            "127.0.0.1",
            self.wishes.port or free_port(),
            self.wishes.scheduler,
            self.wishes.hook,
            self.wishes.budget,
            self.wishes.speed,
            self.wishes.playbooks,
            load_more(self.wishes.settings, SET_HERE) if self.wishes.settings else {},
        )
        _check_free(plan.port)
        self.url = f"http://127.0.0.1:{plan.port}"
        config = write_controller(plan, self._access(CONTROLLER))
        self.token = write_token(config)
        self.controller = self._child("controller", "controller.main", ("--config", str(config)))
        await self.controller.start()
        await self._until_answering(self.controller)
        self.progress.say(f"controller: {self.url}, scheduler {self.wishes.scheduler}")

    def _child(self, name: str, module: str, arguments: tuple[str, ...]) -> Child:
        log = self.wishes.state.absolute() / "logs" / f"{name}.log"
        return Child(name, module, arguments, log, on_restart=self.progress.say)

    async def _start_agents(self, state: Path, host: str, simulated: list[str], trust: tuple[str, str]) -> None:
        drills = (*HOST_ORDERS, "inject_fault") if self.wishes.drill_host else HOST_ORDERS
        plans = [
            AgentPlan(host, state / "agents" / host, drills, *trust, accept_userspace_records=self.wishes.drill_host)
        ]
        for node in simulated:
            machine = state / "machines" / node
            SimulatedMachine.create(machine, name=node, seed=self.wishes.seed, speedup=self.wishes.speed)
            where = {"rack": rack_of(node)}
            plans.append(
                AgentPlan(node, state / "agents" / node, SIMULATED_ORDERS, *trust, simulation=machine, places=where)
            )
        for number, plan in enumerate(plans):
            if self.wishes.metrics_port:
                plan = replace(plan, metrics_port=self.wishes.metrics_port + number)
            config = write_agent(plan, self._access(plan.node))
            child = self._child(f"agent-{plan.node}", "agent", ("--config", str(config)))
            if plan.simulation is not None:
                child.may_restart = _switched_on(plan.simulation)
            self.agents.append(child)
            await child.start()
        self.progress.say(
            f"agents: {host} (this host)" + (f" and {len(simulated)} simulated nodes" if simulated else "")
        )

    async def _until_answering(self, child: Child) -> None:
        async with _limit(f"the controller does not answer on {self.url}", child):
            while await self._ask("status") is None:
                if not child.alive():
                    code = ExitCode.CONFIG if child.code() == ExitCode.CONFIG else ExitCode.NO
                    raise CannotStart(f"the controller ended at once:\n{child.last_words()}", code)
                await asyncio.sleep(0.05)

    async def _until_online(self, wanted: set[str]) -> None:
        async with _limit("not every agent came online"):
            seen: set[str] = set()
            while seen < wanted:
                nodes = await self._ask("nodes") or []
                online = {node["name"] for node in nodes if node["last_seen_s"] is not None} & wanted
                if online - seen and self.wishes.simulate:
                    self.progress.say(f"online: {len(online)} of {len(wanted)}")
                seen |= online
                await asyncio.sleep(0.1)

    async def _ask(self, *path: str) -> Any:
        """Return what our own controller's API answers, `None` while it does not."""
        client = Client(self.url, timeout_s=5.0, token=token_in(self.token) if self.token else "")
        try:
            return await asyncio.to_thread(client.get, *path)
        except Failed:
            return None

    def _invite(self, simulated: list[str]) -> None:
        self.progress.say("ready")
        click.echo(f"Status page: {self.url}")
        if self.token is not None:
            click.echo(
                f"Sign in:     with the token in {self.token}; commands: export FLEETMEND_TOKEN_FILE={self.token}"
            )
        if simulated:
            again = "" if self.wishes.port == 8642 else f" --url {self.url}"
            click.echo(f"Try:         {_own_name()} drill gpu-off-bus --node {simulated[-1]}{again}")
        click.echo("Stop:        Ctrl-C")

    async def _supervise(self, waiting: asyncio.Task[bool]) -> None:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=1.0)
            if self.broker is not None and not self.broker.alive() and not waiting.done():
                self.progress.say("broker ended; starting it again")
                await self.broker.start()

    async def _stop(self) -> None:
        """Stop the agents first, so that their last words are heard, then the controller, then the broker."""
        self.progress.say("stopping")
        async with contextlib.AsyncExitStack() as stopping:
            if self.broker is not None:
                stopping.push_async_callback(self.broker.stop)
            if self.controller is not None:
                stopping.push_async_callback(self.controller.stop)
            await asyncio.gather(*(agent.stop() for agent in self.agents))
        self.progress.say("stopped")


@contextlib.asynccontextmanager
async def _limit(what: str, child: Child | None = None) -> AsyncIterator[None]:
    """Turn taking too long into a sentence with the last words of whoever did."""
    try:
        async with asyncio.timeout(START_LIMIT_S):
            yield
    except TimeoutError as error:
        words = f":\n{child.last_words()}" if child is not None else ""
        raise CannotStart(f"{what} within {START_LIMIT_S:.0f} s{words}") from error


def _own_name() -> str:
    """Return what a person in this folder types to call this fleetmend: a path where its name does not find it."""
    own = Path(sys.argv[0])
    found = shutil.which("fleetmend")
    return "fleetmend" if found and Path(found).resolve() == own.resolve() else str(own)


def _switched_on(machine: Path) -> Callable[[], bool]:
    """A simulated node whose agent was killed to stay dead is not started again until it is switched on."""
    return lambda: SimulatedMachine.open(machine).is_agent_wanted()


def _check_free(port: int) -> None:
    if why_taken(port):
        raise CannotStart(f"port {port} is taken by another program; choose another with --port")
