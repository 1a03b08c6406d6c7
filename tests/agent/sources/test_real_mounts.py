"""Real file systems in a mount namespace of the test's own: one that hangs, one whose program ended, one on a disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.checkout import ROOT
from tests.support.parts import missing

UNSHARE = ("unshare", "--mount", "--propagation", "private")


def can_mount() -> bool:
    """Return whether this machine lets the test mount anything."""
    if not Path("/dev/fuse").exists() or not all(map(shutil.which, ("unshare", "mkfs.ext4", "mount"))):
        return False
    tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True)
    return tried.returncode == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not can_mount():
        missing("the right to mount (root, /dev/fuse and a kernel that allows it)")
    folder = tmp_path_factory.mktemp("mounts")
    command = [*UNSHARE, sys.executable, "-m", "tests.support.real_mounts", str(folder)]
    ended = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=60)
    told: dict[str, Any] = msgspec.json.decode(ended.stdout)
    return told


def test_a_mount_whose_program_does_not_answer_is_given_up_and_the_others_are_read(seen: dict[str, Any]) -> None:
    hanging = seen["hanging"]
    assert (hanging["kind"], hanging["device"]) == ("fuse.juicefs", "JuiceFS:train")
    assert (hanging["unreadable"], hanging["total_bytes"]) == ("timeout", None)
    assert hanging["detail"].startswith("no answer within 0.5 s: the process is in state ")
    assert seen["root"]["total_bytes"] > 0


def test_a_mount_whose_program_has_ended_says_so(seen: dict[str, Any]) -> None:
    assert seen["ended"]["unreadable"] == "Transport endpoint is not connected"


def test_only_a_disk_that_is_read_only_itself_is_told_as_such(seen: dict[str, Any]) -> None:
    assert (seen["mount_read_only"], seen["disk_read_only"]) == (False, True)
