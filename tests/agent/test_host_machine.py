"""The real host as orders see it: real processes behind fake programs of the same name, and refusals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.host_machine import HostMachine
from agent.machine import ActionFailed, ActionRefused, Machine
from agent.sources.child import Slot
from tests.support.agent_node import MemoryJournal
from tests.support.eventually import eventually
from tests.support.fake_host import A100, BOOT, IN_USE, LINKED, OTHER, RESET_DONE, UUID, V100, FakeHost

RESET = f"nvidia-smi --gpu-reset -i {UUID}"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost(tmp_path)
    monkeypatch.setenv("PATH", f"{host.bin}:/usr/bin:/bin")
    return host


def machine_of(host: FakeHost, **changes: Any) -> HostMachine:
    return HostMachine(**{"root": host.root, "sleep": host.sleep, **changes})


def test_it_is_a_machine() -> None:
    as_seen_by_orders: Machine = HostMachine()
    assert not as_seen_by_orders.simulated


def test_the_boot_id_is_the_kernels() -> None:
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == HostMachine().boot_id()


class TestResetGpu:
    """The reset of one GPU."""

    async def test_a_gpu_that_nobody_uses_is_reset_while_the_agent_lets_go_of_it(self, host: FakeHost) -> None:
        @asynccontextmanager
        async def let_go(because: str) -> AsyncIterator[None]:
            host.note(f"let go for {because}")
            yield
            host.note("taken up")

        done = await machine_of(host, let_go=let_go).reset_gpu(UUID)
        assert (done.evidence, done.gpus) == ({"nvidia-smi": RESET_DONE}, (UUID,))
        assert host.calls == ["let go for a GPU reset", RESET, "taken up"]

    async def test_a_gpu_that_computes_is_not_reset(self, host: FakeHost) -> None:
        host.say("apps", f"{OTHER}, 7, python3\n{UUID}, 4711, /usr/bin/train\n")
        with pytest.raises(ActionRefused, match=f"{UUID} is in use: {UUID}, 4711, /usr/bin/train$"):
            await machine_of(host).reset_gpu(UUID)
        assert host.calls == []

    async def test_it_is_not_reset_when_nobody_can_tell_whether_it_is_in_use(self, host: FakeHost) -> None:
        host.say("apps", "broken")
        host.say("apps.code", "9")
        with pytest.raises(ActionRefused, match=r"code 9 \(the driver is not loaded\): broken"):
            await machine_of(host).reset_gpu(UUID)

    async def test_a_process_that_only_holds_the_gpu_is_named_with_where_it_is(self, host: FakeHost) -> None:
        host.process(900, "dcgm-exporter", "/dev/nvidiactl", "/dev/nvidia0", group="/kubepods.slice/cri-1.scope")
        with pytest.raises(ActionRefused, match=r"process 900 dcgm-exporter \(a pod\) holds /dev/nvidia0$"):
            await machine_of(host).reset_gpu(UUID)
        assert host.calls == []
        assert len(host.slept) == 3

    async def test_a_process_on_a_neighbour_does_not_matter(self, host: FakeHost) -> None:
        host.gpus(A100, count=2)
        host.process(900, "train", "/dev/nvidiactl", "/dev/nvidia1")
        await machine_of(host).reset_gpu(UUID)
        assert host.calls == [RESET]

    async def test_a_monitor_that_is_gone_in_a_moment_is_waited_for(self, host: FakeHost) -> None:
        host.process(900, "nvidia-smi", "/dev/nvidia0")

        async def sleep(_seconds: float) -> None:
            for link in (host.root / "proc/900/fd").iterdir():
                link.unlink()

        await machine_of(host, sleep=sleep).reset_gpu(UUID)
        assert host.calls == [RESET]

    async def test_where_nobody_knows_the_device_file_any_holder_counts(self, host: FakeHost) -> None:
        (host.root / "proc/driver/nvidia/gpus/0000:3b:00.0/information").unlink()
        host.process(900, "train", "/dev/nvidia7")
        with pytest.raises(ActionRefused, match="process 900 train holds /dev/nvidia7"):
            await machine_of(host).reset_gpu(UUID)

    async def test_persistence_mode_is_off_for_the_reset_and_on_afterwards(self, host: FakeHost) -> None:
        host.gpus(A100, persistence="Enabled")
        await machine_of(host).reset_gpu(UUID)
        assert [f"nvidia-smi -i {UUID} -pm 0", RESET, f"nvidia-smi -i {UUID} -pm 1"] == host.calls

    async def test_one_that_cannot_say_how_it_persists_is_reset_all_the_same(self, host: FakeHost) -> None:
        host.gpus(A100, persistence="[Unknown Error]")
        host.say("pm.code", "255")
        await machine_of(host).reset_gpu(UUID)
        assert [f"nvidia-smi -i {UUID} -pm 0", RESET] == host.calls

    async def test_a_mode_that_does_not_change_back_is_found_out(self, host: FakeHost) -> None:
        host.gpus(A100, persistence="Enabled")
        host.say("persistence", "Disabled")
        host.say("stays", "")
        journal = MemoryJournal()
        with pytest.raises(
            ActionFailed, match=r"not everything is back: .* -pm 1 was carried out, and the mode is 'Dis"
        ):
            await machine_of(host, keeper=journal).reset_gpu(UUID)
        assert journal.state["set_aside"]["persistence"] == [UUID]

    async def test_services_that_hold_it_are_stopped_and_started_again_in_order(self, host: FakeHost) -> None:
        for pid, unit in ((800, "nvidia-persistenced.service"), (801, "nvidia-dcgm.service")):
            host.unit(unit)
            host.process(pid, unit[:15], "/dev/nvidia0", unit=unit)
        host.unit("nvidia-dcgm-exporter.service")
        await machine_of(host).reset_gpu(UUID)
        assert host.calls == [
            "systemctl stop nvidia-dcgm.service",
            "systemctl stop nvidia-persistenced.service",
            RESET,
            "systemctl start nvidia-persistenced.service",
            "systemctl start nvidia-dcgm.service",
        ]

    async def test_they_are_started_again_after_a_reset_that_fails(self, host: FakeHost) -> None:
        host.gpus(A100, persistence="Enabled")
        host.unit("nvidia-dcgm.service")
        host.process(801, "nv-hostengine", "/dev/nvidia0", unit="nvidia-dcgm.service")
        host.say("reset", "GPU is lost")
        host.say("reset.code", "15")
        with pytest.raises(ActionFailed, match=r"code 15 \(the GPU has fallen off the bus: .*\): GPU is lost$"):
            await machine_of(host).reset_gpu(UUID)
        assert ["systemctl start nvidia-dcgm.service", f"nvidia-smi -i {UUID} -pm 1"] == host.calls[-2:]

    async def test_a_service_that_does_not_come_back_fails_the_order(self, host: FakeHost) -> None:
        host.unit("nvidia-dcgm.service")
        host.process(801, "nv-hostengine", "/dev/nvidia0", unit="nvidia-dcgm.service")
        host.say("dies/nvidia-dcgm.service", "")
        journal = MemoryJournal()
        with pytest.raises(ActionFailed, match=r"a reset of .* was done, but not everything is back: nvidia-dcgm"):
            await machine_of(host, keeper=journal).reset_gpu(UUID)
        assert journal.state["set_aside"]["units"] == ["nvidia-dcgm.service"]

    async def test_a_service_that_does_not_stop_leaves_the_gpu_alone(self, host: FakeHost) -> None:
        host.unit("nvidia-dcgm.service")
        host.process(801, "nv-hostengine", "/dev/nvidia0", unit="nvidia-dcgm.service")
        host.say("stubborn/nvidia-dcgm.service", "")
        with pytest.raises(ActionFailed, match=r"nvidia-dcgm.service does not stop: it is active \(running\)"):
            await machine_of(host).reset_gpu(UUID)
        assert RESET not in host.calls

    async def test_mig_instances_forbid_it(self, host: FakeHost) -> None:
        host.gpus(A100, mig="Enabled")
        host.say("instances", "| GPU instances: |\n|   0  MIG 3g.40gb   9   1   4:4 |\n")
        with pytest.raises(ActionRefused, match="has MIG instances, which a reset deletes: destroy them first"):
            await machine_of(host).reset_gpu(UUID)
        assert host.calls == []

    async def test_mig_without_instances_does_not(self, host: FakeHost) -> None:
        host.gpus(A100, mig="Enabled")
        await machine_of(host).reset_gpu(UUID)
        assert host.calls == [RESET]

    async def test_virtual_gpus_forbid_it(self, host: FakeHost) -> None:
        function = host.root / "sys/bus/pci/devices/0000:3b:00.4"
        (function / "aa618089-8b16-4d01-a136-25a0f3c73123").mkdir(parents=True)
        (host.root / "sys/bus/pci/devices/0000:3b:00.0").mkdir()
        (host.root / "sys/bus/pci/devices/0000:3b:00.0/virtfn0").symlink_to(function)
        mdevs = host.root / "sys/bus/mdev/devices"
        mdevs.mkdir(parents=True)
        name = "aa618089-8b16-4d01-a136-25a0f3c73123"
        (mdevs / name).symlink_to(function / name)
        with pytest.raises(ActionRefused, match=f"has virtual GPUs \\({name}\\): remove them first"):
            await machine_of(host).reset_gpu(UUID)

    async def test_one_that_a_guest_has_is_not_ours(self, host: FakeHost) -> None:
        device = host.root / "sys/bus/pci/devices/0000:3b:00.0"
        device.mkdir(parents=True)
        (device / "driver").symlink_to("../../../bus/pci/drivers/vfio-pci")
        with pytest.raises(ActionRefused, match="is in the hands of vfio-pci, which gives it to a guest"):
            await machine_of(host).reset_gpu(UUID)

    async def test_one_that_is_not_here_is_refused_with_those_that_are(self, host: FakeHost) -> None:
        with pytest.raises(ActionRefused, match=f"there is no GPU {OTHER} here, but {UUID}$"):
            await machine_of(host).reset_gpu(OTHER)

    async def test_one_that_the_driver_knows_and_nvidia_smi_does_not_needs_a_reboot(self, host: FakeHost) -> None:
        host.gpus(A100, count=2)
        host.say("gpus", "\n".join((host.state / "gpus").read_text().splitlines()[1:]))
        with pytest.raises(ActionRefused, match=f"{UUID} does not answer nvidia-smi, .*: reboot the host"):
            await machine_of(host).reset_gpu(UUID)

    async def test_before_ampere_neighbours_go_along_only_when_the_order_says_so(self, host: FakeHost) -> None:
        host.gpus(V100, count=2)
        host.say("links", LINKED)
        with pytest.raises(ActionRefused, match=f"before Ampere is reset together .*, so {OTHER} would be reset, too"):
            await machine_of(host).reset_gpu(UUID)
        assert host.calls == []
        done = await machine_of(host).reset_gpu(UUID, neighbours=True)
        assert done.gpus == (UUID, OTHER)
        assert [f"nvidia-smi --gpu-reset -i {UUID},{OTHER}"] == host.calls

    async def test_a_neighbour_in_use_is_never_reset(self, host: FakeHost) -> None:
        host.gpus(V100, count=2)
        host.say("links", LINKED)
        host.say("apps", f"{OTHER}, 4711, train\n")
        with pytest.raises(ActionRefused, match=f"{OTHER} is in use"):
            await machine_of(host).reset_gpu(UUID, neighbours=True)
        assert host.calls == []

    async def test_before_ampere_without_nvlink_it_is_reset_alone(self, host: FakeHost) -> None:
        host.gpus(V100, count=2)
        await machine_of(host).reset_gpu(UUID)
        assert host.calls == [RESET]

    @pytest.mark.parametrize("runs", [False, True])
    async def test_ampere_behind_nvswitches_needs_a_fabric_manager(self, host: FakeHost, *, runs: bool) -> None:
        host.gpus(A100, count=2)
        host.say("links", LINKED)
        host.write("sys/bus/pci/devices/0000:c1:00.0/vendor", "0x10de\n")
        host.write("sys/bus/pci/devices/0000:c1:00.0/class", "0x068000\n")
        if runs:
            host.process(500, "nv-fabricmanage", "/dev/nvidia-nvswitchctl")
            await machine_of(host).reset_gpu(UUID)
        else:
            with pytest.raises(ActionRefused, match="Ampere or Ada without a running Fabric Manager is reset together"):
                await machine_of(host).reset_gpu(UUID)

    async def test_one_in_use_by_the_kernel_alone_gets_a_hint(self, host: FakeHost) -> None:
        host.modules("nvidia", "nvidia_drm")
        host.say("reset", IN_USE)
        host.say("reset.code", "255")
        with pytest.raises(ActionFailed, match=r"In use by another client.*nvidia_drm may: reload the driver instead"):
            await machine_of(host).reset_gpu(UUID)

    async def test_a_refusal_that_ends_with_code_0_is_one_all_the_same(self, host: FakeHost) -> None:
        host.say("reset", IN_USE)
        with pytest.raises(ActionFailed, match="could not be reset"):
            await machine_of(host).reset_gpu(UUID)

    @pytest.mark.parametrize("device", ["", "0", "-i", f"{UUID} --help", "GPU-x", f"{UUID}\n"])
    async def test_what_is_no_uuid_never_reaches_a_program(self, host: FakeHost, device: str) -> None:
        with pytest.raises(ActionRefused, match="is no GPU UUID"):
            await machine_of(host).reset_gpu(device)
        assert host.every_call == []

    async def test_without_nvidia_smi_there_is_no_reset(self, host: FakeHost) -> None:
        host.remove("nvidia-smi")
        with pytest.raises(ActionRefused, match="nvidia-smi is not installed"):
            await machine_of(host).reset_gpu(UUID)

    async def test_a_cancelled_reset_brings_everything_back(self, host: FakeHost) -> None:
        host.unit("nvidia-dcgm.service")
        host.process(801, "nv-hostengine", "/dev/nvidia0", unit="nvidia-dcgm.service")
        host.say("reset.hangs", "")
        slots: list[Slot] = []

        def make_slot() -> Slot:
            slots.append(Slot())
            return slots[-1]

        reset = asyncio.create_task(machine_of(host, make_slot=make_slot).reset_gpu(UUID))
        await eventually("it resets", lambda: RESET in host.calls)
        reset.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reset
        assert host.calls[-1] == "systemctl start nvidia-dcgm.service"
        for slot in slots:
            await slot.end()


class TestRecover:
    """What a process that died had taken away."""

    async def test_the_next_process_brings_it_back(self, host: FakeHost) -> None:
        journal = MemoryJournal()
        journal.save(
            "set_aside",
            {
                "because": "a reload of the driver",
                "boot_id": BOOT,
                "modules": ["nvidia", "nvidia_uvm"],
                "units": ["nvidia-persistenced.service"],
                "persistence": [UUID],
            },
        )
        host.unit("nvidia-persistenced.service", "inactive")
        said = await machine_of(host, keeper=journal).recover()
        assert said.startswith("a reload of the driver was broken off; what it had taken away is back: nvidia, ")
        assert [
            "modprobe nvidia",
            "modprobe nvidia_uvm",
            "systemctl start nvidia-persistenced.service",
            f"nvidia-smi -i {UUID} -pm 1",
        ] == host.calls
        assert await machine_of(host, keeper=journal).recover() == ""

    async def test_another_boot_owes_nothing(self, host: FakeHost) -> None:
        journal = MemoryJournal()
        journal.save("set_aside", {"because": "a reset", "boot_id": "before", "units": ["nvidia-dcgm.service"]})
        assert await machine_of(host, keeper=journal).recover() == ""
        assert host.calls == []

    async def test_what_cannot_be_brought_back_is_tried_by_every_start(self, host: FakeHost) -> None:
        journal = MemoryJournal()
        units = ["nvidia-persistenced.service", "nvidia-dcgm.service"]
        journal.save("set_aside", {"because": "a reset", "boot_id": BOOT, "units": units})
        for unit in units:
            host.unit(unit, "inactive")
        host.say("broken/nvidia-dcgm.service", "")
        for _ in range(2):
            with pytest.raises(ActionFailed, match=r"a reset was broken off, .*: nvidia-dcgm.service is failed"):
                await machine_of(host, keeper=journal).recover()
        assert journal.state["set_aside"]["units"] == ["nvidia-dcgm.service"]

    @pytest.mark.parametrize("damage", [{"units": 7}, {"because": "x"}, {"boot_id": BOOT, "because": "", "units": [1]}])
    async def test_a_damaged_record_stops_nobody(self, host: FakeHost, damage: dict[str, Any]) -> None:
        journal = MemoryJournal()
        journal.save("set_aside", damage)
        assert await machine_of(host, keeper=journal).recover() == ""


class TestReloadDriver:
    """The driver unloaded and loaded again."""

    async def test_services_stop_modules_go_and_all_of_it_comes_back(self, host: FakeHost) -> None:
        host.modules("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_peermem")
        for pid, unit in ((800, "nvidia-persistenced.service"), (801, "nvidia-dcgm.service")):
            host.unit(unit)
            host.process(pid, unit[:15], "/dev/nvidia0", "/dev/nvidiactl", unit=unit)
        host.unit("nvidia-fabricmanager.service")
        host.unit("nvidia-imex.service", "inactive")
        done = await machine_of(host).reload_driver()
        assert done.because == "the driver was unloaded and loaded again: version 580.82, 580.65 before"
        modules = ["nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm", "nvidia_peermem"]
        services = ["nvidia-persistenced.service", "nvidia-fabricmanager.service", "nvidia-dcgm.service"]
        assert [
            *(f"systemctl stop {unit}" for unit in reversed(services)),
            *(f"modprobe -r {module}" for module in reversed(modules)),
            *(f"modprobe {module}" for module in modules),
            *(f"systemctl start {unit}" for unit in services),
        ] == host.calls

    async def test_whoever_holds_a_device_file_is_named_and_nothing_is_touched(self, host: FakeHost) -> None:
        host.modules("nvidia")
        host.unit("nvidia-dcgm.service")
        host.process(900, "nvidia-device-p", "/dev/nvidia-uvm", group="/kubepods/besteffort/pod1/cri-2")
        with pytest.raises(ActionRefused, match=r"process 900 nvidia-device-p \(a pod\) holds /dev/nvidia-uvm"):
            await machine_of(host).reload_driver()
        assert host.calls == []

    async def test_a_module_in_use_leaves_everything_as_it_was(self, host: FakeHost) -> None:
        host.modules("nvidia", "nvidia_uvm", "nvidia_drm")
        host.unit("nvidia-persistenced.service")
        host.say("in-use/nvidia_drm", "")
        with pytest.raises(ActionFailed, match=r"Module nvidia_drm is in use\. A console or a display uses the GPU"):
            await machine_of(host).reload_driver()
        loads = ["modprobe nvidia", "modprobe nvidia_drm", "modprobe nvidia_uvm"]
        assert [*loads, "systemctl start nvidia-persistenced.service"] == host.calls[-4:]

    async def test_a_driver_that_does_not_load_again_says_what_to_do(self, host: FakeHost) -> None:
        host.modules("nvidia")
        host.say("unloadable/nvidia", "")
        journal = MemoryJournal()
        with pytest.raises(
            ActionFailed, match=r"could not insert 'nvidia': No such device; .* a reboot may be the way"
        ):
            await machine_of(host, keeper=journal).reload_driver()
        assert journal.state["set_aside"]["modules"] == ["nvidia"]

    async def test_one_that_is_not_loaded_is_loaded(self, host: FakeHost) -> None:
        done = await machine_of(host).reload_driver()
        assert done.because == "the driver was unloaded and loaded again: version 580.82, none before"
        assert host.calls == ["modprobe nvidia"]

    async def test_a_module_that_nobody_knows_forbids_it(self, host: FakeHost) -> None:
        host.modules("nvidia")
        (host.root / "sys/module/nvidia/holders/site_driver").mkdir(parents=True)
        with pytest.raises(ActionRefused, match="the kernel modules site_driver use the driver"):
            await machine_of(host).reload_driver()
        assert host.calls == []


class TestRestartService:
    """A service restarted, and looked at afterwards."""

    async def test_one_of_the_list_is_restarted_and_watched_for_a_while(self, host: FakeHost) -> None:
        host.unit("nvidia-fabricmanager.service")
        done = await machine_of(host).restart_service("nvidia-fabricmanager")
        assert done.because == "nvidia-fabricmanager.service was restarted and stays up"
        assert host.calls == ["systemctl restart nvidia-fabricmanager.service"]
        assert host.slept == [5.0]

    async def test_one_that_had_failed_too_often_may_be_started_again(self, host: FakeHost) -> None:
        host.unit("slurmd.service", "failed")
        await machine_of(host).restart_service("slurmd")
        assert host.calls == ["systemctl reset-failed slurmd.service", "systemctl restart slurmd.service"]

    @pytest.mark.parametrize("service", ["", "sshd", "../slurmd", "slurmd; reboot", "--all"])
    async def test_others_are_refused(self, host: FakeHost, service: str) -> None:
        with pytest.raises(ActionRefused, match="none of the services that may be restarted"):
            await machine_of(host).restart_service(service)
        assert host.every_call == []

    async def test_one_that_is_not_installed_is_refused(self, host: FakeHost) -> None:
        with pytest.raises(ActionRefused, match=r"slurmd.service is not installed here: systemd calls it not-found"):
            await machine_of(host).restart_service("slurmd.service")

    async def test_one_that_is_masked_is_left_alone(self, host: FakeHost) -> None:
        host.unit("slurmd.service", "inactive")
        host.say("masked/slurmd.service", "")
        with pytest.raises(ActionRefused, match=r"slurmd\.service is masked"):
            await machine_of(host).restart_service("slurmd")

    async def test_a_restart_that_fails_keeps_its_text(self, host: FakeHost) -> None:
        host.unit("slurmd.service")
        host.say("broken/slurmd.service", "")
        with pytest.raises(ActionFailed, match=r"failed \(dead\) after a restart\..* code 1: Job for slurmd.service"):
            await machine_of(host).restart_service("slurmd")

    async def test_one_that_ends_at_once_has_failed(self, host: FakeHost) -> None:
        host.unit("slurmd.service")
        host.say("dies/slurmd.service", "")
        host.say("result/slurmd.service", "exit-code")
        with pytest.raises(ActionFailed, match=r"failed \(dead, result exit-code\).*`journalctl -u slurmd.service`"):
            await machine_of(host).restart_service("slurmd")

    async def test_one_that_systemd_starts_again_and_again_has_failed(self, host: FakeHost) -> None:
        host.unit("slurmd.service")
        host.say("loops/slurmd.service", "")
        with pytest.raises(ActionFailed, match=r"crash-looping: it ended within 5 s of a restart"):
            await machine_of(host).restart_service("slurmd")


class GoesDown(Exception):
    """What a test puts in place of the end of everything."""


class TestReboot:
    """A reboot."""

    async def test_it_goes_through_systemd_and_waits_for_the_end(self, host: FakeHost) -> None:
        async def sleep(_seconds: float) -> None:
            raise GoesDown

        with pytest.raises(GoesDown):
            await machine_of(host, sleep=sleep).reboot()
        assert host.calls == ["systemctl --no-wall reboot"]

    async def test_a_host_that_stays_up_has_not_rebooted(self, host: FakeHost) -> None:
        with pytest.raises(ActionFailed, match=r"^still up 300 s after systemctl --no-wall reboot was taken up$"):
            await machine_of(host).reboot()
        assert host.calls == ["systemctl --no-wall reboot"]
        assert host.slept == [300.0]

    async def test_without_the_order_s_word_nothing_is_forced(self, host: FakeHost) -> None:
        host.say("systemctl.code", "1")
        host.write("proc/sysrq-trigger", "")
        with pytest.raises(ActionFailed, match="systemctl --no-wall reboot ended with code 1"):
            await machine_of(host).reboot()
        assert host.calls == ["systemctl --no-wall reboot"]
        assert (host.root / "proc/sysrq-trigger").read_text() == ""

    async def test_with_it_systemd_is_asked_to_force_it_and_then_the_kernel(self, host: FakeHost) -> None:
        host.say("systemctl.code", "1")
        host.write("proc/sysrq-trigger", "")
        with pytest.raises(ActionFailed, match="the kernel did not reboot at once either"):
            await machine_of(host).reboot(force=True)
        assert host.calls == ["systemctl --no-wall reboot", "systemctl --no-wall --force reboot"]
        assert (host.root / "proc/sysrq-trigger").read_text() == "b"

    async def test_a_systemd_that_hangs_can_be_passed_by(self, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agent.repairs.reboot.ASK_LIMIT_S", 0.2)
        host.program("systemctl", "exec sleep 600")
        host.write("proc/sysrq-trigger", "")
        with pytest.raises(ActionFailed, match=r"no answer within 0.2 s.*the kernel did not reboot"):
            await machine_of(host).reboot(force=True)
        assert (host.root / "proc/sysrq-trigger").read_text() == "b"

    async def test_a_host_whose_nvidia_smi_cannot_be_killed_can_be_rebooted(self, host: FakeHost) -> None:
        groups: list[int] = []
        slots: list[Slot] = []

        def make_slot() -> Slot:
            slots.append(Slot(kill=lambda group, _signal: groups.append(abs(group)), kill_limit_s=0.05))
            return slots[-1]

        host.program("nvidia-smi", "exec sleep 600")
        machine = machine_of(host, make_slot=make_slot, query_limit_s=0.3)
        for _ in range(2):
            with pytest.raises(ActionFailed, match="does not die of SIGKILL"):
                await machine.reset_gpu(UUID)
        with pytest.raises(ActionFailed, match="still up"):
            await machine.reboot()
        assert host.calls[-1] == "systemctl --no-wall reboot"
        os.killpg(groups[0], signal.SIGKILL)
        await eventually("it is gone", lambda: not any(slot.stuck for slot in slots))


async def test_without_systemd_nothing_is_rebooted_restarted_or_reloaded(host: FakeHost, tmp_path: Path) -> None:
    machine = machine_of(host, root=tmp_path / "elsewhere")
    for action in (machine.reboot(), machine.restart_service("slurmd"), machine.reload_driver()):
        with pytest.raises(ActionRefused, match="not booted with systemd"):
            await action
    assert host.every_call == []


async def test_a_drill_on_a_real_host_needs_a_setting(host: FakeHost) -> None:
    log = host.root / "dev/kmsg"
    log.touch()
    with pytest.raises(ActionRefused, match=r"kernel_log\.accept_userspace_records = true"):
        await HostMachine(root=host.root).inject_fault("xid79", device="", parameters={})
    assert log.read_bytes() == b""


async def test_a_drill_writes_the_kernels_lines_with_a_priority(host: FakeHost) -> None:
    log = host.root / "dev/kmsg"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    machine = HostMachine(accept_userspace_records=True, root=host.root)
    await machine.inject_fault("xid94", device="0000:3b:00", parameters={})
    lines = os.read(reader, 65_536).decode().splitlines()
    os.close(reader)
    assert [line.split("): ")[1].split(",")[0] for line in lines] == ["48", "63", "94", "45"]
    assert all(line.startswith("<4>NVRM: Xid (PCI:0000:3b:00): ") for line in lines)


@pytest.mark.parametrize("fault", ["disk-full", "rdma-port-down", "agent-killed", "no-such"])
async def test_only_what_the_kernel_log_shows_can_be_drilled(host: FakeHost, fault: str) -> None:
    machine = HostMachine(accept_userspace_records=True, root=host.root)
    with pytest.raises(ActionRefused, match="only these faults can be drilled: gpu-off-bus, "):
        await machine.inject_fault(fault, device="", parameters={})


async def test_a_device_that_is_no_pci_address_is_refused(host: FakeHost) -> None:
    machine = HostMachine(accept_userspace_records=True, root=host.root)
    with pytest.raises(ActionRefused, match="not the PCI address of a GPU"):
        await machine.inject_fault("xid79", device="x\n<0>forged", parameters={})
