"""A program for test_outbox_killed.py: an outbox in use, killed at each of its writes, and looked at afterwards.

It runs with the C double of tests/doubles/kill preloaded. Prints how many writes there were, or ends with what was
lost.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agent.outbox import Outbox
from wire.messages import AgentStarted

NAME = "outbox.sqlite"
shim = ctypes.CDLL(None)


def event(number: int) -> AgentStarted:
    """Return an event that is not like any other."""
    return AgentStarted(False, f"boot-{number}", "0.1.0", float(number))


def use(path: Path, told: int) -> None:
    """Put, store, save and close, and say before and after each what is done."""
    outbox = Outbox(path, "boot-now")
    kept: list[int] = []
    for number in range(4):
        os.write(told, b"p")
        kept.append(outbox.put(event(number), float(number)))
        os.write(told, f"P{kept[-1]} ".encode())
        os.write(told, f"s{number} ".encode())
        outbox.save("ledger", {"number": number})
        os.write(told, f"S{number} ".encode())
        if number % 2:
            os.write(told, f"d{kept[0]} ".encode())
            outbox.stored("boot-now", [kept.pop(0)])
    outbox.close()


def look(path: Path, told: str) -> None:
    """Hold what is on the disk to what was told."""
    words = told.replace("p", " ").split()
    put = [int(word[1:]) for word in words if word[0] == "P"]
    dropped = {int(word[1:]) for word in words if word[0] == "d"}
    outbox = Outbox(path, "boot-now")
    there = [each.seq for each in outbox.pending(100)]
    assert outbox.problem == "" and outbox.dropped == 0, outbox.problem
    assert set(put) - dropped <= set(there), f"lost: {put} put, {dropped} stored, {there} there"
    assert len(there) <= len(put) + 1 and there == sorted(there)
    bodies = [each.body for each in outbox.pending(100)]
    assert all(isinstance(body, AgentStarted) for body in bodies)
    saved: dict[str, Any] = outbox.load("ledger")
    begun = [int(word[1:]) for word in words if word[0] == "s"]
    done = [int(word[1:]) for word in words if word[0] == "S"]
    expected = [{"number": number} for number in {*done[-1:], *begun[-1:]}] or [{}]
    assert saved in ([*expected, {}] if not done else expected), (saved, told)
    assert outbox.put(event(9), 9.0) > max([0, *put]), "a number was given twice"
    outbox.close()


def kill_at(directory: Path, at: int, *, half: bool) -> bool:
    """Use an outbox that is killed at its n-th write, and look at it; return whether it was killed."""
    path = directory / f"{at}-{half}" / NAME
    path.parent.mkdir()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        shim.arm(NAME.encode(), at, int(half))
        use(path, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        words = told.read()
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    look(path, words)
    return status == signal.SIGKILL


def main() -> None:
    """Kill at every write, before it and in its middle."""
    directory = Path(sys.argv[1])
    writes = [
        next(at for at in itertools.count(1) if not kill_at(directory, at, half=half)) - 1 for half in (False, True)
    ]
    print(min(writes))


if __name__ == "__main__":
    main()
