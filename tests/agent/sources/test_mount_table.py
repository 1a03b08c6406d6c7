"""Which mounts are expected: what fstab wants and was once seen, and what a server's mounts have stood for."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sources.mount_table import STOOD_S, expected, parse_fstab, parse_mounts
from agent.sources.mounts import MountsSource, Space
from checks.readings import ExpectedMount
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, surroundings_at, write_files

ROOT = "21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
SCRATCH = "25 21 259:5 / /scratch rw,noatime - xfs /dev/nvme1n1p1 rw\n"
HOME = "26 21 0:50 / /home rw,relatime shared:9 - nfs4 storage:/home rw,vers=4.2\n"
FSTAB = """
# <file system> <mount point> <type> <options> <dump> <pass>
UUID=3f5b1c2e /         ext4  errors=remount-ro 0 1
/dev/md0      /scratch  xfs   noatime,nofail    0 2
/swap.img     none      swap  sw                0 0
storage:/x    /my\\040data nfs4 _netdev          0 0
storage:/y    /rare     nfs4  noauto,_netdev    0 0
storage:/z    /used     nfs4  x-systemd.automount,_netdev 0 0
broken
"""


async def answer(_mount: str, _deadline_s: float) -> Space:
    return Space(1000, 400, 100, 50)


class Host:
    """A host whose mounts come and go."""

    def __init__(self, root: Path, store: MemoryStore | None = None) -> None:
        self.root, self.store, self.now = root, store or MemoryStore(), 1_000.0
        self.source = MountsSource(
            surroundings_at(root, self.store, monotonic=lambda: self.now), SOON, ask_space=answer
        )

    async def expects(self, mounted: str, fstab: str = FSTAB) -> list[ExpectedMount]:
        """Read the host with these mounts, and return what it should have mounted."""
        write_files(self.root, {"proc/self/mountinfo": mounted, "etc/fstab": fstab})
        return list((await self.source.read()).expected)


def test_what_is_mounted_at_boot_is_read_from_fstab() -> None:
    assert {"/", "/scratch", "/my data"} == parse_fstab(FSTAB)


async def test_what_fstab_wants_and_was_once_there_is_expected_from_then_on(tmp_path: Path) -> None:
    host = Host(tmp_path)
    both = [ExpectedMount("/", "ext4", True), ExpectedMount("/scratch", "xfs", True)]
    assert both[:1] == await host.expects(ROOT)
    assert both == await host.expects(ROOT + SCRATCH)
    assert both == await Host(tmp_path, host.store).expects(ROOT)
    assert host.store.value == {"known_mounts": {"/": "ext4", "/scratch": "xfs"}}
    assert host.store.saves == 2


async def test_a_disk_that_was_taken_out_of_fstab_is_not_expected_any_more(tmp_path: Path) -> None:
    host = Host(tmp_path, MemoryStore({"known_mounts": {"/scratch": "xfs", "broken": 7}}))
    assert [ExpectedMount("/", "ext4", True)] == await host.expects(ROOT, fstab="/dev/vda / ext4 rw 0 1\n")


async def test_a_servers_mount_that_fstab_does_not_know_is_expected_once_it_has_stood(tmp_path: Path) -> None:
    host, root = Host(tmp_path), ExpectedMount("/", "ext4", True)
    assert [root] == await host.expects(ROOT + HOME)
    host.now += STOOD_S - 1
    assert [root] == await host.expects(ROOT + HOME)
    assert [root] == await host.expects(ROOT)
    host.now += 1
    assert [root] == await host.expects(ROOT + HOME)
    host.now += STOOD_S
    assert [root, ExpectedMount("/home", "nfs4", False)] == await host.expects(ROOT + HOME)
    assert [root, ExpectedMount("/home", "nfs4", False)] == await host.expects(ROOT)


async def test_what_comes_and_goes_by_itself_is_never_expected(tmp_path: Path) -> None:
    passing = (
        "40 21 0:61 / /net rw - autofs /etc/auto.net rw,fd=5\n"
        "41 40 0:62 / /net/storage rw - nfs4 storage:/ rw\n"
        "42 21 0:63 / /var/lib/kubelet/pods/1/volumes/data rw - nfs4 storage:/pv1 rw\n"
        "43 21 8:16 / /mnt rw - ext4 /dev/sdb rw\n"
    )
    host = Host(tmp_path)
    await host.expects(ROOT + passing)
    host.now += 2 * STOOD_S
    assert [ExpectedMount("/", "ext4", True)] == await host.expects(ROOT + passing)


async def test_a_host_without_fstab_expects_no_disks(tmp_path: Path) -> None:
    host = Host(tmp_path)
    write_files(tmp_path, {"proc/self/mountinfo": ROOT})
    assert (await host.source.read()).expected == ()


@given(st.text(max_size=300))
def test_any_text_is_a_table_of_mounts(text: str) -> None:
    assert all(place.startswith("/") for place in parse_fstab(text))
    known = {mount.filesystem.mount: mount.filesystem.kind for mount in parse_mounts(text)}
    assert {each.mount for each in expected(known, frozenset())} <= set(known)
