"""RDMA adapters beyond their ports' state: character devices, addresses, firmware, PCIe links, the way to GPU memory.

None of it changes from one second to the next. All of it comes from sysfs by way of one disposable process, and from
looking which names /dev/infiniband has: no device is opened, as to open one of a dead adapter can hang. The addresses
come from the kernel's own table, not from the adapter. Whether PCIe access control (ACS) sends traffic between
adapter and GPU by way of the processor is not read: it stands in the part of the configuration that only root may see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.sources import pci
from agent.sources.files import Contents, FileReader, entries
from agent.sources.infiniband import adapters, interface_of, interfaces, parse_rate, parse_state, pci_of
from agent.sources.nvml import DISPLAY_CLASSES, NVIDIA_VENDOR
from agent.sources.pcie_link import link_files, read_link
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.readings import AdapterPort, Gid, RdmaAdapter, RdmaAdaptersReading

VERBS: Final = "class/infiniband_verbs"
MANAGEMENT: Final = "class/infiniband_mad"
"""Character devices for verbs and for management datagrams; each names its adapter in `ibdev`. Source: kernel,
Documentation/ABI/stable/sysfs-class-infiniband."""

DEVICES: Final = "dev/infiniband"
CONNECTION_MANAGER: Final = "rdma_cm"
"""Where programs find them. Source: rdma-core, the udev rules and `ibverbs(7)`."""

SUBFUNCTION: Final = ".sf."
"""In the name of a device that is a part of a PCI function, `mlx5_core.sf.4`. Source: kernel,
Documentation/networking/device_drivers/ethernet/mellanox/mlx5/switchdev.rst."""

GIDS: Final = 16
"""So many of a port's table are read, which has up to 256. Source: our choice; each address of an interface takes two
slots, so these are the link's own address and seven more."""

OF_ADAPTER: Final = ("node_type", "node_guid", "fw_ver", "board_id", "hca_type")
OF_PORT: Final = ("link_layer", "state", "rate")
"""Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband."""

PEER_MEMORY: Final = ("nvidia_peermem", "nv_peer_mem")
"""Modules that hand GPU memory to RDMA adapters, of the driver itself and the older one beside it. Source: NVIDIA,
GPUDirect RDMA documentation."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What folders alone say. `verbs`, `management`: the character devices that the kernel made."""

    adapters: tuple[Path, ...]
    verbs: tuple[Path, ...]
    management: tuple[Path, ...]


class RdmaAdaptersSource:
    """All RDMA adapters of the host."""

    name = "rdma_adapters"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._procfs, self._monotonic = surroundings.sysfs, surroundings.procfs, surroundings.monotonic
        self._devices = surroundings.root / DEVICES
        self._reader = FileReader(surroundings.find("grep"))

    async def read(self) -> RdmaAdaptersReading:
        """Return one reading, without adapters where there are none.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        listed = _list(self._sysfs)
        if not listed.adapters:
            return RdmaAdaptersReading(self._monotonic())
        taint, release = self._sysfs / "module/nvidia/taint", self._procfs / "sys/kernel/osrelease"
        paths = [taint, release, *_files(listed)]
        contents = await self._reader.read(paths, deadline_s=self.timing.deadline_s)
        modules = self._sysfs / "module"
        return RdmaAdaptersReading(
            self._monotonic(),
            tuple(_read_adapter(folder, listed, self._devices, contents) for folder in listed.adapters),
            has_device_folder=self._devices.is_dir(),
            has_connection_manager=(self._devices / CONNECTION_MANAGER).exists(),
            nvidia_gpus=len(pci.addresses(self._sysfs, NVIDIA_VENDOR, DISPLAY_CLASSES)),
            has_nvidia_driver=(modules / "nvidia").is_dir(),
            nvidia_taint=contents.line(taint),
            peer_memory=next((name for name in PEER_MEMORY if (modules / name).is_dir()), ""),
            kernel=contents.line(release),
        )

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()


SOURCE: Final = Declaration(
    name=RdmaAdaptersSource.name,
    summary="RDMA adapters from sysfs: character devices, addresses, firmware, PCIe links, the way to GPU memory.",
    reading=RdmaAdaptersReading,
    timing=Timing(interval_s=120.0, fast_interval_s=30.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers",
    make=RdmaAdaptersSource,
)


def _list(sysfs: Path) -> Listed:
    return Listed(
        tuple(adapters(sysfs)),
        tuple(path for path in entries(sysfs / VERBS) if path.name.startswith("uverbs")),
        tuple(path for path in entries(sysfs / MANAGEMENT) if path.name.startswith("umad")),
    )


def _files(listed: Listed) -> Iterator[Path]:
    yield from (device / "ibdev" for device in (*listed.verbs, *listed.management))
    yield from (device / "port" for device in listed.management)
    for adapter in listed.adapters:
        yield from (adapter / name for name in OF_ADAPTER)
        yield from (path for folder in _ends(adapter) for path in link_files(folder))
        yield from (interface / "dev_port" for interface in interfaces(adapter))
        for port in entries(adapter / "ports"):
            yield from (port / name for name in OF_PORT)
            yield from (path for files in _gid_files(adapter, port) for path in files)


def _ends(adapter: Path) -> tuple[Path, Path]:
    """Return the folders of both ends of the adapter's PCIe link: its own, and that of the port above it."""
    device = adapter / "device"
    try:
        device = device.resolve()
    except (OSError, RuntimeError):
        return device, device / ".."
    return device, device.parent


def _is_virtual(adapter: Path) -> bool:
    return (adapter / "device/physfn").exists() or SUBFUNCTION in _ends(adapter)[0].name


def _gid_files(adapter: Path, port: Path) -> list[tuple[Path, Path, Path]]:
    """Return for each slot where address, type and interface stand.

    Those of a virtual function are left out: it is given an address by whom it is lent to, and there may be hundreds.
    """
    if _is_virtual(adapter):
        return []
    attributes = port / "gid_attrs"
    return [
        (port / "gids" / slot, attributes / "types" / slot, attributes / "ndevs" / slot)
        for slot in map(str, range(GIDS))
    ]


def _read_adapter(folder: Path, listed: Listed, devices: Path, contents: Contents) -> RdmaAdapter:
    verbs = next((path.name for path in listed.verbs if contents.line(path / "ibdev") == folder.name), "")
    own, above = _ends(folder)
    return RdmaAdapter(
        name=folder.name,
        node_type=parse_state(contents.line(folder / "node_type")),
        node_guid=contents.line(folder / "node_guid"),
        pci=pci_of(folder),
        function=own.name,
        is_virtual=_is_virtual(folder),
        firmware=contents.line(folder / "fw_ver"),
        board=contents.line(folder / "board_id"),
        chip=contents.line(folder / "hca_type"),
        verbs=verbs,
        has_verbs_node=bool(verbs) and (devices / verbs).exists(),
        link=read_link(own, contents),
        slot=read_link(above, contents),
        ports=tuple(_read_port(folder, port, listed, devices, contents) for port in entries(folder / "ports")),
    )


def _read_port(folder: Path, port: Path, listed: Listed, devices: Path, contents: Contents) -> AdapterPort:
    management = _management_of(folder, port, listed, contents)
    interface = interface_of(port, interfaces(folder), contents)
    read = AdapterPort(
        name=f"{folder.name}/{port.name}",
        link_layer=contents.line(port / "link_layer"),
        state=parse_state(contents.line(port / "state")),
        rate_gbit_per_s=parse_rate(contents.line(port / "rate")),
        management=management,
        has_management_node=bool(management) and (devices / management).exists(),
        interface=interface.name if interface else "",
        member_of=_member_of(interface) if interface else "",
    )
    return _with_gids(read, folder, port, contents)


def _management_of(folder: Path, port: Path, listed: Listed, contents: Contents) -> str:
    wanted = (folder.name, port.name)
    said = ((path.name, (contents.line(path / "ibdev"), contents.line(path / "port"))) for path in listed.management)
    return next((name for name, of in said if of == wanted), "")


def _member_of(interface: Path) -> str:
    """Return the bond or bridge above an interface. Source: kernel, `master` in net/core/dev.c."""
    try:
        return (interface / "master").readlink().name
    except OSError:
        return ""


def _with_gids(read: AdapterPort, folder: Path, port: Path, contents: Contents) -> AdapterPort:
    """Return the port with what its table says; a slot that is empty has no type, which is no failure."""
    gids = [
        Gid(index, contents.line(address), contents.line(kind), contents.line(interface))
        for index, (address, kind, interface) in enumerate(_gid_files(folder, port))
    ]
    if not gids or not gids[0].address:
        return read
    is_cut = gids[-1].is_used and (port / "gids" / str(GIDS)).exists()
    return replace(read, gids=tuple(gid for gid in gids if gid.is_used or gid.index == 0), is_cut=is_cut)
