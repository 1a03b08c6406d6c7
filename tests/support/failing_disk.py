"""A disk that fails as disks do: its file system becomes read-only under open files, until it is mounted anew."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class FailingDisk:
    """An ext4 in a file. `place`: where it is mounted."""

    place: Path
    image: Path

    def fail(self) -> None:
        """Have it do what ext4 does after an error of the disk (errors=remount-ro)."""
        subprocess.run(["mount", "-o", "remount,abort", self.place], check=True)

    def mend(self) -> None:
        """Have it checked and mounted again, as a person does. Whoever has files open on it has to let go first."""
        subprocess.run(["umount", self.place], check=True)
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
        subprocess.run(["mkfs.ext4", "-q", disk.image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", disk.image, disk.place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk.place], check=False)
