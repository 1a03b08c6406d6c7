"""What differs between two manifests, and that a list never differs from itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.differences import NO_LINK, Difference, Kind, differences
from checks.manifest import Accelerator, Disk, Gpu, Host, Manifest, Mount, Port, Section, Versions, unless_replaced

GIB = 1 << 30
GPU = Gpu("GPU-0", "0000:1b:00", "S0", vbios="96.1", nvlinks=18)
PORT = Port("mlx5_0/1", "a0:1", "0000:18:00", "InfiniBand", 400.0, "28.1")
DISK = Disk("nvme0", "D0", "0000:01:00", size_bytes=100, firmware="1")


def said(approved: Manifest, found: Manifest) -> list[tuple[str, str, str, str, str]]:
    return [(d.kind, d.place, d.fact, d.approved, d.found) for d in differences(approved, found)]


@pytest.mark.parametrize(
    ("approved", "found", "expected"),
    [
        (GPU, replace(GPU, vbios="96.2"), ("changed", "0000:1b:00", "VBIOS", "96.1", "96.2")),
        (GPU, replace(GPU, nvlinks=17), ("less", "0000:1b:00", "NVLinks", "18", "17")),
        (GPU, replace(GPU, pci="0000:1c:00"), ("moved", "0000:1c:00", "", "0000:1b:00", "0000:1c:00")),
        (GPU, replace(GPU, uuid="GPU-9", serial="S9"), ("replaced", "0000:1b:00", "", "S0", "S9")),
        (PORT, replace(PORT, rate_gbit_per_s=200.0), ("less", "mlx5_0/1", "rate (Gb/s)", "400", "200")),
        (PORT, replace(PORT, rate_gbit_per_s=None), ("less", "mlx5_0/1", "rate (Gb/s)", "400", NO_LINK)),
        (PORT, replace(PORT, rate_gbit_per_s=800.0), ("changed", "mlx5_0/1", "rate (Gb/s)", "400", "800")),
        (PORT, replace(PORT, link_layer="Ethernet"), ("changed", "mlx5_0/1", "link layer", "InfiniBand", "Ethernet")),
        (DISK, replace(DISK, serial="D9"), ("replaced", "nvme0", "", "D0", "D9")),
        (DISK, replace(DISK, size_bytes=50), ("changed", "nvme0", "size", "100 bytes", "50 bytes")),
    ],
)
def test_a_part_that_is_another(
    approved: Gpu | Port | Disk, found: Gpu | Port | Disk, expected: tuple[str, str, str, str, str]
) -> None:
    assert said(holding(approved), holding(found)) == [expected]


@pytest.mark.parametrize("part", [GPU, PORT, DISK])
def test_a_part_that_is_gone_and_one_that_came(part: Gpu | Port | Disk) -> None:
    place = {Gpu: "0000:1b:00", Port: "mlx5_0/1", Disk: "nvme0"}[type(part)]
    name = {Gpu: "S0", Port: "a0:1", Disk: "D0"}[type(part)]
    assert said(holding(part), Manifest()) == [("missing", place, "", name, "")]
    assert said(Manifest(), holding(part)) == [("added", place, "", "", name)]
    (missing,) = differences(holding(part), Manifest())
    assert missing.serial == name


@pytest.mark.parametrize(
    ("approved", "found"),
    [
        (DISK, replace(DISK, name="nvme7", pci="0000:07:00")),
        (DISK, replace(DISK, firmware="")),
        (DISK, replace(DISK, size_bytes=None)),
        (replace(DISK, serial=""), DISK),
        (replace(PORT, rate_gbit_per_s=None, firmware=""), PORT),
        (PORT, replace(PORT, guid="")),
    ],
)
def test_no_difference(approved: Port | Disk, found: Port | Disk) -> None:
    assert said(holding(approved), holding(found)) == []


def test_parts_that_swapped_places_are_moved_and_nothing_is_missing() -> None:
    one, other = Port("mlx5_0/1", "a0:1"), Port("mlx5_1/1", "a0:2")
    swapped = Manifest(ports=(replace(one, guid="a0:2"), replace(other, guid="a0:1")))
    assert [kind for kind, *_ in said(Manifest(ports=(one, other)), swapped)] == ["moved", "moved"]


def test_a_part_whose_place_another_approved_one_took_is_missing() -> None:
    one, other = replace(GPU, uuid="A", serial="SA"), Gpu("B", "0000:1c:00", "SB")
    found = Manifest(gpus=(replace(other, pci="0000:1b:00"),))
    assert [kind for kind, *_ in said(Manifest(gpus=(one, other)), found)] == ["missing", "moved"]


def test_the_two_ports_of_an_adapter_share_its_guid_and_are_two() -> None:
    ports = (Port("mlx5_0/1", "a0:1"), Port("mlx5_0/2", "a0:1"))
    assert said(Manifest(ports=ports), Manifest(ports=ports[:1])) == [("missing", "mlx5_0/2", "", "a0:1", "")]


@pytest.mark.parametrize(
    ("found", "kinds"), [(2048, []), (2010, []), (2000, ["less"]), (1024, ["less"]), (4096, ["changed"])]
)
def test_memory_is_less_when_a_module_is(found: int, kinds: list[str]) -> None:
    approved, there = (Manifest(host=Host(memory_bytes=gib * GIB)) for gib in (2048, found))
    assert [kind for kind, *_ in said(approved, there)] == kinds


def test_the_host_and_its_versions() -> None:
    approved = Manifest(host=Host(None, ("A1", "B1"), 192, bmc=True), versions=Versions("550", "6.8"))
    found = Manifest(host=Host(None, ("A1", "C1"), 96, bmc=False), versions=Versions("535", "6.9"))
    assert said(approved, found) == [
        ("missing", "B1", "", "B1", ""),
        ("added", "C1", "", "", "C1"),
        ("less", "", "", "192", "96"),
        ("less", "", "", "present", "absent"),
        ("changed", "", "", "550", "535"),
        ("changed", "", "", "6.8", "6.9"),
    ]


def test_what_was_not_read_on_approval_is_not_compared() -> None:
    assert said(Manifest(unread={"gpus": "no NVML"}), holding(GPU)) == []


def test_what_cannot_be_read_now_is_never_missing() -> None:
    found = Manifest(unread={"gpus": "no NVML"})
    assert differences(holding(GPU), found) == (Difference(Section.GPUS, Kind.UNREAD, found="no NVML"),)


identities = st.sampled_from(["", "a", "b", "c"])
gpus = st.lists(
    st.builds(Gpu, st.sampled_from("abc"), st.sampled_from(["0000:01:00", "0000:02:00", "0000:03:00"])),
    unique_by=(lambda gpu: gpu.uuid, lambda gpu: gpu.pci),
).map(tuple)
disks = st.lists(
    st.builds(Disk, st.sampled_from(["nvme0", "nvme1", "sda"]), identities, st.sampled_from(["", "0000:01:00"])),
    unique_by=lambda disk: disk.name,
).map(tuple)
manifests = st.builds(Manifest, gpus=gpus, disks=disks, mounts=st.just((Mount("/"),)))


@given(manifests)
def test_a_list_does_not_differ_from_itself(manifest: Manifest) -> None:
    assert differences(manifest, manifest) == ()


@given(manifests, manifests)
def test_no_gpu_is_lost_from_sight(approved: Manifest, found: Manifest) -> None:
    """Whoever is on one list alone is named."""
    named = {name for each in differences(approved, found) for name in (each.approved, each.found)}
    here, there = ({gpu.uuid for gpu in manifest.gpus} for manifest in (approved, found))
    assert here ^ there <= named


def test_a_part_whose_place_a_stranger_took_is_not_expected() -> None:
    approved = {"A": "1", "B": "2", "C": "3"}
    assert unless_replaced(approved, {"X": "1", "C": "2"}) == {"B": "2", "C": "3"}


def test_a_part_is_told_its_serial_by_whatever_it_is_called_for_good() -> None:
    npu = Accelerator("huawei", "NPU-1", "0000:c1:00", "npu0", "N0")
    manifest = Manifest(gpus=(GPU,), ports=(PORT,), disks=(DISK,), accelerators=(npu,))
    assert manifest.serials() == {
        "GPU-0": "S0",
        "0000:1b:00": "S0",
        "NPU-1": "N0",
        "npu0": "N0",
        "0000:c1:00": "N0",
        "mlx5_0/1": "a0:1",
        "0000:18:00": "a0:1",
        "0000:01:00": "D0",
    }


def holding(part: Gpu | Port | Disk) -> Manifest:
    match part:
        case Gpu():
            return Manifest(gpus=(part,))
        case Port():
            return Manifest(ports=(part,))
        case Disk():
            return Manifest(disks=(part,))
