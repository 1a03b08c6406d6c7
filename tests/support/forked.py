"""Programs in processes of their own that need not import anything first: forked from one that has.

A process that starts Python and imports fleetmend computes for a second before it does anything, and hundreds of tests
run one. What is forked has its own memory, environment, working directory and standard streams, and ends as itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.main import COMMANDS

FLEETMEND = "cli.main:main"
CONTROLLER = "controller.main:main"

_APPENDED = os.O_WRONLY | os.O_CREAT | os.O_APPEND

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    sorted(
        {
            "tests.support.forked",
            "tests.support.shipped",
            "cli.main",
            "controller.main",
            *(at.partition(":")[0] for at, _ in COMMANDS.values()),
        }
    )
)
"""The process that has everything, the playbooks too, starts with the first program that is run and ends with us."""


def run_forked(
    program: str, *arguments: str, environment: Mapping[str, str], stdin: str = "", limit_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a program, `module:function`, to its end, as `subprocess.run` would with `-W error`.

    Raises:
        subprocess.TimeoutExpired: it took longer than `limit_s`, and was killed.
    """
    with TemporaryDirectory(prefix="fleetmend-forked-") as folder:
        streams = Path(folder)
        (streams / "0").write_text(stdin)
        files = tuple(str(streams / name) for name in "012")
        process = _process(_Begun(program, arguments, dict(environment), files, strict=True))
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([program, *arguments], limit_s)
        code = process.exitcode
        process.close()
        said, complained = ((streams / name).read_text() for name in ("1", "2"))
        return subprocess.CompletedProcess([program, *arguments], code, said, complained)


@dataclass(slots=True)
class ForkedProgram:
    """One that runs: as much of `subprocess.Popen` as the tests use."""

    _process: ForkServerProcess

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """What it ended with, `-N` when signal N ended it; `None` while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Look whether it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it took longer, and runs on.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self.send_signal(signal.SIGKILL)


def begin_forked(program: str, *arguments: str, environment: Mapping[str, str], output: Path) -> ForkedProgram:
    """Begin a program, `module:function`, whose words go behind those that a file has already."""
    output.touch()
    streams = (os.devnull, str(output), str(output))
    return ForkedProgram(_process(_Begun(program, arguments, dict(environment), streams, strict=False)))


@dataclass(frozen=True, slots=True)
class _Begun:
    """A program as it is begun. `streams`: files for its input, output and errors; `strict`: a warning is an error."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    streams: tuple[str, ...]
    strict: bool
    folder: str = field(default_factory=os.getcwd)


def _process(begun: _Begun) -> ForkServerProcess:
    """Begin it; a daemon is ended with us where a test that fails leaves it, and not waited for."""
    process = _FORKS.Process(target=_become, args=(begun,), daemon=not begun.strict)
    process.start()
    return process


def _become(begun: _Begun) -> None:
    """Be the program: in the child."""
    for number, flags in enumerate((os.O_RDONLY, _APPENDED, _APPENDED)):
        os.dup2(os.open(begun.streams[number], flags, 0o600), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(begun.environment)
    time.tzset()
    os.chdir(begun.folder)
    module, _, function = begun.program.partition(":")
    sys.argv = [module, *begun.arguments]
    if begun.strict:
        warnings.simplefilter("error")
    getattr(import_module(module), function)()
