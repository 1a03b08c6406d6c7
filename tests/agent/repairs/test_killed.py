"""An agent that is killed in the middle of a repair: the next one brings back what the repair had taken away."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from agent.host_machine import HostMachine
from agent.outbox import Outbox
from tests.support.fake_host import A100, BOOT, UUID, FakeHost

AGENT = """
import asyncio, os, sys
from pathlib import Path
from agent.host_machine import HostMachine
from agent.outbox import Outbox

root, outbox, killer, repair = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
killer.write_text(str(os.getpid()))
machine = HostMachine(keeper=Outbox(outbox, "boot"), root=root)
asyncio.run(machine.reload_driver() if repair == "reload" else machine.reset_gpu(repair))
"""
"""The agent's part in it; the fake systemctl kills it once it has stopped a unit."""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(tmp_path)
    monkeypatch.setenv("PATH", f"{host.bin}:/usr/bin:/bin")
    host.gpus(A100, persistence="Enabled")
    for pid, unit in ((800, "nvidia-persistenced.service"), (801, "nvidia-dcgm.service")):
        host.unit(unit)
        host.process(pid, unit[:15], "/dev/nvidia0", unit=unit)
    host.modules("nvidia", "nvidia_uvm")
    return host


@pytest.mark.parametrize("repair", ["reload", UUID])
async def test_kill_9_between_stop_and_start_leaves_nothing_stopped(host: FakeHost, repair: str) -> None:
    outbox = host.directory / "outbox.sqlite"
    arguments = (str(host.root), str(outbox), str(host.state / "killer"), repair)
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, *arguments)
    assert await agent.wait() == -signal.SIGKILL
    assert host.calls[-1] == "systemctl stop nvidia-dcgm.service"
    keeper = Outbox(outbox, "boot")
    machine = HostMachine(keeper=keeper, root=host.root, sleep=host.sleep)
    said = await machine.recover()
    assert "was broken off; what it had taken away is back: " in said
    assert (host.state / "units/nvidia-dcgm.service").read_text().strip() == "active"
    assert (host.state / "units/nvidia-persistenced.service").read_text().strip() == "active"
    assert (host.calls[-1] == f"nvidia-smi -i {UUID} -pm 1") == (repair == UUID)
    assert await machine.recover() == ""
    keeper.close()


def test_the_boot_is_the_one_in_which_it_was_taken(host: FakeHost) -> None:
    assert HostMachine(root=host.root).boot_id() == BOOT
