"""What `nvme smart-log` and `smartctl --all` print as JSON, read back.

Both name some values differently from release to release: `percent_used` or `percentage_used`, `avail_spare` or
`available_spare`; the flags of the critical warning come as one number or as an object; 128-bit counters come as whole
numbers, as decimals or as texts; nvme-cli tells temperatures in kelvin, smartctl in degrees Celsius.
Source: nvme-cli 1.9 to 2.11, `json_smart_log`; smartmontools 7.0 to 7.5; outputs captured on other people's hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from agent.sources.numerals import whole
from agent.sources.printed_json import first_object
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings.smart import DiskSmart

Values = Mapping[str, Any]

KELVIN: Final = 273
KELVIN_FROM: Final = 200
"""No disk is so hot in degrees Celsius, and none so cold in kelvin. Source: our choice."""

WARNING_BITS: Final = ("available_spare", "temp_threshold", "reliability_degraded", "ro", "vmbu_failed", "pmr_ro")
"""Names of the flags, the lowest bit first. Source: nvme-cli, `json_smart_log`."""

REALLOCATED, REPORTED_UNCORRECTABLE, PENDING, OFFLINE_UNCORRECTABLE = 5, 187, 197, 198
"""Numbers of ATA attributes. Source: smartmontools, drivedb.h."""

BEHIND_CONTROLLER: Final = re.compile(r"please (?:try adding|specify device type)", re.IGNORECASE)
"""The disk is a RAID controller's volume or sits behind a bridge. Source: smartmontools, smartctl.cpp, os_linux.cpp."""

ASLEEP: Final = "mode, exit("
"""Source: smartmontools, ataprint.cpp: "Device is in STANDBY mode, exit(2)"."""

NO_LOG: Final = re.compile(r"invalid[ _](?:log[ _]page|command[ _]opcode|opcode|field)", re.IGNORECASE)
"""The controller does not know the health log: it is a virtual one. Source: nvme-cli, `nvme_status_to_string`."""

DENIED: Final = re.compile(r"permission denied|operation not permitted", re.IGNORECASE)
"""Source: strerror(3) of EACCES and EPERM in the C locale."""

MAX_TEXT: Final = 64

_LEADING = re.compile(r"\s*(\d{1,18})(?!\d)", re.ASCII)


def parse_nvme(disk: DiskSmart, printed: str) -> DiskSmart:
    """Return the disk with what `nvme smart-log --output-format=json` printed of it.

    Raises:
        CannotObserve: it printed no health log.
    """
    log = _lower(first_object(printed))
    if _warning(log) is None and NO_LOG.search(printed):
        return replace(disk, silent=excerpt(printed))
    if _warning(log) is None:
        denied = DENIED.search(printed)
        said = denied[0] if denied else excerpt(printed)
        raise CannotObserve(f"nvme tells no health: {said or 'it said nothing'}")
    return _with_log(disk, log)


def parse_smartctl(disk: DiskSmart, printed: str) -> DiskSmart:
    """Return the disk with what `smartctl --json=c --all` printed of it.

    Raises:
        CannotObserve: it tells neither the disk's health nor why there is none to tell.
    """
    document = first_object(printed)
    said = "; ".join(_messages(document)) or ("" if document else excerpt(printed))
    disk = _named(disk, document)
    log = _lower(_object(document, "nvme_smart_health_information_log"))
    if _warning(log) is not None:
        return _with_limits(_with_log(disk, log), document)
    passed = _object(document, "smart_status").get("passed")
    if isinstance(passed, bool):
        return _with_limits(_with_counts(replace(disk, passed=passed), document), document)
    if _object(document, "smart_support").get("available") is False:
        return replace(disk, silent="the disk has no SMART")
    if BEHIND_CONTROLLER.search(said) or ASLEEP in said:
        return replace(disk, silent=excerpt(said))
    raise CannotObserve(f"smartctl tells no health: {excerpt(said) or 'it said nothing'}")


def is_denied(said: str) -> bool:
    """Return whether a program says that it may not ask."""
    return DENIED.search(said) is not None


def _with_log(disk: DiskSmart, log: Values) -> DiskSmart:
    return replace(
        disk,
        critical_warning=_warning(log),
        spare_percent=_first(log, "avail_spare", "available_spare"),
        spare_threshold_percent=_first(log, "spare_thresh", "available_spare_threshold"),
        used_percent=_first(log, "percent_used", "percentage_used"),
        media_errors=_first(log, "media_errors"),
        temperature_celsius=_celsius(_first(log, "temperature")),
        warning_minutes=_first(log, "warning_temp_time"),
        critical_minutes=_first(log, "critical_comp_time"),
    )


def _with_counts(disk: DiskSmart, document: Values) -> DiskSmart:
    """Return the disk with its bad places, from ATA's table or SCSI's logs, whichever it has."""
    raw = _attributes(document)
    errors = _object(document, "scsi_error_counter_log")
    unread = [_count(_object(errors, kind).get("total_uncorrected_errors")) for kind in ("read", "write", "verify")]
    used, spare = _object(document, "endurance_used"), _object(document, "spare_available")
    grown = _count(document.get("scsi_grown_defect_list"))
    worn = _count(document.get("scsi_percentage_used_endurance_indicator"))
    return replace(
        disk,
        reallocated=raw.get(REALLOCATED, grown),
        pending=raw.get(PENDING),
        uncorrectable=_sum([raw.get(REPORTED_UNCORRECTABLE), raw.get(OFFLINE_UNCORRECTABLE), *unread]),
        used_percent=worn if worn is not None else _count(used.get("current_percent")),
        spare_percent=_count(spare.get("current_percent")),
        spare_threshold_percent=_count(spare.get("threshold_percent")),
    )


def _with_limits(disk: DiskSmart, document: Values) -> DiskSmart:
    """Return the disk with its temperature and the limit that it states, where it states any."""
    told = _object(document, "temperature")
    composite = _object(document, "nvme_composite_temperature_threshold")
    limits = [composite.get("warning"), told.get("drive_trip"), told.get("op_limit_max")]
    current = _celsius(_count(told.get("current")))
    return replace(
        disk,
        temperature_celsius=disk.temperature_celsius if current is None else current,
        limit_celsius=next((limit for limit in map(_count, limits) if limit), None),
    )


def _named(disk: DiskSmart, document: Values) -> DiskSmart:
    serial, model = _text(document.get("serial_number")), _text(document.get("model_name"))
    return replace(disk, serial=disk.serial or serial, model=disk.model or model)


def _attributes(document: Values) -> dict[int, int]:
    """Return number → raw value. Vendors pack several numbers into one raw value, so smartctl's text of it counts."""
    table = _object(document, "ata_smart_attributes").get("table")
    found: dict[int, int] = {}
    for row in table if isinstance(table, list) else []:
        number = whole(row.get("id")) if isinstance(row, dict) else None
        match = _LEADING.match(str(_object(row, "raw").get("string", ""))) if number is not None else None
        if number is not None and match:
            found[number] = int(match[1])
    return found


def _messages(document: Values) -> list[str]:
    listed = _object(document, "smartctl").get("messages")
    rows = listed if isinstance(listed, list) else []
    return [row["string"] for row in rows if isinstance(row, dict) and isinstance(row.get("string"), str)]


def _warning(log: Values) -> int | None:
    flags = log.get("critical_warning")
    if not isinstance(flags, dict):
        return _count(flags)
    flags = _lower(flags)
    value = _count(flags.get("value"))
    bits = [_count(flags.get(name)) for name in WARNING_BITS]
    if value is not None or None in bits:
        return value
    return sum(1 << place for place, bit in enumerate(bits) if bit)


def _celsius(temperature: int | None) -> int | None:
    if temperature is None or temperature < KELVIN_FROM:
        return temperature
    return temperature - KELVIN


def _first(values: Values, *names: str) -> int | None:
    return next((count for name in names if (count := _count(values.get(name))) is not None), None)


def _count(value: object) -> int | None:
    """Return a count; some releases print counters as decimals."""
    return whole(int(value)) if isinstance(value, float) and value.is_integer() else whole(value)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _lower(values: Values) -> dict[str, Any]:
    return {name.lower(): value for name, value in values.items()}


def _object(values: Values, name: str) -> dict[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= MAX_TEXT and text.isprintable() else ""
