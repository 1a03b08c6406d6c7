"""What RDMA ports count: errors, congestion and volume, from sysfs, each minute.

Most of these files make the adapter's firmware answer, so they are read seldom, only those that somebody judges or
wants to see beside a fault, and none that failed lately (agent/sources/sparing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader, entries
from agent.sources.infiniband import adapters, parse_rate, pci_of
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.sparing import SparingReader
from checks.readings import PortCounters, RdmaCountersReading

_OF_INFINIBAND: Final = """
    symbol_error link_error_recovery link_downed port_rcv_errors port_rcv_remote_physical_errors
    port_rcv_switch_relay_errors port_xmit_discards port_xmit_constraint_errors port_rcv_constraint_errors
    local_link_integrity_errors excessive_buffer_overrun_errors VL15_dropped port_xmit_wait port_xmit_data port_rcv_data
"""
_OF_MLX5: Final = """
    out_of_sequence packet_seq_err out_of_buffer rnr_nak_retry_err local_ack_timeout_err implied_nak_seq_err
    duplicate_request roce_adp_retrans roce_adp_retrans_to roce_slow_restart roce_slow_restart_cnps
    roce_slow_restart_trans rx_icrc_encapsulated np_cnp_sent np_ecn_marked_roce_packets rp_cnp_handled rp_cnp_ignored
    req_cqe_error resp_cqe_error req_remote_access_errors req_remote_invalid_request resp_remote_access_errors
    resp_local_length_error req_transport_retries_exceeded req_rnr_retries_exceeded cc_rx_ce_pkts cc_rx_cnp_pkts
    cc_tx_cnp_pkts
"""
_OF_EFA: Final = """
    rx_drops cmds_err no_completion_cmds submitted_cmds completed_cmds keep_alive_rcvd alloc_pd_err create_qp_err
    create_cq_err reg_mr_err create_ah_err mmap_err rdma_read_wr_err retrans_timeout_events unresponsive_remote_events
    impaired_remote_conn_events
"""
_OF_BNXT_RE: Final = """
    to_retransmits seq_err_naks_rcvd max_retry_exceeded rnr_naks_rcvd missing_resp unrecoverable_err oos_drop_count
    rx_out_of_buffer rx_roce_errors rx_roce_discards
"""

COUNTERS: Final = frozenset(_OF_INFINIBAND.split())
"""Read of the folder `counters`. Source: kernel, Documentation/ABI/stable/sysfs-class-infiniband; the InfiniBand
specification's PortCounters."""

HW_COUNTERS: Final = frozenset((_OF_MLX5 + _OF_EFA + _OF_BNXT_RE).split())
"""Read of the folders `hw_counters` of port and device. Source: the drivers' counter tables in Linux
drivers/infiniband/hw. Volumes are left out, as nothing is judged by them; so is `recoverable_errors` of bnxt_re, into
which the driver writes how many broadcast packets were sent."""


@dataclass(frozen=True, slots=True)
class PortFiles:
    """Where the facts of one port lie."""

    adapter: Path
    port: Path
    counters: tuple[Path, ...]

    @property
    def facts(self) -> tuple[Path, ...]:
        """The files beside the counters."""
        return (self.port / "link_layer", self.port / "rate", self.adapter / "node_guid")


class RdmaCountersSource:
    """The counters of all RDMA ports of the host."""

    name = "rdma_counters"

    def __init__(self, surroundings: Surroundings, timing: Timing) -> None:
        """Read nothing yet."""
        self.timing = timing
        self._sysfs, self._monotonic = surroundings.sysfs, surroundings.monotonic
        self._reader = SparingReader(FileReader(surroundings.find("grep")), surroundings.monotonic)

    async def read(self) -> RdmaCountersReading:
        """Return one reading, without ports where there are none.

        Raises:
            CannotObserve: a driver does not let go of its files.
        """
        ports = list(port_files(self._sysfs))
        facts = [path for port in ports for path in port.facts]
        counters = list(dict.fromkeys(path for port in ports for path in port.counters))
        contents = await self._reader.read(facts, counters, deadline_s=self.timing.deadline_s)
        return RdmaCountersReading(self._monotonic(), tuple(_read_port(port, contents) for port in ports))

    async def close(self) -> None:
        """End the process that reads."""
        await self._reader.close()


SOURCE: Final = Declaration(
    name=RdmaCountersSource.name,
    summary="Error and congestion counters of RDMA ports (mlx5, EFA, bnxt_re) from sysfs.",
    reading=RdmaCountersReading,
    timing=Timing(interval_s=60.0, fast_interval_s=20.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="the network adapters' drivers and firmware",
    make=RdmaCountersSource,
)


def port_files(sysfs: Path) -> Iterator[PortFiles]:
    """Yield the files of every port, in the order of names."""
    for adapter in adapters(sysfs):
        of_device = _wanted(adapter / "hw_counters", HW_COUNTERS)
        for port in entries(adapter / "ports"):
            of_port = (*_wanted(port / "counters", COUNTERS), *_wanted(port / "hw_counters", HW_COUNTERS))
            yield PortFiles(adapter, port, (*of_device, *of_port))


def _wanted(folder: Path, names: Iterable[str]) -> list[Path]:
    return [path for path in entries(folder) if path.name in names]


def _read_port(files: PortFiles, contents: Contents) -> PortCounters:
    values = {path.name: contents.number(path) for path in files.counters}
    counters = {name: value for name, value in values.items() if value is not None}
    return PortCounters(
        name=f"{files.adapter.name}/{files.port.name}",
        link_layer=contents.line(files.port / "link_layer"),
        rate_gbit_per_s=parse_rate(contents.line(files.port / "rate")),
        node_guid=contents.line(files.adapter / "node_guid"),
        pci=pci_of(files.adapter),
        counters=counters,
        unread=len(values) - len(counters),
    )
