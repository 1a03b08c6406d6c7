"""What checks over the counters of RDMA ports have in common: how wide each is, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from checks.readings import PortCounters, RdmaCountersReading

SATURATES_AT = {
    "symbol_error": 0xFFFF,
    "link_error_recovery": 0xFF,
    "link_downed": 0xFF,
    "port_rcv_errors": 0xFFFF,
    "port_rcv_remote_physical_errors": 0xFFFF,
    "port_rcv_switch_relay_errors": 0xFFFF,
    "port_xmit_discards": 0xFFFF,
    "port_xmit_constraint_errors": 0xFF,
    "port_rcv_constraint_errors": 0xFF,
    "local_link_integrity_errors": 0xF,
    "excessive_buffer_overrun_errors": 0xF,
    "VL15_dropped": 0xFFFF,
}
"""Where a counter stops: it then says nothing any more. A driver that counts further does not stop there.
Source: InfiniBand specification, PortCounters: error counters stick at all ones."""

WRAPS_AT = 2**32
"""Where every other counter may begin anew. Source: mlx5 queue counters are 32 bits wide; those that are wider do not
come down from the last quarter of 32 bits to the first."""

CONGESTION = (
    "port_xmit_wait",
    "np_ecn_marked_roce_packets",
    "np_cnp_sent",
    "rp_cnp_handled",
    "rp_cnp_ignored",
    "out_of_sequence",
    "packet_seq_err",
    "out_of_buffer",
    "roce_adp_retrans",
    "roce_adp_retrans_to",
    "cc_rx_ce_pkts",
    "cc_rx_cnp_pkts",
    "cc_tx_cnp_pkts",
    "to_retransmits",
    "oos_drop_count",
    "retrans_timeout_events",
)
"""What tells of congestion, or of loss elsewhere. It is shown beside a fault of the port and never is one by itself:
a network that is used to the full counts here, and a node that is taken out for it leaves a healthy one short."""

Samples = Sequence[tuple[float, int | None]]


def history(readings: Sequence[RdmaCountersReading], name: str) -> list[tuple[float, PortCounters]]:
    """Return what the port of this name counted, oldest first, with the time of each reading."""
    return [(reading.at_s, port) for reading in readings for port in reading.ports if port.name == name]


def samples(seen: Sequence[tuple[float, PortCounters]], counter: str) -> Samples:
    """Return time and total of one counter, `None` where it could not be read."""
    return [(at_s, port.counters.get(counter)) for at_s, port in seen]


def lost(seen: Sequence[tuple[float, PortCounters]], counters: Iterable[str]) -> list[str]:
    """Return those that could be read earlier in the window and cannot be now: a fault on them may go on unseen."""
    newest = seen[-1][1].counters
    return [name for name in counters if name not in newest and any(name in port.counters for _, port in seen)]


def is_saturated(port: PortCounters, counter: str) -> bool:
    """Return whether the counter stands where it stops."""
    return counter in SATURATES_AT and port.counters.get(counter) == SATURATES_AT[counter]


def wraps_at(counter: str) -> int:
    """Return where the counter begins anew, 0 for one that stops instead."""
    return 0 if counter in SATURATES_AT else WRAPS_AT
