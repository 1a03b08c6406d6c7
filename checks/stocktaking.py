"""What a host is made of, by the newest readings of its sources. Pure; nothing is asked of the host for it.

What could not be read is said to be unread and never to be absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from checks.filesystems import is_permanent
from checks.manifest import Accelerator, Disk, Gpu, Host, Manifest, Mount, Port, Section, Versions
from checks.rdma import ACTIVE
from checks.readings import (
    AcceleratorDevice,
    AcceleratorReading,
    AmdReading,
    AscendReading,
    BmcReading,
    DisksReading,
    GpuReading,
    HostReading,
    MountsReading,
    NvmlReading,
    PlatformReading,
    RdmaPort,
    RdmaReading,
    SmartReading,
)
from checks.readings.disks import NvmeController

PCIE: Final = "pcie"
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}", re.ASCII)

SOURCES: Final = frozenset(
    reading.SOURCE
    for reading in (
        NvmlReading,
        AscendReading,
        AmdReading,
        RdmaReading,
        DisksReading,
        SmartReading,
        MountsReading,
        HostReading,
        PlatformReading,
        BmcReading,
    )
)
"""Whose readings a manifest is made of."""


def manifest_of(
    readings: Mapping[str, Any], *, kernel: str = "", node: str = "", captured_at: datetime | None = None
) -> Manifest:
    """Return what the host is made of.

    Args:
        readings: source → its newest reading. A source that is left out could not be read.
        kernel: the release of the running kernel.
    """
    stock = _Stock(readings)
    gpus, driver = stock.gpus()
    return Manifest(
        node=node,
        captured_at=captured_at,
        host=stock.host(),
        versions=Versions(driver, stock.noted(Section.KERNEL, kernel, "" if kernel else "it cannot be read")),
        gpus=gpus,
        accelerators=stock.accelerators(),
        ports=stock.ports(),
        disks=stock.disks(),
        mounts=stock.mounts(),
        unread=stock.unread,
    )


@dataclass(slots=True)
class _Stock:
    """Readings on the way to a manifest. `unread`: what cannot be told from them, and why."""

    readings: Mapping[str, Any]
    unread: dict[str, str] = field(default_factory=dict)

    def noted(self, section: str, value: Any, problem: str) -> Any:
        """Return the value, and note why it could not be read where that is so."""
        if problem:
            self.unread[section] = problem
        return value

    def gpus(self) -> tuple[tuple[Gpu, ...], str]:
        """Return the GPUs that answer, and the version of the driver."""
        reading = self._reading(NvmlReading, Section.GPUS, Section.DRIVER)
        if reading is None:
            return (), ""
        if reading.failure:
            problem = f"NVML does not answer: {reading.failure}" if reading.expected else ""
            for section in (Section.GPUS, Section.DRIVER):
                self.noted(section, (), problem)
            return (), ""
        for gpu in reading.gpus:
            self.noted(f"{Section.GPUS}.{gpu.pci or gpu.index}", gpu, "" if _is_told(gpu) else "it does not answer")
        return tuple(_gpu(gpu) for gpu in reading.gpus if _is_told(gpu)), reading.driver_version

    def accelerators(self) -> tuple[Accelerator, ...]:
        """Return the devices of other vendors."""
        return tuple(each for kind in (AscendReading, AmdReading) for each in self._accelerators(kind))

    def _accelerators(self, kind: type[AcceleratorReading]) -> Iterator[Accelerator]:
        reading = self._reading(kind, Section.ACCELERATORS)
        if reading is None:
            return
        if reading.failure:
            self.noted(Section.ACCELERATORS, (), f"the vendor's tool does not answer: {reading.failure}")
        yield from (_accelerator(device) for device in reading.devices)

    def ports(self) -> tuple[Port, ...]:
        """Return the RDMA ports."""
        reading = self._reading(RdmaReading, Section.PORTS)
        ports = reading.ports if reading is not None else ()
        for port in ports:
            self.noted(f"{Section.PORTS}.{port.name}", port, "" if port.node_guid else "its GUID cannot be read")
        return tuple(_port(port) for port in ports)

    def disks(self) -> tuple[Disk, ...]:
        """Return the local disks; who a SATA or SAS disk is, only its SMART reading tells."""
        reading = self._reading(DisksReading, Section.DISKS)
        if reading is None:
            return ()
        local = [each for each in reading.controllers if each.transport == PCIE]
        for each in local:
            self.noted(f"{Section.DISKS}.{each.name}", each, "" if each.serial else "its serial number cannot be read")
        return (*(_nvme(each, reading) for each in local), *self._others(reading))

    def _others(self, reading: DisksReading) -> Iterator[Disk]:
        smart = self.readings.get(SmartReading.SOURCE)
        told = {each.name: each for each in smart.disks} if smart is not None else {}
        for disk in reading.disks:
            if disk.size_bytes and not disk.name.startswith(("nvme", "md")):
                of = told.get(disk.name)
                serial, model = (of.serial, of.model) if of is not None else ("", "")
                yield Disk(disk.name, serial, model=model, size_bytes=disk.size_bytes)

    def mounts(self) -> tuple[Mount, ...]:
        """Return what is mounted for good."""
        reading = self._reading(MountsReading, Section.MOUNTS)
        mounted = reading.filesystems if reading is not None else ()
        lasting = sorted((each for each in mounted if is_permanent(each)), key=lambda each: each.mount)
        return tuple(Mount(each.mount, each.kind, each.device) for each in lasting)

    def host(self) -> Host:
        """Return memory, processors and the BMC."""
        facts = self._reading(HostReading, Section.MEMORY, Section.PROCESSORS)
        platform = self._reading(PlatformReading, Section.MEMORY_MODULES)
        bmc = self._reading(BmcReading, Section.BMC)
        if facts is not None:
            self.noted(Section.MEMORY, facts, "" if facts.memory_total_bytes else "the kernel does not tell it")
            self.noted(Section.PROCESSORS, facts, "" if facts.cpu_count else "the kernel does not tell them")
        labels = {module.label for module in platform.modules} if platform is not None else set()
        return Host(
            memory_bytes=facts.memory_total_bytes if facts is not None else None,
            memory_modules=tuple(sorted(label for label in labels if label)),
            processors=facts.cpu_count if facts is not None else None,
            bmc=bmc.present if bmc is not None else None,
        )

    def _reading(self, kind: type[Any], *sections: Section) -> Any:
        reading = self.readings.get(kind.SOURCE)
        if reading is None:
            for section in sections:
                self.unread[section] = f"the source {kind.SOURCE} has not answered"
        return reading


def _is_told(gpu: GpuReading) -> bool:
    return bool(gpu.uuid and gpu.pci and not gpu.lost)


def _gpu(gpu: GpuReading) -> Gpu:
    links = len(gpu.nvlink.states) if gpu.nvlink is not None and not gpu.nvlink.mig else None
    return Gpu(gpu.uuid, gpu.pci, gpu.serial, gpu.name, gpu.details.vbios_version or "", links)


def _accelerator(device: AcceleratorDevice) -> Accelerator:
    identity = device.uuid or device.pci or device.name
    return Accelerator(device.vendor, identity, device.pci, device.name, device.serial, device.model)


def _port(port: RdmaPort) -> Port:
    """A port that is not up says the rate of its slowest mode, which nobody means to hold it to."""
    rate = port.rate_gbit_per_s if port.state == ACTIVE and port.rate_gbit_per_s else None
    return Port(port.name, port.node_guid, port.pci, port.link_layer, rate, port.firmware)


def _nvme(controller: NvmeController, reading: DisksReading) -> Disk:
    sizes = [each.size_bytes for each in reading.disks if each.name.startswith(f"{controller.name}n")]
    known = [size for size in sizes if size is not None]
    return Disk(
        controller.name,
        controller.serial,
        controller.address if _PCI.fullmatch(controller.address) else "",
        controller.model,
        sum(known) if known and len(known) == len(sizes) else None,
        controller.firmware,
    )
