"""The bundles of this node: has them gathered, keeps them over restarts and reboots, and has them sent one by one.

An order waits until its bundle is whole, for the step after it may reset or reboot what was to be seen; it never waits
for the sending. Gathering and sending are done by short-lived processes, so the agent stays as small as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from agent.bundles.plan import PACKED, PLAN, Origin, Packed, Plan, Said, load_packed, load_plan
from agent.clock import Clock
from agent.settings import Bundles
from agent.small_file import read_file
from agent.sources.child import ChildEnded, Command, DeadlineMissed, Slot, Stuck
from wire.evidence import SINCE, UPLOAD_ID, BadUpload, Grant, grant_in
from wire.messages import EvidenceEnded
from wire.orders import Order

log = structlog.get_logger()

GATHER: Final = (sys.executable, "-m", "agent.bundles.gather")
SEND: Final = (sys.executable, "-m", "agent.bundles.send")

MOST_WAITING: Final = 3
"""Bundles that wait to be sent; the oldest goes when one more comes. Source: our choice; they share the state disk."""

INVENTORY: Final = "inventory.toml"
MOST_INVENTORY_BYTES: Final = 1 << 20
"""Source: agent/manifest_file.py, which refuses a longer one."""

MARGIN_S: Final = 10.0
"""Between the end of a gathering and that of its order, for the answer. Source: our choice."""

LEAST_S: Final = 30.0
"""With less time no gathering is begun. Source: our choice; packing alone is given 20 s."""

FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 900.0
SLOWEST_BYTES_PER_S: Final = 16_384
"""A sending that is slower is begun anew. Source: our choice; 64 MiB in about an hour."""

ROUND_S: Final = 600.0
"""A sending has so long besides, for connections that are slow to come."""


@dataclass(frozen=True, slots=True)
class Whose:
    """What a bundle says of where it is from."""

    node: str
    boot_id: str
    agent_version: str
    simulated: bool = False


class Gatherer(Protocol):
    """What orders need of the bundles."""

    async def gather(self, order: Order, texts: Mapping[str, str]) -> str:
        """Have a bundle gathered if the order gives leave to send one; return a sentence about it, else nothing."""
        ...

    def start(self) -> None:
        """Go on with the bundles that wait to be sent, and throw away what was never finished."""
        ...

    async def close(self) -> None:
        """Break off what is under way; the next start goes on with what is whole."""
        ...


class NoBundles:
    """Gathers nothing."""

    async def gather(self, order: Order, texts: Mapping[str, str]) -> str:
        """Return nothing."""
        assert order.order_id and texts is not None
        return ""

    def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Keeper:
    """Keeps the bundles of one node.

    Attributes:
        folder: where they lie, on the state disk.
        inventory: the file of what was approved for this host, copied in where it is there.
        tell: takes what became of a bundle.
    """

    folder: Path
    settings: Bundles
    whose: Whose
    tell: Callable[[EvidenceEnded], None]
    clock: Clock = field(default_factory=Clock)
    inventory: Path | None = None
    gather_command: tuple[str, ...] = GATHER
    send_command: tuple[str, ...] = SEND
    _stuck: dict[str, int] = field(default_factory=dict)
    _gathering: Command = field(default_factory=lambda: Command(Slot()))
    _sending: Command = field(default_factory=lambda: Command(Slot()))
    _task: asyncio.Task[None] | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _now_sent: str = ""

    async def gather(self, order: Order, texts: Mapping[str, str]) -> str:
        """Have a bundle gathered, and queue it to be sent. Whatever goes wrong is said; the order is none the worse."""
        try:
            grant = grant_in(order.parameters)
        except BadUpload as error:
            return f"no bundle: {error}"
        if grant is None:
            return ""
        limit_s = min(self.settings.limit_s, order.expires_at - self.clock.wall() - MARGIN_S)
        if limit_s < LEAST_S:
            return f"no bundle: the order leaves {max(0.0, limit_s):.0f} s, and {LEAST_S:.0f} s are the least"
        try:
            return await self._gather(self._plan(order, grant, texts, limit_s))
        except (OSError, DeadlineMissed, Stuck, ChildEnded, msgspec.MsgspecError) as error:
            shutil.rmtree(self.folder / grant.upload, ignore_errors=True)
            log.warning("bundle.failed", order_id=order.order_id, because=str(error))
            return f"no bundle: {error}"

    def start(self) -> None:
        """Go on with the bundles that wait to be sent, and throw away what was never finished."""
        for folder in self._folders():
            if not self._is_whole(folder):
                log.info("bundle.discarded", upload=folder.name)
                shutil.rmtree(folder, ignore_errors=True)
        if self._waiting():
            self._send_waiting()

    async def close(self) -> None:
        """Break off what is under way; the next start goes on with what is whole."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._gathering.close()
        await self._sending.close()

    def _plan(self, order: Order, grant: Grant, texts: Mapping[str, str], limit_s: float) -> Plan:
        whose = self.whose
        since = order.parameters.get(SINCE, "")
        origin = Origin(
            whose.node,
            order.incident_id,
            order.order_id,
            whose.boot_id,
            whose.agent_version,
            asked_at=self.clock.wall(),
            since=float(since) if since.isascii() and since.isdecimal() and len(since) < 15 else 0.0,
        )
        return Plan(
            origin,
            grant,
            {**texts, **self._approved()},
            limit_s,
            most_bytes=min(self.settings.most_bytes, grant.most_bytes),
            file_bytes=self.settings.file_bytes,
            keep_free_bytes=self.settings.keep_free_bytes,
            left_out=tuple(sorted(self.settings.left_out)),
            stuck=self._stuck,
            tools=not whose.simulated,
        )

    def _approved(self) -> dict[str, str]:
        """Return the approved inventory as a file of the bundle; nothing when there is none that can be read."""
        if self.inventory is None:
            return {}
        try:
            content = read_file(self.inventory, most_bytes=MOST_INVENTORY_BYTES)
        except OSError:
            return {}
        return {INVENTORY: content.decode("utf-8", "replace")}

    async def _gather(self, plan: Plan) -> str:
        folder = self.folder / plan.grant.upload
        if self._is_whole(folder):
            self._send_waiting()
            return "the bundle was gathered before and is on its way"
        self._make_place()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        (folder / PLAN).write_bytes(msgspec.json.encode(plan))
        ended = await self._gathering.run((*self.gather_command, str(folder)), deadline_s=plan.limit_s + MARGIN_S / 2)
        if ended.code:
            raise ChildEnded(ended.text.strip()[-300:] or f"its process ended with code {ended.code}")
        packed = load_packed(folder)
        self._stuck |= packed.stuck
        self._send_waiting()
        log.info("bundle.gathered", upload=folder.name, size_bytes=packed.size_bytes, files=packed.files)
        return _say(packed)

    def _make_place(self) -> None:
        """Give up the oldest bundles that wait: new evidence is worth more than what could not be sent for long."""
        waiting = [folder for folder in self._waiting() if folder.name != self._now_sent]
        for folder in waiting[: max(0, len(waiting) - MOST_WAITING + 1)]:
            self._end(folder, "failed", "it had to make place for newer evidence before it could be sent")

    def _send_waiting(self) -> None:
        self._wanted.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_sending(), name="bundles")

    async def _keep_sending(self) -> None:
        """Send what waits, oldest first, until nothing does."""
        failures = 0
        while waiting := self._waiting():
            self._wanted.clear()
            self._now_sent = waiting[0].name
            said = await self._send(waiting[0])
            self._now_sent = ""
            if said.outcome == "later" and not self._is_expired(waiting[0]):
                failures += 1
                grown = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))
                await self._pause(max(grown, said.after_s))
                continue
            failures = 0
            outcome = "sent" if said.outcome == "sent" else "failed"
            self._end(waiting[0], outcome, said.because)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when there is something new to send: what was wrong may be so with the old bundle alone."""
        beat = asyncio.ensure_future(self.clock.sleep(seconds))
        wanted = asyncio.ensure_future(self._wanted.wait())
        try:
            await asyncio.wait({beat, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            beat.cancel()
            wanted.cancel()

    async def _send(self, folder: Path) -> Said:
        ca_file = str(self.settings.ca_file or "")
        command = (*self.send_command, str(folder), str(self.settings.rate_bytes_per_s), ca_file)
        try:
            size = load_packed(folder).size_bytes
            limit_s = ROUND_S + size / min(self.settings.rate_bytes_per_s, SLOWEST_BYTES_PER_S)
            ended = await self._sending.run(command, deadline_s=limit_s, errors_apart=True)
            said = msgspec.json.decode(ended.text.strip().rpartition("\n")[2].encode(), type=Said)
        except (DeadlineMissed, Stuck) as error:
            return Said("later", str(error))
        except (ChildEnded, OSError, msgspec.MsgspecError) as error:
            return Said("failed", f"the process that sends it failed: {error}")
        log.info("bundle.tried", upload=folder.name, outcome=said.outcome, because=said.because)
        return said

    def _end(self, folder: Path, outcome: str, because: str) -> None:
        """Say what became of a bundle, and throw it away. Were it thrown away first, a kill would leave it unsaid."""
        try:
            plan, packed = load_plan(folder), load_packed(folder)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("bundle.unreadable", upload=folder.name, because=str(error))
        else:
            ended = EvidenceEnded(
                folder.name,
                plan.origin.incident_id,
                outcome,
                because,
                self.clock.wall(),
                packed.size_bytes,
                packed.sha256,
            )
            self.tell(ended)
            log.info("bundle.ended", upload=folder.name, outcome=outcome, because=because)
        shutil.rmtree(folder, ignore_errors=True)

    def _is_expired(self, folder: Path) -> bool:
        try:
            return load_plan(folder).grant.expires_at <= self.clock.wall()
        except (OSError, msgspec.MsgspecError):
            return True

    def _waiting(self) -> list[Path]:
        """Return the folders of the bundles that are whole, oldest first."""
        whole = [folder for folder in self._folders() if self._is_whole(folder)]
        return sorted(whole, key=lambda folder: ((folder / PACKED).stat().st_mtime_ns, folder.name))

    def _is_whole(self, folder: Path) -> bool:
        return (folder / PACKED).is_file()

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from (path for path in sorted(self.folder.iterdir()) if UPLOAD_ID.fullmatch(path.name))


def _say(packed: Packed) -> str:
    missing = f"; not whole: {'; '.join(packed.notes)}" if packed.notes else ""
    return f"a bundle of {packed.files} files, {packed.size_bytes / (1 << 20):.1f} MiB, is on its way{missing}"
