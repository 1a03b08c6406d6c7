"""Child processes of `fleetmend up`: started, watched, started again when they end, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

EX_REBOOTING = 75
"""An agent's exit code when its simulated machine goes down for a reboot: it is started again at once."""

RESTART_DELAY_S = 3.0
"""Pause before a process that ended by itself is started again, as systemd's RestartSec would make it."""

STOP_LIMIT_S = 10.0


@dataclass(slots=True)
class Child:
    """One process that should be running.

    Attributes:
        module: run as `python -m module`.
        may_restart: asked before each restart; a drill may want a dead agent to stay dead.
        log: where its output goes.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    may_restart: Callable[[], bool] = lambda: True
    on_restart: Callable[[str], None] = lambda _: None
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = False
    _task: asyncio.Task[None] | None = field(default=None)
    _log_before: int = 0

    async def start(self) -> None:
        """Start it and watch over it."""
        await self._spawn()
        self._task = asyncio.create_task(self._watch(), name=f"watch-{self.name}")

    async def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._log_before = output.tell()
            self.process = await asyncio.create_subprocess_exec(
                *_ended_with_us(),
                sys.executable,
                "-m",
                self.module,
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _watch(self) -> None:
        while self.process is not None:
            code = await self.process.wait()
            if self._stopping:
                return
            if code != EX_REBOOTING:
                self.on_restart(f"{self.name} ended with code {code}; see {self.log}")
                await self._until_restart()
            await self._spawn()

    async def _until_restart(self) -> None:
        await asyncio.sleep(RESTART_DELAY_S)
        while not self.may_restart():  # noqa: ASYNC110 - the machine's switch is a file, there is nothing to wait on
            await asyncio.sleep(RESTART_DELAY_S)

    def alive(self) -> bool:
        """Return whether it runs now."""
        return self.process is not None and self.process.returncode is None

    def code(self) -> int | None:
        """Return what it ended with, `None` while it runs."""
        return self.process.returncode if self.process is not None else None

    async def stop(self) -> None:
        """Ask it to end, wait, and end it by force when it does not."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def last_words(self, *, lines: int = 5) -> str:
        """Return the end of what it has logged since its newest start, for an error message."""
        with contextlib.suppress(OSError):
            written = self.log.read_bytes()[self._log_before :].decode(errors="replace")
            return "\n".join(written.splitlines()[-lines:])
        return ""


def _ended_with_us() -> tuple[str, ...]:
    """Return the prefix that has the kernel end a child when this process dies without a word."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM") if setpriv else ()


@dataclass(slots=True)
class Progress:
    """Says on the terminal what is being started and how long it took."""

    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print one line with the seconds since the start."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", file=sys.stderr, flush=True)
