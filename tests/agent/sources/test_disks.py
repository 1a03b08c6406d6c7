"""Disks from sysfs trees: what real ones say, what is no disk, what is remembered, and any bytes at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.disks import DisksSource, parse_stat
from checks.errors import CannotObserve
from checks.manifest import Disk as ApprovedDisk
from checks.manifest import Manifest
from checks.readings import DisksReading
from checks.readings.disks import Array, Disk, NvmeController
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, approve, deadline, surroundings_at, write_files

STAT = (
    "  120031     4711  4800000     9000    90002        0  3600000     8000        7    15000    17000 0 0 0 0 0 0\n"
)
"""As Linux 6.8 prints it, with the fields for discards and flushes."""

CONTROLLER = {
    "state": "live\n",
    "transport": "pcie\n",
    "address": "0000:c1:00.0\n",
    "model": "SAMSUNG MZQL27T6HBLA-00A07              \n",
    "serial": "S64GNE0R100001      \n",
    "firmware_rev": "GDC5602Q\n",
}


def add_disks(root: Path, **changes: str) -> None:
    files = {f"sys/class/nvme/nvme0/{name}": text for name, text in (CONTROLLER | changes).items()}
    files |= {"sys/block/nvme0n1/stat": STAT, "sys/block/nvme0n1/size": "15002931888\n"}
    write_files(root, files)


async def read(root: Path, store: MemoryStore | None = None) -> DisksReading:
    return await DisksSource(surroundings_at(root, store), SOON).read()


async def test_a_disk_is_read_in_full(tmp_path: Path) -> None:
    add_disks(tmp_path)
    reading = await read(tmp_path)
    model = "SAMSUNG MZQL27T6HBLA-00A07"
    controller = NvmeController("nvme0", "live", "pcie", "0000:c1:00", model, "S64GNE0R100001", "GDC5602Q")
    assert reading.controllers == (controller,)
    assert reading.disks == (Disk("nvme0n1", 7, 120031, 90002, 15002931888 * 512),)
    assert reading.known_controllers == {"S64GNE0R100001": "nvme0"}


async def test_an_array_is_read_with_what_it_misses(tmp_path: Path) -> None:
    files = {"level": "raid10", "array_state": "active", "raid_disks": "8", "degraded": "1", "sync_action": "recover"}
    write_files(tmp_path, {f"sys/block/md127/md/{name}": f"{text}\n" for name, text in files.items()})
    stripe = {"level": "raid0\n", "array_state": "clean\n", "raid_disks": "8\n"}
    write_files(tmp_path, {f"sys/block/md_scratch/md/{name}": text for name, text in stripe.items()})
    assert (await read(tmp_path)).arrays == (
        Array("md127", "raid10", "active", 8, 1, "recover"),
        Array("md_scratch", "raid0", "clean", 8, None, ""),
    )


async def test_what_is_no_disk_is_left_out(tmp_path: Path) -> None:
    write_files(tmp_path, {f"sys/block/{name}/stat": STAT for name in ("loop0", "ram1", "dm-3", "sr0", "zram0", "sda")})
    write_files(tmp_path, {"sys/class/nvme/nvme-subsystem/state": "live\n"})
    reading = await read(tmp_path)
    assert ([disk.name for disk in reading.disks], reading.controllers) == (["sda"], ())


async def test_a_host_without_disks_starts_nothing(tmp_path: Path) -> None:
    source = DisksSource(surroundings_at(tmp_path, tools=tmp_path), SOON)
    assert await source.read() == DisksReading(5.0)


async def test_a_controller_that_vanished_is_remembered_and_one_in_its_place_replaces_it(tmp_path: Path) -> None:
    store = MemoryStore()
    add_disks(tmp_path)
    await read(tmp_path, store)
    for name in CONTROLLER:
        (tmp_path / "sys/class/nvme/nvme0" / name).unlink()
    (tmp_path / "sys/class/nvme/nvme0").rmdir()
    assert (await read(tmp_path, store)).known_controllers == {"S64GNE0R100001": "nvme0"}
    add_disks(tmp_path, serial="S64GNE0R100002\n")
    assert (await read(tmp_path, store)).known_controllers == {"S64GNE0R100002": "nvme0"}
    assert store.saves == 2


@pytest.mark.parametrize(("name", "text"), [("transport", "tcp\n"), ("state", "connecting\n"), ("serial", "\n")])
async def test_only_live_disks_of_the_host_itself_are_missed(tmp_path: Path, name: str, text: str) -> None:
    add_disks(tmp_path, **{name: text})
    assert (await read(tmp_path)).known_controllers == {}


async def test_a_driver_that_hangs_is_an_error(tmp_path: Path) -> None:
    add_disks(tmp_path)
    (tmp_path / "sys/class/nvme/nvme0/state").unlink()
    os.mkfifo(tmp_path / "sys/class/nvme/nvme0/state")
    source = DisksSource(surroundings_at(tmp_path), deadline(0.1))
    with pytest.raises(CannotObserve, match="no answer within"):
        await source.read()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=7, max_size=7))
async def test_any_bytes_give_a_reading(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("root")
    paths = [*(f"sys/class/nvme/nvme0/{name}" for name in CONTROLLER), "sys/block/nvme0n1/stat"]
    write_files(root, dict(zip(paths, texts, strict=True)))
    reading = await read(root)
    assert reading.controllers[0].state.isprintable()
    assert [disk.name for disk in reading.disks] == ["nvme0n1"]


@given(st.text(max_size=120))
def test_any_line_is_numbers_or_none(line: str) -> None:
    values = parse_stat(line)
    assert all(value is None for value in values) or all(value is not None and value >= 0 for value in values)


async def test_this_very_host_is_read() -> None:
    reading = await read(Path("/"))
    assert all(disk.in_flight is not None for disk in reading.disks)


async def test_disks_that_were_approved_are_missed_from_the_first_reading_on(tmp_path: Path) -> None:
    add_disks(tmp_path)
    here = ApprovedDisk("nvme0", "S64GNE0R100001", "0000:c1:00")
    gone = ApprovedDisk("nvme1", "S64GNE0R100002", "0000:c2:00")
    other = ApprovedDisk("sda", "PHYG1240001")
    approve(tmp_path, Manifest(disks=(here, gone, other)))
    store = MemoryStore({"known_controllers": {"S64GNE0R100009": "nvme9"}})
    assert (await read(tmp_path, store)).known_controllers == {"S64GNE0R100001": "nvme0", "S64GNE0R100002": "nvme1"}


async def test_a_disk_in_the_slot_of_an_approved_one_has_replaced_it(tmp_path: Path) -> None:
    add_disks(tmp_path)
    approve(tmp_path, Manifest(disks=(ApprovedDisk("nvme0", "S64GNE0R100002", "0000:c1:00"),)))
    assert (await read(tmp_path)).known_controllers == {}
