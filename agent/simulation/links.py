"""The tools of a simulated machine that tell of its RDMA links: each a shell script that prints what is well."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.simulation.states import replace_file

COUNTERS: Final = (
    "rx_out_of_buffer",
    "rx_discards_phy",
    "link_down_events_phy",
    "rx_pci_signal_integrity",
    "tx_pci_signal_integrity",
    "outbound_pci_stalled_rd",
    "outbound_pci_stalled_wr",
    "rx_prio3_pause",
    "rx_prio3_pause_duration",
    "tx_prio3_pause",
    "tx_prio3_pause_duration",
    "rx_prio3_discards",
    "tx_pause_storm_warning_events",
    "tx_pause_storm_error_events",
)
"""Of a ConnectX-7. Source: kernel, Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst."""

PROGRAM_MODE: Final = 0o755


def write_links(directory: Path, programs: Path) -> None:
    """Put the tools into the machine.

    Args:
        directory: of the machine.
        programs: folder in it.
    """
    for name, text in _programs().items():
        replace_file(programs / name, text.encode(), scratch=directory)
        (programs / name).chmod(PROGRAM_MODE)


def _programs() -> dict[str, str]:
    counted = "\n".join(f"     {name}: 0" for name in COUNTERS)
    return {"ethtool": _printing(f"NIC statistics:\n{counted}")}


def _printing(text: str) -> str:
    return f"#!/bin/sh\necho '{text}'\n"
