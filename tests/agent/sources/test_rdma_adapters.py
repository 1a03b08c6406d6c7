"""RDMA adapters from sysfs trees: character devices, addresses, PCIe links, the way to GPU memory, and any bytes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.platform import PlatformSource
from agent.sources.rdma_adapters import RdmaAdaptersSource
from checks.check import LevelCheck
from checks.errors import CannotObserve
from checks.finding import Verdict
from checks.readings import AdapterPort, Gid, PcieLink, RdmaAdapter, RdmaAdaptersReading
from checks.registry import CHECKS
from tests.support.rdma_tree import add_adapter
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program

ADAPTER_CHECKS = [check for check in CHECKS if isinstance(check, LevelCheck) and check.reading is RdmaAdaptersReading]
LINK_LOCAL = "fe80:0000:0000:0000:a288:c2ff:feab:cdef"
MAPPED = "0000:0000:0000:0000:0000:ffff:0a00:0102"
EMPTY = "0000:0000:0000:0000:0000:0000:0000:0000"

PCIE = {
    "../../current_link_speed": "32.0 GT/s PCIe\n",
    "../../current_link_width": "8\n",
    "../../max_link_speed": "32.0 GT/s PCIe\n",
    "../../max_link_width": "16\n",
    "../../../max_link_speed": "16 GT/s\n",
    "../../../max_link_width": "16\n",
}
ROCE = {
    "node_type": "1: CA\n",
    "ports/1/link_layer": "Ethernet\n",
    **{f"ports/1/gids/{slot}": f"{EMPTY}\n" for slot in range(20)},
    "ports/1/gids/0": f"{LINK_LOCAL}\n",
    "ports/1/gids/1": f"{LINK_LOCAL}\n",
    "ports/1/gids/3": f"{MAPPED}\n",
    "ports/1/gid_attrs/types/0": "IB/RoCE v1\n",
    "ports/1/gid_attrs/types/1": "RoCE v2\n",
    "ports/1/gid_attrs/types/3": "RoCE v2\n",
    **{f"ports/1/gid_attrs/ndevs/{slot}": "ens3np0\n" for slot in (0, 1, 3)},
    "../../net/ens3np0/dev_port": "0\n",
}


def add_devices(root: Path, name: str = "mlx5_0", number: int = 0) -> None:
    """Add the character devices of an adapter, as the kernel lists them and as udev makes them."""
    write_files(
        root,
        {
            f"sys/class/infiniband_verbs/uverbs{number}/ibdev": f"{name}\n",
            f"sys/class/infiniband_mad/umad{number}/ibdev": f"{name}\n",
            f"sys/class/infiniband_mad/umad{number}/port": "1\n",
            "sys/class/infiniband_verbs/abi_version": "6\n",
            f"dev/infiniband/uverbs{number}": "",
            f"dev/infiniband/umad{number}": "",
            "dev/infiniband/rdma_cm": "",
        },
    )


def add_gpu(root: Path) -> None:
    """Add an NVIDIA GPU with the open kernel modules, on a kernel that has dma-buf."""
    write_files(
        root,
        {
            "sys/bus/pci/devices/0000:1b:00.0/vendor": "0x10de\n",
            "sys/bus/pci/devices/0000:1b:00.0/class": "0x030200\n",
            "sys/module/nvidia/taint": "OE\n",
            "proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
        },
    )


async def reading_of(root: Path) -> RdmaAdaptersReading:
    return await RdmaAdaptersSource(surroundings_at(root), SOON).read()


def said_of(reading: RdmaAdaptersReading) -> list[tuple[str, str, str]]:
    """Return what all checks say, each without its policy."""
    return [(found.check, found.device, found.code) for check in ADAPTER_CHECKS for found in check.judge([reading])]


async def test_an_infiniband_adapter_is_read_as_a_whole(tmp_path: Path) -> None:
    files = {"node_type": "1: CA\n", "ports/1/gids/0": f"{LINK_LOCAL}\n", "ports/1/gid_attrs/types/0": "IB/RoCE v1\n"}
    add_adapter(tmp_path, files={**PCIE, **files})
    add_devices(tmp_path)
    add_gpu(tmp_path)
    expected = RdmaAdapter(
        name="mlx5_0",
        node_type=1,
        node_guid="a088:c203:00ab:cdef",
        pci="0000:3b:00",
        function="0000:3b:00.0",
        firmware="28.39.1002",
        board="MT_0000000838",
        chip="MT4129",
        verbs="uverbs0",
        has_verbs_node=True,
        link=PcieLink(32.0, 8, 32.0, 16),
        slot=PcieLink(None, None, 16.0, 16),
        ports=(
            AdapterPort(
                name="mlx5_0/1",
                link_layer="InfiniBand",
                state=4,
                rate_gbit_per_s=400.0,
                management="umad0",
                has_management_node=True,
                gids=(Gid(0, LINK_LOCAL, "IB/RoCE v1"),),
            ),
        ),
    )
    assert await reading_of(tmp_path) == RdmaAdaptersReading(
        at_s=5.0,
        adapters=(expected,),
        has_device_folder=True,
        has_connection_manager=True,
        nvidia_gpus=1,
        has_nvidia_driver=True,
        nvidia_taint="OE",
        kernel="6.8.0-60-generic",
    )


async def test_empty_slots_of_a_roce_port_are_no_failure(tmp_path: Path) -> None:
    add_adapter(tmp_path, files=ROCE)
    (adapter,) = (await reading_of(tmp_path)).adapters
    (port,) = adapter.ports
    assert port.gids == (
        Gid(0, LINK_LOCAL, "IB/RoCE v1", "ens3np0"),
        Gid(1, LINK_LOCAL, "RoCE v2", "ens3np0"),
        Gid(3, MAPPED, "RoCE v2", "ens3np0"),
    )
    assert (port.interface, port.member_of, port.is_cut) == ("ens3np0", "", False)


async def test_a_table_that_goes_on_says_so(tmp_path: Path) -> None:
    full = {f"ports/1/gids/{slot}": f"{LINK_LOCAL}\n" for slot in range(17)}
    add_adapter(tmp_path, files={**ROCE, **full})
    (adapter,) = (await reading_of(tmp_path)).adapters
    assert adapter.ports[0].is_cut
    assert len(adapter.ports[0].gids or ()) == 16


async def test_the_bond_of_an_interface_is_named(tmp_path: Path) -> None:
    adapter = add_adapter(tmp_path, files=ROCE)
    (adapter / "../../net/ens3np0/master").symlink_to("../../../../virtual/net/bond0")
    assert (await reading_of(tmp_path)).adapters[0].ports[0].member_of == "bond0"


async def test_a_virtual_function_keeps_its_addresses_to_itself(tmp_path: Path) -> None:
    unknown = {"../../current_link_speed": "Unknown\n", "../../current_link_width": "0\n"}
    add_adapter(tmp_path, files={**ROCE, **PCIE, **unknown, "../../physfn/vendor": "0x15b3\n"})
    add_devices(tmp_path)
    reading = await reading_of(tmp_path)
    (adapter,) = reading.adapters
    assert (adapter.is_virtual, adapter.ports[0].gids, adapter.link.lanes) == (True, None, None)
    assert said_of(reading) == []


async def test_a_subfunction_is_virtual_too(tmp_path: Path) -> None:
    add_adapter(tmp_path, files=ROCE, pci="mlx5_core.sf.4")
    (adapter,) = (await reading_of(tmp_path)).adapters
    assert (adapter.is_virtual, adapter.pci, adapter.ports[0].gids) == (True, "", None)


async def test_a_device_without_its_file_and_one_without_its_entry(tmp_path: Path) -> None:
    for number in range(3):
        name = f"mlx5_{number}"
        add_adapter(tmp_path, name, pci=f"0000:3{number}:00.0", files={"ports/1/gids/0": f"{LINK_LOCAL}\n"})
        add_devices(tmp_path, name, number)
    (tmp_path / "dev/infiniband/uverbs1").unlink()
    shutil.rmtree(tmp_path / "sys/class/infiniband_verbs/uverbs2")
    reading = await reading_of(tmp_path)
    seen = [(adapter.verbs, adapter.has_verbs_node) for adapter in reading.adapters]
    assert seen == [("uverbs0", True), ("uverbs1", False), ("", False)]
    assert said_of(reading) == [("fabric.rdma_devices", name, "uverbs") for name in ("mlx5_1", "mlx5_2")]


async def test_the_device_of_another_port_is_none_of_this_one(tmp_path: Path) -> None:
    add_adapter(tmp_path, files={"ports/1/gids/0": f"{LINK_LOCAL}\n"})
    add_devices(tmp_path)
    write_files(tmp_path, {"sys/class/infiniband_mad/umad0/port": "2\n"})
    assert said_of(await reading_of(tmp_path)) == [("fabric.rdma_devices", "mlx5_0/1", "umad")]


async def test_a_container_that_was_given_no_devices_is_unknown(tmp_path: Path) -> None:
    add_adapter(tmp_path, files={"ports/1/gids/0": f"{LINK_LOCAL}\n"})
    assert said_of(await reading_of(tmp_path)) == [("fabric.rdma_devices", "host", "no_folder")]


async def test_no_adapter_costs_nothing_and_says_nothing(tmp_path: Path) -> None:
    add_gpu(tmp_path)
    source = RdmaAdaptersSource(surroundings_at(tmp_path, tools=tmp_path / "no programs"), SOON)
    reading = await source.read()
    assert reading == RdmaAdaptersReading(5.0)
    assert said_of(reading) == []


@pytest.mark.parametrize("module", ["nvidia_peermem", "nv_peer_mem"])
async def test_either_module_opens_the_way_to_gpu_memory(tmp_path: Path, module: str) -> None:
    add_adapter(tmp_path, files={"ports/1/gids/0": f"{LINK_LOCAL}\n"})
    add_devices(tmp_path)
    add_gpu(tmp_path)
    write_files(tmp_path, {"sys/module/nvidia/taint": "POE\n"})
    assert said_of(await reading_of(tmp_path)) == [("fabric.gpudirect", "host", "no_path")]
    write_files(tmp_path, {f"sys/module/{module}/initstate": "live\n"})
    assert said_of(await reading_of(tmp_path)) == []


async def test_a_driver_that_hangs_is_said_to(tmp_path: Path) -> None:
    add_adapter(tmp_path)
    tools = tmp_path / "tools"
    write_program(tools, "grep", "exec sleep infinity")
    source = RdmaAdaptersSource(surroundings_at(tmp_path, tools=tools), deadline(0.2))
    with pytest.raises(CannotObserve):
        await source.read()
    await source.close()


async def test_the_link_of_an_rdma_adapter_is_judged_once(tmp_path: Path) -> None:
    """What is no RDMA adapter stays with the source of the other devices."""
    for number, rdma in enumerate((True, False)):
        device = f"sys/devices/pci0000:3a/0000:3{number}:00.0"
        write_files(tmp_path, {f"{device}/class": "0x020000\n", f"{device}/current_link_width": "8\n"})
        write_files(tmp_path, {f"{device}/infiniband/mlx5_0/node_guid": ""} if rdma else {})
        listed = tmp_path / "sys/bus/pci/devices" / Path(device).name
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.symlink_to(tmp_path / device)
    source = PlatformSource(surroundings_at(tmp_path), SOON)
    assert [device.width for device in (await source.read()).devices] == [None, 8]


ANY_FILE: dict[str, Any] = {**PCIE, **ROCE, "fw_ver": "", "board_id": "", "ports/1/state": "", "ports/1/rate": ""}


@settings(max_examples=40, deadline=None)
@given(texts=st.dictionaries(st.sampled_from(sorted(ANY_FILE)), st.binary(max_size=60), max_size=8), host=st.binary())
def test_any_bytes_give_an_adapter_that_can_be_judged(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, bytes], host: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    add_adapter(root, files={**ROCE, **PCIE, **texts})
    add_devices(root)
    add_gpu(root)
    names = ("module/nvidia/taint", "class/infiniband_verbs/uverbs0/ibdev", "class/infiniband_mad/umad0/port")
    write_files(root, {**{f"sys/{name}": host for name in names}, "proc/sys/kernel/osrelease": host})
    reading = asyncio.run(reading_of(root))
    assert [adapter.name for adapter in reading.adapters] == ["mlx5_0"]
    for check in ADAPTER_CHECKS:
        for finding in check.judge([reading]):
            assert finding.verdict is not Verdict.OK
            assert any(outcome.covers(finding) for outcome in check.outcomes)
