"""AMD GPUs as the driver's files in sysfs tell them, for hosts with the driver and without `amd-smi`.

A GPU that sleeps is left asleep: to read its error counters wakes it, and drivers were seen to count a million errors
that never were when that happened. Source: kernel, Documentation/gpu/amdgpu (RAS, driver-misc, thermal).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.numerals import whole
from checks.readings import AcceleratorDevice
from checks.readings.accelerator import BadPages, EccCount, PcieLink, Temperature

VENDOR: Final = "amd"
PLAIN: Final = (
    "unique_id",
    "serial_number",
    "product_name",
    "current_link_width",
    "max_link_width",
    "current_link_speed",
    "max_link_speed",
    "pcie_replay_count",
    "ras/gpu_vram_bad_pages",
)
SENSOR_FILES: Final = ("label", "input", "crit", "emergency")
SENSORS: Final = ("temp1", "temp2", "temp3")
NAMES: Final = {"junction": "hotspot"}
"""The driver's name of a sensor → that of `amd-smi`."""

POWERS: Final = ("power1_average", "power1_input")
PAGE_KINDS: Final = {"R": "retired", "P": "pending", "F": "unreservable"}
"""Letter in `gpu_vram_bad_pages` → what it means. Source: kernel, amdgpu_ras.c, `amdgpu_ras_badpage_flags_str`."""

_NODE = re.compile(r"card\d{1,3}", re.ASCII)
_COUNTER = re.compile(r"(\w{1,24})_err_count", re.ASCII)
_COUNT = re.compile(r"^(ue|ce|de): (\d{1,19})$", re.MULTILINE | re.ASCII)
_PAGE = re.compile(r"^0x[0-9a-f]{1,16} : 0x[0-9a-f]{1,16} : ([RPF])\s*$", re.MULTILINE | re.ASCII)
_SPEED = re.compile(r"(\d{1,3}(?:\.\d{1,2})?) GT/s", re.ASCII)
_WORD = re.compile(r"[\w .\-\[\]/]{1,64}", re.ASCII)


async def read_devices(
    sysfs: Path, reader: FileReader, *, pci: tuple[str, ...], deadline_s: float
) -> tuple[AcceleratorDevice, ...]:
    """Return every GPU at one of these PCI addresses that the driver serves.

    Raises:
        CannotObserve: the driver does not let go of its files.
    """
    folders = {address: folder for folder in _folders(sysfs) if (address := _address(folder)) in pci}
    states = await reader.read((_state(folder) for folder in folders.values()), deadline_s=deadline_s / 2)
    awake = {folder for folder in folders.values() if states.line(_state(folder)) != "suspended"}
    asked = (path for folder in folders.values() for path in _files(folder, is_awake=folder in awake))
    contents = await reader.read(asked, deadline_s=deadline_s / 2)
    numbered = enumerate(sorted(folders.items()))
    return tuple(_device(number, address, folder, contents) for number, (address, folder) in numbered)


def _folders(sysfs: Path) -> list[Path]:
    nodes = [node for node in entries(sysfs / "class/drm") if _NODE.fullmatch(node.name)]
    return [node / "device" for node in nodes]


def _address(folder: Path) -> str:
    try:
        return folder.resolve().name.partition(".")[0].lower()
    except (OSError, RuntimeError):
        return ""


def _state(folder: Path) -> Path:
    return folder / "power/runtime_status"


def _files(folder: Path, *, is_awake: bool) -> Iterator[Path]:
    if not is_awake:
        return
    yield from (folder / name for name in PLAIN)
    yield from (path for path in entries(folder / "ras") if _COUNTER.fullmatch(path.name))
    for sensors in entries(folder / "hwmon"):
        yield from (sensors / f"{sensor}_{name}" for sensor in SENSORS for name in SENSOR_FILES)
        yield from (sensors / name for name in POWERS)


def _device(number: int, address: str, folder: Path, contents: Contents) -> AcceleratorDevice:
    return AcceleratorDevice(
        vendor=VENDOR,
        name=f"gpu{number}",
        logical=number,
        uuid=_text(contents, folder / "unique_id") or address,
        pci=address,
        serial=_text(contents, folder / "serial_number"),
        model=_text(contents, folder / "product_name"),
        ecc=tuple(_ecc(folder, contents)),
        bad_pages=parse_bad_pages(contents.text(folder / "ras/gpu_vram_bad_pages")),
        temperatures=tuple(_temperatures(folder, contents)),
        power_watts=_power(folder, contents),
        pcie=_pcie(folder, contents),
    )


def _ecc(folder: Path, contents: Contents) -> Iterator[EccCount]:
    for path in entries(folder / "ras"):
        match = _COUNTER.fullmatch(path.name)
        count = parse_count(match[1].upper(), contents.text(path)) if match else None
        if count is not None:
            yield count


def parse_count(block: str, text: str) -> EccCount | None:
    """Return the errors of one block from `ue: 0`, `ce: 1` and perhaps `de: 0`, a line each."""
    told = {name: whole(number) for name, number in _COUNT.findall(text)}
    return EccCount(block, told.get("ce"), told.get("ue"), told.get("de")) if told else None


def parse_bad_pages(text: str) -> BadPages | None:
    """Return the pages from lines of `0x00000001 : 0x00001000 : R`, `None` where there is no line."""
    letters = _PAGE.findall(text)
    counts = {kind: letters.count(letter) for letter, kind in PAGE_KINDS.items()}
    return BadPages(**counts) if letters else None


def _temperatures(folder: Path, contents: Contents) -> Iterator[Temperature]:
    for sensor in (sensors / name for sensors in entries(folder / "hwmon") for name in SENSORS):
        label, value, crit, emergency = (sensor.with_name(f"{sensor.name}_{name}") for name in SENSOR_FILES)
        celsius = _celsius(contents.number(value))
        if celsius is not None:
            name = contents.line(label)[:32] or sensor.name
            limits = (_celsius(contents.number(crit)), _celsius(contents.number(emergency)))
            yield Temperature(NAMES.get(name, name), celsius, *limits)


def _celsius(millicelsius: int | None) -> float | None:
    return millicelsius / 1000 if millicelsius is not None and millicelsius < 1_000_000 else None


def _power(folder: Path, contents: Contents) -> float | None:
    paths = (sensors / name for sensors in entries(folder / "hwmon") for name in POWERS)
    microwatts = next((number for path in paths if (number := contents.number(path)) is not None), None)
    return microwatts / 1e6 if microwatts is not None and microwatts < 10**12 else None


def _pcie(folder: Path, contents: Contents) -> PcieLink | None:
    link = PcieLink(
        width=contents.number(folder / "current_link_width"),
        max_width=contents.number(folder / "max_link_width"),
        speed_gt_per_s=parse_speed(contents.line(folder / "current_link_speed")),
        max_speed_gt_per_s=parse_speed(contents.line(folder / "max_link_speed")),
        replays=whole(contents.line(folder / "pcie_replay_count")),
    )
    return None if link == PcieLink() else link


def parse_speed(text: str) -> float | None:
    """Return the GT/s of `16.0 GT/s PCIe`."""
    match = _SPEED.match(text)
    return float(match[1]) if match else None


def _text(contents: Contents, path: Path) -> str:
    line = contents.line(path)
    return line if _WORD.fullmatch(line) else ""
