"""What holds for whatever RDMA adapters look like."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from checks.check import LevelCheck
from checks.fabric import rdma_gid, rdma_pcie
from checks.finding import Action, Verdict
from checks.readings import AdapterPort, Gid, PcieLink, RdmaAdapter, RdmaAdaptersReading
from checks.registry import CHECKS

ADAPTER_CHECKS = [check for check in CHECKS if isinstance(check, LevelCheck) and check.reading is RdmaAdaptersReading]

addresses = st.one_of(
    st.integers(0, 2**128 - 1).map(lambda number: ipaddress.IPv6Address(number).exploded),
    st.ip_addresses(v=4).map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}").exploded),
    st.text(max_size=40),
)
gids = st.builds(
    Gid, st.integers(0, 15), addresses, st.sampled_from(["", "IB/RoCE v1", "RoCE v2"]), st.text(max_size=3)
)
ports = st.builds(
    AdapterPort,
    name=st.sampled_from(["mlx5_0/1", "mlx5_1/1"]),
    link_layer=st.sampled_from(["InfiniBand", "Ethernet", "Unknown", ""]),
    state=st.sampled_from([None, 1, 4]),
    rate_gbit_per_s=st.one_of(st.none(), st.floats(0, 800)),
    management=st.sampled_from(["", "umad0"]),
    has_management_node=st.booleans(),
    interface=st.sampled_from(["", "ens3"]),
    member_of=st.sampled_from(["", "bond0"]),
    gids=st.one_of(st.none(), st.lists(gids, max_size=4).map(tuple)),
    is_cut=st.booleans(),
)
speeds = st.one_of(st.none(), st.sampled_from([2.5, 5.0, 8.0, 16.0, 32.0, 64.0]), st.floats(0, 200))
lanes = st.one_of(st.none(), st.integers(1, 32))
links = st.builds(PcieLink, speeds, lanes, speeds, lanes)
adapters = st.builds(
    RdmaAdapter,
    name=st.sampled_from(["mlx5_0", "mlx5_1"]),
    node_type=st.sampled_from([None, 1, 4, 7]),
    pci=st.sampled_from(["", "0000:18:00", "0000:28:00"]),
    function=st.sampled_from(["", "0000:18:00.0", "0000:28:00.0"]),
    is_virtual=st.booleans(),
    firmware=st.sampled_from(["", "28.39.1002", "28.36.1010", "65535.65535.65535"]),
    board=st.sampled_from(["", "MT_0000000838"]),
    verbs=st.sampled_from(["", "uverbs0"]),
    has_verbs_node=st.booleans(),
    link=links,
    slot=links,
    ports=st.lists(ports, max_size=2).map(tuple),
)
readings = st.builds(
    RdmaAdaptersReading,
    st.floats(0, 3600),
    st.lists(adapters, max_size=4).map(tuple),
    has_device_folder=st.booleans(),
    has_connection_manager=st.booleans(),
    nvidia_gpus=st.integers(0, 8),
    has_nvidia_driver=st.booleans(),
    nvidia_taint=st.sampled_from(["", "OE", "POE"]),
    peer_memory=st.sampled_from(["", "nvidia_peermem"]),
    kernel=st.one_of(st.text(max_size=12), st.sampled_from(["5.4.0", "5.12", "6.8.0-60-generic"])),
)


@settings(max_examples=300, deadline=None)
@given(readings)
def test_any_adapters_are_judged_as_declared(reading: RdmaAdaptersReading) -> None:
    for check in ADAPTER_CHECKS:
        for finding in check.judge([reading]):
            assert any(outcome.covers(finding) for outcome in check.outcomes)
            assert finding.because


@settings(max_examples=200, deadline=None)
@given(readings)
def test_without_a_file_that_says_so_nothing_is_at_fault(reading: RdmaAdaptersReading) -> None:
    """What cannot be read makes an unknown at most."""
    blind = [
        replace(each, link=PcieLink(), firmware="", ports=tuple(replace(port, gids=None) for port in each.ports))
        for each in reading.adapters
    ]
    unread = replace(reading, adapters=tuple(blind), nvidia_taint="", has_device_folder=False)
    for check in ADAPTER_CHECKS:
        for finding in check.judge([unread]):
            assert (finding.verdict, finding.action) == (Verdict.UNKNOWN, Action.NONE)


@given(links, links)
def test_a_link_at_its_best_is_never_blamed(link: PcieLink, slot: PcieLink) -> None:
    best = replace(link, lanes=link.max_lanes, gt_per_s=link.max_gt_per_s)
    adapter = RdmaAdapter("mlx5_0", pci="0000:18:00", link=best, slot=slot)
    assert rdma_pcie.judge([RdmaAdaptersReading(0.0, (adapter,))]) == ()


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_routed_unless_it_is_bound_to_a_link(address: ipaddress.IPv4Address) -> None:
    gid = Gid(3, ipaddress.IPv6Address(f"::ffff:{address}").exploded, "RoCE v2")
    bound = address.is_link_local or address.is_unspecified or address.is_loopback or address.is_multicast
    assert rdma_gid.routed_address(gid) == (None if bound else address)
