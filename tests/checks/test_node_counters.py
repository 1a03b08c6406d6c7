"""Counters of a node: one number of all its devices, and none where one of them would be missing from a sum."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from checks.node_counters import BY_NAME, NODE_COUNTERS, NVLINK_ERRORS, Kind, counters_of
from checks.readings import (
    READINGS,
    AmdReading,
    GpuDetails,
    GpuReading,
    NvlinkCounters,
    NvlinkReading,
    NvmlReading,
    PlatformReading,
    PortCounters,
    RdmaCountersReading,
    RdmaPort,
    RdmaReading,
)
from checks.readings.accelerator import AcceleratorDevice, EccCount, Temperature
from checks.readings.platform import MemoryModule, PciDevice


def gpu(index: int, *, corrected: int | None = 0, links: NvlinkReading | None = None) -> GpuReading:
    return GpuReading(
        index,
        f"GPU-{index}",
        f"0000:0{index}:00",
        temperature_celsius=40 + index,
        memory_temperature_celsius=None if index else 50,
        power_milliwatts=70_500,
        utilization_percent=30 * index,
        sm_clock_mhz=1980 - index,
        ecc_corrected_volatile=corrected,
        ecc_uncorrected_volatile=1,
        remapped_correctable=2,
        remapped_uncorrectable=1,
        sw_thermal_ns=2_000_000_000 * index,
        hw_thermal_ns=500_000_000,
        nvlink=links,
        details=GpuDetails(pcie_errors={"replays": 5, "retrains": 9}),
    )


def test_every_number_of_a_node_of_gpus() -> None:
    links = NvlinkReading(states=(1, 2, 0), counters=NvlinkCounters(replays=(1, None, 2), plr_retries=(900, 900, 900)))
    assert counters_of([NvmlReading(0.0, (gpu(0, links=links), gpu(1, corrected=4, links=links)))]) == {
        "gpu_temperature_celsius": 41.0,
        "gpu_memory_temperature_celsius": 50.0,
        "gpu_power_watts": 141.0,
        "gpu_utilization_percent": 15.0,
        "gpu_sm_clock_mhz": 1979.0,
        "nvlinks_active": 4.0,
        "gpu_corrected_errors": 4.0,
        "gpu_uncorrected_errors": 2.0,
        "gpu_remapped_rows": 6.0,
        "gpu_pcie_replays": 10.0,
        "gpu_slowed_s": 2.0,
        "nvlink_errors": 6.0,
    }


def test_every_number_of_ports_memory_and_the_bus() -> None:
    ports = (
        RdmaPort("mlx5_0/1", state=4, link_downed=255, carrier_downs=300),
        RdmaPort("mlx5_1/1", state=1, link_downed=7),
        RdmaPort("mlx5_2/1", state=None, link_downed=0),
    )
    counted = (
        PortCounters("mlx5_0/1", counters={"symbol_error": 3, "out_of_sequence": 5, "port_xmit_wait": 1_000}),
        PortCounters("mlx5_1/1", counters={"port_rcv_errors": 4, "packet_seq_err": 1}),
    )
    platform = PlatformReading(
        0.0,
        modules=(MemoryModule("mc0/dimm0", corrected=3), MemoryModule("mc0/dimm1", corrected=4)),
        devices=(
            PciDevice("0000:1b:00.0", "gpu", correctable={"RxErr": 2, "Timeout": 1}),
            PciDevice("0000:1c:00.0", "gpu"),
        ),
    )
    assert counters_of([RdmaReading(0.0, ports), RdmaCountersReading(0.0, counted), platform]) == {
        "rdma_ports_active": 1.0,
        "rdma_link_downs": 307.0,
        "rdma_port_errors": 7.0,
        "rdma_sequence_errors": 6.0,
        "pcie_corrected_errors": 3.0,
        "memory_corrected_errors": 7.0,
    }


def test_accelerators_of_other_vendors_count_as_gpus() -> None:
    device = AcceleratorDevice(
        "amd",
        "gpu0",
        ecc=(EccCount("UMC", corrected=3, uncorrected=0), EccCount("GFX", corrected=1, uncorrected=2)),
        temperatures=(Temperature("edge", 50.0), Temperature("hotspot", 61.5)),
        power_watts=300.0,
    )
    assert counters_of([AmdReading(0.0, (device,))]) == {
        "gpu_temperature_celsius": 61.5,
        "gpu_power_watts": 300.0,
        "gpu_corrected_errors": 4.0,
        "gpu_uncorrected_errors": 2.0,
    }


def test_a_total_of_which_a_device_is_missing_is_none() -> None:
    silent = NvmlReading(0.0, (gpu(0), gpu(1, corrected=None)))
    assert "gpu_corrected_errors" not in counters_of([silent])
    assert counters_of([silent])["gpu_uncorrected_errors"] == 2.0
    gone = NvmlReading(0.0, (gpu(0),), known_gpus={"GPU-0": "0000:00:00", "GPU-1": "0000:01:00"})
    assert not any(BY_NAME[name].kind is Kind.TOTAL for name in counters_of([gone]))
    assert counters_of([gone])["gpu_temperature_celsius"] == 40.0
    unread = RdmaCountersReading(
        0.0, (PortCounters("a/1", counters={"symbol_error": 1}), PortCounters("b/1", unread=2))
    )
    assert counters_of([unread]) == {}


def test_what_the_newest_reading_does_not_tell_is_taken_from_the_one_before() -> None:
    counted = NvlinkReading(states=(1,), counters=NvlinkCounters(crc_errors=(8,)))
    newest = NvmlReading(20.0, (gpu(1, links=NvlinkReading(states=(0,))),))
    earlier = NvmlReading(10.0, (gpu(0, links=counted),))
    found = counters_of([newest, earlier])
    assert (found["nvlink_errors"], found["nvlinks_active"], found["gpu_temperature_celsius"]) == (8.0, 0.0, 41.0)


def test_a_reading_that_failed_tells_nothing() -> None:
    assert counters_of([replace(NvmlReading(0.0, (gpu(0),)), failure="timeout")]) == {}


def test_names_are_unique_and_everything_is_read_from_a_source_that_there_is() -> None:
    assert len(BY_NAME) == len(NODE_COUNTERS)
    assert {reading for each in NODE_COUNTERS for reading in each.takes} <= set(READINGS)
    assert set(NVLINK_ERRORS) <= set(NvlinkCounters.__slots__)


numbers = st.none() | st.integers(0, 2**63)


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=8))
def test_whatever_gpus_tell_there_is_a_number_or_none(told: list[tuple[int | None, int | None, int | None]]) -> None:
    gpus = tuple(
        replace(gpu(0), ecc_corrected_volatile=one, temperature_celsius=two, thermal_ns=three)
        for one, two, three in told
    )
    found = counters_of([NvmlReading(0.0, gpus)])
    assert all(isinstance(value, float) for value in found.values())
    assert ("gpu_corrected_errors" in found) == bool(told and all(one is not None for one, _, _ in told))
