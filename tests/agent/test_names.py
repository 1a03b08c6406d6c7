"""Names of parts: serial numbers follow the part over restarts and from what was approved."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from agent.names import Names, learn, load_names
from checks.finding import Action, Finding, Verdict
from checks.manifest import Disk, Gpu, Manifest, Port
from checks.readings import (
    AcceleratorDevice,
    AmdReading,
    DiskSmart,
    DisksReading,
    GpuReading,
    InventoryReading,
    NvmlReading,
    RdmaPort,
    RdmaReading,
    SmartReading,
)
from checks.readings.disks import NvmeController

GPUS = NvmlReading(1.0, (GpuReading(0, "GPU-0", "0000:1b:00", "S0"),))
PORTS = RdmaReading(1.0, (RdmaPort("mlx5_0/1", interface="ib0", node_guid="a0:1", pci="0000:18:00"),))
DISKS = DisksReading(1.0, (NvmeController("nvme0", address="0000:01:00", serial="D0"),))
DEVICES = AmdReading(1.0, (AcceleratorDevice("amd", "gpu0", uuid="A", pci="0000:c1:00", serial="AS"),))


def finding(device: str, pci: str = "", serial: str = "") -> Finding:
    return Finding("host.x", device, "", Verdict.FAILED, Action.NONE, "so", pci, serial)


@pytest.mark.parametrize(
    ("reading", "said", "expected"),
    [
        (GPUS, finding("0000:1b:00", "0000:1b:00"), ("GPU-0", "S0")),
        (PORTS, finding("mlx5_0/1"), ("mlx5_0/1", "a0:1")),
        (PORTS, finding("ib0"), ("ib0", "a0:1")),
        (PORTS, finding("0000:18:00.0", "0000:18:00"), ("0000:18:00.0", "a0:1")),
        (DISKS, finding("nvme0n1"), ("nvme0n1", "D0")),
        (DISKS, finding("0000:01:00.0", "0000:01:00"), ("0000:01:00.0", "D0")),
        (SmartReading(1.0, (DiskSmart("sda", "A0"),)), finding("sda1"), ("sda1", "A0")),
        (DEVICES, finding("0000:c1:00", "0000:c1:00"), ("0000:c1:00", "AS")),
        (PORTS, finding("mlx5_9/1"), ("mlx5_9/1", "")),
        (PORTS, finding("mlx5_0/1", serial="mine"), ("mlx5_0/1", "mine")),
    ],
)
def test_a_finding_is_told_the_serial_of_its_part(reading: Any, said: Finding, expected: tuple[str, str]) -> None:
    told = learn(Names(), reading).identified(said, keeps_name=False)
    assert (told.device, told.serial) == expected


def test_one_that_is_raised_keeps_its_name_and_is_told_its_serial() -> None:
    names = learn(Names(), GPUS)
    told = names.identified(finding("GPU-0", "0000:1b:00"), keeps_name=True)
    assert (told.device, told.serial) == ("GPU-0", "S0")


def test_what_was_approved_is_known_before_anything_was_read_and_gives_way_to_what_is() -> None:
    ports = (Port("mlx5_0/1", "a0:old", "0000:18:00"), Port("mlx5_1/1", "a0:2"))
    approved = InventoryReading(1.0, Manifest(gpus=(Gpu("GPU-0", "0000:1b:00", "S0"),), ports=ports))
    names = learn(Names(), approved)
    assert names.identified(finding("mlx5_1/1"), keeps_name=False).serial == "a0:2"
    names = learn(learn(names, PORTS), approved)
    assert names.identified(finding("mlx5_0/1"), keeps_name=False).serial == "a0:1"


def test_a_disks_name_is_never_taken_from_what_was_approved() -> None:
    names = learn(Names(), InventoryReading(1.0, Manifest(disks=(Disk("nvme0", "D0", "0000:01:00"),))))
    assert names.serials == {"0000:01:00": "D0"}


def test_a_disks_name_means_nothing_after_the_next_boot() -> None:
    names = learn(learn(learn(Names(), DISKS), PORTS), GPUS)
    kept = {"names": asdict(names)}
    assert load_names(kept, same_boot=True) == names
    later = load_names(kept, same_boot=False)
    assert later.uuid_by_pci == names.uuid_by_pci
    assert set(names.serials) - set(later.serials) == {"nvme0"}


def test_names_that_cannot_be_read_are_told_anew() -> None:
    assert load_names({"names": {"serials": 4}}, same_boot=True) == Names()
    assert load_names({}, same_boot=True) == Names()
