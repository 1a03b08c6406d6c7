"""What foreign programs and files say, whatever it is: parsed to something that makes sense, never to a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.machine import ActionRefused
from agent.repairs import set_aside
from agent.repairs.generations import GENERATIONS, generation_of
from agent.repairs.gpus import parse_gpus
from agent.repairs.holders import find_holders, minors, of_driver, of_gpu, unit_of
from agent.repairs.set_aside import SetAside
from agent.repairs.units import PROPERTIES, parse_unit
from tests.support.fake_host import A100, OTHER, UUID, FakeHost

WAITS = f"{UUID}, 00000000:3B:00.0, NVIDIA A100-SXM4-80GB, [GPU requires reset], [N/A], [Unknown Error], [N/A]"
LOST = "Unable to determine the device handle for GPU0000:86:00.0: GPU is lost.  Reboot the system to recover this GPU"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_one_that_waits_for_its_reset_and_a_lost_one_beside_it() -> None:
    (gpu,) = parse_gpus(f"{LOST}\n{WAITS}\n")
    assert (gpu.uuid, gpu.pci, gpu.capability, gpu.mig) == (UUID, "0000:3b:00.0", None, "[N/A]")


@given(text=st.text() | st.lists(st.sampled_from([UUID, OTHER, ",", "\n", " ", "9.0", "Enabled"])).map("".join))
@example(text=A100.format(uuid=UUID, bus="3B", mig="Enabled", persistence="Enabled"))
def test_a_gpu_is_never_made_up(text: str) -> None:
    for gpu in parse_gpus(text):
        assert gpu.uuid in text
        assert gpu.capability is None or min(gpu.capability) >= 0


@given(text=st.text() | st.lists(st.sampled_from([*PROPERTIES, "=", "active", "\n", "\0"])).map("".join))
def test_a_unit_is_active_only_when_systemd_says_so(text: str) -> None:
    unit = parse_unit("x.service", text)
    assert not unit.is_active or "active" in text
    assert str(unit).isprintable()


@pytest.mark.parametrize(
    ("groups", "place"),
    [
        ("0::/system.slice/nvidia-dcgm.service\n", "nvidia-dcgm.service"),
        ("12:devices:/\n1:name=systemd:/system.slice/nvidia-persistenced.service\n", "nvidia-persistenced.service"),
        ("0::/kubepods.slice/kubepods-besteffort.slice/cri-containerd-1.scope\n", "a pod"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ""),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_where_a_process_is(groups: str, place: str) -> None:
    assert unit_of(groups) == place


@given(groups=st.text())
def test_any_control_group_is_somewhere_or_nowhere(groups: str) -> None:
    place = unit_of(groups)
    assert place in ("", "a pod") or place.endswith(".service")


@pytest.mark.parametrize(
    ("path", "is_driver", "is_gpu"),
    [
        ("/dev/nvidia0", True, True),
        ("/dev/nvidia1", True, False),
        ("/dev/nvidiactl", True, False),
        ("/dev/nvidia-uvm", True, False),
        ("/dev/nvidia-caps/nvidia-cap1", True, False),
        ("/dev/nvidia-nvswitchctl", True, False),
        ("/dev/nvme0", False, False),
        ("/srv/dev/nvidia0", False, False),
        ("socket:[1]", False, False),
    ],
)
def test_which_files_count(tmp_path: Path, path: str, *, is_driver: bool, is_gpu: bool) -> None:
    host = FakeHost(tmp_path)
    assert of_driver(path) == is_driver
    assert of_gpu(host.root, UUID)(path) == is_gpu


@given(content=st.binary(max_size=300))
@example(content=b"GPU UUID: \t GPU-11111111-2222-3333-4444-555555555555\nDevice Minor: \t 4\n")
def test_the_driver_s_own_words_name_a_gpu_or_none(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "proc/driver/nvidia/gpus/0000:3b:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_bytes(content)
        assert all(uuid.encode() in content for uuid in minors(Path(directory)))


@given(stat=st.binary(max_size=60), groups=st.binary(max_size=60))
def test_a_strange_process_is_named_all_the_same(stat: bytes, groups: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "proc/4711"
        (folder / "fd").mkdir(parents=True)
        (folder / "fd/3").symlink_to("/dev/nvidia0")
        (folder / "stat").write_bytes(stat)
        (folder / "cgroup").write_bytes(groups)
        (holder,) = find_holders(Path(directory), of_driver).seen
    assert str(holder).startswith("process 4711 ")


@given(state=st.dictionaries(st.sampled_from(["because", "boot_id", "units", "modules", "persistence"]), JSON))
def test_a_record_is_whole_or_refused(state: dict[str, object]) -> None:
    try:
        record = set_aside.load(state)
    except ValueError as error:
        assert "what a repair took away" in str(error)
    else:
        assert record is None or set(map(type, record.units)) <= {str}


@given(record=st.builds(SetAside, st.text(), st.text(), units=st.lists(st.text()).map(tuple)))
def test_what_was_written_is_read_again(record: SetAside) -> None:
    try:
        written = set_aside.dump(record)
    except UnicodeEncodeError:
        return
    assert set_aside.load(written) == (None if record.is_empty else record)


@given(capability=st.tuples(st.integers(0, 20), st.integers(0, 9)))
def test_every_gpu_is_of_one_generation(capability: tuple[int, int]) -> None:
    generation = generation_of(capability)
    assert generation.since <= capability
    assert generation in GENERATIONS


def test_what_cannot_be_looked_into_is_counted_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost(tmp_path)
    host.process(4711, "train", "/dev/nvidia0")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("agent.repairs.holders.os.readlink", refuse)
    holders = find_holders(host.root, of_driver)
    assert (holders.seen, holders.unseen) == ((), 1)
    with pytest.raises(ActionRefused, match=r"1 processes cannot be looked into, which takes CAP_SYS_PTRACE"):
        holders.refuse_unseen("the driver")
