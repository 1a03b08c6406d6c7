"""The simulated machine itself: repairs that are drawn, refusals, reboots, the agent's death, many hands at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
from pathlib import Path

import msgspec
import pytest

from agent.machine import ActionFailed, ActionRefused, Machine
from agent.simulation import repairs
from agent.simulation.drill_fault import DrillFault, Repair, Target
from agent.simulation.faults import FAULTS, find_fault
from agent.simulation.hardware import derive, port_name
from agent.simulation.machine import EX_REBOOTING, REBOOT_S, RESET_S, Seams, SimulatedMachine
from agent.simulation.states import FILE, MachineBroken, MachineState, draw_duration_s
from tests.support.eventually import eventually


class Hands:
    """What the machine did to its process and to time."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []
        self.ended: list[int] = []
        self.killed = 0

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def kill(self) -> None:
        self.killed += 1

    @property
    def seams(self) -> Seams:
        return Seams(sleep=self.sleep, end_process=self.ended.append, kill_process=self.kill)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def machine(tmp_path: Path, hands: Hands) -> SimulatedMachine:
    return SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0, seams=hands.seams)


def uuid_of(machine: SimulatedMachine, index: int) -> str:
    return machine.hardware().gpus[index].uuid


def names(machine: SimulatedMachine) -> list[str]:
    return [fault.name for fault in machine.state().faults]


def history(machine: SimulatedMachine) -> list[str]:
    return (machine.directory / "kmsg.log").read_text().splitlines()


def state_of(name: str = "n1", seed: int = 1) -> MachineState:
    return MachineState(name, seed, speedup=1.0, boot_id="boot", booted_at=0.0)


def test_it_is_a_machine(machine: SimulatedMachine) -> None:
    as_seen_by_orders: Machine = machine
    assert as_seen_by_orders.simulated


def test_machines_differ_and_each_is_always_the_same(tmp_path: Path) -> None:
    first, again, other = (
        SimulatedMachine.create(tmp_path / folder, name=name, seed=1, speedup=1.0)
        for folder, name in (("a", "n1"), ("b", "n1"), ("c", "n2"))
    )
    assert first.hardware() == again.hardware()
    uuids = {gpu.uuid for gpu in (*first.hardware().gpus, *other.hardware().gpus)}
    assert len(uuids) == 16
    assert first.boot_id() != again.boot_id()


def test_creating_it_again_keeps_its_boot_and_its_faults(machine: SimulatedMachine) -> None:
    asyncio.run(machine.inject_fault("xid63", device="1", parameters={}))
    boot_id, lines = machine.boot_id(), history(machine)
    again = SimulatedMachine.create(machine.directory, name="n1", seed=2, speedup=10.0)
    assert (boot_id, ["row-remap-pending"], lines) == (again.boot_id(), names(again), history(again))
    assert (again.state().seed, again.state().speedup) == (2, 10.0)


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"name": 1}', b"\xff\xfe"])
def test_a_directory_without_a_sound_machine_is_refused_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(MachineBroken, match=FILE):
        SimulatedMachine.open(tmp_path)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("action", ["reset_gpu", "reboot"])
def test_repairs_succeed_as_often_as_the_fault_model_says(fault: DrillFault, action: str) -> None:
    part = {Target.GPU: "3", Target.PORT: port_name(3), Target.HOST: "host"}[fault.target]
    expected = fault.reset_fixes if action == "reset_gpu" else fault.reboot_fixes
    mended, tries = 0, 1500
    for seed in range(tries):
        broken = repairs.inject(state_of(seed=seed), fault, part, Repair.CHANCE)
        after = (
            repairs.after_reset(broken, 3)
            if action == "reset_gpu"
            else repairs.after_boot(broken, action, boot_id="next", booted_at=1.0)
        )
        mended += not after.faults
    assert expected == pytest.approx(mended / tries, abs=0.04)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_reload_of_the_driver_mends_what_resets_of_all_gpus_would(fault: DrillFault) -> None:
    part = {Target.GPU: "3", Target.PORT: port_name(3), Target.HOST: "host"}[fault.target]
    expected = fault.reset_fixes if fault.target is Target.GPU else 0.0
    broken = (repairs.inject(state_of(seed=seed), fault, part, Repair.CHANCE) for seed in range(1500))
    mended = sum(not repairs.after_reload(state).faults for state in broken)
    assert expected == pytest.approx(mended / 1500, abs=0.04)


async def test_the_driver_of_a_machine_that_hangs_cannot_be_reloaded(machine: SimulatedMachine) -> None:
    await machine.inject_fault("xid94", device="", parameters={"repair": "succeeds"})
    assert "was unloaded and loaded again" in (await machine.reload_driver()).because
    assert names(machine) == []
    await machine.inject_fault("nvml-hang", device="", parameters={})
    with pytest.raises(ActionFailed, match="modprobe -r nvidia hangs"):
        await machine.reload_driver()


@pytest.mark.parametrize("repair", [Repair.SUCCEEDS, Repair.FAILS])
def test_a_forced_repair_ends_as_forced(repair: Repair) -> None:
    kind = find_fault("xid94")
    assert kind is not None
    for seed in range(50):
        broken = repairs.inject(state_of(seed=seed), kind, "0", repair)
        assert bool(repairs.after_reset(broken, 0).faults) == (repair is Repair.FAILS)


def test_the_same_attempt_always_ends_the_same_way_and_the_next_is_drawn_anew() -> None:
    kind = find_fault("xid62")
    assert kind is not None
    ends = set()
    for seed in range(200):
        broken = repairs.inject(state_of(seed=seed), kind, "0", Repair.CHANCE)
        once = repairs.after_reset(broken, 0)
        assert once == repairs.after_reset(broken, 0)
        ends.add((bool(once.faults), bool(repairs.after_reset(once, 0).faults)))
    assert {(False, False), (True, False), (True, True)} == ends


def test_a_reset_reaches_its_own_gpu_only() -> None:
    kind = find_fault("xid63")
    assert kind is not None
    broken = repairs.inject(repairs.inject(state_of(), kind, "1", Repair.SUCCEEDS), kind, "2", Repair.SUCCEEDS)
    after = repairs.after_reset(broken, 1)
    assert [fault.part for fault in after.faults] == ["2"]
    assert (derive(after).gpus[1].remapped_rows, derive(after).gpus[2].remapped_rows) == (1, 0)


async def test_durations_are_lognormal_and_divided_by_the_speedup(machine: SimulatedMachine, hands: Hands) -> None:
    await machine.reset_gpu(uuid_of(machine, 0))
    await machine.reboot()
    await eventually("it is down", lambda: bool(hands.ended))
    assert [pytest.approx(60 / 360, rel=2), pytest.approx(600 / 360, rel=2)] == hands.slept_s
    for median_s, sigma in (RESET_S, REBOOT_S):
        drawn = [draw_duration_s(median_s, sigma, number) for number in range(3000)]
        assert statistics.median(drawn) == pytest.approx(median_s, rel=0.05)


async def test_a_reset_that_fails_on_a_lost_gpu_says_so(machine: SimulatedMachine) -> None:
    await machine.inject_fault("xid79", device="4", parameters={"repair": "fails"})
    lines = len(history(machine))
    with pytest.raises(ActionFailed, match="lost"):
        await machine.reset_gpu(uuid_of(machine, 4))
    assert names(machine) == ["gpu-off-bus"]
    assert "79, " in history(machine)[lines]


async def test_a_reset_that_mends_nothing_is_told_by_the_lines_that_come_again(machine: SimulatedMachine) -> None:
    await machine.inject_fault("xid95", device="4", parameters={"repair": "fails"})
    lines = len(history(machine))
    await machine.reset_gpu(uuid_of(machine, 4))
    assert [line.split("): ")[1].split(",")[0] for line in history(machine)[lines:]] == ["48", "63", "95"]


async def test_a_reset_under_a_hung_driver_fails(machine: SimulatedMachine) -> None:
    await machine.inject_fault("nvml-hang", device="", parameters={})
    with pytest.raises(ActionFailed, match="hangs"):
        await machine.reset_gpu(uuid_of(machine, 0))


async def test_a_reboot_ends_the_agent_with_its_code_after_a_new_boot_began(
    machine: SimulatedMachine, hands: Hands
) -> None:
    before = machine.boot_id()
    done = await machine.reboot()
    assert "rebooting" in done.because
    with pytest.raises(ActionRefused, match="under way"):
        await machine.reboot()
    await eventually("it is down", lambda: bool(hands.ended))
    assert (hands.ended, machine.state().boots) == ([EX_REBOOTING], 2)
    assert before != machine.boot_id()
    assert history(machine)[0].startswith("6,0,")
    assert "boot 2" in history(machine)[0]


def test_a_power_cycle_is_a_boot_and_brings_a_dead_agent_back(machine: SimulatedMachine) -> None:
    asyncio.run(machine.inject_fault("agent-killed", device="", parameters={"stay_dead": "true"}))
    assert not machine.is_agent_wanted()
    before = machine.boot_id()
    machine.power_cycle()
    assert machine.is_agent_wanted()
    assert before != machine.boot_id()


async def test_a_drill_kills_the_agent_after_it_has_answered(machine: SimulatedMachine, hands: Hands) -> None:
    done = await machine.inject_fault("agent-killed", device="", parameters={"fault": "agent-killed"})
    assert (hands.killed, machine.is_agent_wanted()) == (0, True)
    assert "killed" in done.because
    await eventually("it is killed", lambda: hands.killed == 1)
    assert names(machine) == []


@pytest.mark.parametrize(
    ("fault", "device", "parameters", "because"),
    [
        ("no-such", "", {}, "no fault is called 'no-such'; there are gpu-off-bus, "),
        ("xid79", "GPU-none", {}, "needs a gpu, and 'GPU-none' is none of GPU-"),
        ("rdma-port-down", "3", {}, "needs a port, and '3' is none of mlx5_0/1"),
        ("disk-full", "mlx5_0/1", {}, "needs a host"),
        ("xid79", "", {"repair": "maybe"}, "repair is 'maybe', not one of chance, succeeds, fails"),
        ("xid79", "", {"stay_dead": "yes"}, "stay_dead is 'yes', not true or false"),
        ("xid79", "", {"speed": "9"}, "unknown parameter speed"),
    ],
)
async def test_a_drill_that_cannot_be_is_refused_and_changes_nothing(
    machine: SimulatedMachine, fault: str, device: str, parameters: dict[str, str], because: str
) -> None:
    before = machine.state()
    with pytest.raises(ActionRefused, match=because):
        await machine.inject_fault(fault, device=device, parameters=parameters)
    assert before == machine.state()


async def test_a_fault_is_not_injected_twice_into_one_part(machine: SimulatedMachine) -> None:
    await machine.inject_fault("xid63", device="0000:52:00", parameters={})
    with pytest.raises(ActionRefused, match="has the fault row-remap-pending already"):
        await machine.inject_fault("row-remap-pending", device=uuid_of(machine, 2), parameters={})


async def test_without_a_device_a_part_that_is_well_is_chosen(machine: SimulatedMachine) -> None:
    for _ in range(8):
        await machine.inject_fault("xid63", device="", parameters={})
    assert {str(index) for index in range(8)} == {fault.part for fault in machine.state().faults}


async def test_a_device_may_come_among_the_parameters(machine: SimulatedMachine) -> None:
    await machine.inject_fault("ib-down", device="", parameters={"device": "mlx5_6", "fault": "ib-down"})
    assert [fault.part for fault in machine.state().faults] == ["mlx5_6/1"]


async def test_a_decoy_leaves_nothing_behind(machine: SimulatedMachine) -> None:
    await machine.inject_fault("app-fault", device="1", parameters={})
    await machine.inject_fault("app-fault", device="1", parameters={})
    assert (names(machine), sum(": 31, " in line for line in history(machine))) == ([], 2)


async def test_restarting_the_right_service_mends_and_another_does_not(machine: SimulatedMachine) -> None:
    await machine.inject_fault("imex-failure", device="1", parameters={"repair": "succeeds"})
    await machine.restart_service("slurmd.service")
    assert names(machine) == ["imex-failure"]
    await machine.restart_service("nvidia-imex")
    assert names(machine) == []
    with pytest.raises(ActionRefused, match="there are nvidia-dcgm"):
        await machine.restart_service("sshd")


async def test_an_unknown_gpu_is_refused(machine: SimulatedMachine) -> None:
    with pytest.raises(ActionRefused, match="no GPU 'GPU-x' on this node"):
        await machine.reset_gpu("GPU-x")


async def test_a_technician_mends_what_no_repair_does(machine: SimulatedMachine) -> None:
    await machine.inject_fault("xid64", device="1", parameters={})
    await machine.inject_fault("ib-down", device="", parameters={})
    assert machine.mend("row-remap-failed") == ("row-remap-failed",)
    assert names(machine) == ["rdma-port-down"]
    assert machine.mend() == ("rdma-port-down",)
    assert names(machine) == []


def test_an_xid_can_be_logged_by_hand(machine: SimulatedMachine) -> None:
    machine.log_xid(3, 79)
    assert "NVRM: Xid (PCI:0000:61:00): 79, " in history(machine)[-1]


def write_many(directory: Path, count: int) -> None:
    machine = SimulatedMachine.open(directory)
    for number in range(count):
        machine.log_xid(number % 8, 13)


def test_many_processes_may_write_at_once(machine: SimulatedMachine) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(machine.directory, 50)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    sequences = [int(line.split(",")[1]) for line in history(machine)]
    assert list(range(2 + 150)) == sequences


def test_the_catalogue_is_whole() -> None:
    called = [name for fault in FAULTS for name in (fault.name, *fault.aliases)]
    assert len(called) == len(set(called))
    for fault in FAULTS:
        assert all((fault.title, fault.what_happens, fault.expected, fault.seam, fault.fault_class))
        assert 0.0 <= fault.reset_fixes <= 1.0
        assert 0.0 <= fault.reboot_fixes <= 1.0
        assert fault.target is Target.GPU or not fault.reset_fixes
    assert msgspec.json.encode(FAULTS)
