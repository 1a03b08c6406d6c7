"""The real host as orders see it: real processes behind fake programs of the same name, and refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.host_machine import HostMachine
from agent.machine import ActionFailed, ActionRefused, Machine
from agent.sources.child import Slot
from tests.support.eventually import eventually

UUID = "GPU-11111111-2222-3333-4444-555555555555"


class Programs:
    """A folder of programs that the machine finds before any other; they note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"

    def add(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls_file}\n{script}\n')
        path.chmod(0o755)

    def note(self, text: str) -> None:
        with self.calls_file.open("a") as calls:
            calls.write(f"{text}\n")

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Programs(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "dev").mkdir()
    return root


SMI = """case "$1" in
  --query-compute-apps=*) {query};;
  --gpu-reset) {reset};;
esac"""


def test_it_is_a_machine() -> None:
    as_seen_by_orders: Machine = HostMachine()
    assert not as_seen_by_orders.simulated


def test_the_boot_id_is_the_kernels() -> None:
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == HostMachine().boot_id()


async def test_a_gpu_that_nobody_uses_is_reset_while_the_agent_lets_go_of_it(programs: Programs, root: Path) -> None:
    programs.add("nvidia-smi", SMI.format(query="exit 0", reset="echo All done."))

    @asynccontextmanager
    async def let_go(because: str) -> AsyncIterator[None]:
        programs.note(f"let go for {because}")
        yield
        programs.note("taken up")

    done = await HostMachine(let_go=let_go, root=root).reset_gpu(UUID)
    assert done.evidence == {"nvidia-smi": "All done.\n"}
    assert [
        "nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name --format=csv,noheader",
        "let go for a GPU reset",
        f"nvidia-smi --gpu-reset -i {UUID}",
        "taken up",
    ] == programs.calls


async def test_a_gpu_in_use_is_not_reset(programs: Programs, root: Path) -> None:
    other = UUID.replace("5", "6")
    query = f"echo '{other}, 7, python3'; echo '{UUID}, 4711, /usr/bin/train'"
    programs.add("nvidia-smi", SMI.format(query=query, reset="exit 0"))
    with pytest.raises(ActionRefused, match=f"{UUID} is in use: {UUID}, 4711, /usr/bin/train$"):
        await HostMachine(root=root).reset_gpu(UUID)
    assert len(programs.calls) == 1


async def test_it_is_not_reset_when_nobody_can_tell_whether_it_is_in_use(programs: Programs, root: Path) -> None:
    programs.add("nvidia-smi", SMI.format(query="echo broken; exit 9", reset="exit 0"))
    with pytest.raises(ActionRefused, match=r"code 9 \(the driver is not loaded\): broken"):
        await HostMachine(root=root).reset_gpu(UUID)


async def test_a_reset_that_fails_keeps_code_and_text(programs: Programs, root: Path) -> None:
    programs.add("nvidia-smi", SMI.format(query="exit 0", reset="echo GPU is lost; exit 15"))
    with pytest.raises(ActionFailed, match=r"code 15 \(the GPU has fallen off the bus: .*\): GPU is lost"):
        await HostMachine(root=root).reset_gpu(UUID)


@pytest.mark.parametrize("device", ["", "0", "-i", f"{UUID} --help", "GPU-x", f"{UUID}\n"])
async def test_what_is_no_uuid_never_reaches_a_program(programs: Programs, root: Path, device: str) -> None:
    programs.add("nvidia-smi", "exit 0")
    with pytest.raises(ActionRefused, match="is no GPU UUID"):
        await HostMachine(root=root).reset_gpu(device)
    assert programs.calls == []


async def test_without_nvidia_smi_there_is_no_reset(root: Path, programs: Programs) -> None:
    with pytest.raises(ActionRefused, match="nvidia-smi is not installed"):
        await HostMachine(root=root).reset_gpu(UUID)
    assert programs.calls == []


async def test_a_service_of_the_list_is_restarted(programs: Programs, root: Path) -> None:
    programs.add("systemctl", '[ "$1" = show ] && echo loaded; exit 0')
    await HostMachine(root=root).restart_service("nvidia-fabricmanager")
    assert programs.calls == [
        "systemctl show --property=LoadState --value nvidia-fabricmanager.service",
        "systemctl restart nvidia-fabricmanager.service",
    ]


@pytest.mark.parametrize("service", ["", "sshd", "../slurmd", "slurmd; reboot", "--all"])
async def test_other_services_are_refused(programs: Programs, root: Path, service: str) -> None:
    programs.add("systemctl", "exit 0")
    with pytest.raises(ActionRefused, match="none of the services that may be restarted"):
        await HostMachine(root=root).restart_service(service)
    assert programs.calls == []


async def test_a_service_that_is_not_installed_is_refused(programs: Programs, root: Path) -> None:
    programs.add("systemctl", "echo not-found")
    with pytest.raises(ActionRefused, match=r"slurmd.service is not installed here: systemd calls it not-found"):
        await HostMachine(root=root).restart_service("slurmd.service")


async def test_a_restart_that_fails_keeps_its_text(programs: Programs, root: Path) -> None:
    programs.add("systemctl", 'if [ "$1" = show ]; then echo loaded; else echo Job failed; exit 1; fi')
    with pytest.raises(ActionFailed, match="code 1: Job failed"):
        await HostMachine(root=root).restart_service("slurmd")


async def test_a_reboot_goes_through_systemd(programs: Programs, root: Path) -> None:
    programs.add("systemctl", "exit 0")
    await HostMachine(root=root).reboot()
    assert programs.calls == ["systemctl --no-wall reboot"]


async def test_a_host_whose_nvidia_smi_cannot_be_killed_can_be_rebooted(programs: Programs, root: Path) -> None:
    groups: list[int] = []
    slots: list[Slot] = []

    def make_slot() -> Slot:
        slots.append(Slot(kill=lambda group, _signal: groups.append(abs(group)), kill_limit_s=0.05))
        return slots[-1]

    programs.add("nvidia-smi", "exec sleep 600")
    programs.add("systemctl", "exit 0")
    machine = HostMachine(make_slot=make_slot, query_limit_s=0.3, root=root)
    for _ in range(2):
        with pytest.raises(ActionFailed, match="does not die of SIGKILL"):
            await machine.reset_gpu(UUID)
    await machine.reboot()
    assert programs.calls[-1] == "systemctl --no-wall reboot"
    assert len(programs.calls) == 2
    os.killpg(groups[0], signal.SIGKILL)
    await eventually("it is gone", lambda: not any(slot.stuck for slot in slots))


async def test_without_systemd_nothing_is_rebooted_or_restarted(programs: Programs, tmp_path: Path) -> None:
    programs.add("systemctl", "exit 0")
    machine = HostMachine(root=tmp_path)
    with pytest.raises(ActionRefused, match="not booted with systemd"):
        await machine.reboot()
    with pytest.raises(ActionRefused, match="not booted with systemd"):
        await machine.restart_service("slurmd")
    assert programs.calls == []


async def test_a_drill_on_a_real_host_needs_a_setting(root: Path) -> None:
    log = root / "dev/kmsg"
    log.touch()
    with pytest.raises(ActionRefused, match=r"kernel_log\.accept_userspace_records = true"):
        await HostMachine(root=root).inject_fault("xid79", device="", parameters={})
    assert log.read_bytes() == b""


async def test_a_drill_writes_the_kernels_lines_with_a_priority(root: Path) -> None:
    log = root / "dev/kmsg"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    machine = HostMachine(accept_userspace_records=True, root=root)
    await machine.inject_fault("xid94", device="0000:3b:00", parameters={})
    lines = os.read(reader, 65_536).decode().splitlines()
    os.close(reader)
    assert [line.split("): ")[1].split(",")[0] for line in lines] == ["48", "63", "94", "45"]
    assert all(line.startswith("<4>NVRM: Xid (PCI:0000:3b:00): ") for line in lines)


@pytest.mark.parametrize("fault", ["disk-full", "rdma-port-down", "agent-killed", "no-such"])
async def test_only_what_the_kernel_log_shows_can_be_drilled(root: Path, fault: str) -> None:
    machine = HostMachine(accept_userspace_records=True, root=root)
    with pytest.raises(ActionRefused, match="only these faults can be drilled: gpu-off-bus, "):
        await machine.inject_fault(fault, device="", parameters={})


async def test_a_device_that_is_no_pci_address_is_refused(root: Path) -> None:
    machine = HostMachine(accept_userspace_records=True, root=root)
    with pytest.raises(ActionRefused, match="not the PCI address of a GPU"):
        await machine.inject_fault("xid79", device="x\n<0>forged", parameters={})
