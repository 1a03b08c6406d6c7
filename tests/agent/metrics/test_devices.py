"""What readings become."""

from __future__ import annotations

from dataclasses import replace

from agent.metrics.catalogue import METRICS, MOST_GPUS, MOST_PORTS, NVLINK_ERRORS, RDMA_ERRORS
from agent.metrics.devices import accelerator_values, counter_values, gpu_values, port_values
from agent.sources.rdma_counters import COUNTERS, HW_COUNTERS
from checks.readings import (
    AcceleratorDevice,
    AmdReading,
    GpuReading,
    NvlinkCounters,
    NvlinkReading,
    NvmlReading,
    PortCounters,
    RdmaCountersReading,
    RdmaPort,
    RdmaReading,
)
from checks.readings.accelerator import EccCount, Temperature
from tests.support.agent_node import PCI, UUID
from wire.metrics import Values

LABELS = (UUID, "0")
GPU = GpuReading(
    0,
    UUID,
    PCI,
    serial="S1",
    name="H100",
    temperature_celsius=41,
    power_milliwatts=70_280,
    utilization_percent=35,
    sm_clock_mhz=1980,
    ecc_corrected_volatile=3,
    ecc_uncorrected_volatile=0,
    remapped_correctable=1,
    remap_pending=True,
)


def of(*gpus: GpuReading, earlier: tuple[NvmlReading, ...] = ()) -> Values:
    """Return what a reading of these GPUs becomes."""
    newest = NvmlReading(2.0, gpus)
    return gpu_values(newest, (newest, *earlier))


def test_a_gpu_in_the_units_of_its_metrics() -> None:
    found = of(GPU)
    assert found["fleetmend_agent_gpu_temperature_celsius"] == {LABELS: 41}
    assert found["fleetmend_agent_gpu_power_watts"] == {LABELS: 70.28}
    assert found["fleetmend_agent_gpu_utilization_ratio"] == {LABELS: 0.35}
    assert found["fleetmend_agent_gpu_sm_clock_hertz"] == {LABELS: 1.98e9}
    assert found["fleetmend_agent_gpu_ecc_errors_total"] == {(*LABELS, "corrected"): 3, (*LABELS, "uncorrected"): 0}
    assert found["fleetmend_agent_gpu_remapped_rows_total"] == {(*LABELS, "corrected"): 1}
    assert found["fleetmend_agent_gpu_remap_pending"] == {LABELS: 1.0}
    assert found["fleetmend_agent_gpu_info"] == {(*LABELS, "H100", "S1", PCI): 1.0}


def test_what_could_not_be_read_is_not_there() -> None:
    found = of(GPU)
    assert found["fleetmend_agent_gpu_memory_temperature_celsius"] == {}
    assert found["fleetmend_agent_gpu_remap_failed"] == {}
    assert found["fleetmend_agent_nvlink_links_active"] == {}


def test_nothing_is_said_of_gpus_by_a_reading_that_failed() -> None:
    failed = NvmlReading(3.0, (GPU,), failure="timeout")
    assert {name for name, series in gpu_values(failed, (failed, NvmlReading(2.0, (GPU,)))).items() if series} == set()


def test_a_gpu_without_uuid_is_known_by_its_address() -> None:
    assert of(replace(GPU, uuid="", lost=True))["fleetmend_agent_gpu_lost"] == {(PCI, "0"): 1.0}


def test_errors_of_links_are_those_that_were_asked_for_last() -> None:
    older = NvlinkReading(states=(1, 1, 0), counters=NvlinkCounters(replays=(9, 9, 9)))
    asked = NvlinkReading(
        states=(1, 1, 0), counters=NvlinkCounters(replays=(1, None, 2), crc_errors=(None, None, None))
    )
    newest = replace(GPU, nvlink=NvlinkReading(states=(1, 2, 0)))
    earlier = tuple(NvmlReading(at_s, (replace(GPU, nvlink=each),)) for at_s, each in ((1.0, asked), (0.0, older)))
    found = of(newest, earlier=earlier)
    assert found["fleetmend_agent_nvlink_links_active"] == {LABELS: 2.0}
    assert found["fleetmend_agent_nvlink_errors_total"] == {(*LABELS, "replays"): 3.0}


def test_rdma_ports_and_what_they_count() -> None:
    ports = (RdmaPort("mlx5_0/1", state=4, rate_gbit_per_s=400.0), RdmaPort("mlx5_1/1", state=1), RdmaPort("mlx5_2/1"))
    found = port_values(RdmaReading(1.0, ports))
    assert found["fleetmend_agent_rdma_port_up"] == {("mlx5_0/1",): 1.0, ("mlx5_1/1",): 0.0}
    assert found["fleetmend_agent_rdma_port_rate_gbits"] == {("mlx5_0/1",): 400.0}
    counters = PortCounters("mlx5_0/1", counters={"symbol_error": 4, "port_xmit_data": 10**12, "made_up": 1})
    errors = counter_values(RdmaCountersReading(1.0, (counters,)))["fleetmend_agent_rdma_errors_total"]
    assert errors == {("mlx5_0/1", "symbol_error"): 4}


def test_accelerators_of_other_vendors() -> None:
    device = AcceleratorDevice(
        "amd",
        "gpu0",
        ecc=(EccCount("UMC", corrected=1, uncorrected=2), EccCount("GFX", corrected=3)),
        temperatures=(Temperature("hotspot", 71.0),),
        power_watts=500.0,
    )
    found = accelerator_values([AmdReading(1.0, (device,))])
    assert found["fleetmend_agent_accelerator_temperature_celsius"] == {("amd", "gpu0", "hotspot"): 71.0}
    assert found["fleetmend_agent_accelerator_power_watts"] == {("amd", "gpu0"): 500.0}
    assert found["fleetmend_agent_accelerator_ecc_errors_total"] == {
        ("amd", "gpu0", "corrected"): 4.0,
        ("amd", "gpu0", "uncorrected"): 2.0,
    }


def test_devices_beyond_the_bound_are_left_out() -> None:
    gpus = tuple(replace(GPU, index=number, uuid=f"GPU-{number}") for number in range(2 * MOST_GPUS))
    ports = tuple(RdmaPort(f"mlx5_{number}/1", state=4) for number in range(2 * MOST_PORTS))
    assert len(of(*gpus)["fleetmend_agent_gpu_temperature_celsius"]) == MOST_GPUS
    assert len(port_values(RdmaReading(1.0, ports))["fleetmend_agent_rdma_port_up"]) == MOST_PORTS


def test_the_counters_are_ones_that_are_read() -> None:
    assert set(RDMA_ERRORS) <= COUNTERS | HW_COUNTERS
    assert set(NVLINK_ERRORS) <= set(NvlinkCounters.__slots__)
    assert {name for values in (of(GPU), port_values(RdmaReading(1.0))) for name in values} <= {m.name for m in METRICS}
