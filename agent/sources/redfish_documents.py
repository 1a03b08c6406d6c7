"""What Redfish's documents say of parts and of logged events, in the words that the checks of any BMC judge.

Source: DMTF DSP0268, schemas Power, Thermal, PowerSupply, Fan, Processor, ComputerSystem, LogEntry, Resource.Status. A
document is foreign: any value may be missing or of another type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from agent.plain_text import printable
from checks.readings.bmc import BmcEvent, BmcSensor

Document = Mapping[str, Any]

HEALTH: Final = {"OK": "ok", "Warning": "nc", "Critical": "cr"}
"""Resource.Health → the status of a sensor."""

INPUT: Final = {"LossOfInput": "input lost", "OutOfRange": "input out of range"}
"""PowerSupply, `LineInputStatus` → in the words of a sensor."""

SEVERITY: Final = {"OK": "ok", "Warning": "warning", "Critical": "critical"}

MOST_TEXT: Final = 200
MOST_RECORD: Final = 1 << 62

_NUMBER = re.compile(r"(\d{1,12})(?:_(\d{1,4}))?$", re.ASCII)
_LIMIT = re.compile(r"((?:Lower|Upper) (?:Non-critical|Critical|Non-recoverable)) - (going (?:low|high))")
_A_TIME: Final = 10**9
"""A number from here on is a Unix time, as OpenBMC names entries; `_1` is the second one of its second."""


class Flawed(Exception):
    """A document does not say what it has to; the text says what is missing."""


def part_of(part: Document, kind: str, owner: str) -> BmcSensor:
    """Return a part by its health.

    Args:
        owner: id of the chassis or system, which makes the name unique.

    Raises:
        Flawed: its health is a word that Redfish does not know.
    """
    status = _inner(part, "Status")
    state, health = text_of(status.get("State")), status.get("Health")
    if health is not None and not (isinstance(health, str) and health in HEALTH):
        raise Flawed(f"{name_of(part)} has the health {str(health)[:40]!r}, and not OK, Warning or Critical")
    judged = "ns" if state == "Absent" or health is None else HEALTH[health]
    words = (state, _reading(part), INPUT.get(text_of(part.get("LineInputStatus")), ""), *_failures(status))
    text = ", ".join(word for word in words if word)
    return BmcSensor(f"{owner} {name_of(part)}", judged, text, kind, text_of(part.get("SerialNumber")))


def parts_in(document: Document, key: str) -> Iterator[Document]:
    """Yield the objects of a list that may be left out.

    Raises:
        Flawed: it is no list of objects.
    """
    found = document.get(key)
    if not isinstance(found, list | None) or not all(isinstance(each, dict) for each in found or ()):
        raise Flawed(f"{key} is no list of objects")
    yield from found or ()


def link_in(document: Document, key: str) -> str:
    """Return where a resource is, empty when the document does not name it."""
    link = _inner(document, key).get("@odata.id")
    return link if isinstance(link, str) else ""


def id_of(document: Document) -> str:
    """Return the id of a resource, which is the last part of its path, too."""
    path = document.get("@odata.id")
    return text_of(document.get("Id")) or text_of(path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else "")


def name_of(part: Document) -> str:
    """Return what a part is called."""
    named = (text_of(part.get(key)) for key in ("Name", "FanName", "Id", "MemberId"))
    return next((name for name in named if name), "part")


def event_of(entry: Document) -> BmcEvent:
    """Return an entry of a log.

    Raises:
        Flawed: it has neither a number nor a time, so that nobody could tell whether it is news.
    """
    code, message = text_of(entry.get("EntryCode")), text_of(entry.get("Message"))
    limit = _LIMIT.fullmatch(code)
    return BmcEvent(
        record=_record(entry),
        sensor=_origin(entry),
        event=" ".join(limit.groups()) if limit else message or text_of(entry.get("MessageId")) or code,
        asserted=code != "Deassert" and entry.get("Resolved") is not True,
        severity=SEVERITY.get(text_of(entry.get("Severity")), ""),
    )


def text_of(value: object) -> str:
    """Return a text without what cannot be printed, empty when it is none."""
    return printable(value)[:MOST_TEXT] if isinstance(value, str) else ""


def whole_number(value: object) -> int:
    """Return a whole number that is not negative, 0 when it is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return max(0, min(int(value), MOST_RECORD)) if is_number and isinstance(value, int) else 0


def _record(entry: Document) -> int:
    match = _NUMBER.search(text_of(entry.get("Id")))
    if match:
        number = int(match[1])
        return number * 1000 + int(match[2] or 0) if number >= _A_TIME else number
    try:
        return max(0, int(datetime.fromisoformat(text_of(entry.get("Created"))).timestamp()))
    except (ValueError, OverflowError) as error:
        raise Flawed(f"an entry has no number in its Id and no time in Created: {str(entry)[:80]!r}") from error


def _origin(entry: Document) -> str:
    """Return what an entry is about: as `ipmitool` names it, or the last part of the resource's path."""
    kind, number = text_of(entry.get("SensorType")), entry.get("SensorNumber")
    if kind:
        return f"{kind} #0x{whole_number(number):02x}" if isinstance(number, int) else kind
    return id_of({"@odata.id": link_in(_inner(entry, "Links"), "OriginOfCondition")}) or "log"


def _reading(part: Document) -> str:
    for key, unit in (("ReadingCelsius", "degrees C"), ("ReadingVolts", "V"), ("Reading", part.get("ReadingUnits"))):
        if _is_number(part.get(key)):
            return f"{part[key]:g} {text_of(unit)}".strip()
    speed = _inner(part, "SpeedPercent")
    for key, unit in (("SpeedRPM", "RPM"), ("Reading", "%")):
        if _is_number(speed.get(key)):
            return f"{speed[key]:g} {unit}"
    return ""


def _failures(status: Document) -> Iterator[str]:
    """Yield what the BMC itself gives as reasons (Resource.Status, `Conditions`)."""
    conditions = status.get("Conditions")
    for condition in conditions[:3] if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and (message := text_of(condition.get("Message"))):
            yield message


def _inner(document: Document, key: str) -> Document:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
