"""Every metric of an agent. A node is told apart from others by Prometheus' own label `instance`."""

from __future__ import annotations

from typing import Final

from checks.finding import Verdict
from wire.metrics import OTHER, Kind, Label, Metric

MOST_CHECKS: Final = 200
MOST_SOURCES: Final = 200
MOST_GPUS: Final = 32
MOST_PORTS: Final = 32
MOST_ACCELERATORS: Final = 32
MOST_SENSORS: Final = 8
"""What is beyond is left out. Source: our choice, twice what the largest hosts have; a site adds checks of its own,
each of which is a source, too."""

REASONS: Final = ("misaddressed", "misplaced", "malformed", "forged", "oversized", "version", OTHER)

RDMA_ERRORS: Final = (
    *("symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors", "port_rcv_remote_physical_errors"),
    *("port_rcv_switch_relay_errors", "port_xmit_discards", "port_xmit_wait", "port_xmit_constraint_errors"),
    *("port_rcv_constraint_errors", "local_link_integrity_errors", "excessive_buffer_overrun_errors", "VL15_dropped"),
    *("out_of_sequence", "packet_seq_err", "out_of_buffer", "rnr_nak_retry_err", "local_ack_timeout_err"),
    *("req_transport_retries_exceeded", "req_cqe_error", "resp_cqe_error", "rx_icrc_encapsulated"),
    *("np_cnp_sent", "rp_cnp_handled", "rx_drops", "retrans_timeout_events", "unresponsive_remote_events"),
    *("to_retransmits", "max_retry_exceeded", "unrecoverable_err", "rx_roce_errors", "rx_roce_discards"),
)
"""Counters that tell of errors and congestion, of those that are read anyway (agent/sources/rdma_counters.py)."""

NVLINK_ERRORS: Final = (
    *("replays", "recoveries", "crc_errors", "malformed_packets", "buffer_overruns", "receive_errors"),
    *("remote_errors", "general_errors", "integrity_errors", "transmit_discards", "recoveries_failed"),
    *("effective_errors", "symbol_errors", "plr_retries"),
)
"""Fields of `checks.readings.NvlinkCounters` that count errors."""

_CHECK = Label("check", "id of the check", MOST_CHECKS)
_VERDICT = Label("verdict", "`ok`, `degraded`, `failed` or `unknown`", len(Verdict))
_SOURCE = Label("source", "name of the source", MOST_SOURCES)
_GPU = (
    Label("gpu", "its UUID, or its PCI address while that is not known", MOST_GPUS),
    Label("index", "its number on the host, which moves when another GPU is lost", 1),
)
_SEVERITY = Label("severity", "`corrected` or `uncorrected`", 2)
_PORT = Label("port", "`<device>/<port>`, e.g. `mlx5_0/1`", MOST_PORTS)
_DEVICE = (Label("vendor", "of the device", 1), Label("device", "as the host calls it, e.g. `npu0`", MOST_ACCELERATORS))

METRICS: Final = (
    Metric(
        "fleetmend_agent_info",
        Kind.GAUGE,
        "Always 1; the labels say which node of which cell, and which version.",
        (
            Label("node", "name of the node", 1),
            Label("cell_name", "name of its cell", 1),
            Label("version", "of fleetmend", 1),
        ),
    ),
    Metric("fleetmend_agent_broker_connected", Kind.GAUGE, "1 while the MQTT broker is connected."),
    Metric(
        "fleetmend_agent_check",
        Kind.GAUGE,
        "1 for the verdict that a check gives now; no series for the verdicts that it does not give.",
        (_CHECK, _VERDICT),
        at_once=MOST_CHECKS,
    ),
    Metric(
        "fleetmend_agent_check_judged_time_seconds",
        Kind.GAUGE,
        "When a check last judged a fresh reading, Unix time, 0 for never.",
        (_CHECK,),
        unit="seconds",
    ),
    Metric("fleetmend_agent_findings", Kind.GAUGE, "Findings that stand.", (_CHECK, _VERDICT)),
    Metric("fleetmend_agent_crashes_total", Kind.COUNTER, "Crashes of a check or a source.", (_CHECK,)),
    Metric(
        "fleetmend_agent_source_reading_seconds",
        Kind.SUMMARY,
        "Readings of a source, and how long they took.",
        (_SOURCE,),
        unit="seconds",
    ),
    Metric(
        "fleetmend_agent_source_last_reading_seconds",
        Kind.GAUGE,
        "How long the last reading took.",
        (_SOURCE,),
        unit="seconds",
    ),
    Metric(
        "fleetmend_agent_source_age_seconds",
        Kind.GAUGE,
        "How long ago a source last answered, good or bad.",
        (_SOURCE,),
        unit="seconds",
    ),
    Metric(
        "fleetmend_agent_source_overdue",
        Kind.GAUGE,
        "1 while a source has not answered for longer than it may take: its checks are `unknown`.",
        (_SOURCE,),
    ),
    Metric("fleetmend_agent_kernel_records_total", Kind.COUNTER, "Kernel-log records that were read."),
    Metric(
        "fleetmend_agent_kernel_records_ignored_total",
        Kind.COUNTER,
        "Those among them that any process could have written, and that are not believed.",
    ),
    Metric(
        "fleetmend_agent_certificate_begin_time_seconds",
        Kind.GAUGE,
        "When the certificate that the broker is shown became good, Unix time. Not there without one.",
        unit="seconds",
    ),
    Metric(
        "fleetmend_agent_certificate_end_time_seconds",
        Kind.GAUGE,
        "When the certificate that the broker is shown expires, Unix time. Not there without one.",
        unit="seconds",
    ),
    Metric("fleetmend_agent_outbox_events", Kind.GAUGE, "Events that the controller has not stored yet."),
    Metric(
        "fleetmend_agent_outbox_age_seconds",
        Kind.GAUGE,
        "How long ago the oldest of them was observed, 0 without any.",
        unit="seconds",
    ),
    Metric("fleetmend_agent_outbox_writable", Kind.GAUGE, "0 while the disk takes nothing and memory is all there is."),
    Metric("fleetmend_agent_outbox_dropped_total", Kind.COUNTER, "Events that were given up."),
    Metric(
        "fleetmend_agent_events_published_total", Kind.COUNTER, "Events that the broker took, repetitions included."
    ),
    Metric("fleetmend_agent_events_stored_total", Kind.COUNTER, "Events that the controller said it has stored."),
    Metric(
        "fleetmend_agent_messages_rejected_total",
        Kind.COUNTER,
        "Messages to this node that were dropped.",
        (Label("reason", "why", len(REASONS)),),
    ),
    Metric(
        "fleetmend_agent_gpu_info",
        Kind.GAUGE,
        "Always 1; the labels say which GPU it is.",
        (
            *_GPU,
            Label("model", "its name", 1),
            Label("serial", "its serial number", 1),
            Label("pci", "its PCI address", 1),
        ),
    ),
    Metric("fleetmend_agent_gpu_temperature_celsius", Kind.GAUGE, "Temperature of the GPU.", _GPU, unit="celsius"),
    Metric(
        "fleetmend_agent_gpu_memory_temperature_celsius",
        Kind.GAUGE,
        "Temperature of its memory.",
        _GPU,
        unit="celsius",
    ),
    Metric("fleetmend_agent_gpu_power_watts", Kind.GAUGE, "Power that it takes.", _GPU, unit="watts"),
    Metric("fleetmend_agent_gpu_utilization_ratio", Kind.GAUGE, "Share of time in which it works.", _GPU, unit="ratio"),
    Metric("fleetmend_agent_gpu_sm_clock_hertz", Kind.GAUGE, "Clock of its processors.", _GPU, unit="hertz"),
    Metric("fleetmend_agent_gpu_lost", Kind.GAUGE, "1 when it has fallen off the bus.", _GPU),
    Metric(
        "fleetmend_agent_gpu_ecc_errors_total",
        Kind.COUNTER,
        "Memory errors since the last reset of the GPU.",
        (*_GPU, _SEVERITY),
    ),
    Metric(
        "fleetmend_agent_gpu_remapped_rows_total",
        Kind.COUNTER,
        "Rows of memory that were replaced, by what they were replaced for.",
        (*_GPU, _SEVERITY),
    ),
    Metric("fleetmend_agent_gpu_remap_pending", Kind.GAUGE, "1 when a row is replaced at the next reset.", _GPU),
    Metric("fleetmend_agent_gpu_remap_failed", Kind.GAUGE, "1 when a row could not be replaced.", _GPU),
    Metric("fleetmend_agent_nvlink_links_active", Kind.GAUGE, "Links of a GPU that are active.", _GPU),
    Metric(
        "fleetmend_agent_nvlink_errors_total",
        Kind.COUNTER,
        "Errors of all links of a GPU together, as they were last asked for.",
        (*_GPU, Label("error", "name of the counter", len(NVLINK_ERRORS))),
    ),
    Metric("fleetmend_agent_rdma_port_up", Kind.GAUGE, "1 while a port is active.", (_PORT,)),
    Metric(
        "fleetmend_agent_rdma_port_rate_gbits",
        Kind.GAUGE,
        "Speed of a port in Gbit/s, as its driver states it.",
        (_PORT,),
        unit="gbits",
    ),
    Metric(
        "fleetmend_agent_rdma_errors_total",
        Kind.COUNTER,
        "Errors and signs of congestion, by the name of the driver's counter. The oldest ones stop at 255 or 15.",
        (_PORT, Label("counter", "name of the file in sysfs", len(RDMA_ERRORS))),
    ),
    Metric(
        "fleetmend_agent_accelerator_temperature_celsius",
        Kind.GAUGE,
        "Temperature of an accelerator that NVML does not speak for.",
        (*_DEVICE, Label("sensor", "as the vendor calls it", MOST_SENSORS)),
        unit="celsius",
    ),
    Metric("fleetmend_agent_accelerator_power_watts", Kind.GAUGE, "Power that it takes.", _DEVICE, unit="watts"),
    Metric(
        "fleetmend_agent_accelerator_ecc_errors_total",
        Kind.COUNTER,
        "Memory errors of all its blocks.",
        (*_DEVICE, _SEVERITY),
    ),
)
