"""A bundle is gathered by a real process from real programs, some of which hang, fail, or never stop printing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bundles.gather import EX_IOERR, PACKING_S, _safe, _tail
from agent.bundles.plan import BUNDLE, MANIFEST, PACKED, PLAN, Origin, Packed, Plan, load_packed
from agent.bundles.tools import NAMES, TOOLS, short_name
from tests.support.eventually import eventually
from wire.evidence import Grant

GRANT = Grant("0" * 32, "controller", 1 << 28, 2e9, url="http://127.0.0.1:1")
ORIGIN = Origin("n1", "inc-000001", "inc-000001/collect/1", "boot-1", "0.1.0", 1_790_000_000.0, 1_789_999_000.0)

IS_ROOT = os.geteuid() == 0


def plan(**changes: Any) -> Plan:
    """Return a plan with three seconds for the tools."""
    usual = Plan(
        ORIGIN,
        GRANT,
        {"status.json": "{}"},
        PACKING_S + 3.0,
        most_bytes=64 << 20,
        file_bytes=16 << 20,
        keep_free_bytes=0,
    )
    return msgspec.structs.replace(usual, **changes)


class Host:
    """Programs of a host, and a folder into which evidence is gathered."""

    def __init__(self, directory: Path) -> None:
        self.programs, self.folder = directory / "bin", directory / "bundle"
        for each in (self.programs, self.folder):
            each.mkdir()

    def install(self, name: str, script: str) -> None:
        """Make a program of the host."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self, wanted: Plan | None, **environment: str) -> subprocess.Popen[bytes]:
        """Begin to gather; without a plan, by the one that is there."""
        if wanted is not None:
            (self.folder / PLAN).write_bytes(msgspec.json.encode(wanted))
        return subprocess.Popen(
            [sys.executable, "-m", "agent.bundles.gather", str(self.folder)],
            env={**os.environ, "PATH": f"{self.programs}:/usr/bin:/bin", **environment},
            stdout=subprocess.PIPE,
        )

    def gather(self, wanted: Plan, **environment: str) -> Packed:
        """Gather, and return what is said of it."""
        process = self.start(wanted, **environment)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return load_packed(self.folder)

    def read(self, name: str) -> bytes:
        """Return one file of the bundle."""
        with tarfile.open(self.folder / BUNDLE) as archive:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

    def manifest(self) -> dict[str, Any]:
        """Return the bundle's manifest; every file in the bundle is in it."""
        with tarfile.open(self.folder / BUNDLE) as archive:
            names = archive.getnames()
        found: dict[str, Any] = json.loads(self.read(MANIFEST))
        assert names == [MANIFEST, *(each["name"] for each in found["files"])]
        return found

    def files(self) -> dict[str, dict[str, Any]]:
        """Return what the manifest says, by the files' names."""
        return {each["name"]: each for each in self.manifest()["files"]}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    for tool in TOOLS:
        made.install(tool.command[0], f'echo "{tool.command[0]} $*"')
    return made


def test_what_every_tool_printed_is_in_the_bundle_with_its_digest(host: Host) -> None:
    packed = host.gather(plan())
    files = host.files()
    assert host.read("nvidia-smi.xml") == b"nvidia-smi -q -x\n"
    assert host.read("status.json") == b"{}"
    assert f"--since @{1_789_999_000 - 900}\n".encode() in host.read("journal-kernel.txt")
    assert files["lspci.txt"]["command"] == ["lspci", "-vvv"]
    assert packed.files == len(files) and packed.notes == ()
    assert host.manifest()["origin"] == msgspec.to_builtins(ORIGIN)
    for name, said in files.items():
        content = host.read(name)
        assert (len(content), said["size_bytes"]) == (said["size_bytes"], len(content))
        assert said["sha256"] == hashlib.sha256(content).hexdigest()
    assert not (host.folder / "files").exists()


def test_one_that_fails_one_that_dies_and_one_that_is_not_there_lose_no_other(host: Host) -> None:
    host.install("lspci", "echo some; echo wrong >&2; exit 3")
    host.install("ibstat", "kill -SEGV $$")
    (host.programs / "rdma").write_bytes(b"\x7fELF nonsense")
    (host.programs / "nvidia-smi").unlink()
    host.gather(plan(left_out=("journal-services.txt",)))
    files, left_out = host.files(), host.manifest()["left_out"]
    assert files["lspci.txt"]["ended"] == "it ended with code 3"
    assert host.read("lspci.txt") == b"some\nwrong\n"
    assert files["ibstat.txt"]["ended"] == "signal 11 ended it"
    assert left_out["nvidia-smi.txt"] == "nvidia-smi is not installed"
    assert left_out["journal-services.txt"] == "this node's configuration leaves it out"
    assert "journal-kernel.txt" in files and "uname.txt" in files


@pytest.mark.skipif(not IS_ROOT, reason="the bug report takes root")
def test_a_bug_report_that_hangs_leaves_what_it_had_and_is_tried_in_safe_mode(host: Host) -> None:
    script = 'for each; do :; done; echo "$1" > "$each"; [ "$1" = --safe-mode ] || { echo begun; sleep 617 & wait; }'
    host.install("nvidia-bug-report.sh", script)
    packed = host.gather(plan())
    files = host.files()
    assert files["nvidia-bug-report.log"]["late"] is True
    assert host.read("nvidia-bug-report.log") == b"--output-file\n"
    assert host.read("nvidia-bug-report-safe-mode.log") == b"--safe-mode\n"
    assert any(note.startswith("nvidia-bug-report.log: it was killed after") for note in packed.notes)
    assert not running(str(host.folder)) and not running("sleep\0617")


def test_what_takes_root_is_not_run_without_it(host: Host) -> None:
    if IS_ROOT:
        pytest.skip("this is root")
    host.gather(plan())
    assert host.manifest()["left_out"]["nvidia-bug-report"].startswith("nvidia-bug-report.sh takes root")


def test_one_that_hangs_costs_its_limit_and_what_it_printed_is_kept(host: Host) -> None:
    host.install("nvidia-smi", "echo before; sleep 600")
    began = time.monotonic()
    host.gather(plan())
    assert time.monotonic() - began < 15.0
    assert host.read("nvidia-smi-topology.txt") == b"before\n"
    assert host.files()["nvidia-smi-topology.txt"]["late"] is True
    assert host.manifest()["left_out"]["nvidia-smi.xml"] == "no time was left"


def test_one_that_never_stops_printing_is_cut(host: Host) -> None:
    host.install("lspci", "yes 0123456789abcdef")
    host.gather(plan(file_bytes=100_000))
    files = host.files()
    assert (files["lspci.txt"]["size_bytes"], files["lspci.txt"]["cut"]) == (
        100_000,
        "it printed more than 100000 bytes",
    )


def test_a_bundle_is_no_longer_than_it_may_be(host: Host) -> None:
    host.install("lspci", "head -c 3000000 /dev/urandom")
    host.gather(plan(most_bytes=(4 << 20) + 100_000, left_out=("kernel-ring.txt",)))
    assert (host.folder / BUNDLE).stat().st_size <= 4 << 20
    assert host.files()["lspci-tree.txt"]["cut"].startswith("it printed more than")
    assert "the bundle is as long as it may be" in host.manifest()["cut"]


def test_no_tool_sees_what_the_agent_was_told(host: Host) -> None:
    host.install("lspci", "env")
    host.gather(plan(), CREDENTIALS_DIRECTORY="/run/credentials", PASSWORD="hunter2")
    text = b"".join(host.read(name) for name in host.files())
    assert b"LC_ALL=C" in text and b"hunter2" not in text and b"/run/credentials" not in text


def test_nothing_is_started_behind_one_that_hangs_in_the_kernel(host: Host) -> None:
    host.gather(plan(stuck={"nvidia-smi": os.getpid(), "lspci": 2**22 + 1}))
    left_out = host.manifest()["left_out"]
    hangs = f"process {os.getpid()} of nvidia-smi still hangs, and nothing is started behind it"
    assert {left_out[each] for each in ("nvidia-smi.txt", "nvidia-smi.xml", "nvidia-smi-topology.txt")} == {hangs}
    assert "lspci.txt" in host.files()


def test_a_simulated_machine_has_no_tools(host: Host) -> None:
    host.gather(plan(tools=False, texts={"../up": "x", "reading-a.json": "{}"}))
    assert list(host.files()) == ["_up", "reading-a.json"]


STARTER = "import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'agent.bundles.gather', sys.argv[1]]).wait()"


async def test_the_tools_end_with_the_agent(host: Host) -> None:
    host.install("uname", "echo begun; sleep 613")
    (host.folder / PLAN).write_bytes(msgspec.json.encode(plan(limit_s=600.0)))
    environment = {**os.environ, "PATH": f"{host.programs}:/usr/bin:/bin"}
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", STARTER, str(host.folder), env=environment)
    printed = host.folder / "files" / "uname.txt"
    await eventually("the tool runs", lambda: printed.exists() and printed.read_bytes() == b"begun\n")
    agent.send_signal(signal.SIGKILL)
    await agent.wait()
    await eventually("the tool is gone", lambda: not running(str(host.folder)) and not running("sleep\0613"))
    assert not (host.folder / PACKED).exists()


def running(part: str) -> list[str]:
    """Return the command lines that hold this part."""
    return [each for each in processes() if part in each]


def processes() -> Iterator[str]:
    """Yield the command line of each process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_text()
        except OSError:
            continue


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_small_disk_gives_a_small_bundle_that_says_so(small_disk: Path) -> None:
    host = Host(small_disk)
    host.install("lspci", "head -c 8000000 /dev/urandom")
    packed = host.gather(plan(left_out=("kernel-ring.txt",)))
    assert any(note.startswith("lspci.txt: it printed more than") for note in packed.notes)
    assert host.read("status.json") == b"{}"
    assert "uname.txt" in host.files()


def test_a_disk_that_is_kept_free_is_left_alone(host: Host) -> None:
    packed = host.gather(plan(keep_free_bytes=1 << 60))
    assert packed.files == 0
    assert host.manifest()["cut"].startswith(f"the disk of the node has no more than {1 << 60} bytes left")


def test_a_full_disk_gives_none_and_says_so(small_disk: Path) -> None:
    host = Host(small_disk)
    (host.folder / PLAN).write_bytes(msgspec.json.encode(plan()))
    with (small_disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4_096)
    process = host.start(None)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, b"No space left" in said) == (EX_IOERR, True)


def test_every_tool_has_a_name_of_its_own() -> None:
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    assert {short_name(tool) for tool in TOOLS} <= NAMES
    assert all(tool.why and tool.limit_s > 0 and tool.most_bytes > 0 for tool in TOOLS)


@given(name=st.text())
def test_no_name_is_a_path(name: str) -> None:
    made = _safe(name)
    assert made and "/" not in made and "\0" not in made and not made.startswith(".")


def test_the_end_of_a_log_is_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    assert _tail(path, 4) == (b"6789", "only its last 4 of 10 bytes are here")
    assert _tail(path, 10) == (b"0123456789", "")
    assert len(_tail(Path("/proc/meminfo"), 20)[0]) == 20
