"""Which file systems are worth judging: those that a job or the host itself writes to."""

from __future__ import annotations

from collections.abc import Iterable

from checks.readings import FilesystemReading

DISK_KINDS = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "reiserfs", "vfat", "xfs", "zfs"})
"""Kinds that live on a disk and can be written. squashfs, iso9660, erofs and the like are read-only by design."""

ALWAYS_JUDGED = frozenset({"/", "/var", "/tmp", "/dev/shm"})  # noqa: S108 - the mount points' names, nothing is written
"""Mounts that a node cannot work without, whatever holds them (`/` of a container is an overlay, /dev/shm a tmpfs)."""

WRITABLE_KINDS = DISK_KINDS | {"overlay", "tmpfs"}

NETWORK_KINDS = frozenset(
    {
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph-fuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "wekafs",
    }
)
"""Their space is not this host's matter, but whether they answer is."""

PASSING = (
    "/media/",
    "/run/",
    "/tmp/",  # noqa: S108 - a name, nothing is written
    "/var/lib/containerd/",
    "/var/lib/containers/",
    "/var/lib/docker/",
    "/var/lib/kubelet/",
)
"""Where containers and desktops mount what they take away again. Source: the defaults of these programs."""

GIB = 1 << 30
TINY_BYTES = GIB
"""Smaller file systems are left alone: a boot partition is full by nature. Source: our choice."""


def is_disk(filesystem: FilesystemReading) -> bool:
    """Return whether it is a writable kind of file system on a device of this host."""
    return filesystem.kind in DISK_KINDS and (filesystem.kind == "zfs" or _is_device(filesystem.device))


def is_judged(filesystem: FilesystemReading) -> bool:
    """Return whether its space matters here."""
    return is_disk(filesystem) or (filesystem.mount in ALWAYS_JUDGED and filesystem.kind in WRITABLE_KINDS)


def must_answer(filesystem: FilesystemReading) -> bool:
    """Return whether it matters that it cannot be asked."""
    return is_judged(filesystem) or filesystem.kind in NETWORK_KINDS


def is_passing(filesystem: FilesystemReading) -> bool:
    """Return whether it comes and goes with its use, or with a container or desktop."""
    return filesystem.by_use or f"{filesystem.mount}/".startswith(PASSING)


def is_permanent(filesystem: FilesystemReading) -> bool:
    """Return whether a job may count on it being mounted: a disk or a file server's, mounted for good."""
    return (is_disk(filesystem) or is_network(filesystem)) and not is_passing(filesystem)


def is_network(filesystem: FilesystemReading) -> bool:
    """Return whether another host serves it."""
    return filesystem.kind in NETWORK_KINDS


def server_of(filesystem: FilesystemReading) -> str:
    """Return who serves a network file system, as the mount names it: `storage` of `storage:/home`."""
    return server_name(filesystem.device) or filesystem.device or filesystem.mount


def server_name(device: str) -> str:
    """Return `storage` of `storage:/home` and of `//storage/home`, and what names no server as it is."""
    return device[2:].partition("/")[0] if device.startswith("//") else device.partition(":/")[0]


def one_per_device(filesystems: Iterable[FilesystemReading]) -> list[FilesystemReading]:
    """Return each disk once, under its shortest mount point: bind mounts show one disk many times."""
    shown: dict[str, FilesystemReading] = {}
    for filesystem in sorted(filesystems, key=lambda each: (len(each.mount), each.mount)):
        shown.setdefault(filesystem.device if is_disk(filesystem) else filesystem.mount, filesystem)
    return list(shown.values())


def _is_device(device: str) -> bool:
    return device.startswith("/dev/") and not device.startswith("/dev/loop")
