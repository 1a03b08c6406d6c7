"""I7 with a disk that gave up: nothing taken is lost, nothing is said to be stored, and both sides go on.

Each write to it fails, and so does each new file; agent, controller and broker are processes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulation import states
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import XID_SEVERITY, SimulatedMachine
from cli.broker import CONTROLLER
from controller.main import EX_IOERR, EX_TEMPFAIL
from tests.support.agent_site import NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from tests.support.controllers import ControllerProcess, CountingScheduler, nodes_at, until
from tests.support.failing_disk import FailingDisk, failing_disk, read_only_disk
from wire import topics
from wire.messages import FindingRaised, Status

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    with failing_disk(tmp_path / "store") as failing:
        yield failing


def xid(machine: SimulatedMachine, code: int) -> None:
    """Have the driver report a fault that is of no known kind, on a GPU of the node."""
    line = f"NVRM: Xid (PCI:{machine.hardware().gpus[0].pci}): {code}, chaos"
    with states.locked(machine.directory):
        booted_at = machine.state().booted_at
        KernelLogFiles(machine.directory).append([line], severity=XID_SEVERITY, booted_at=booted_at)


async def test_an_agent_says_so_and_goes_on_telling(disk: FailingDisk, tmp_path: Path) -> None:
    async with (
        running_broker(tmp_path / "broker") as broker,
        listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener,
    ):
        machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
        (disk.place / "state").mkdir()
        (tmp_path / "state").symlink_to(disk.place / "state")
        site, controller = Site(tmp_path, broker, machine), Controller(listener)
        try:
            await site.start()
            await controller.bodies(Status)
            disk.fail()
            controller.stores = False
            xid(machine, 10_001)
            await controller.bodies(FindingRaised, lambda raised: raised.finding.code == "10001")
            await until(lambda: "outbox.unwritable" in site.log())
            controller.stores = True
            xid(machine, 10_002)
            await controller.bodies(FindingRaised, lambda raised: raised.finding.code == "10002")
            await controller.bodies(Status, lambda status: status.outbox_depth == 0)
            assert "Traceback" not in site.log()
            assert await site.end() == 0
        finally:
            if site.process is not None and site.process.returncode is None:
                await site.end(signal.SIGKILL)
        disk.mend()
        try:
            await site.start()
            xid(machine, 10_003)
            await controller.bodies(FindingRaised, lambda raised: raised.finding.code == "10003")
        finally:
            await site.end(signal.SIGKILL)


async def test_a_controller_stores_nothing_says_so_and_resumes(disk: FailingDisk, tmp_path: Path) -> None:
    scheduler = CountingScheduler(tmp_path / "scheduler")
    async with running_broker(tmp_path / "broker") as broker, nodes_at(broker) as nodes:
        username, password = broker.credentials(CONTROLLER)
        secret = tmp_path / "broker.password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        tables = {
            "state": str(disk.place / "state"),
            "broker": {"url": broker.url, "username": username, "password_file": str(secret)},
            "scheduler": {"kind": "command", "hook": str(scheduler.hook), "interval_s": 1.0},
            "budget": {"percent": 100.0},
            "breakers": [],
            "domains": [],
        }
        controller = ControllerProcess(tmp_path / "controller", tables)
        try:
            controller.start()
            await controller.is_role("leader", limit_s=90.0)
            nodes.lose_gpu("n1")
            await until(lambda: scheduler.times_cordoned()["n1"] == 1)
            await until(lambda: not nodes.outbox)
            disk.fail()
            nodes.lose_gpu("n2")
            assert await controller.ended(limit_s=60.0) == EX_IOERR
            assert controller.said("log.failed") and not controller.said("Traceback")
            assert nodes.outbox, "what is not stored is not called stored"
            assert scheduler.times_cordoned()["n2"] == 0, "nothing is done that is not in the log"
            disk.mend()
            controller.start()
            await controller.is_role("leader", limit_s=90.0)
            await until(lambda: not nodes.outbox)
            await until(lambda: scheduler.times_cordoned()["n2"] == 1)
            assert scheduler.times_cordoned()["n1"] == 1
        finally:
            controller.end()


async def test_an_agent_that_starts_on_a_read_only_disk_tells_what_it_finds(tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as place:
        async with (
            running_broker(tmp_path / "broker") as broker,
            listening(settings(broker), f"{topics.ROOT}/main/node/+/+") as listener,
        ):
            machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
            (tmp_path / "state").symlink_to(place / "state")
            site, controller = Site(tmp_path, broker, machine), Controller(listener)
            try:
                await site.start()
                await controller.bodies(Status)
                xid(machine, 10_001)
                await controller.bodies(FindingRaised, lambda raised: raised.finding.code == "10001")
                assert "outbox.unwritable" in site.log()
                assert "Traceback" not in site.log()
            finally:
                await site.end(signal.SIGKILL)


async def test_a_controller_does_not_start_on_a_read_only_disk(tmp_path: Path) -> None:
    """It says why, and ends so that its supervisor tries again."""
    with read_only_disk(tmp_path / "disk") as place:
        controller = ControllerProcess(tmp_path / "controller", {"state": str(place / "state")})
        try:
            controller.start()
            assert await controller.ended(limit_s=60.0) == EX_TEMPFAIL
            assert controller.said("Read-only file system") and not controller.said("Traceback")
        finally:
            controller.end()
