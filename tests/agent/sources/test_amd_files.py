"""AMD GPUs by the driver's files: whole, asleep, broken, and any bytes at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.amd import AmdSource
from agent.sources.amd_files import parse_bad_pages, parse_count, parse_speed
from checks.readings import AcceleratorDevice
from checks.readings.accelerator import BadPages, EccCount, PcieLink, Temperature
from tests.support.surroundings import SOON, surroundings_at, write_files

FILES = {
    "vendor": "0x1002\n",
    "class": "0x038000\n",
    "power/runtime_status": "active\n",
    "unique_id": "5c88007d77ab4b15\n",
    "serial_number": "692251001124\n",
    "product_name": "Instinct MI210\n",
    "current_link_width": "16\n",
    "max_link_width": "16\n",
    "current_link_speed": "16.0 GT/s PCIe\n",
    "max_link_speed": "16.0 GT/s PCIe\n",
    "pcie_replay_count": "0\n",
    "ras/features": "feature mask: 0x3fff\n",
    "ras/umc_err_count": "ue: 5\nce: 3\n",
    "ras/gfx_err_count": "ue: 0\nce: 0\n",
    "ras/gpu_vram_bad_pages": "0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P\n",
    "hwmon/hwmon3/temp2_label": "junction\n",
    "hwmon/hwmon3/temp2_input": "48000\n",
    "hwmon/hwmon3/temp2_crit": "100000\n",
    "hwmon/hwmon3/temp2_emergency": "105000\n",
    "hwmon/hwmon3/power1_average": "41000000\n",
}
"""Names and forms: kernel, Documentation/gpu/amdgpu; the RAS texts as amdsmi's own tests have them."""

GPU = AcceleratorDevice(
    vendor="amd",
    name="gpu0",
    logical=0,
    uuid="5c88007d77ab4b15",
    pci="0000:c1:00",
    serial="692251001124",
    model="Instinct MI210",
    ecc=(EccCount("GFX", 0, 0), EccCount("UMC", 3, 5)),
    bad_pages=BadPages(1, 1, 0),
    temperatures=(Temperature("hotspot", 48.0, 100.0, 105.0),),
    power_watts=41.0,
    pcie=PcieLink(16, 16, 16, 16.0, 16.0, 0),
)


def add_gpu(root: Path, files: dict[str, str], address: str = "0000:c1:00.0") -> None:
    device = root / "sys/devices" / address
    write_files(device, files)
    for link in (root / "sys/bus/pci/devices" / address, root / "sys/class/drm/card1/device"):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(device)
    (root / "sys/class/drm/card1-DP-1").mkdir()
    (root / "bin").mkdir()
    (root / "bin/grep").symlink_to(shutil.which("grep") or "")


async def devices_at(root: Path) -> tuple[AcceleratorDevice, ...]:
    return (await AmdSource(surroundings_at(root, tools=root / "bin"), SOON).read()).devices


async def test_a_gpu_is_read_in_full(tmp_path: Path) -> None:
    add_gpu(tmp_path, FILES)
    assert await devices_at(tmp_path) == (GPU,)


async def test_a_gpu_asleep_is_not_woken(tmp_path: Path) -> None:
    add_gpu(tmp_path, FILES | {"power/runtime_status": "suspended\n"})
    (gpu,) = await devices_at(tmp_path)
    assert (gpu.pci, gpu.uuid, gpu.ecc, gpu.temperatures, gpu.pcie) == ("0000:c1:00", "0000:c1:00", (), (), None)


async def test_files_that_say_nothing_are_none(tmp_path: Path) -> None:
    broken = {name: "\0 what\n" for name in FILES if name not in ("vendor", "class")}
    add_gpu(tmp_path, FILES | broken)
    (gpu,) = await devices_at(tmp_path)
    assert (gpu.ecc, gpu.bad_pages, gpu.temperatures, gpu.power_watts, gpu.pcie) == ((), None, (), None, None)


@pytest.mark.parametrize(
    ("text", "expected"), [("16.0 GT/s PCIe", 16.0), ("2.5 GT/s PCIe", 2.5), ("Unknown", None), ("", None)]
)
def test_speeds(text: str, expected: float | None) -> None:
    assert expected == parse_speed(text)


@given(st.text(max_size=120))
def test_any_text_is_a_value_or_none(text: str) -> None:
    parse_speed(text)
    count, pages = parse_count("UMC", text), parse_bad_pages(text)
    assert count is None or (count.uncorrected or 0) >= 0
    assert pages is None or (pages.retired or 0) >= 0
