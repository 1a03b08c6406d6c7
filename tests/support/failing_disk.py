"""A disk that gives up under open files: nothing can be written to it or made on it, until it is mounted anew.

The kernel's log is that of the whole machine, and other tests have agents that read it. So the file system has no
journal, whose end the kernel would tell of as of a fault.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE_BYTES = 32 << 20
SHUT_DOWN = 0x8004587D
FLUSHED_FIRST = 0
"""Source: fs/ext4/ext4.h, EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_DEFAULT."""


@dataclass(frozen=True, slots=True)
class FailingDisk:
    """An ext4 in a file. `place`: where it is mounted."""

    place: Path
    image: Path

    def fail(self) -> None:
        """Have it answer every write with an error, as a disk does that is gone."""
        descriptor = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUT_DOWN, struct.pack("I", FLUSHED_FIRST))
        finally:
            os.close(descriptor)

    def mend(self) -> None:
        """Have it checked and mounted again, as a person does. Whoever has files open on it has to let go first.

        What is mounted is a copy: another test's mount namespace may still hold what was mounted here, and that file
        would be mounted as it is there, given up.
        """
        subprocess.run(["umount", self.place], check=True)
        copy = shutil.copy(self.image, self.image.with_suffix(".mended"))
        Path(copy).replace(self.image)
        subprocess.run(["e2fsck", "-p", self.image], check=False, capture_output=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.place], check=True)


@contextmanager
def failing_disk(folder: Path) -> Iterator[FailingDisk]:
    """Give such a disk, or skip the test where none can be mounted."""
    disk = FailingDisk(folder / "disk", folder / "image")
    disk.place.mkdir(parents=True)
    with disk.image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", disk.image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", disk.image, disk.place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk.place], check=False)


@contextmanager
def read_only_disk(place: Path) -> Iterator[Path]:
    """Give a file system that was made read-only, with an empty folder `state` in it, or skip the test."""
    place.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    try:
        (place / "state").mkdir(mode=0o700)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)
