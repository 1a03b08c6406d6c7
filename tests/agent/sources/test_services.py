"""The services source: a program on PATH prints what systemctl prints, and systemd's own words are kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.services import PROPERTIES, UNITS, ServicesSource, has_nvswitches, parse_units, parse_version
from checks.errors import CannotObserve
from checks.readings import ServicesReading, ServiceUnit
from tests.support.parts import missing
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program

SHOWN = """\
NRestarts=0
Result=success
Id=nvidia-fabricmanager.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
ConditionResult=yes
ConditionTimestampMonotonic=31337000

NRestarts=12
Result=exit-code
Id=slurmd.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
UnitFileState=enabled
ConditionResult=yes
ConditionTimestampMonotonic=31337001

Result=success
Id=nvidia-imex.service
LoadState=loaded
ActiveState=inactive
SubState=dead
UnitFileState=enabled
ConditionResult=no
ConditionTimestampMonotonic=31337002

NRestarts=0
Result=success
Id=nvidia-persistenced.service
LoadState=loaded
ActiveState=inactive
SubState=dead
UnitFileState=static
ConditionResult=no
ConditionTimestampMonotonic=0

NRestarts=0
Result=success
Id=crio.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
ConditionResult=no
ConditionTimestampMonotonic=0
"""
"""Of systemd 252, in the order in which it prints; 219 has no NRestarts."""

PARSED = (
    ServiceUnit("nvidia-fabricmanager", "enabled", "active", "running", "success", 0),
    ServiceUnit("slurmd", "enabled", "activating", "auto-restart", "exit-code", 12),
    ServiceUnit("nvidia-imex", "enabled", "inactive", "dead", "success", None, skipped=True),
    ServiceUnit("nvidia-persistenced", "static", "inactive", "dead", "success", 0),
)


def booted(root: Path, script: str) -> None:
    """Make a machine of systemd, whose systemctl is this script."""
    write_files(root, {"run/systemd/system/units": "", "shown": SHOWN})
    write_program(root / "bin", "systemctl", script)


def source_at(root: Path, limit_s: float = 10.0) -> ServicesSource:
    """Return the source on that machine, with the programs that tests put there."""
    return ServicesSource(surroundings_at(root, tools=root / "bin"), deadline(limit_s))


async def test_all_units_are_asked_in_one_call(tmp_path: Path) -> None:
    booted(tmp_path, f'echo "$@" >> {tmp_path}/asked\ncat {tmp_path}/shown')
    reading = await source_at(tmp_path).read()
    assert ServicesReading(5.0, PARSED) == reading
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked == f"show --property={','.join(PROPERTIES)} -- " + " ".join(f"{unit}.service" for unit in UNITS)


@pytest.mark.parametrize("lacking", ["run/systemd/system", "bin"])
async def test_a_host_without_systemd_has_no_units_and_is_asked_nothing(tmp_path: Path, lacking: str) -> None:
    booted(tmp_path, f"touch {tmp_path}/asked\ncat {tmp_path}/shown")
    shutil.rmtree(tmp_path / lacking)
    assert await source_at(tmp_path).read() == ServicesReading(5.0)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("script", "because"),
    [
        ("echo 'Failed to connect to bus: No such file or directory'; exit 1", "code 1: Failed to connect to bus"),
        ("exit 0", "tells of no unit: nothing"),
        ("echo; echo 'Id=x.service'", "tells of no unit: Id=x.service"),
        ("exec sleep 60", "no answer within 0.25 s"),
    ],
)
async def test_a_systemd_that_does_not_answer_is_no_answer(tmp_path: Path, script: str, because: str) -> None:
    booted(tmp_path, script)
    source = source_at(tmp_path, 0.5)
    with pytest.raises(CannotObserve, match=because):
        await source.read()
    await source.close()


async def test_versions_of_driver_and_fabric_manager_are_told(tmp_path: Path) -> None:
    booted(tmp_path, f"cat {tmp_path}/shown")
    write_files(tmp_path, {"sys/module/nvidia/version": "550.127.05\n"})
    said = f"echo asked >> {tmp_path}/asked; echo; echo 'Fabric Manager version is : 550.127.05'"
    program = write_program(tmp_path / "bin", "nv-fabricmanager", said)
    source = source_at(tmp_path)
    readings = [await source.read() for _ in range(2)]
    assert {(each.driver_version, each.fabric_manager_version) for each in readings} == {("550.127.05", "550.127.05")}
    assert len((tmp_path / "asked").read_text().splitlines()) == 1
    program.write_text("#!/bin/sh\necho 'Fabric Manager version is : 570.86.15'\n")
    assert (await source.read()).fabric_manager_version == "570.86.15"
    program.unlink()
    assert (await source.read()).fabric_manager_version == ""


async def test_a_fabric_manager_that_does_not_tell_its_version_hides_no_unit(tmp_path: Path) -> None:
    booted(tmp_path, f"cat {tmp_path}/shown")
    write_program(tmp_path / "bin", "nv-fabricmanager", "exec sleep 60")
    source = source_at(tmp_path, 1.0)
    reading = await source.read()
    await source.close()
    assert (reading.units, reading.fabric_manager_version) == (PARSED, "")


@pytest.mark.parametrize(
    ("vendor", "kind", "expected"),
    [("0x10de", "0x068000", True), ("0x10de", "0x030200", False), ("0x8086", "0x068000", False)],
)
def test_nvswitches_are_found_on_the_bus(tmp_path: Path, vendor: str, kind: str, expected: bool) -> None:
    device = "sys/bus/pci/devices/0000:05:00.0"
    write_files(tmp_path, {f"{device}/vendor": vendor, f"{device}/class": kind})
    assert has_nvswitches(tmp_path, tmp_path / "sys") is expected


def test_nvswitches_that_are_not_on_the_bus_are_known_by_their_subnet_manager(tmp_path: Path) -> None:
    assert not has_nvswitches(tmp_path, tmp_path / "sys")
    write_files(tmp_path, {"opt/nvidia/nvlsm/sbin/nvlsm": ""})
    assert has_nvswitches(tmp_path, tmp_path / "sys")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Fabric Manager version is : 450.102.04\n", "450.102.04"),
        ("\n\n\n\tFabric Manager version is : 535.161.08\n\n", "535.161.08"),
        ("Fabric Manager version is : unknown", ""),
        ("nv-fabricmanager: error while loading shared libraries: libnvfm.so.1", ""),
        ("", ""),
    ],
)
def test_the_version_is_taken_from_what_is_printed(text: str, version: str) -> None:
    assert version == parse_version(text)


lines = st.one_of(
    st.text(max_size=20),
    st.builds("{}={}".format, st.sampled_from(PROPERTIES), st.text(max_size=12)),
    st.builds("Id={}.service".format, st.text(max_size=8)),
    st.sampled_from(SHOWN.splitlines()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=25).map("\n".join))
def test_whatever_is_printed_gives_units_or_says_that_it_cannot_tell(text: str) -> None:
    try:
        units = parse_units(text)
    except CannotObserve:
        return
    for unit in units:
        assert all(each.isprintable() for each in (unit.name, unit.enabled, unit.active, unit.sub, unit.result))


async def test_this_hosts_own_systemctl_is_understood(tmp_path: Path) -> None:
    """The real program, which here has no systemd to ask; where it has one, it tells of every unit."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        missing("systemctl")
    write_files(tmp_path, {"run/systemd/system/units": ""})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").symlink_to(systemctl)
    source = ServicesSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), SOON)
    try:
        reading = await source.read()
    except CannotObserve as error:
        assert "systemctl show ended with code 1" in str(error)
    else:
        assert {unit.name for unit in reading.units} <= set(UNITS)
