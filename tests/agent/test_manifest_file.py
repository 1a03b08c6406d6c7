"""Manifests from files: what people write and break, any bytes at all, and how a changed file is taken up."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.manifest_file import MAX_BYTES, Approved, ManifestError, load_manifest, parse_manifest
from checks.manifest import Accelerator, Disk, Gpu, Host, Manifest, Mount, Port, Section, Versions
from cli.inventory_file import render

WHOLE = Manifest(
    node="n1",
    captured_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
    host=Host(memory_bytes=2_199_023_255_552, memory_modules=("DIMM_A1",), processors=192, bmc=True),
    versions=Versions("550.127.05", "6.8.0"),
    gpus=(Gpu("GPU-0", "0000:1b:00", "1653012345000", "NVIDIA H100 80GB HBM3", "96.00.99.00.01", 18),),
    accelerators=(Accelerator("huawei", "NPU-1", "0000:c1:00", "npu0", "033HPR10M9000001", "910B3"),),
    ports=(Port("mlx5_0/1", "a088:c203:0012:3400", "0000:18:00", "InfiniBand", 400.0, "28.39.1002"),),
    disks=(Disk("nvme0", "S6CKNT0W500001", "0000:01:00", "SAMSUNG", 7_681_501_126_656, "GDC5A02Q"),),
    mounts=(Mount("/home", "nfs4", "storage:/home"),),
    unread={"bmc": "ipmitool is silent", "gpus.0000:1c:00": "it does not answer"},
)


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        parse_manifest(text.encode(), name="host.toml")
    return str(raised.value).splitlines()


def test_what_is_written_is_read_again() -> None:
    assert parse_manifest(render(WHOLE).encode(), name="") == WHOLE
    assert parse_manifest(render(Manifest()).encode(), name="") == Manifest()


names = st.text(min_size=1)
numbers = st.none() | st.integers(0, 2**63 - 1)
manifests = st.builds(
    Manifest,
    schema=st.just(1),
    node=st.text(),
    captured_at=st.none(),
    host=st.builds(Host, numbers, st.lists(names, max_size=3).map(tuple), numbers, st.none() | st.booleans()),
    versions=st.builds(Versions, st.text(), st.text()),
    gpus=st.lists(st.builds(Gpu, names, st.just("0000:1b:00"), st.text(), nvlinks=numbers), max_size=1).map(tuple),
    disks=st.lists(st.builds(Disk, names, st.text(), size_bytes=numbers), max_size=1).map(tuple),
    unread=st.dictionaries(st.sampled_from([*Section, "gpus.0000:1c:00"]).map(str), names, max_size=3),
)


@given(manifests)
def test_any_manifest_is_read_again_as_it_was_written(manifest: Manifest) -> None:
    assert parse_manifest(render(manifest).encode(), name="") == manifest


def test_every_problem_is_told_at_once_with_file_and_key() -> None:
    text = """
        colour = "red"
        [host]
        processors = -1
        [[gpus]]
        uuid = 3
        [[gpus]]
        uuid = "GPU-1"
        pci = "1B:00.0"
    """
    assert problems(text) == [
        "host.toml: schema: it must be given; this version of fleetmend writes 1",
        "host.toml: colour: no such key here; there are schema, node, captured_at, host, versions, gpus, accelerators, "
        "ports, disks, mounts, unread",
        "host.toml: host.processors: Expected `int` >= 0",
        "host.toml: gpus.0.uuid: Expected `str`, got `int`",
        "host.toml: gpus.0.pci: it must be given",
        "host.toml: gpus.1.pci: Expected `str` matching regex '^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}$'",
    ]


def test_what_contradicts_itself_is_told() -> None:
    text = """
        schema = 2
        [[disks]]
        name = "nvme0"
        [[disks]]
        name = "nvme0"
        [unread]
        wheels = "none seen"
    """
    assert problems(text) == [
        "host.toml: schema: 2 is not known; this version of fleetmend reads 1",
        f"host.toml: unread.wheels: no such section; there are {', '.join(Section)}",
        "host.toml: disks.name: 'nvme0' is given 2 times, and there can be but one",
    ]


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (b"schema = 1\nnode =\n", "f: not TOML: Invalid value (at line 2, column 7)"),
        (b"schema = 1\n\xff", "f: not UTF-8: invalid start byte at byte 11"),
        (b"#" * (MAX_BYTES + 1), f"f: longer than {MAX_BYTES} bytes"),
        (b"schema = 1\ngpus = 4\n", "f: gpus: Expected `array`, got `int`"),
        (b"schema = 1\ngpus = [4]\n", "f: gpus.0: a table is wanted here, and not 4"),
    ],
)
def test_what_is_no_manifest_is_told_with_its_place(content: bytes, because: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse_manifest(content, name="f")
    assert str(raised.value) == because


@pytest.mark.parametrize("content", [b"schema = " + b"9" * 10_000, b"a = " + b"[" * 100_000, b"a = 9999-99-99"])
def test_what_breaks_a_parser_is_told(content: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^f: not TOML: "):
        parse_manifest(content, name="f")


fragments = st.sampled_from(
    [
        b"schema = 1\n",
        b"[[gpus]]\n",
        b"[host]\n",
        b"uuid = ",
        b'"GPU-0"\n',
        b"[unread]\n",
        b"pci = 1\n",
        b"2020-01-01\n",
    ]
)


@given(st.binary() | st.lists(fragments | st.binary(max_size=8)).map(b"".join))
def test_any_bytes_are_a_manifest_or_an_error_that_names_the_file(content: bytes) -> None:
    try:
        assert isinstance(parse_manifest(content, name="host.toml"), Manifest)
    except ManifestError as error:
        assert all(line.startswith("host.toml: ") for line in str(error).splitlines())
        assert str(error)


def test_nothing_is_approved_where_there_is_no_file(tmp_path: Path) -> None:
    for approved in (Approved(), Approved(tmp_path / "inventory.toml")):
        assert (approved.manifest(), approved.problem) == (None, "")


def test_a_file_is_taken_up_when_it_comes_changes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    approved = Approved(path)
    assert approved.manifest() is None
    path.write_text(render(WHOLE))
    assert approved.manifest() == WHOLE
    path.write_text(render(replace(WHOLE, node="n22")))
    assert approved.manifest() == replace(WHOLE, node="n22")
    path.unlink()
    assert (approved.manifest(), approved.problem) == (None, "")


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(render(WHOLE))
    approved = Approved(path)
    assert approved.manifest() is approved.manifest()


def test_a_file_that_breaks_leaves_in_force_what_was(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(render(WHOLE))
    approved = Approved(path)
    approved.manifest()
    path.write_text("schema = one")
    assert approved.manifest() == WHOLE
    assert approved.problem == f"{path}: not TOML: Invalid value (at line 1, column 10)"
    path.write_text(render(Manifest()))
    assert (approved.manifest(), approved.problem) == (Manifest(), "")


def test_a_file_that_cannot_be_read_is_a_problem_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.mkdir()
    approved = Approved(path)
    assert approved.manifest() is None
    assert approved.problem == f"{path}: cannot be read: Is a directory"
    path.rmdir()
    path.write_text(render(WHOLE))
    assert (approved.manifest(), approved.problem) == (WHOLE, "")


def test_nobody_waits_for_a_file_that_became_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text('schema = 1\nnode = "n1"\n')
    approved = Approved(path)
    approved.manifest()
    path.unlink()
    os.mkfifo(path)
    manifest = approved.manifest()
    assert manifest is not None
    assert manifest.node == "n1"
    assert approved.problem == f"{path}: cannot be read: it is a named pipe, and a file is wanted"


def test_a_section_that_was_not_read_is_not_in_force(tmp_path: Path) -> None:
    path = tmp_path / "inventory.toml"
    path.write_text(render(WHOLE))
    approved = Approved(path)
    assert (approved.section(Section.GPUS), approved.section(Section.BMC)) == (WHOLE, None)


def test_a_file_is_loaded_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text("schema = 1\nnode = 4\n")
    with pytest.raises(ManifestError) as raised:
        load_manifest(path)
    assert str(raised.value) == f"{path}: node: Expected `str`, got `int`"
