"""AMD GPUs, asked by `amd-smi`, or read from the driver's files where that program is not there.

AMD's Python package would bring the driver's library into the agent's own process, where a hang is the agent's end. So
the program is asked, which is a process that can be killed. Proven on what it printed on other people's hosts, never on
hardware of our own (docs/explanation/accelerators.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agent.sources import amd_smi, pci
from agent.sources.amd_files import VENDOR, read_devices
from agent.sources.amd_smi import Row
from agent.sources.files import FileReader
from agent.sources.remembered import learn_devices, numbers, texts, wanted_devices
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.tool import Time, Tool
from checks.errors import CannotObserve
from checks.manifest import Section
from checks.readings import AcceleratorDevice, AmdReading

PCI_VENDOR: Final = "0x1002"
COMPUTE_CLASSES: Final = ("0x0380", "0x1200")
GRAPHICS_CLASSES: Final = ("0x0300",)
"""Instinct GPUs are display controllers or processing accelerators; a graphics card or the graphics of a processor is
a VGA controller, and counts only where the driver serves it. Source: pci.ids, vendor 1002."""

DRIVER: Final = "amdgpu"
FOLDERS: Final = ("opt/rocm/bin",)
RUN_S: Final = 25.0
"""How long one question may take. Source: our choice; the program takes a second or two on a host with 8 GPUs."""


@dataclass(slots=True)
class Said:
    """What the program said, command by command, and why it did not.

    Attributes:
        errors: part of a device → why its command failed.
    """

    metric: Mapping[int, Row]
    still: Mapping[int, Row]
    pages: Mapping[int, Row] = field(default_factory=dict)
    links: Mapping[int, Row] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class AmdSource:
    """All AMD GPUs of the host."""

    name = "amd"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Ask nothing yet."""
        self.timing = timing
        self._surroundings = surroundings
        self._store = surroundings.store(self.name)
        kept = self._store.load()
        self._known, self._widths = texts(kept.get("known")), numbers(kept.get("widths"))
        self._tool = Tool("")
        self._reader = FileReader(surroundings.find("grep"))
        self._still: Mapping[int, Row] = {}
        self._had: set[str] = set()

    async def read(self) -> AmdReading:
        """Return one reading; a program or a driver that does not answer is a reading too.

        Raises:
            CannotObserve: a process that asked does not die.
        """
        present = gpu_addresses(self._surroundings.sysfs)
        known = self._wanted(self._known, ())
        reading = AmdReading(self._surroundings.monotonic(), present=present, known=known)
        if not reading.expected:
            return reading
        try:
            return self._learnt(replace(reading, devices=await self._devices(present)))
        except CannotObserve as error:
            if error.stuck:
                raise
            return replace(reading, failure=str(error))

    async def close(self) -> None:
        """End what still runs."""
        await self._tool.close()
        await self._reader.close()

    async def _devices(self, present: tuple[str, ...]) -> tuple[AcceleratorDevice, ...]:
        if not self._tool.is_installed:
            self._tool = Tool(self._surroundings.find("amd-smi", *FOLDERS))
        if self._tool.is_installed:
            return devices_of(await self._said())
        sysfs, deadline_s = self._surroundings.sysfs, self.timing.deadline_s
        devices = await read_devices(sysfs, self._reader, pci=present, deadline_s=deadline_s)
        if present and not devices:
            raise CannotObserve("amd-smi is not installed, and the amdgpu driver shows no GPU")
        return devices

    async def _said(self) -> Said:
        """Return what the program says now; who the GPUs are is asked anew only when there are others."""
        time = Time(self.timing.deadline_s, RUN_S, monotonic=self._surroundings.monotonic)
        metric = amd_smi.rows(await self._ask(time, "metric"))
        if metric.keys() != self._still.keys():
            self._still = await self._identities(time)
        said = Said(metric, self._still)
        said.pages = await self._part(time, said, "bad_pages", "bad-pages")
        if len(metric) > 1:
            said.links = await self._part(time, said, "links", "xgmi", "--link-status")
        return said

    async def _identities(self, time: Time) -> Mapping[int, Row]:
        static = amd_smi.rows(await self._ask(time, "static"))
        listed = amd_smi.rows(await self._ask(time, "list"))
        return {number: {**row, **listed.get(number, {})} for number, row in static.items()}

    async def _part(self, time: Time, said: Said, part: str, *command: str) -> Mapping[int, Row]:
        """Return what a command says that not every GPU knows: one that never told anything is not missed."""
        try:
            text = await self._ask(time, *command)
        except CannotObserve as error:
            if error.stuck:
                raise
            said.errors[part] = str(error)
            return {}
        try:
            told = amd_smi.rows(text)
        except CannotObserve as error:
            said.errors |= {part: str(error)} if part in self._had else {}
            return {}
        self._had.add(part)
        return told

    async def _ask(self, time: Time, *command: str) -> str:
        return (await self._tool.run(*command, "--json", deadline_s=time.left_s())).text

    def _wanted(self, learnt: Mapping[str, str], devices: Iterable[AcceleratorDevice]) -> dict[str, str]:
        approved = self._surroundings.approved.section(Section.ACCELERATORS)
        return wanted_devices(approved, VENDOR, learnt, devices)

    def _learnt(self, reading: AmdReading) -> AmdReading:
        """Return the reading with what is remembered of its devices, and remember what is new."""
        known, widths = self._wanted(learn_devices(self._known, reading.devices), reading.devices), dict(self._widths)
        for device in reading.devices:
            if device.pcie is not None and device.pcie.width:
                widths[device.uuid] = max(device.pcie.width, widths.get(device.uuid, 0))
        if (known, widths) != (self._known, self._widths):
            self._known, self._widths = known, widths
            self._store.save({"known": known, "widths": widths})
        return replace(reading, known=dict(known), devices=tuple(_with_best(each, widths) for each in reading.devices))


SOURCE: Final = Declaration(
    name=AmdSource.name,
    summary="AMD GPUs from `amd-smi` or the amdgpu driver; proven on captured output, not on hardware.",
    reading=AmdReading,
    timing=Timing(interval_s=300.0, fast_interval_s=120.0, deadline_s=100.0),
    cost=Cost.HIGH,
    privilege=Privilege.ROOT,
    hangs_with="the amdgpu driver",
    make=AmdSource,
)


def gpu_addresses(sysfs: Path) -> tuple[str, ...]:
    """Return the PCI addresses of the host's AMD GPUs, ascending."""
    graphics = pci.devices(sysfs, PCI_VENDOR, GRAPHICS_CLASSES)
    served = {device.name.partition(".")[0].lower() for device in graphics if _driver(device) == DRIVER}
    return tuple(sorted(served.union(pci.addresses(sysfs, PCI_VENDOR, COMPUTE_CLASSES))))


def devices_of(said: Said) -> tuple[AcceleratorDevice, ...]:
    """Return every GPU that the program tells of."""
    return tuple(_device(number, row, said) for number, row in said.metric.items())


def _device(number: int, row: Row, said: Said) -> AcceleratorDevice:
    still = said.still.get(number, {})
    serial = amd_smi.parse_text(still, "board", "product_serial")
    return AcceleratorDevice(
        vendor=VENDOR,
        name=f"gpu{number}",
        logical=number,
        uuid=amd_smi.parse_text(still, "uuid"),
        pci=amd_smi.parse_pci(still, row),
        serial=serial if serial.strip("0") else amd_smi.parse_text(still, "asic", "asic_serial"),
        slot=amd_smi.parse_text(still, "asic", "oam_id"),
        model=amd_smi.parse_text(still, "asic", "market_name"),
        ecc=amd_smi.parse_ecc(row),
        bad_pages=amd_smi.parse_bad_pages(said.pages.get(number, {}), still),
        links=amd_smi.parse_links(said.links.get(number, {}), row),
        throttles=amd_smi.parse_throttles(row),
        throttle_clock=amd_smi.parse_throttle_clock(row),
        temperatures=amd_smi.parse_temperatures(row, still),
        power_watts=amd_smi.parse_power(row),
        pcie=amd_smi.parse_pcie(row, still),
        errors=dict(said.errors),
    )


def _with_best(device: AcceleratorDevice, widths: Mapping[str, float]) -> AcceleratorDevice:
    if device.pcie is None or device.uuid not in widths:
        return device
    return replace(device, pcie=replace(device.pcie, best_width=int(widths[device.uuid])))


def _driver(device: Path) -> str:
    try:
        return (device / "driver").resolve().name
    except (OSError, RuntimeError):
        return ""
