"""No scheduler: a file of holds stands in for one, and every node that it does not hold may take work.

The file is for people too:

    {"nodes": {"n1": {"held_by": "inc-000007", "reason": "GPU 3 has fallen off the bus.", "foreign_reason": ""},
               "n3": {"held_by": "", "reason": "", "foreign_reason": "memory test by hand"}}}

Whoever writes a `foreign_reason` holds the node against fleetmend; whoever empties `held_by` takes it back from
fleetmend. A node given back stays in the file, empty, so that it is still known. Changes replace the file as a whole:
a crash at any moment leaves either the old one or the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from controller import durable
from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused, Retryable


class LedgerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who holds one node, and why; all empty when nobody does."""

    held_by: str = ""
    reason: str = ""
    foreign_reason: str = ""


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    nodes: dict[str, LedgerEntry] = {}


@dataclass(slots=True)
class NoScheduler:
    """Holds in a file.

    Attributes:
        path: the file; it need not exist. One controller alone writes it.
    """

    path: Path
    name: str = "none"
    _seen: set[str] = field(default_factory=set)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node that was ever held, whether or not somebody took it out of the file since."""
        nodes = (await self._ledger()).nodes
        return {name: _schedule(nodes.get(name, LedgerEntry())) for name in sorted(self._seen)}

    async def cordon(self, node: str, hold: Hold) -> str:
        """Write the hold into the file.

        Raises:
            Refused: somebody else holds the node.
        """
        async with self._writing:
            ledger = await self._ledger()
            entry = ledger.nodes.get(node, LedgerEntry())
            if entry.held_by == hold.incident_id:
                return f"{node} is held for {hold.incident_id} already."
            _refuse_unless_free(node, entry)
            await self._write(ledger, node, LedgerEntry(held_by=hold.incident_id, reason=hold.reason))
        return f"{node} is held for {hold.incident_id}; no scheduler is configured that would have to know."

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Return no job: without a scheduler there are none to wait for, whatever `jobs` says.

        Raises:
            Refused: the node is not held by this incident.
        """
        del jobs
        _refuse_unless_ours(node, (await self._ledger()).nodes.get(node, LedgerEntry()), hold)
        return ()

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Take the hold out of the file.

        Raises:
            Refused: somebody else holds the node.
        """
        async with self._writing:
            ledger = await self._ledger()
            entry = ledger.nodes.get(node, LedgerEntry())
            if entry == LedgerEntry():
                return f"Nobody holds {node}."
            _refuse_unless_ours(node, entry, hold)
            await self._write(ledger, node, LedgerEntry())
        return f"{node} is given back."

    async def adopt(self, holds: Mapping[str, NodeSchedule]) -> None:
        """Make the file say what the log says: the holds so far may stand in the file of another controller.

        A hold of somebody else's that stands in this file already is left.
        """
        async with self._writing:
            ledger = await self._ledger()
            nodes = {name: entry for name, entry in ledger.nodes.items() if entry.foreign_reason}
            for name, hold in holds.items():
                nodes.setdefault(name, LedgerEntry(held_by=hold.held_by, foreign_reason=hold.foreign_reason))
            free = dict.fromkeys(ledger.nodes, LedgerEntry())
            await self._replace(Ledger({**free, **nodes}))

    async def _ledger(self) -> Ledger:
        ledger = await asyncio.to_thread(_read, self.path)
        self._seen.update(ledger.nodes)
        return ledger

    async def _write(self, ledger: Ledger, node: str, entry: LedgerEntry) -> None:
        await self._replace(Ledger({**ledger.nodes, node: entry}))

    async def _replace(self, ledger: Ledger) -> None:
        content = msgspec.json.encode(ledger)
        await asyncio.to_thread(_write, self.path, msgspec.json.format(content, indent=1) + b"\n")
        self._seen.update(ledger.nodes)


def _schedule(entry: LedgerEntry) -> NodeSchedule:
    if entry.foreign_reason:
        return NodeSchedule(False, foreign_reason=entry.foreign_reason)
    return NodeSchedule(not entry.held_by, held_by=entry.held_by)


def _refuse_unless_free(node: str, entry: LedgerEntry) -> None:
    if entry.foreign_reason:
        raise Refused(f"{node} is held by somebody else: {entry.foreign_reason}")
    if entry.held_by:
        raise Refused(f"{node} is held for another incident of fleetmend: {entry.held_by}")


def _refuse_unless_ours(node: str, entry: LedgerEntry, hold: Hold) -> None:
    if entry.foreign_reason or entry.held_by != hold.incident_id:
        _refuse_unless_free(node, entry)
        raise Refused(f"{node} is not held for {hold.incident_id}: nobody holds it")


def _read(path: Path) -> Ledger:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise Retryable(f"{path} cannot be read: {error.strerror}", after_s=5.0) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        right = '{"nodes": {"n1": {"held_by": "", "reason": "", "foreign_reason": "why"}}}'
        raise Permanent(f"{path} is not a ledger of holds: {error}. It must look like {right}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        durable.replace(path, content)
    except OSError as error:
        raise Retryable(f"{path} cannot be written: {error.strerror}", after_s=5.0) from error
