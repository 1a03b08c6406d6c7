"""Run in a mount namespace of its own: mounts real file systems, and prints what the source of mounts reads of them.

A FUSE file system whose program never answers hangs as a dead file server does; when its program ends it says so.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from agent.sources.mount_table import parse_mounts
from agent.sources.mounts import MountsSource
from checks.readings import FilesystemReading, MountsReading
from tests.support.surroundings import deadline, surroundings_at

LIBC = ctypes.CDLL(None, use_errno=True)
FUSE = b"fuse.juicefs"


def mount_fuse(place: Path) -> int:
    """Mount a file system that never answers; return the descriptor that its program would answer by."""
    place.mkdir()
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if LIBC.mount(b"JuiceFS:train", bytes(place), FUSE, 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    return descriptor


def mount_image(folder: Path) -> Path:
    """Mount an ext4 file system in a file."""
    image, place = folder / "image", folder / "ext4"
    image.write_bytes(b"")
    os.truncate(image, 8 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    return place


def is_read_only(place: Path) -> bool:
    """Return what the kernel's own table says of a mount."""
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    return next(each.filesystem.read_only for each in mounts if each.filesystem.mount == str(place))


def at(reading: MountsReading, place: Path) -> FilesystemReading:
    """Return what was read of one mount."""
    return next(each for each in reading.filesystems if each.mount == str(place))


async def look_at_fuse(silent: Path) -> dict[str, object]:
    """Return what is read while the program does not answer, and once it has ended."""
    source = MountsSource(surroundings_at(Path("/")), deadline(1.0))
    descriptor = mount_fuse(silent)
    hanging = await source.read()
    os.close(descriptor)
    ended = await source.read()
    return {"hanging": at(hanging, silent), "root": at(hanging, Path("/")), "ended": at(ended, silent)}


def look_at_disk(folder: Path) -> dict[str, object]:
    """Return what the kernel says of a disk of which one mount, and then the whole file system, is read-only."""
    place = mount_image(folder)
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
    mount_read_only = is_read_only(place)
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    return {"mount_read_only": mount_read_only, "disk_read_only": is_read_only(place)}


def main(folder: Path) -> None:
    """Look at both, and print it."""
    seen = asyncio.run(look_at_fuse(folder / "silent")) | look_at_disk(folder)
    sys.stdout.buffer.write(msgspec.json.encode(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
