"""Readings into a manifest: what is there, what is unread, and that no reading breaks the list of a host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.manifest_file import parse_manifest
from checks.manifest import Accelerator, Disk, Gpu, Host, Manifest, Mount, Port, Versions
from checks.readings import (
    AcceleratorDevice,
    AmdReading,
    AscendReading,
    BmcReading,
    DiskSmart,
    DisksReading,
    FilesystemReading,
    GpuDetails,
    GpuReading,
    HostReading,
    MountsReading,
    NvlinkReading,
    NvmlReading,
    PlatformReading,
    RdmaPort,
    RdmaReading,
    SmartReading,
)
from checks.readings import disks as of_disks
from checks.readings.platform import MemoryModule
from checks.stocktaking import SOURCES, manifest_of
from cli.inventory_file import render

GPU = GpuReading(
    0,
    "GPU-0",
    "0000:1b:00",
    "S0",
    "H100",
    nvlink=NvlinkReading(states=(1, 1, 0)),
    details=GpuDetails(vbios_version="9"),
)
CONTROLLER = of_disks.NvmeController("nvme0", "live", "pcie", "0000:01:00", "M", "D0", "F")
REMOTE = of_disks.NvmeController("nvme9", "live", "tcp", "traddr=10.0.0.1", "M", "R0", "F")
PORT = RdmaPort("mlx5_0/1", "InfiniBand", 4, 5, 400.0, node_guid="a0:1", pci="0000:18:00", firmware="28.1")
DARK = RdmaPort("mlx5_1/1", "InfiniBand", 1, 2, 10.0, node_guid="a0:2", pci="0000:19:00", firmware="28.1")


def readings(*changes: Any) -> dict[str, Any]:
    """Return a reading of every source, some of them others."""
    taken = (
        NvmlReading(1.0, (GPU,), "550.1"),
        AscendReading(
            1.0, (AcceleratorDevice("huawei", "npu0", uuid="N", pci="0000:c1:00", serial="NS", model="910"),)
        ),
        AmdReading(1.0),
        RdmaReading(1.0, (PORT, DARK)),
        DisksReading(
            1.0,
            (CONTROLLER, REMOTE),
            (
                of_disks.Disk("nvme0n1", size_bytes=60),
                of_disks.Disk("nvme0n2", size_bytes=40),
                of_disks.Disk("sda", size_bytes=50),
                of_disks.Disk("sdb", size_bytes=0),
                of_disks.Disk("md0", size_bytes=50),
            ),
        ),
        SmartReading(1.0, (DiskSmart("sda", "A0", "SSD"),)),
        MountsReading(
            1.0,
            (
                FilesystemReading("/", "/dev/sda1", "ext4"),
                FilesystemReading("/home", "storage:/home", "nfs4"),
                FilesystemReading("/data", "storage:/data", "nfs4", by_use=True),
                FilesystemReading("/run/user/0/x", "storage:/x", "nfs4"),
                FilesystemReading("/dev/shm", "tmpfs", "tmpfs"),
            ),
        ),
        HostReading(1.0, memory_total_bytes=1000, cpu_count=4),
        PlatformReading(1.0, (MemoryModule("mc0/dimm1", "B1"), MemoryModule("mc0/dimm0", "A1"), MemoryModule("mc0"))),
        BmcReading(1.0, present=True),
    )
    return {type(each).SOURCE: each for each in (*taken, *changes)}


WHOLE = Manifest(
    host=Host(1000, ("A1", "B1"), 4, bmc=True),
    versions=Versions("550.1", "6.8"),
    gpus=(Gpu("GPU-0", "0000:1b:00", "S0", "H100", "9", 3),),
    accelerators=(Accelerator("huawei", "N", "0000:c1:00", "npu0", "NS", "910"),),
    ports=(
        Port("mlx5_0/1", "a0:1", "0000:18:00", "InfiniBand", 400.0, "28.1"),
        Port("mlx5_1/1", "a0:2", "0000:19:00", "InfiniBand", None, "28.1"),
    ),
    disks=(Disk("nvme0", "D0", "0000:01:00", "M", 100, "F"), Disk("sda", "A0", "", "SSD", 50)),
    mounts=(Mount("/", "ext4", "/dev/sda1"), Mount("/home", "nfs4", "storage:/home")),
)


def test_a_whole_host() -> None:
    assert manifest_of(readings(), kernel="6.8") == WHOLE


def test_a_source_that_did_not_answer_makes_its_sections_unread() -> None:
    unread = manifest_of({}).unread
    assert set(unread) == {*WHOLE_SECTIONS, "kernel"}
    assert unread["ports"] == "the source rdma has not answered"


WHOLE_SECTIONS = {
    "gpus",
    "driver",
    "accelerators",
    "ports",
    "disks",
    "mounts",
    "memory",
    "memory_modules",
    "processors",
    "bmc",
}


def test_disks_are_told_without_smart_too() -> None:
    taken = readings()
    del taken["smart"]
    manifest = manifest_of(taken, kernel="6.8")
    assert (manifest.disks[1], manifest.unread) == (Disk("sda", size_bytes=50), {})


@pytest.mark.parametrize(
    ("reading", "unread"),
    [
        (NvmlReading(1.0, failure="driver_not_loaded"), {"gpus", "driver"}),
        (NvmlReading(1.0, failure="library_not_found", expected=False), set()),
        (NvmlReading(1.0, (GpuReading(0, "GPU-0", "0000:1b:00", lost=True),), "550.1"), {"gpus.0000:1b:00"}),
        (AmdReading(1.0, failure="amd-smi is not installed"), {"accelerators"}),
        (RdmaReading(1.0, (RdmaPort("mlx5_0/1"),)), {"ports.mlx5_0/1"}),
        (DisksReading(1.0, (of_disks.NvmeController("nvme0", transport="pcie"),)), {"disks.nvme0"}),
        (HostReading(1.0, memory_total_bytes=1000), {"processors"}),
        (HostReading(1.0, cpu_count=4), {"memory"}),
        (BmcReading(1.0, present=True, failure="ipmitool is silent"), set()),
    ],
)
def test_what_could_not_be_read_is_unread_and_what_is_not_there_is_not(reading: Any, unread: set[str]) -> None:
    assert set(manifest_of(readings(reading), kernel="6.8").unread) == unread


def test_a_lost_gpu_is_not_among_those_that_are_there() -> None:
    lost = NvmlReading(1.0, (GpuReading(0, "GPU-0", "0000:1b:00", lost=True),))
    assert manifest_of(readings(lost)).gpus == ()


def test_the_links_of_a_gpu_under_mig_are_not_counted() -> None:
    divided = NvmlReading(1.0, (GpuReading(0, "GPU-0", "0000:1b:00", nvlink=NvlinkReading(mig=True)),))
    assert manifest_of(readings(divided)).gpus[0].nvlinks is None


def test_sources_are_those_that_readings_are_asked_of() -> None:
    assert set(readings()) == SOURCES


texts = st.text(max_size=8)
host_texts = st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
names = st.sampled_from(["nvme0", "nvme1", "nvme2"])
controllers = st.builds(
    of_disks.NvmeController, names, st.just("live"), st.just("pcie"), texts, host_texts, host_texts, host_texts
)
ports = st.builds(
    RdmaPort,
    st.sampled_from(["mlx5_0/1", "mlx5_1/1"]),
    host_texts,
    st.sampled_from([None, 1, 4]),
    rate_gbit_per_s=st.none() | st.floats(0, 1e6),
    node_guid=host_texts,
    firmware=host_texts,
)
mounts = st.builds(FilesystemReading, host_texts.map(lambda text: f"/{text}"), host_texts, st.just("nfs4"))


@given(
    st.lists(controllers, max_size=3, unique_by=(lambda each: each.name, lambda each: each.serial)).map(tuple),
    st.lists(ports, max_size=2, unique_by=lambda each: each.name).map(tuple),
    st.lists(mounts, max_size=2, unique_by=lambda each: each.mount).map(tuple),
)
def test_whatever_a_host_says_its_manifest_can_be_written_and_read(
    controllers: tuple[Any, ...], ports: tuple[Any, ...], mounts: tuple[Any, ...]
) -> None:
    taken = readings(DisksReading(1.0, controllers), RdmaReading(1.0, ports), MountsReading(1.0, mounts))
    manifest = manifest_of(taken, kernel="6.8")
    read = parse_manifest(render(manifest).encode(), name="host.toml")
    assert [each.name for each in read.disks] == [each.name for each in manifest.disks]
    assert len(read.mounts) == len(mounts)
