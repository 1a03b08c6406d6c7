"""NFS, Lustre and GPFS: what their clients tell, in the words they tell it, and any bytes at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.gpfs import FOLDER, GpfsSource, parse_state
from agent.sources.lustre import LustreSource
from agent.sources.nfs import NfsSource, parse_mountstats
from checks.errors import CannotObserve
from checks.readings import GpfsReading, LustreReading, LustreTarget, NfsMount, NfsReading
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program

MOUNTSTATS = """\
device rootfs mounted on / with fstype rootfs
device elwe:/space mounted on /srv/elwe/space with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.1,rsize=131072,hard,proto=tcp,port=0,timeo=600,retrans=2,sec=krb5,clientaddr=10.0.1.77
\tage:\t3542
\tevents:\t114 1579 5 3 132 20 3019 1 2 3 4 5 115 1 4 1 2 4 3 4 5 6 7 8 9 0 1
\tbytes:\t1 2 3 4 5 6 7 8
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 909 0 1 0 2 294 294 0 294 0 2 0 0
\txprt:\ttcp 910 0 3 0 2 294 294 0 294 0 2 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 100 104 2 3 4 5 6 7 8
\t       WRITE: 10 10 0 0 0 0 0 0 0

device storage:/my\\040data mounted on /my\\040data with fstype nfs statvers=1.1
\tage:\t7
\txprt:\tudp 875 1 7 7 0 0 0
\tper-op statistics
\t     GETATTR: 5 5 0 1 2 3 4 5
device tmpfs mounted on /run with fstype tmpfs
"""
"""The first is captured (tests of the Rust crate procfs), with a second connection and counts put in."""

IMPORT = """\
import:
    name: fs-OST0001-osc-ffff88203810d800
    target: fs-OST0001_UUID
    state: {state}
    connect_flags: [ write_grant, server_lock ]
    import_flags: [ replayable, pingable, connect_tried ]
    connection:
       failover_nids: [ 10.0.0.1@o2ib, 10.0.0.2@o2ib ]
       current_connection: 10.0.0.2@o2ib
       connection_attempts: 3
       generation: 2
       in-progress_invalidations: 0
"""
"""As lustre/obdclass/lprocfs_status.c prints it, filled in."""

HEADER = (
    "mmgetstate::HEADER:version:reserved:reserved:nodeName:nodeNumber:state:quorum:nodesUp:totalNodes:remarks:"
    "cnfsState:\n"
)
ACTIVE = f"{HEADER}mmgetstate::0:1:::ib-proj-nsd05.domain:11:active:4:7:1122::(undefined):\n"
"""Captured: treydock/gpfs_exporter, collectors/mmgetstate_test.go."""


async def test_nfs_mounts_are_read_with_the_sum_of_their_requests(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/self/mountstats": MOUNTSTATS})
    reading = await NfsSource(surroundings_at(tmp_path), SOON).read()
    first = NfsMount("/srv/elwe/space", "elwe:/space", "nfs4", 3542, 111, 115, 2, 4)
    second = NfsMount("/my data", "storage:/my data", "nfs", 7, 5, 5, 0, None)
    assert NfsReading(5.0, (first, second)) == reading


async def test_a_host_without_nfs_has_no_mounts(tmp_path: Path) -> None:
    assert NfsReading(5.0) == await NfsSource(surroundings_at(tmp_path), SOON).read()


async def test_mountstats_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "proc/self/mountstats").mkdir(parents=True)
    with pytest.raises(CannotObserve, match=r"mountstats: Is a directory$"):
        await NfsSource(surroundings_at(tmp_path), SOON).read()


async def test_this_very_hosts_mountstats_are_read() -> None:
    reading = await NfsSource(surroundings_at(Path("/")), SOON).read()
    assert all(mount.kind in ("nfs", "nfs4") for mount in reading.mounts)


@given(
    st.one_of(
        st.text(max_size=300),
        st.builds(lambda cut, junk: MOUNTSTATS[:cut] + junk, st.integers(0, 900), st.text(max_size=40)),
    )
)
def test_any_text_is_nfs_mounts_or_none(text: str) -> None:
    for mount in parse_mountstats(text):
        assert min(mount.operations, mount.transmissions, mount.timeouts) >= 0


async def test_lustre_is_read_where_its_release_keeps_its_files(tmp_path: Path) -> None:
    ost, mdt = "osc/fs-OST0001-osc-ffff88203810d800", "mdc/fs-MDT0000-mdc-ffff88203810d800"
    files = {
        "sys/fs/lustre/health_check": "healthy\n",
        f"sys/fs/lustre/{ost}/active": "1\n",
        f"sys/fs/lustre/{mdt}/active": "0\n",
        f"sys/kernel/debug/lustre/{ost}/import": IMPORT.format(state="DISCONN"),
        f"proc/fs/lustre/{mdt}/import": IMPORT.format(state="FULL"),
        "proc/fs/lustre/mgc/MGC10.0.0.1@o2ib/import": "nonsense",
        "proc/fs/lustre/osc/num_refs": "3\n",
    }
    write_files(tmp_path, files)
    targets = (
        LustreTarget("MGC10.0.0.1@o2ib"),
        LustreTarget("fs-MDT0000", "FULL", False, "10.0.0.2@o2ib"),
        LustreTarget("fs-OST0001", "DISCONN", True, "10.0.0.2@o2ib"),
    )
    reading = await LustreSource(surroundings_at(tmp_path), SOON).read()
    assert LustreReading(5.0, True, "healthy", targets) == reading


async def test_a_host_without_lustre_starts_nothing(tmp_path: Path) -> None:
    source = LustreSource(surroundings_at(tmp_path, tools=tmp_path), SOON)
    assert LustreReading(5.0) == await source.read()


async def test_a_client_that_does_not_let_go_is_an_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"sys/fs/lustre/version": "2.15.5\n"})
    # Opening a FIFO without a writer blocks, as a file of a client that has stopped does.
    os.mkfifo(tmp_path / "sys/fs/lustre/health_check")
    with pytest.raises(CannotObserve, match=r"no answer within 0.1 s"):
        await LustreSource(surroundings_at(tmp_path), deadline(0.1)).read()


@settings(max_examples=50, deadline=None)
@given(health=st.binary(max_size=60), told=st.binary(max_size=200))
async def test_any_bytes_of_lustre_are_a_reading(
    tmp_path_factory: pytest.TempPathFactory, health: bytes, told: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    write_files(root, {"sys/fs/lustre/health_check": health, "proc/fs/lustre/osc/fs-OST0000-osc-ffff8820/import": told})
    (target,) = (await LustreSource(surroundings_at(root), SOON).read()).targets
    assert (target.name, target.active) == ("fs-OST0000", None)


def gpfs(root: Path, printed: str, store: MemoryStore | None = None) -> GpfsSource:
    write_files(root, {"printed": printed})
    write_program(root / FOLDER, "mmgetstate", f'[ "$1" = -Y ] && cat {root / "printed"}')
    return GpfsSource(surroundings_at(root, store, tools=root / "none"), SOON)


async def test_gpfs_is_asked_where_it_is_installed_and_remembered_once_active(tmp_path: Path) -> None:
    store = MemoryStore()
    source = gpfs(tmp_path, ACTIVE, store)
    expected = GpfsReading(5.0, True, True, "ib-proj-nsd05.domain", "active", "4", "7", "1122")
    assert [expected, expected] == [await source.read(), await source.read()]
    assert (store.value, store.saves) == ({"was_active": True}, 1)
    down = await gpfs(tmp_path, ACTIVE.replace("active", "down"), store).read()
    assert (down.was_active, down.state) == (True, "down")


async def test_a_host_without_gpfs_says_so_and_one_that_lost_it_cannot(tmp_path: Path) -> None:
    nowhere = surroundings_at(tmp_path, tools=tmp_path)
    assert GpfsReading(5.0) == await GpfsSource(nowhere, SOON).read()
    once = surroundings_at(tmp_path, MemoryStore({"was_active": True}), tools=tmp_path)
    with pytest.raises(CannotObserve, match="not installed"):
        await GpfsSource(once, SOON).read()


async def test_a_node_in_no_cluster_is_no_error(tmp_path: Path) -> None:
    said = "mmgetstate: This node does not belong to a GPFS cluster.\n"
    assert GpfsReading(5.0) == await gpfs(tmp_path, said).read()


async def test_who_may_not_ask_is_told_the_programs_words(tmp_path: Path) -> None:
    with pytest.raises(CannotObserve, match=r"^mmgetstate -Y: mmgetstate: You must be root$"):
        await gpfs(tmp_path, "mmgetstate: You must be root\n").read()


@given(st.one_of(st.text(max_size=200), st.text(max_size=60).map(lambda text: f"{HEADER}mmgetstate::0:1:{text}")))
def test_any_text_is_a_state_or_an_error(text: str) -> None:
    try:
        told = parse_state(text)
    except CannotObserve:
        return
    assert not told or told["state"]
