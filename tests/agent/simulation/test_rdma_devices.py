"""A simulated machine's adapters as the source sees them: well, and gone with their devices."""

from __future__ import annotations

from pathlib import Path

from agent.manifest_file import Approved
from agent.simulation.machine import SimulatedMachine
from agent.simulation.sources import surroundings_of
from agent.sources.rdma_adapters import DEVICES, RdmaAdaptersSource
from checks.check import LevelCheck
from checks.readings import RdmaAdaptersReading
from checks.registry import CHECKS
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON

JUDGES = [check.judge for check in CHECKS if isinstance(check, LevelCheck) and check.reading is RdmaAdaptersReading]


async def reading_of(machine: SimulatedMachine) -> RdmaAdaptersReading:
    return await RdmaAdaptersSource(surroundings_of(machine, lambda _: MemoryStore(), Approved()), SOON).read()


async def test_adapters_are_well_and_vanish_with_their_devices(tmp_path: Path) -> None:
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0)
    healthy = await reading_of(machine)
    assert len(healthy.adapters) == 8
    assert all(adapter.has_verbs_node and adapter.ports[0].has_management_node for adapter in healthy.adapters)
    assert (healthy.nvidia_gpus, healthy.peer_memory, healthy.has_connection_manager) == (8, "nvidia_peermem", True)
    assert {len(adapter.ports[0].gids or ()) for adapter in healthy.adapters} == {1}
    assert {adapter.link.lanes for adapter in healthy.adapters} == {16}

    await machine.inject_fault("rdma-port-missing", device="mlx5_3/1", parameters={})
    left = await reading_of(machine)
    assert len(left.adapters) == 7
    assert not (machine.directory / DEVICES / "uverbs3").exists()
    machine.mend()
    mended = await reading_of(machine)
    assert mended.adapters == healthy.adapters
    for judge in JUDGES:
        assert judge([healthy]) == judge([left]) == judge([mended]) == ()
