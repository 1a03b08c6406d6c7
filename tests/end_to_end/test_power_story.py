"""A node that lost its power, and one that needs a restart from outside, brought back by their BMCs.

OpenStack's Redfish emulator is the BMC; whenever it changes the power of a host it says so, and then the process of
that host's agent is killed, or a new boot begins. Broker, controller and agents are real processes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import tomli_w

from agent.simulation import states
from agent.simulation.machine import SimulatedMachine
from agent.sources.redfish_access import RedfishAccess
from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell
from tests.support.redfish import PASSWORD, USER
from tests.support.sushy import running_emulator, system_id

pytestmark = pytest.mark.timeout(300)

HOSTS = ("n1", "n2")
PLAYBOOK = """
playbook: gpu_lost
summary: A GPU has fallen off the bus; here it gets a restart by the BMC.
fault_class: gpu_lost
severity: critical
precedence: 10
answers:
  - {check: gpu.xid, codes: ["79"]}
  - {check: gpu.count, codes: [lost]}
guards: {drain: needed}
steps:
  - cordon: {}
  - drain: {jobs: requeue, limit: 10m}
  - power_cycle: {limit: 30m}
  - verify: {limit: 5m}
  - probation: {for: 1h}
  - uncordon: {}
hand_over:
  - ticket: {team: datacentre}
"""


@dataclass
class Power:
    """What power does to the hosts.

    Attributes:
        machines: where the simulated machines are.
        cuts, boots: how often each host lost its power, and got it back.
    """

    machines: Path
    is_on: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(HOSTS, True))
    cuts: list[str] = field(default_factory=list)
    boots: list[str] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def change(self, host: str, *, is_on: bool) -> None:
        """Cut the power of a host, or give it."""
        with self._turn:
            if is_on == self.is_on[host]:
                return
            self.is_on[host] = is_on
            machine = SimulatedMachine.open(self.machines / host)
            if is_on:
                self.boots.append(host)
                machine.power_cycle()
            else:
                self.cuts.append(host)
                with states.locked(machine.directory):
                    states.save(machine.directory, replace(machine.state(), agent_stays_dead=True))
                self._kill_agent(host)

    def _kill_agent(self, host: str) -> None:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "agent" in words and any(word.startswith(f"{self.machines.parent}/agents/{host}/") for word in words):
                process.kill()


@contextmanager
def told(power: Power) -> Iterator[str]:
    """Give the address to which the emulator says each change of power."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            system = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            power.change(system["name"], is_on=system["power_state"] == "On")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(access: RedfishAccess) -> dict[str, Any]:
    nodes = {host: {"system": system_id(number)} for number, host in enumerate(HOSTS, 1)}
    table = {
        "kind": "redfish",
        "address": access.url,
        "user": USER,
        "password_file": str(access.password_file),
        "ca_file": str(access.ca_file),
        "interval_s": 1.0,
        "nodes": nodes,
    }
    return {"power": table, "silence": {"agent_lost_after_s": 1.0}}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The cell's directory, and another one for all that is not fleetmend's."""
    return tmp_path_factory.mktemp("cell"), tmp_path_factory.mktemp("others")


@pytest.fixture(scope="module")
def power(places: tuple[Path, Path]) -> Power:
    return Power(places[0] / "machines")


@pytest.fixture(scope="module")
def bmc(places: tuple[Path, Path], power: Power) -> Iterator[RedfishAccess]:
    require_mosquitto()
    with told(power) as address, running_emulator(places[1] / "bmc", HOSTS, notify=address) as access:
        yield access


@pytest.fixture(scope="module")
def cell(places: tuple[Path, Path], bmc: RedfishAccess) -> Iterator[EmbeddedCell]:
    state, others = places
    more = others / "more.toml"
    more.write_text(tomli_w.dumps(settings(bmc)))
    books = others / "playbooks"
    books.mkdir()
    (books / "gpu_lost.yaml").write_text(PLAYBOOK)
    for name in ("node_lost", "agent_lost"):
        (books / f"{name}.yaml").write_text((Path("playbooks") / f"{name}.yaml").read_text())
    with EmbeddedCell(state, simulate=4, arguments=("--settings", str(more), "--playbooks", str(books))) as embedded:
        yield embedded


async def switch_off(bmc: RedfishAccess, number: int) -> None:
    """Press a host's power button; the emulator does it when it is looked at after a while."""
    system = f"{bmc.url}/redfish/v1/Systems/{system_id(number)}"
    account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Basic {account}"}) as session,
        session.post(f"{system}/Actions/ComputerSystem.Reset", json={"ResetType": "ForceOff"}, ssl=False) as answer,
        asyncio.timeout(20.0),
    ):
        assert answer.status == 204
        while (await _document(session, system))["PowerState"] != "Off":  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.1)


async def _document(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with session.get(path, ssl=False) as answer:
        found: dict[str, Any] = await answer.json()
        return found


def boot_of(power: Power, host: str) -> str:
    return SimulatedMachine.open(power.machines / host).boot_id()


def texts(cell: EmbeddedCell, incident: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["text"], entry["because"]) for entry in cell.get(f"/incidents/{incident['id']}")["timeline"]]


async def test_nodes_are_brought_back_by_their_bmcs(cell: EmbeddedCell, power: Power, bmc: RedfishAccess) -> None:
    before = {host: boot_of(power, host) for host in HOSTS}
    await switch_off(bmc, 1)
    cell.drill("gpu-off-bus", "n2")
    lost, cold = cell.incident_ended("n1"), cell.incident_ended("n2")
    assert (lost["outcome"], lost["fault_class"]) == ("returned", "node_lost"), texts(cell, lost)
    assert (cold["outcome"], cold["fault_class"]) == ("returned", "gpu_lost"), texts(cell, cold)
    assert sorted(power.cuts) == sorted(power.boots) == ["n1", "n2"], "each was cut and started once"
    assert all(boot_of(power, host) != before[host] for host in HOSTS)
    said = texts(cell, lost)
    assert any(because.endswith("and its BMC says that it has no power.") for _, because in said)
    assert any(because.startswith("n1 was off: On was taken up by https://127.0.0.1") for _, because in said)
    assert dict(said)["Collect done"].startswith(
        "The agent on n1 is not heard, so its BMC was asked: bmc/health.txt, bmc/"
    )
    after = f"The node came back with another boot id, {boot_of(power, 'n1')[:8]}."
    assert ("Power cycle done", after) in said
    restarted = texts(cell, cold)
    assert any(because.startswith("ForceRestart was taken up by https://127.0.0.1") for _, because in restarted)
    assert ("Uncordon done" in dict(said)) and ("Uncordon done" in dict(restarted))


def test_the_password_of_a_bmc_is_nowhere(cell: EmbeddedCell) -> None:
    """After the test before: in no log, no event, no page, no ticket and no answer of the API."""
    account = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    written = [path for path in cell.state.rglob("*") if path.is_file()]
    assert {"events.sqlite", "controller.log"} <= {path.name for path in written}
    found = [path for path in written for secret in (PASSWORD.encode(), account) if secret in path.read_bytes()]
    assert found == []
    answers = "".join(json.dumps(cell.get(path)) for path in ("/incidents", "/nodes", "/status"))
    assert PASSWORD not in answers
