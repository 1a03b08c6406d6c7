"""One input given to one parser, under watch: what it may say, how long it may take, and how much memory."""

from __future__ import annotations

import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 3.0
"""Of a processor's time for one input of 64 KiB at most: a thousand times what a slow one takes."""

MEMORY_BYTES: Final = 768 << 20
"""So much more address space than before may be taken by one input."""


class Hang(BaseException):
    """No parser catches it."""


@dataclass(frozen=True, slots=True)
class Defect:
    """What a parser did wrong. `where`: the deepest frame of ours; two defects of one place and kind are one."""

    target: str
    kind: str
    where: str
    told: str

    @property
    def name(self) -> str:
        """One word for it, for a file's name."""
        return f"{self.target}-{self.kind}-{self.where}".replace("/", ".").replace(":", "-").replace(" ", "_")


def defect_of(target: Target, data: bytes) -> Defect | None:
    """Return what went wrong with an input, `None` when the parser took it, or refused it in its own words."""
    try:
        with _limited_in_time():
            target.take(data)
    except target.clear as error:
        return None if _is_said(error) else _defect(target, error, "unsaid")
    except (Exception, Hang) as error:
        return _defect(target, error)
    return None


def _is_said(error: BaseException) -> bool:
    """Return whether an error says anything: an empty refusal helps nobody."""
    return bool(str(error).strip())


def _defect(target: Target, error: BaseException, kind: str = "") -> Defect:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(str(ROOT)) and "/tests/fuzz/" not in frame.filename]
    place = ours[-1] if ours else frames[-1]
    name = place.filename.removeprefix(f"{ROOT}/")
    return Defect(target.name, kind or type(error).__name__, f"{name}:{place.name}", str(error)[:300])


@contextmanager
def _limited_in_time() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, _hung)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _hung(_number: int, _frame: object) -> None:
    raise Hang(f"it took more than {LIMIT_S:g} s")


@contextmanager
def limited_in_memory() -> Iterator[None]:
    """Have whatever takes far more memory than the process has now fail by `MemoryError`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def minimised(target: Target, data: bytes, defect: Defect, *, most_tries: int = 600) -> bytes:
    """Return a shorter input with the same defect."""
    size = max(1, len(data) // 2)
    tries = 0
    while tries < most_tries:
        at, is_shorter = 0, False
        while at < len(data) and tries < most_tries:
            shorter = data[:at] + data[at + size :]
            tries += 1
            found = defect_of(target, shorter)
            if found is not None and (found.kind, found.where) == (defect.kind, defect.where):
                data, is_shorter = shorter, True
            else:
                at += size
        if size == 1 and not is_shorter:
            break
        size = max(1, size // 2)
    return data


def told(defect: Defect) -> str:
    """Return the defect as one line."""
    return f"{defect.target}: {defect.kind} in {defect.where}: {defect.told[:160]}"


def warn(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)
