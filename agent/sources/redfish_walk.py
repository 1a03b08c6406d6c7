"""The way through a BMC's Redfish tree: chassis with what powers and cools them, systems with processors and logs.

Bounded in every direction: a tree is foreign and may be as long, as deep or as round as it likes. What cannot be read
is remembered as a flaw, and the rest is read all the same.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from agent.sources.redfish_documents import (
    Document,
    Flawed,
    event_of,
    id_of,
    link_in,
    part_of,
    parts_in,
    text_of,
    whole_number,
)
from checks.errors import CannotObserve
from checks.readings.bmc import BmcEvent, BmcSensor

ROOT: Final = "/redfish/v1/"
"""Source: DMTF DSP0266, service root."""

MOST_QUESTIONS: Final = 400
"""Source: our choice; an HGX host with 40 chassis and 16 processors takes some 150."""

MOST_PAGES: Final = 10
MOST_ENTRIES: Final = 100
"""Of one log, as of IPMI's. Source: our choice; a BMC logs some events a day."""

MOST_SINGLE: Final = 20
"""Entries of a log that a BMC gives as links alone, each of which takes a question."""

OTHER_LOGS: Final = re.compile(r"dump|crash|fdr|postcode|audit|journal|hostlogger|lclog|dpu|debug", re.IGNORECASE)
"""Logs of other things than events: dumps, boot codes, who logged in. Source: our choice, after the ids that bmcweb
(OpenBMC) and iDRAC give theirs; such an entry that is critical would else count as a fault of the host."""

POWER_PARTS: Final = (("PowerSupplies", "supply"), ("Redundancy", "supply"), ("Voltages", "voltage"))
THERMAL_PARTS: Final = (("Fans", "fan"), ("Redundancy", "fan"), ("Temperatures", "temperature"))

_PATH = re.compile(r"/redfish/[\x21\x22\x24-\x7e]{1,500}")
_ENTRY_NUMBER = re.compile(r"(\d{1,15})/?$", re.ASCII)

Get = Callable[[str], Awaitable[Document]]
"""Asks for a path.

Raises Flawed where this one cannot be read, CannotObserve where nothing more can be asked."""


class Walk:
    """One walk, and what it has found so far."""

    def __init__(self, get: Get) -> None:
        """Ask nothing yet."""
        self._get_document, self._asked = get, 0
        self._sensors: dict[str, BmcSensor] = {}
        self._can_skip = self._can_expand = False
        self.logs: dict[str, tuple[BmcEvent, ...]] = {}
        self.flaws: list[str] = []

    @property
    def sensors(self) -> tuple[BmcSensor, ...]:
        """Every part that was found, each once."""
        return tuple(self._sensors.values())

    async def run(self) -> None:
        """Walk through the whole tree.

        Raises:
            CannotObserve: there is no such tree, or it cannot be asked any further.
        """
        try:
            root = await self._get(ROOT)
        except Flawed as flaw:
            raise CannotObserve(f"{flaw}: url has to be that of a Redfish service") from flaw
        chassis, systems = link_in(root, "Chassis"), link_in(root, "Systems")
        if not chassis and not systems:
            raise CannotObserve(f"{ROOT} names neither Chassis nor Systems: url has to be that of a Redfish service")
        self._note_features(root)
        for each in await self._members(chassis):
            await self._power(each)
            await self._cooling(each)
        for each in await self._members(systems):
            await self._system(each)
        if not self.flaws and not self.logs and not any(sensor.status != "ns" for sensor in self.sensors):
            self.flaws.append("no part there tells its health, and no log is there")

    def _note_features(self, root: Document) -> None:
        features = root.get("ProtocolFeaturesSupported")
        if isinstance(features, dict):
            expand = features.get("ExpandQuery")
            self._can_skip = features.get("TopSkipQuery") is True
            self._can_expand = isinstance(expand, dict) and expand.get("NoLinks") is True

    async def _power(self, chassis: Document) -> None:
        if await self._listed(chassis, "Power", POWER_PARTS):
            return
        for supply in await self._members_below(chassis, "PowerSubsystem", "PowerSupplies"):
            self._add(supply, "supply", id_of(chassis))

    async def _cooling(self, chassis: Document) -> None:
        if await self._listed(chassis, "Thermal", THERMAL_PARTS):
            return
        for fan in await self._members_below(chassis, "ThermalSubsystem", "Fans"):
            self._add(fan, "fan", id_of(chassis))

    async def _listed(self, chassis: Document, key: str, parts: Iterable[tuple[str, str]]) -> bool:
        """Take the parts out of a document of the older schemas, one for all; return whether its first list has any."""
        document = await self._linked(chassis, key)
        counts = [self._add_all(document, name, kind, id_of(chassis)) for name, kind in parts]
        return counts[0] > 0

    def _add_all(self, document: Document, key: str, kind: str, owner: str) -> int:
        try:
            parts = list(parts_in(document, key))
        except Flawed as flaw:
            self.flaws.append(f"{id_of(document) or owner}: {flaw}")
            return 0
        for part in parts:
            self._add(part, kind, owner)
        return len(parts)

    def _add(self, part: Document, kind: str, owner: str) -> None:
        """Take a part up. Chassis show the parts of each other: a path counts once."""
        try:
            sensor = part_of(part, kind, owner)
        except Flawed as flaw:
            self.flaws.append(f"{owner}: {flaw}")
            return
        path = part.get("@odata.id")
        key = path if isinstance(path, str) and path else f"{kind} {sensor.name} {text_of(part.get('MemberId'))}"
        if key not in self._sensors and any(known.name == sensor.name for known in self.sensors):
            # By its id, not by its place: the name has to be the same when another part is not read.
            sensor = replace(sensor, name=f"{sensor.name} ({text_of(part.get('MemberId')) or id_of(part) or kind})")
        self._sensors.setdefault(key, sensor)

    async def _system(self, system: Document) -> None:
        self._add(system, "system", "system")
        for processor in await self._members(link_in(system, "Processors")):
            self._add(processor, "processor", id_of(system))
        for service in await self._members(link_in(system, "LogServices")):
            if _is_event_log(service) and (path := link_in(service, "Entries")):
                await self._log(path)

    async def _log(self, path: str) -> None:
        try:
            entries = await self._newest(path)
            events = sorted((event_of(entry) for entry in entries), key=lambda event: event.record)
        except Flawed as flaw:
            self.flaws.append(f"{path}: {flaw}" if path not in str(flaw) else str(flaw))
            return
        self.logs[path] = tuple(events[-MOST_ENTRIES:])

    async def _newest(self, path: str) -> Sequence[Document]:
        """Return the entries of a log with the newest among them; some BMCs begin with these, some end with them."""
        page = await self._get(path)
        entries = _members_of(page, path)
        count = whole_number(page.get("Members@odata.count"))
        if self._can_skip and count > len(entries) and not _is_descending(entries):
            page = await self._get(f"{path}?$skip={max(0, count - MOST_ENTRIES)}")
            entries = _members_of(page, path)
        for _ in range(MOST_PAGES):
            following = page.get("Members@odata.nextLink")
            if following is None or (len(entries) >= MOST_ENTRIES and _is_descending(entries)):
                return await self._whole(entries)
            page = await self._get(str(following))
            entries = [*entries, *_members_of(page, path)]
        raise Flawed(f"{path} is longer than {MOST_PAGES} pages and begins with its oldest entry: save and clear it")

    async def _whole(self, entries: Sequence[Document]) -> Sequence[Document]:
        """Return the entries, those asked for one by one that are links alone."""
        if any(len(entry) > 1 for entry in entries):
            return entries
        newest = sorted(entries, key=_number)[-MOST_SINGLE:]
        return [await self._get(str(entry.get("@odata.id"))) for entry in newest]

    async def _members_below(self, chassis: Document, subsystem: str, collection: str) -> list[Document]:
        return await self._members(link_in(await self._linked(chassis, subsystem), collection))

    async def _members(self, path: str) -> list[Document]:
        """Return every member of a collection that can be read; none where there is no collection."""
        listed = await self._refs(path) if path else ()
        return [whole for each in listed if (whole := await self._member(each))]

    async def _member(self, listed: Document) -> Document:
        return listed if len(listed) > 1 else await self._followed(listed.get("@odata.id"))

    async def _refs(self, path: str) -> Sequence[Document]:
        """Return a collection's members, whole ones where the BMC expands them: it may say that it can and fail."""
        if self._can_expand:
            with contextlib.suppress(Flawed):
                return await self._pages(path, f"{path}?$expand=.")
        try:
            return await self._pages(path, path)
        except Flawed as flaw:
            self.flaws.append(str(flaw))
            return ()

    async def _pages(self, path: str, first: str) -> Sequence[Document]:
        found: list[Document] = []
        following: object = first
        for _ in range(MOST_PAGES):
            page = await self._get(str(following))
            found += _members_of(page, path)
            following = page.get("Members@odata.nextLink")
            if following is None:
                return found
        raise Flawed(f"{path} is longer than {MOST_PAGES} pages")

    async def _linked(self, document: Document, key: str) -> Document:
        link = link_in(document, key)
        return await self._followed(link) if link else {}

    async def _followed(self, path: object) -> Document:
        try:
            return await self._get(path if isinstance(path, str) else "")
        except Flawed as flaw:
            self.flaws.append(str(flaw))
            return {}

    async def _get(self, path: str) -> Document:
        if not _PATH.fullmatch(path):
            raise Flawed(f"a link leads to {text_of(path)!r}, and not below /redfish/")
        if self._asked >= MOST_QUESTIONS:
            raise CannotObserve(f"the tree has more than {MOST_QUESTIONS} documents")
        self._asked += 1
        return await self._get_document(path)


def _members_of(collection: Mapping[str, Any], path: str) -> list[Document]:
    if "Members" not in collection:
        raise Flawed(f"{path} has no Members")
    try:
        return list(parts_in(collection, "Members"))
    except Flawed as flaw:
        raise Flawed(f"{path}: {flaw}") from flaw


def _is_event_log(service: Document) -> bool:
    is_other = service.get("LogEntryType") == "OEM" or OTHER_LOGS.search(id_of(service))
    return not is_other and service.get("ServiceEnabled") is not False


def _is_descending(entries: Sequence[Document]) -> bool:
    return len(entries) > 1 and _number(entries[0]) > _number(entries[-1])


def _number(entry: Document) -> int:
    """Return the number at the end of an entry's path or id, 0 when there is none."""
    path = entry.get("@odata.id")
    match = _ENTRY_NUMBER.search(path if isinstance(path, str) else "") or _ENTRY_NUMBER.search(id_of(entry))
    return int(match[1]) if match else 0
