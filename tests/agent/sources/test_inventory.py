"""The approved inventory as a source: what is in force, and what is wrong with its file."""

from __future__ import annotations

from pathlib import Path

from agent.sources.inventory import InventorySource
from checks.manifest import Gpu, Manifest
from checks.readings import InventoryReading
from tests.support.surroundings import INVENTORY, SOON, approve, surroundings_at, write_files

MANIFEST = Manifest(gpus=(Gpu("GPU-0", "0000:1b:00"),))


async def test_nothing_is_approved_at_first(tmp_path: Path) -> None:
    assert await InventorySource(surroundings_at(tmp_path), SOON).read() == InventoryReading(5.0)


async def test_what_is_approved_is_read_beside_the_kernels_release(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/sys/kernel/osrelease": "6.8.0-45-generic\n"})
    source = InventorySource(surroundings_at(tmp_path), SOON)
    approve(tmp_path, MANIFEST)
    assert await source.read() == InventoryReading(5.0, MANIFEST, kernel="6.8.0-45-generic")


async def test_a_file_that_broke_is_a_problem_beside_what_is_in_force(tmp_path: Path) -> None:
    approve(tmp_path, MANIFEST)
    source = InventorySource(surroundings_at(tmp_path), SOON)
    await source.read()
    write_files(tmp_path, {INVENTORY: "schema = 1\nnode = 4\n"})
    reading = await source.read()
    assert (reading.approved, reading.problem) == (MANIFEST, f"{tmp_path / INVENTORY}: node: Expected `str`, got `int`")
