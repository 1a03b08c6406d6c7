"""RDMA ports from sysfs trees: what real ones say, what broken ones say, and any bytes at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.infiniband import parse_hexadecimal, parse_lanes, parse_rate, parse_state
from agent.sources.rdma import RdmaSource
from checks.errors import CannotObserve
from checks.fabric.rdma_port import STOOD_S, judge
from checks.manifest import Manifest, Port
from checks.readings import RdmaPort
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, approve, deadline, surroundings_at

PORT = {
    "state": b"4: ACTIVE\n",
    "phys_state": b"5: LinkUp\n",
    "rate": b"400 Gb/sec (4X NDR)\n",
    "link_layer": b"InfiniBand\n",
    "lid": b"0x12\n",
    "sm_lid": b"0x1\n",
    "counters/link_downed": b"3\n",
}


def add_adapter(
    sysfs: Path,
    name: str = "mlx5_0",
    ports: tuple[str, ...] = ("1",),
    files: dict[str, bytes] | None = None,
    interfaces: dict[str, tuple[str, str]] | None = None,
    pci: str = "0000:3b:00.0",
) -> None:
    """Add an adapter. `interfaces`: name → (dev_port, carrier_changes)."""
    device = sysfs / "devices/pci0000:3a" / pci
    adapter = device / "infiniband" / name
    texts = {"node_guid": b"a088:c203:00ab:cdef\n", "fw_ver": b"28.39.1002\n"}
    texts |= {f"ports/{port}/{file}": text for port in ports for file, text in (PORT | (files or {})).items()}
    for path, text in texts.items():
        (adapter / path).parent.mkdir(parents=True, exist_ok=True)
        (adapter / path).write_bytes(text)
    for interface, (dev_port, changes) in (interfaces or {}).items():
        (device / "net" / interface).mkdir(parents=True)
        (device / "net" / interface / "dev_port").write_text(f"{dev_port}\n")
        (device / "net" / interface / "carrier_changes").write_text(f"{changes}\n")
        (device / "net" / interface / "carrier_down_count").write_text(f"{int(changes) // 2}\n")
        (device / "net" / interface / "operstate").write_text("up\n")
    (adapter / "device").symlink_to(device)
    (sysfs / "class/infiniband").mkdir(parents=True, exist_ok=True)
    (sysfs / "class/infiniband" / name).symlink_to(adapter)


async def test_a_healthy_port_is_read_in_full(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys", interfaces={"ib0": ("0", "6")})
    expected = RdmaPort(
        name="mlx5_0/1",
        link_layer="InfiniBand",
        state=4,
        phys_state=5,
        rate_gbit_per_s=400.0,
        lanes=4,
        lid=0x12,
        sm_lid=1,
        link_downed=3,
        interface="ib0",
        operstate="up",
        carrier_changes=6,
        carrier_downs=3,
        node_guid="a088:c203:00ab:cdef",
        pci="0000:3b:00",
        firmware="28.39.1002",
    )
    assert [expected] == await ports_of(tmp_path)


async def test_each_port_of_an_adapter_has_its_own_interface(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys", ports=("1", "2"), interfaces={"ib0": ("0", "6"), "ib1": ("1", "8")})
    assert [(p.name, p.carrier_changes) for p in await ports_of(tmp_path)] == [("mlx5_0/1", 6), ("mlx5_0/2", 8)]


async def test_an_adapter_that_is_not_on_the_pci_bus_has_no_address(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys", name="siw0", pci="virtual")
    assert [(p.name, p.pci, p.carrier_changes) for p in await ports_of(tmp_path)] == [("siw0/1", "", None)]


async def test_a_host_without_rdma_has_no_ports(tmp_path: Path) -> None:
    assert await ports_of(tmp_path) == []


async def test_files_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys")
    port = tmp_path / "sys/class/infiniband/mlx5_0/ports/1"
    for name in ("state", "rate", "counters/link_downed"):
        (port / name).unlink()
    (port / "phys_state").unlink()
    (port / "phys_state").mkdir()
    read = (await ports_of(tmp_path))[0]
    assert (read.state, read.phys_state, read.rate_gbit_per_s, read.link_downed) == (None, None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("400 Gb/sec (4X NDR)", 400.0),
        ("2.5 Gb/sec (1X SDR)", 2.5),
        ("10 Gb/sec (4X SDR)", 10.0),
        ("100 Gb/sec (4X EDR)", 100.0),
        ("", None),
        ("400", None),
        ("-1 Gb/sec", None),
        ("nan Gb/sec (4X NDR)", None),
        ("٤٠٠ Gb/sec (4X NDR)", None),
    ],
)
def test_rates(text: str, expected: float | None) -> None:
    assert expected == parse_rate(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("400 Gb/sec (4X NDR)", 4), ("2.5 Gb/sec (1X SDR)", 1), ("400 Gb/sec", None), ("4X", None)]
)
def test_lanes(text: str, expected: int | None) -> None:
    assert expected == parse_lanes(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0x12", 18), ("0xffff", 65535), ("12", None), ("0x", None), ("", None)]
)
def test_identifiers(text: str, expected: int | None) -> None:
    assert expected == parse_hexadecimal(text)


@pytest.mark.parametrize(("text", "expected"), [("4: ACTIVE", 4), ("7: <unknown>", 7), ("ACTIVE", None), ("4", None)])
def test_states(text: str, expected: int | None) -> None:
    assert expected == parse_state(text)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.binary(max_size=120), min_size=len(PORT), max_size=len(PORT)))
async def test_any_bytes_give_a_port(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("root")
    add_adapter(root / "sys", files=dict(zip(PORT, texts, strict=True)))
    (port,) = await ports_of(root)
    assert port.name == "mlx5_0/1"
    assert port.link_layer.isprintable()
    for value in (port.state, port.phys_state, port.link_downed, port.lanes, port.lid, port.sm_lid):
        assert value is None or value >= 0


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_none(text: str) -> None:
    for parse in (parse_state, parse_rate, parse_lanes, parse_hexadecimal):
        value = parse(text)
        assert value is None or value >= 0


async def test_the_best_rate_of_a_port_is_remembered_when_it_vanishes(tmp_path: Path) -> None:
    store = MemoryStore({"known_ports": {"mlx5_9/1": 200.0, "broken": "text"}})
    source = RdmaSource(surroundings_at(tmp_path, store, monotonic=lambda: 3.0), SOON)
    add_adapter(tmp_path / "sys")
    first = await source.read()
    rate = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/rate"
    rate.write_text("100 Gb/sec (4X EDR)\n")
    second = await source.read()
    (tmp_path / "sys/class/infiniband/mlx5_0").unlink()
    third = await source.read()
    known = {"mlx5_9/1": 200.0, "mlx5_0/1": 400.0}
    assert [known] * 3 == [reading.known_ports for reading in (first, second, third)]
    assert [len(reading.ports) for reading in (first, second, third)] == [1, 1, 0]
    assert (first.at_s, store.saves) == (3.0, 1)
    assert store.value == {"known_ports": known, "known_pci": {"mlx5_0/1": "0000:3b:00"}}


async def test_a_port_that_is_missing_since_a_restart_is_still_known_by_its_adapter(tmp_path: Path) -> None:
    known = {"known_ports": {"mlx5_9/1": 400.0}, "known_pci": {"mlx5_9/1": "0000:ce:00", "broken": 7}}
    reading = await RdmaSource(surroundings_at(tmp_path, MemoryStore(known)), SOON).read()
    assert reading.known_pci == {"mlx5_9/1": "0000:ce:00"}
    later = replace(reading, at_s=reading.at_s + STOOD_S)
    (finding,) = judge([reading, later])
    assert (finding.code, finding.pci) == ("missing", "0000:ce:00")


async def test_a_port_that_never_was_active_is_not_expected(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys", files={"state": b"1: DOWN\n", "rate": b"10 Gb/sec (4X SDR)\n"})
    reading = await RdmaSource(surroundings_at(tmp_path), SOON).read()
    assert (len(reading.ports), reading.known_ports) == (1, {})


async def test_a_counter_that_cannot_be_read_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """Each try would cost a line of the kernel log on an adapter that does not let this host read it."""
    add_adapter(tmp_path / "sys")
    counter = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/counters/link_downed"
    counter.unlink()
    now = [0.0]
    source = RdmaSource(surroundings_at(tmp_path, monotonic=lambda: now[0]), SOON)
    await source.read()
    counter.write_text("3\n")
    readings = []
    for now[0] in (5.0, 300.0):
        readings.append((await source.read()).ports[0].link_downed)
    assert readings == [None, 3]


async def test_readings_that_are_alike_share_their_ports(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys")
    add_adapter(tmp_path / "sys", name="mlx5_1", pci="0000:5c:00.0")
    source = RdmaSource(surroundings_at(tmp_path), SOON)
    first, second = await source.read(), await source.read()
    (tmp_path / "sys/class/infiniband/mlx5_0/ports/1/state").write_text("1: DOWN\n")
    third = await source.read()
    assert first.ports is second.ports
    assert [a is b for a, b in zip(second.ports, third.ports, strict=True)] == [False, True]


async def test_a_driver_that_hangs_is_an_error_and_over_when_it_lets_go(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys")
    state = tmp_path / "sys/class/infiniband/mlx5_0/ports/1/state"
    state.unlink()
    # Opening a FIFO without a writer blocks, as reading a file of a dead driver does.
    os.mkfifo(state)
    source = RdmaSource(surroundings_at(tmp_path), deadline(0.1))
    with pytest.raises(CannotObserve, match=r"no answer within 0.1 s") as raised:
        await source.read()
    assert not raised.value.stuck
    state.unlink()
    state.write_bytes(b"4: ACTIVE\n")
    assert len((await source.read()).ports) == 1


async def ports_of(root: Path) -> list[RdmaPort]:
    return list((await RdmaSource(surroundings_at(root), SOON).read()).ports)


async def test_ports_that_were_approved_are_known_before_they_were_ever_up(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys", files={"state": b"1: DOWN\n"})
    unplugged = Port("mlx5_2/1", guid="a088:c203:00ab:0002")
    approve(tmp_path, Manifest(ports=(Port("mlx5_0/1", rate_gbit_per_s=400.0), unplugged)))
    store = MemoryStore({"known_ports": {"mlx5_1/1": 400.0}})
    source = RdmaSource(surroundings_at(tmp_path, store), SOON)
    reading = await source.read()
    await source.close()
    assert reading.known_ports == {"mlx5_0/1": 400.0}
    assert store.value == {"known_ports": {"mlx5_0/1": 400.0}, "known_pci": {"mlx5_0/1": "0000:3b:00"}}


async def test_ports_that_nobody_could_read_on_approval_are_learnt(tmp_path: Path) -> None:
    add_adapter(tmp_path / "sys")
    approve(tmp_path, Manifest(unread={"ports": "the source rdma has not answered"}))
    source = RdmaSource(surroundings_at(tmp_path), SOON)
    reading = await source.read()
    await source.close()
    assert reading.known_ports == {"mlx5_0/1": 400.0}
