"""What the modules of cables say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ModuleMeasure:
    """One thing that a module measures.

    Attributes:
        name: `temperature_celsius`, `voltage_millivolt`, `bias_milliampere`, `rx_power_dbm` or `tx_power_dbm`.
        values: one, or one a lane.
        low, high: the module's own limits, inclusive, where it states them.
    """

    name: str
    values: tuple[float, ...]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class CableModule:
    """The module in one port.

    Attributes:
        name: of the port, `<device>/<port>`, e.g. `mlx5_0/1`.
        state, phys_state: numbers of the port's files of that name (4 = ACTIVE; 3 = Disabled).
        was_up: the port was ACTIVE at least once since this host is known.
        vendor, part, serial: of the module, which is the cable's where both are one part.
        flags: name → 0 or 1, one or one a lane; names are `module_fw_fault`, `datapath_fw_fault`, `tx_fault`, `rx_los`,
            `tx_los`, `rx_cdr_lol`, `tx_cdr_lol`, `tx_eq_fault`. Modules keep them up until they are read.
        effective_ber: bit error rate after correction, 0.0 where the link saw no error.
        silent: why there is nothing to tell though nothing is wrong, e.g. that nothing is plugged in.
        unreadable: why it could not be asked.
    """

    name: str
    node_guid: str = ""
    pci: str = ""
    state: int | None = None
    phys_state: int | None = None
    was_up: bool = False
    vendor: str = ""
    part: str = ""
    serial: str = ""
    module_state: str = ""
    flags: dict[str, tuple[int, ...]] = field(default_factory=dict)
    measures: tuple[ModuleMeasure, ...] = ()
    effective_ber: float | None = None
    silent: str = ""
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class CableReading:
    """The modules in all ports of the host's NVIDIA adapters.

    Attributes:
        missing_tools: programs that are not installed and would be asked: no module is listed then.
        denied: names of the ports whose modules the agent lacks the rights to ask.
    """

    SOURCE: ClassVar[str] = "cable"
    PARTS: ClassVar[str] = "modules"

    at_s: float
    modules: tuple[CableModule, ...] = ()
    missing_tools: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
