"""What `mlxlink -m -c --json` prints of a cable's module, read back.

Values of lanes come as a text (`0,2,-9,0 [-8..6]`, limits behind), as `{"values": ["0", "1"]}` or as a list, by release
and by field; what a module does not say is `N/A`.
Source: Mellanox/mstflint, mlxlink/modules: mlxlink_commander.cpp, printutil/mlxlink_cmd_print.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from agent.sources.numerals import decimal
from agent.sources.printed_json import first_object
from agent.sources.smart_log import is_denied
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings import CableModule, ModuleMeasure

MODULE, COUNTERS = "Module Info", "Physical Counters and BER Info"
"""Headings of the groups of values."""

MEASURES: Final = {
    "temperature_celsius": "Temperature [C]",
    "voltage_millivolt": "Voltage [mV]",
    "bias_milliampere": "Bias Current [mA]",
    "rx_power_dbm": "Rx Power Current [dBm]",
    "tx_power_dbm": "Tx Power Current [dBm]",
}
FLAGS: Final = {
    "module_fw_fault": "Module FW Fault",
    "datapath_fw_fault": "DataPath FW Fault",
    "tx_fault": "Tx Fault [per lane]",
    "rx_los": "Rx LOS [per lane]",
    "tx_los": "Tx LOS [per lane]",
    "rx_cdr_lol": "Rx CDR LOL [per lane]",
    "tx_cdr_lol": "Tx CDR LOL [per lane]",
    "tx_eq_fault": "Tx Adaptive EQ Fault [per lane]",
}

NO_ERROR_BELOW: Final = 1e-100
"""`15E-255` stands for a link without any error. Source: NVIDIA, mlxlink manual."""

UNPLUGGED: Final = "nothing is plugged in, or the module tells nothing"
MAX_LANES: Final = 16
MAX_TEXT: Final = 64

NOT_ROOT: Final = re.compile(r"(?:must|need to) be root|root (?:permission|privilege)", re.IGNORECASE)

_LIMITS = re.compile(r"\[\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*\.\.\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*\]", re.ASCII)
_BER = re.compile(r"\d{1,3}(?:\.\d{1,6})?E-\d{1,3}", re.ASCII | re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[\d;]{0,8}m")
_NOTHING = frozenset({"", "n/a", "na", "unknown"})


def parse_module(module: CableModule, printed: str) -> CableModule:
    """Return the module with what the tool printed of it.

    Raises:
        CannotObserve: it printed nothing of a module, and why.
    """
    document = first_object(printed)
    output = _object(_object(document, "result"), "output")
    told = _object(output, MODULE)
    if not told:
        raise CannotObserve(f"mlxlink tells nothing of the module: {_complaint(document, printed)}")
    module = replace(
        module,
        vendor=_text(told.get("Vendor Name")),
        part=_text(told.get("Vendor Part Number")),
        serial=_text(told.get("Vendor Serial Number")),
        module_state=_text(told.get("Module State")),
        flags={name: lanes for name, key in FLAGS.items() if (lanes := _flags(told.get(key)))},
        measures=tuple(_measures(told)),
        effective_ber=_ber(_object(output, COUNTERS).get("Effective Physical BER")),
    )
    is_told = module.serial or module.part or module.flags or module.measures
    return module if is_told else replace(module, silent=UNPLUGGED)


def lacks_rights(said: str) -> bool:
    """Return whether the tool says that it may not ask."""
    return is_denied(said) or NOT_ROOT.search(said) is not None


def _measures(told: Mapping[str, Any]) -> Iterator[ModuleMeasure]:
    for name, key in MEASURES.items():
        values = [decimal(each) for each in _lanes(told.get(key))]
        known = tuple(value for value in values if value is not None)
        if known and len(known) == len(values):
            yield ModuleMeasure(name, known, *_limits(told.get(key)))


def _flags(value: object) -> tuple[int, ...]:
    """Return the flag of each lane, nothing where one of them is neither 0 nor 1: which lane is which is lost then."""
    lanes = _lanes(value)
    return tuple(int(lane) for lane in lanes) if lanes and set(lanes) <= {"0", "1"} else ()


def _lanes(value: object) -> list[str]:
    """Return the values of the lanes as texts, limits left out."""
    if isinstance(value, dict):
        value = value.get("values")
    if isinstance(value, str):
        value = value.partition("[")[0].split(",")
    if not isinstance(value, list):
        value = [value]
    return [str(each).strip() for each in value[:MAX_LANES] if isinstance(each, str | int | float)]


def _limits(value: object) -> tuple[float | None, float | None]:
    """Return the lower and the upper limit; `[0..0]` is none."""
    match = _LIMITS.search(value) if isinstance(value, str) else None
    low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    return (low, high) if low < high else (None, None)


def _ber(value: object) -> float | None:
    if not isinstance(value, str) or not _BER.fullmatch(value.strip()):
        return None
    rate = float(value)
    return 0.0 if rate < NO_ERROR_BELOW else rate


def _complaint(document: Mapping[str, Any], printed: str) -> str:
    said = _object(document, "status").get("message")
    plain = _COLOUR.sub("", printed)
    return excerpt(said if isinstance(said, str) and said else plain) or "it said nothing"


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    is_usable = len(text) <= MAX_TEXT and text.isprintable() and text.lower() not in _NOTHING
    return text if is_usable else ""
