"""What a BMC tells of a host that cannot speak for itself: power, parts that are not well, the newest of its logs.

For people, and bounded: a part that cannot be read is named and left out. Nothing here decides anything. Source: DMTF
DSP0268, schemas ComputerSystem, Chassis, Processor, LogService, LogEntry, Resource.Status.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from controller.errors import Permanent, Retryable
from controller.power.redfish_documents import ROOT, Document, id_of, inner, link_in, links_in, objects_in, text_of
from controller.power.redfish_talk import Talk

MOST_QUESTIONS = 80
"""In one walk. Source: our choice; a host with eight GPUs has some 40 chassis, processors and logs."""

MOST_PAGES = 8
MOST_ENTRIES = 50
"""Of each log, the newest. Source: our choice; what led to a failure is among them."""

MOST_CHARACTERS = 16_000
"""Of each text. Source: our choice; fifty entries."""

GPU_BOARD = re.compile(r"HGX_|GPU", re.IGNORECASE)
"""Chassis of GPU baseboards and their parts, which are listed also while they are well. Source: NVIDIA's HGX baseboards
show `HGX_Chassis_0`, `HGX_GPU_SXM_1` to `_8` and `HGX_NVSwitch_0` among the chassis."""

NO_EVENTS = re.compile(r"dump|crash|fdr|postcode|audit|journal|hostlogger|lclog|debug", re.IGNORECASE)
"""Logs of other things than events, long and of no help here. Source: our choice, after the ids that OpenBMC's bmcweb
and iDRAC give theirs."""


class _Enough(Exception):
    """The walk has asked all the questions that it may."""


class Walk:
    """One walk, and how many questions it may still ask."""

    def __init__(self, talk: Talk) -> None:
        """Ask nothing yet."""
        self._talk, self._left = talk, MOST_QUESTIONS
        self.unread: list[str] = []

    async def get(self, path: str) -> Document:
        """Return a document, an empty one when it cannot be read.

        Raises:
            _Enough: nothing more may be asked.
        """
        if self._left <= 0:
            raise _Enough
        self._left -= 1
        try:
            return await self._talk.get(path)
        except (Retryable, Permanent) as error:
            self.unread.append(str(error))
            return {}

    async def listed(self, path: str) -> list[str]:
        """Return where the members of a collection are, none where there is no collection."""
        return list(links_in(await self.get(path), "Members")) if path else []


async def gather(talk: Talk, system: Document) -> dict[str, str]:
    """Return the evidence of a system, name → text."""
    walk, found = Walk(talk), {"bmc/power.txt": _power(system)}
    try:
        await _logs(walk, system, found)
        await _health(walk, system, found)
    except _Enough:
        walk.unread.append(f"The walk ended after {MOST_QUESTIONS} documents.")
    if walk.unread:
        found["bmc/unread.txt"] = _bounded(walk.unread)
    return found


def _power(system: Document) -> str:
    status, boot = inner(system, "Status"), inner(system, "BootProgress")
    facts = {
        "power": text_of(system.get("PowerState")),
        "health": text_of(status.get("Health")),
        "health with all parts": _rollup(status),
        "boot progress": text_of(boot.get("LastState")),
        "last reset": text_of(system.get("LastResetTime")),
        "serial number": text_of(system.get("SerialNumber")),
        "model": text_of(system.get("Model")),
    }
    return _bounded([f"{name}: {text}" for name, text in facts.items() if text])


def _rollup(status: Document) -> str:
    """Return the health with all parts. sushy-tools 2.2 writes it with a capital U, DSP0268 with a small one."""
    return text_of(status.get("HealthRollup")) or text_of(status.get("HealthRollUp"))


async def _health(walk: Walk, system: Document, found: dict[str, str]) -> None:
    root = await walk.get(ROOT)
    paths = await walk.listed(link_in(root, "Chassis")) + await walk.listed(link_in(system, "Processors"))
    lines: list[str] = []
    for path in paths:
        part = await walk.get(path)
        status, name = inner(part, "Status"), id_of(path)
        words = {text_of(status.get("Health")), _rollup(status)} - {""}
        if words - {"OK"} or (words and GPU_BOARD.search(name)):
            lines.append(_line(name, part, status))
        found["bmc/health.txt"] = _bounded(lines or ["Every part that tells its health is well."])


def _line(name: str, part: Document, status: Document) -> str:
    rollup, state, serial = _rollup(status), text_of(status.get("State")), text_of(part.get("SerialNumber"))
    words = [f"{name}: {text_of(status.get('Health')) or 'says nothing'}"]
    words += [f"with all parts {rollup}"] if rollup else []
    words += [state] if state else []
    words += [f"serial {serial}"] if serial else []
    reasons = (text_of(each.get("Message")) for each in objects_in(status, "Conditions")[:3])
    return ", ".join([*words, *filter(None, reasons)])


async def _logs(walk: Walk, system: Document, found: dict[str, str]) -> None:
    """Read the event logs of the system, and those of its managers where it has none, as iDRAC."""
    services = await walk.listed(link_in(system, "LogServices"))
    if not any(not NO_EVENTS.search(id_of(path)) for path in services):
        for manager in list(links_in(inner(system, "Links"), "ManagedBy"))[:2]:
            services += await walk.listed(link_in(await walk.get(manager), "LogServices"))
    for path in services:
        if not NO_EVENTS.search(id_of(path)):
            entries = await _entries(walk, link_in(await walk.get(path), "Entries"))
            if entries:
                found[f"bmc/log-{_as_name(id_of(path))}.txt"] = _bounded([_event(entry) for entry in entries])


async def _entries(walk: Walk, path: str) -> Sequence[Document]:
    """Return the newest entries of a log, oldest first; some BMCs begin with these, some end with them."""
    found: list[Document] = []
    for _ in range(MOST_PAGES):
        page = await walk.get(path) if path else {}
        found += [entry for entry in objects_in(page, "Members") if len(entry) > 1]
        following = page.get("Members@odata.nextLink")
        path = following if isinstance(following, str) and following.startswith(ROOT) else ""
    return sorted(found, key=_when)[-MOST_ENTRIES:]


def _when(entry: Document) -> tuple[str, int]:
    digits = re.sub(r"\D", "", text_of(entry.get("Id")))[-15:]
    return text_of(entry.get("Created")), int(digits or 0)


def _event(entry: Document) -> str:
    words = (text_of(entry.get(key)) for key in ("Created", "Severity", "Message"))
    return " ".join(filter(None, words)) or text_of(entry.get("MessageId")) or "an entry without words"


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:40] or "log"


def _bounded(lines: Sequence[str]) -> str:
    """Return lines as a text, without the first ones when there are too many: the newest come last."""
    text = "\n".join(lines) + "\n"
    return text if len(text) <= MOST_CHARACTERS else f"[...]\n{text[-MOST_CHARACTERS:]}"
