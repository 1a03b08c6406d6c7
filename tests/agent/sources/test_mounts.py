"""Mounts: which are looked at, space by a killable process, and this very host."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.child import Slot
from agent.sources.mount_table import parse_mounts
from agent.sources.mounts import AskSpace, MountsSource, NoAnswer, Space, StatCommand, parse_space
from checks.errors import CannotObserve
from checks.manifest import Manifest, Mount
from checks.readings import ExpectedMount, FilesystemReading
from tests.support.eventually import eventually
from tests.support.surroundings import SOON, approve, deadline, surroundings_at, write_files

MOUNTINFO = r"""
21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
22 21 0:24 / /dev/shm rw,nosuid shared:2 - tmpfs tmpfs rw
23 21 0:22 / /proc rw,nosuid shared:3 - proc proc rw
24 21 259:2 /var/data /srv ro,relatime shared:4 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
25 21 259:5 / /mnt/my\040data rw,noatime - xfs /dev/nvme1n1p1 ro
26 21 0:50 / /home rw,relatime shared:9 - nfs4 storage:/home rw,vers=4.2
27 21 0:60 / /run/user/1000 rw - tmpfs tmpfs rw
28 21 0:61 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
"""
SPACE = Space(1000, 400, 100, 50)


async def some_space(_mount: str, _deadline_s: float) -> Space:
    return SPACE


def source_of(
    tmp_path: Path, text: str = MOUNTINFO, ask: AskSpace = some_space, deadline_s: float = 10.0
) -> MountsSource:
    write_files(tmp_path, {"proc/self/mountinfo": text})
    surroundings = surroundings_at(tmp_path, monotonic=lambda: 9.0)
    return MountsSource(surroundings, deadline(deadline_s), ask_space=ask)


async def test_disks_and_network_mounts_are_read_and_pseudo_file_systems_are_not(tmp_path: Path) -> None:
    reading = await source_of(tmp_path).read()
    assert reading.at_s == 9.0
    assert [each.mount for each in reading.filesystems] == ["/", "/dev/shm", "/srv", "/mnt/my data", "/home"]
    expected = FilesystemReading(
        mount="/mnt/my data",
        device="/dev/nvme1n1p1",
        kind="xfs",
        read_only=True,
        total_bytes=1000,
        free_bytes=400,
        total_inodes=100,
        free_inodes=50,
    )
    assert expected == reading.filesystems[3]


async def test_a_disk_is_asked_once_however_often_it_is_mounted(tmp_path: Path) -> None:
    asked: list[str] = []

    async def ask(mount: str, _deadline_s: float) -> Space:
        asked.append(mount)
        return SPACE

    reading = await source_of(tmp_path, ask=ask).read()
    assert sorted(asked) == ["/", "/dev/shm", "/home", "/mnt/my data"]
    assert {1000} == {each.total_bytes for each in reading.filesystems}


def test_only_the_file_system_itself_makes_a_mount_read_only() -> None:
    read_only = {each.filesystem.mount: each.filesystem.read_only for each in parse_mounts(MOUNTINFO)}
    assert (read_only["/"], read_only["/srv"], read_only["/mnt/my data"]) == (False, False, True)


def test_of_two_mounts_at_one_place_the_last_is_seen() -> None:
    lines = "1 0 8:1 / /data rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw - xfs /dev/sdb1 rw\n"
    assert [(each.filesystem.mount, each.filesystem.kind) for each in parse_mounts(lines)] == [("/data", "xfs")]


@given(st.text(max_size=200))
def test_any_text_is_mounts_or_none(text: str) -> None:
    assert all(mount.filesystem.kind is not None for mount in parse_mounts(text))


async def test_a_mount_that_cannot_be_asked_says_why_and_the_others_are_read(tmp_path: Path) -> None:
    async def ask(mount: str, _deadline_s: float) -> Space:
        if mount == "/home":
            raise CannotObserve("Stale file handle")
        return SPACE

    reading = await source_of(tmp_path, ask=ask).read()
    told = {each.mount: (each.unreadable, each.total_bytes) for each in reading.filesystems}
    assert (told["/home"], told["/"]) == (("Stale file handle", None), ("", 1000))


async def test_a_dead_mount_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    ask = StatCommand(("sh", "-c", "case $1 in /home) exec sleep 600;; *) echo 4096 10 5 100 50;; esac", "stat"))
    reading = await source_of(tmp_path, ask=ask, deadline_s=1.0).read()
    told = {each.mount: (each.unreadable, each.total_bytes) for each in reading.filesystems}
    assert (told["/home"], told["/"]) == (("timeout", None), ("", 40_960))
    detail = next(each.detail for each in reading.filesystems if each.mount == "/home")
    assert detail.startswith("no answer within 0.5 s: the process is in state S")


def unkillable() -> Slot:
    return Slot(kill=lambda _group, _signal: None, kill_limit_s=0.05)


async def test_no_second_process_is_started_for_a_mount_whose_first_does_not_die(tmp_path: Path) -> None:
    started = tmp_path / "started"
    ask = StatCommand(("sh", "-c", f"echo $$ >> {started}; exec sleep 600"), make_slot=unkillable)
    for _ in range(2):
        with pytest.raises(NoAnswer, match="does not die of SIGKILL: it is in state S") as raised:
            await ask("/home", 0.3)
        assert raised.value.word == "stuck"
    (pid,) = started.read_text().split()
    os.killpg(int(pid), signal.SIGKILL)
    await eventually("it is gone", lambda: not ask.is_stuck("/home"))


async def test_the_real_stat_tells_what_statvfs_tells(tmp_path: Path) -> None:
    space = await StatCommand()(str(tmp_path), 10.0)
    told = os.statvfs(tmp_path)
    assert (told.f_blocks * told.f_frsize, told.f_files) == (space.total_bytes, space.total_inodes)
    assert 0 < space.free_bytes <= space.total_bytes


async def test_a_mount_that_is_gone_is_told_in_the_systems_words(tmp_path: Path) -> None:
    with pytest.raises(CannotObserve, match=r"^No such file or directory$"):
        await StatCommand()(str(tmp_path / "gone"), 10.0)


def test_space_is_counted_in_fundamental_blocks() -> None:
    assert Space(40_960, 20_480, 100, 50) == parse_space("4096 10 5 100 50\n")


async def test_the_root_of_this_very_host_is_read() -> None:
    source = MountsSource(surroundings_at(Path("/")), SOON)
    reading = await source.read()
    await source.close()
    root = next(each for each in reading.filesystems if each.mount == "/")
    assert (root.total_bytes or 0) > 0


async def test_what_was_approved_is_expected_whether_it_ever_was_mounted_or_not(tmp_path: Path) -> None:
    approve(tmp_path, Manifest(mounts=(Mount("/home", "nfs4"), Mount("/scratch", "xfs"))))
    write_files(tmp_path, {"proc/self/mountinfo": "", "etc/fstab": "storage:/home /home nfs4 defaults 0 0\n"})
    reading = await MountsSource(surroundings_at(tmp_path), SOON).read()
    assert reading.expected == (ExpectedMount("/home", "nfs4", in_fstab=True), ExpectedMount("/scratch", "xfs"))
