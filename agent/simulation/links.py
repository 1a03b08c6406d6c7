"""The tools of a simulated machine that tell of its RDMA links: each a shell script that prints what is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from agent.simulation.hardware import PORT_BUSES
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

MODULE: Final = {
    "Identifier": "OSFP",
    "Vendor Name": "Simulated",
    "Vendor Part Number": "SIM-400G",
    "Temperature [C]": "49 [-10..80]",
    "Voltage [mV]": "3189.4 [3100..3500]",
    "Bias Current [mA]": "9.210,9.264,9.054,9.142 [7..11]",
    "Rx Power Current [dBm]": "1.945,1.892,2.167,2.025 [-5.003..3.998]",
    "Tx Power Current [dBm]": "0.867,1.139,1.011,1.069 [-3.468..3.998]",
    "Module State": "Ready state",
    "Module FW Fault": "0",
    "DataPath FW Fault": "0",
    **{f"{flag} [per lane]": {"values": ["0"] * 4} for flag in ("Tx Fault", "Tx LOS", "Rx LOS", "Rx CDR LOL")},
}
"""Of a ConnectX-7's OSFP module. Source: `mlxlink -m`, as in Meta gcm's test data."""

REPORTERS: Final = ("fw", "fw_fatal", "vnic")
"""Of mlx5. Source: kernel, Documentation/networking/devlink/mlx5.rst."""

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
    module = json.dumps(
        {"Module Info": MODULE, "Physical Counters and BER Info": {"Effective Physical BER": "15E-255"}}
    )
    link = f'{{"result": {{"output": {module}}}, "status": {{"code": 0, "message": "success"}}}}'
    healthy = [{"reporter": name, "state": "healthy", "error": 0, "recover": 0} for name in REPORTERS]
    health = json.dumps({"health": {f"pci/0000:{bus}:00.0": healthy for bus in PORT_BUSES}})
    return {
        "devlink": _printing(health),
        "ethtool": _printing(f"NIC statistics:\n{counted}"),
        "mlxlink": _printing(link),
    }


def _printing(text: str) -> str:
    return f"#!/bin/sh\necho '{text}'\n"
