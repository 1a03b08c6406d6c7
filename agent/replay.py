"""A recording, judged again as the daemon would: by the same desk, on a clock that the recording drives.

What differs from the daemon is time alone. A reading that came late counts from when it began, and a source that fell
silent is late when the recording says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.clock import Clock
from agent.desk import Desk
from agent.scratch import Scratch
from checks.check import Check
from checks.finding import Action, Verdict
from checks.judge import Judged, LineReader, judged
from checks.kernel_log import believed
from checks.readings import KernelRecord
from checks.readings.site import ID
from checks.recording import Header, Reset, Started, Taken, Unobserved
from checks.registry import CHECKS
from checks.site import site_check
from wire.messages import EventBody, FindingCleared, FindingRaised


class Replay:
    """Judges one recording, entry by entry.

    Attributes:
        desk: of the agent that is played; another one after each of its starts.
    """

    def __init__(self, header: Header, *, checks: Iterable[Check] = CHECKS, accept_userspace: bool = False) -> None:
        """Begin before the first entry.

        Args:
            accept_userspace: believe kernel-log records that any process could have written, as the header may, too.
        """
        self._checks = tuple(checks)
        self._accept_userspace = accept_userspace or header.accept_userspace
        self._scratch, self._lines = Scratch(), LineReader()
        self._now = 0.0
        self._addresses: dict[tuple[str, str], str] = {}
        self.desk = self._started(header.boot_id)

    def feed(self, taken: Taken) -> list[Judged]:
        """Return the edges that an entry makes, in the order in which the daemon tells them."""
        record = self._lines.read(taken.what) if isinstance(taken.what, bytes) else None
        at = taken.at or getattr(record or taken.what, "at_s", 0.0)
        self._now = max(self._now, at)
        self._take(taken, record, began=at or self._now)
        return [self._edge(taken.number, event) for event in self._scratch.take_events()]

    def _take(self, taken: Taken, record: KernelRecord | None, *, began: float) -> None:
        self._meet(taken.source)
        match taken.what:
            case bytes():
                self._take_record(record)
            case KernelRecord():
                self._take_record(taken.what)
            case Unobserved():
                self.desk.take_failure(taken.source, code=taken.what.code, because=taken.what.because)
            case Started():
                self.desk = self._started(taken.what.boot_id)
            case Reset():
                self.desk.device_was_reset(taken.what.device)
            case _:
                self.desk.take(taken.what, began=began, began_at=began)

    def _meet(self, source: str) -> None:
        """Judge also what a program of the site answers: it need not be on this machine."""
        if ID.fullmatch(source) and source not in {check.id for check in self._checks}:
            check = site_check(source)
            self._checks = (*self._checks, check)
            self.desk.add_check(check)

    def _take_record(self, record: KernelRecord | None) -> None:
        if record is not None:
            is_believed = believed(record, accept_userspace=self._accept_userspace)
            self.desk.take_record(record, is_believed=is_believed)

    def _started(self, boot_id: str) -> Desk:
        clock = Clock(wall=lambda: self._now, monotonic=lambda: self._now)
        return Desk(self._checks, journal=self._scratch, boot_id=boot_id, notify=lambda: None, clock=clock)

    def _edge(self, line: int, event: EventBody) -> Judged:
        assert isinstance(event, FindingRaised | FindingCleared)
        if isinstance(event, FindingRaised):
            self._addresses[event.finding.check, event.finding.device] = event.finding.pci
            return judged(line, event.finding)
        key = event.key
        pci = self._addresses.get((key.check, key.device), "")
        return Judged(line, key.check, key.device, pci, key.code, Verdict.OK.value, Action.NONE.value, event.because)


def replay(
    header: Header, taken: Iterable[Taken], *, checks: Iterable[Check] = CHECKS, accept_userspace: bool = False
) -> Iterator[Judged]:
    """Yield the edges of a whole recording.

    Raises:
        CannotJudge: an entry cannot be decoded; what came before it was judged.
    """
    player = Replay(header, checks=checks, accept_userspace=accept_userspace)
    for each in taken:
        yield from player.feed(each)
