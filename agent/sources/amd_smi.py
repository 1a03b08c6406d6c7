"""What AMD's `amd-smi ... --json` prints, read back.

A value is a number, a text, or `{"value": ..., "unit": ...}`; what a GPU does not have is `"N/A"`. The list of GPUs
stands by itself in older versions and under `gpu_data` in newer ones, warnings may stand before it, and some versions
print two lists after each other. Source: outputs captured on hosts with ROCm 6 and 7; amdsmi, `amdsmi_cli`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agent.sources.numerals import decimal, whole
from agent.sources.printed_json import documents
from checks.errors import CannotObserve
from checks.kernel_log import excerpt
from checks.readings.accelerator import BadPages, EccCount, Link, PcieLink, Temperature, Throttle

Row = Mapping[str, Any]
"""What a command says of one GPU."""

MAX_GPUS: Final = 64
MAX_LINKS: Final = 64
MAX_TEXT: Final = 64
WRAPPERS: Final = ("gpu_data", "link_status")

THROTTLES: Final = ("prochot", "ppt", "socket_thermal", "vr_thermal", "hbm_thermal")
"""Reasons with a status and a share of time. Source: amdsmi, `amdsmi_get_violation_status`."""

SENSORS: Final = {"edge": "edge", "hotspot": "hotspot", "mem": "vram"}
"""Sensor in `metric` → the same sensor in the limits of `static`."""

ACTIVE: Final = {"ACTIVE": True, "NOT ACTIVE": False}
LINK_STATES: Final = {"U": "up", "D": "down", "X": "disabled"}
"""Source: amdsmi, `amdsmi_xgmi_link_status_type_t` as its command line prints it."""

POWERS: Final = ("socket_power", "current_socket_power", "average_socket_power")
"""Names of one value, the newest first."""

NO_PAGES: Final = "No bad pages found."

_BLOCK = re.compile(r"\w{1,24}", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


def rows(printed: str) -> dict[int, Row]:
    """Return number → what the command says of that GPU.

    Raises:
        CannotObserve: it printed no such thing.
    """
    found: dict[int, Row] = {}
    for document in documents(printed):
        for row in _listed(document):
            number = whole(row.get("gpu"))
            if number is not None and len(found) < MAX_GPUS:
                found[number] = {**found.get(number, {}), **row}
    if not found:
        raise CannotObserve(f"amd-smi names no GPU: {excerpt(printed) or 'it said nothing'}")
    return dict(sorted(found.items()))


def parse_ecc(row: Row) -> tuple[EccCount, ...]:
    """Return the errors of each block from `metric`, of the whole GPU where it does not tell them by block."""
    blocks = _object(row, "ecc_blocks")
    found = [_count(name, _object(blocks, name), "") for name in blocks if _BLOCK.fullmatch(name)]
    return _told(found) or _told([_count("GPU", _object(row, "ecc"), "total_")])


def parse_temperatures(row: Row, limits: Row) -> tuple[Temperature, ...]:
    """Return every sensor from `metric`, with its limits from `static`."""
    told, limited = _object(row, "temperature"), _object(limits, "limit")
    found = ((name, _number(told.get(name)), limit) for name, limit in SENSORS.items())
    return tuple(
        Temperature(
            name,
            celsius,
            slowdown_celsius=_number(limited.get(f"slowdown_{limit}_temperature")),
            shutdown_celsius=_number(limited.get(f"shutdown_{limit}_temperature")),
        )
        for name, celsius, limit in found
        if celsius is not None
    )


def parse_throttles(row: Row) -> tuple[Throttle, ...]:
    """Return the reasons from `metric` for which the GPU slows down; GPUs before MI300 tell none."""
    told = _object(row, "throttle")
    found = (
        Throttle(kind, ACTIVE.get(_word(told.get(f"{kind}_violation_status"))), whole(told.get(f"{kind}_accumulated")))
        for kind in THROTTLES
    )
    return tuple(each for each in found if (each.active, each.accumulated) != (None, None))


def parse_throttle_clock(row: Row) -> int | None:
    """Return the count of all samples of which the accumulated ones are a part."""
    return whole(_object(row, "throttle").get("accumulation_counter"))


def parse_pcie(row: Row, limits: Row) -> PcieLink | None:
    """Return the link to the host from `metric`, with what it could be from `static`."""
    told, limit = _object(row, "pcie"), _object(limits, "bus")
    link = PcieLink(
        width=whole(told.get("width")),
        max_width=whole(limit.get("max_pcie_width")),
        speed_gt_per_s=_number(told.get("speed")),
        max_speed_gt_per_s=_number(limit.get("max_pcie_speed")),
        replays=whole(told.get("replay_count")),
    )
    return None if link == PcieLink() else link


def parse_power(row: Row) -> float | None:
    """Return the socket's power in watts from `metric`."""
    power = _object(row, "power")
    return next((watts for name in POWERS if (watts := _number(power.get(name))) is not None), None)


def parse_bad_pages(row: Row, limits: Row) -> BadPages | None:
    """Return the bad pages from `bad-pages`, with the driver's limit from `static`; `None` where none are counted."""
    pages = BadPages(
        retired=_pages(row.get("retired")),
        pending=_pages(row.get("pending")),
        unreservable=_pages(row.get("un_res")),
        threshold=whole(_object(limits, "ras").get("bad_page_threshold")),
    )
    return None if (pages.retired, pages.pending, pages.unreservable) == (None, None, None) else pages


def parse_links(row: Row, metric: Row) -> tuple[Link, ...]:
    """Return the XGMI links from `xgmi --link-status`, and the GPU's error status from `metric` as one without peer."""
    states = row.get("link_status")
    words = [_word(state) for state in states[:MAX_LINKS]] if isinstance(states, list) else []
    links = [Link("XGMI", str(number), LINK_STATES[word]) for number, word in enumerate(words) if word in LINK_STATES]
    status = _word(metric.get("xgmi_err"))
    if status:
        links.append(Link("XGMI", health=status.removeprefix("AMDSMI_XGMI_STATUS_").replace(" ", "_").upper()))
    return tuple(links)


def parse_pci(*told: Row) -> str:
    """Return the PCI address without function, from whichever command tells it."""
    texts = (each.get("bdf") or _object(each, "bus").get("bdf") for each in told)
    match = next((match for text in texts if (match := _PCI.fullmatch(_word(text).lower()))), None)
    return match[1] if match else ""


def parse_text(row: Row, *path: str) -> str:
    """Return the text at a place, empty where there is none."""
    *folders, name = path
    for folder in folders:
        row = _object(row, folder)
    return _word(row.get(name))


def _listed(document: object) -> list[Row]:
    if isinstance(document, dict):
        wrapped = next((document[name] for name in WRAPPERS if isinstance(document.get(name), list)), [document])
        document = [document] if "gpu" in document else wrapped
    return [row for row in document if isinstance(row, dict)] if isinstance(document, list) else []


def _object(row: Row, name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return decimal(value.get("value") if isinstance(value, dict) else value)


def _word(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text if len(text) <= MAX_TEXT and text.isprintable() and text != "N/A" else ""


def _count(name: str, values: Row, prefix: str) -> EccCount:
    kinds = ("correctable", "uncorrectable", "deferred")
    return EccCount(name, *(whole(values.get(f"{prefix}{kind}_count")) for kind in kinds))


def _told(counts: Iterable[EccCount]) -> tuple[EccCount, ...]:
    return tuple(count for count in counts if count != EccCount(count.block))


def _pages(value: object) -> int | None:
    if value == NO_PAGES:
        return 0
    return len(value) if isinstance(value, list) else None
