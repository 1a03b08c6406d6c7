"""What holds for whatever the tools of RDMA links print of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from checks.fabric import cable, rdma_congestion, rdma_health
from checks.finding import Action, Verdict
from checks.readings import (
    AdapterHealth,
    CableModule,
    CableReading,
    DevlinkReading,
    HealthReporter,
    ModuleMeasure,
    PortCongestion,
    RdmaCongestionReading,
)

COUNTERS = (
    *("tx_pause_storm_error_events", "tx_pause_storm_warning_events", "rx_pci_signal_integrity"),
    *("tx_prio3_pause_duration", "rx_prio3_pause_duration", "rx_prio3_discards", "outbound_pci_stalled_wr"),
)
INFORMATION = ("rx_prio3_discards", "rx_out_of_buffer", "rx_discards_phy", "link_down_events_phy", "rx_prio3_pause")

congested_ports = st.builds(
    PortCongestion,
    name=st.sampled_from(["mlx5_0/1", "mlx5_1/1"]),
    interface=st.sampled_from(["eth0", "eth1"]),
    counters=st.dictionaries(st.sampled_from(COUNTERS), st.integers(0, 2**63 - 1), max_size=7),
    unreadable=st.sampled_from(["", "", "no answer"]),
)


def congestion_windows(ports: st.SearchStrategy[PortCongestion]) -> st.SearchStrategy[list[RdmaCongestionReading]]:
    readings = st.builds(RdmaCongestionReading, st.floats(0, 3600), st.lists(ports, max_size=2).map(tuple))
    return st.lists(readings, min_size=1, max_size=6).map(lambda window: sorted(window, key=lambda each: each.at_s))


@settings(max_examples=200, deadline=None)
@given(congestion_windows(congested_ports))
def test_any_congestion_is_judged_as_declared(readings: list[RdmaCongestionReading]) -> None:
    findings = rdma_congestion.judge(readings)
    assert all(any(each.covers(finding) for each in rdma_congestion.CHECK.outcomes) for finding in findings)
    unread = [port.name for port in readings[-1].ports if port.unreadable]
    assert unread == [finding.device for finding in findings if finding.verdict is Verdict.UNKNOWN]
    assert all(finding.action is Action.NONE for finding in findings if finding.verdict is Verdict.UNKNOWN)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(INFORMATION), st.integers(0, 2**63 - 1)), min_size=1, max_size=6))
def test_flow_control_and_drops_are_information(counted: list[dict[str, int]]) -> None:
    readings = [
        RdmaCongestionReading(60.0 * number, (PortCongestion("mlx5_0/1", "eth0", counters=counters),))
        for number, counters in enumerate(counted)
    ]
    assert rdma_congestion.judge(readings) == ()


reporters = st.builds(
    HealthReporter,
    name=st.sampled_from(["fw", "fw_fatal", "tx", "rx", "vnic", "port"]),
    state=st.sampled_from(["healthy", "error", "<unknown state>", ""]),
    errors=st.one_of(st.none(), st.integers(0, 2**63 - 1)),
)
healths = st.builds(
    AdapterHealth, st.sampled_from(["mlx5_0", "mlx5_1"]), reporters=st.lists(reporters, max_size=5).map(tuple)
)
health_windows = st.lists(
    st.builds(DevlinkReading, st.floats(0, 3600), st.lists(healths, max_size=2).map(tuple)), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(health_windows)
def test_any_health_is_judged_as_declared(readings: list[DevlinkReading]) -> None:
    findings = rdma_health.judge(readings)
    assert all(any(each.covers(finding) for each in rdma_health.CHECK.outcomes) for finding in findings)
    told = {reporter.state for adapter in readings[-1].adapters for reporter in adapter.reporters}
    assert not told or findings or told == {"healthy"}


modules = st.builds(
    CableModule,
    name=st.just("mlx5_0/1"),
    state=st.sampled_from([None, 1, 4]),
    phys_state=st.sampled_from([None, 2, 3, 5]),
    was_up=st.booleans(),
    flags=st.dictionaries(
        st.sampled_from(["module_fw_fault", "tx_fault", "rx_los", "tx_los", "rx_cdr_lol", "tx_eq_fault", "tomorrow"]),
        st.lists(st.integers(0, 1), min_size=1, max_size=8).map(tuple),
    ),
    measures=st.lists(
        st.builds(
            ModuleMeasure,
            st.sampled_from([*cable.MEASURES, "tomorrow"]),
            st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8).map(tuple),
            st.one_of(st.none(), st.floats(-100, 0)),
            st.one_of(st.none(), st.floats(0, 100)),
        ),
        max_size=5,
    ).map(tuple),
    unreadable=st.sampled_from(["", "", "no answer"]),
)


@settings(max_examples=200, deadline=None)
@given(modules)
def test_any_module_is_judged_as_declared(module: CableModule) -> None:
    findings = cable.judge([CableReading(5.0, (module,))])
    assert all(any(each.covers(finding) for each in cable.CHECK.outcomes) for finding in findings)
    if not module.was_up:
        assert findings == ()
    elif module.unreadable:
        assert [finding.verdict for finding in findings] == [Verdict.UNKNOWN]
    elif any(module.flags.get("tx_fault", ())):
        assert "tx_fault" in {finding.code for finding in findings if finding.verdict is Verdict.FAILED}
