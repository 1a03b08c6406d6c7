"""What LLDP daemons print of the switches behind a host, what is remembered of them, and any text.

lldpcli-neighbors.json0 was printed by lldpd 1.0.16 (Debian 12) on a host with three ports, cabled to a router, a bridge
and another host. networkctl-lldp.json has the fields that io.systemd.Network of systemd 257 documents.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.sources.lldp import ASK_LLDPCLI, ASK_NETWORKCTL, LldpSource, parse_lldpcli, parse_networkctl
from checks.errors import CannotObserve
from checks.readings import LldpNeighbour, LldpReading
from tests.support.captured import captured, write_tool
from tests.support.memory_store import MemoryStore
from tests.support.surroundings import SOON, deadline, surroundings_at, write_files, write_program
from wire.places import why_no_place

NEIGHBOURS = captured("lldpcli-neighbors.json0")
OF_SYSTEMD = captured("networkctl-lldp.json")
LEAF = LldpNeighbour("ens1np0", "leaf-3", is_rdma=True)
BRIDGE = LldpNeighbour("eno1", "mgmt-sw-1")


def source_at(root: Path, store: MemoryStore | None = None) -> LldpSource:
    """Return the source on a host with two Ethernet ports, one of which is an RDMA adapter's."""
    (root / "bin").mkdir(exist_ok=True)
    adapter = root / "sys/class/infiniband/mlx5_0/device/net/ens1np0"
    adapter.mkdir(parents=True, exist_ok=True)
    write_files(root / "sys/class/net", {f"{name}/operstate": "up\n" for name in ("ens1np0", "eno1", "ens2np0")})
    return LldpSource(surroundings_at(root, store, tools=root / "bin"), SOON)


async def test_switches_are_told_apart_by_their_ports_and_hosts_are_none(tmp_path: Path) -> None:
    source = source_at(tmp_path)
    assert LldpReading(5.0) == await source.read()
    write_tool(tmp_path / "bin", "lldpcli", {" ".join(ASK_LLDPCLI): NEIGHBOURS})
    source = source_at(tmp_path)
    assert LldpReading(5.0, (BRIDGE, LEAF)) == await source.read()
    await source.close()


async def test_systemd_is_asked_too_and_a_switch_without_a_name_is_known_by_its_chassis(tmp_path: Path) -> None:
    write_tool(tmp_path / "bin", "networkctl", {" ".join(ASK_NETWORKCTL): OF_SYSTEMD})
    write_program(tmp_path / "bin", "lldpcli", "echo '[WARN/control] unable to connect to socket' >&2; exit 1")
    source = source_at(tmp_path)
    assert (LldpNeighbour("eno1", "7e:7d:d3:63:52:ab"), LEAF) == (await source.read()).neighbours
    await source.close()


async def test_a_switch_that_fell_silent_is_remembered_until_another_sits_in_its_place(tmp_path: Path) -> None:
    store = MemoryStore()
    write_tool(tmp_path / "bin", "lldpcli", {" ".join(ASK_LLDPCLI): NEIGHBOURS})
    await source_at(tmp_path, store).read()
    write_tool(tmp_path / "bin", "lldpcli", {" ".join(ASK_LLDPCLI): '{"lldp": [{}]}'})
    restarted = source_at(tmp_path, store)
    assert (await restarted.read()).neighbours == (BRIDGE, LEAF)
    write_tool(tmp_path / "bin", "lldpcli", {" ".join(ASK_LLDPCLI): NEIGHBOURS.replace("leaf-3", "leaf-4")})
    assert [each.switch for each in (await restarted.read()).neighbours] == ["mgmt-sw-1", "leaf-4"]


async def test_a_port_that_is_gone_has_no_switch(tmp_path: Path) -> None:
    write_tool(tmp_path / "bin", "lldpcli", {" ".join(ASK_LLDPCLI): NEIGHBOURS})
    source = source_at(tmp_path)
    await source.read()
    (tmp_path / "sys/class/net/eno1/operstate").unlink()
    (tmp_path / "sys/class/net/eno1").rmdir()
    assert (await source.read()).neighbours == (LEAF,)


async def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "lldpcli", "exec sleep infinity")
    source = LldpSource(surroundings_at(tmp_path, tools=tmp_path / "bin"), deadline(0.2))
    with pytest.raises(CannotObserve, match="no answer within"):
        await source.read()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["lldp", "interface", "name", "chassis", "id", "value", "capability", "type", "enabled"])
            | st.sampled_from(["Neighbors", "InterfaceName", "SystemName", "ChassisID", "EnabledCapabilities"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.text() | JSON.map(json.dumps))
@example(json.dumps({"lldp": [{"interface": [{"name": "../..", "chassis": [{"name": [{"value": "leaf"}]}]}]}]}))
@example(json.dumps({"Neighbors": [{"InterfaceName": "eno1", "Neighbors": [{"SystemName": "\ud800"}]}]}))
def test_any_text_gives_switches_that_can_travel_or_none(printed: str) -> None:
    for seen in (parse_lldpcli(printed), parse_networkctl(printed)):
        for interface, switches in seen.items():
            assert "/" not in interface and interface not in {".", ".."}
            assert switches and not any(map(why_no_place, switches))
            assert "".join(switches).encode()


@given(st.binary(max_size=200))
def test_the_captured_text_cut_anywhere_or_with_noise_is_no_traceback(noise: bytes) -> None:
    for text in (NEIGHBOURS, OF_SYSTEMD):
        cut = text[: len(noise) * 7] + noise.decode("utf-8", "replace")
        assert isinstance(parse_lldpcli(cut) | parse_networkctl(cut), dict)
