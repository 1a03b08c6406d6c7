"""Programs in processes of their own that need not import anything first: forked from one that has.

A process that starts Python and imports fleetmend computes for a second before it does anything, and hundreds of tests
run one. What is forked has its own memory, environment, working directory and standard streams, and ends as itself.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.main import COMMANDS

FLEETMEND = "cli.main:main"
CONTROLLER = "controller.main:main"

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    sorted(
        {"tests.support.forked", "cli.main", "controller.main", *(at.partition(":")[0] for at, _ in COMMANDS.values())}
    )
)
"""The process that has everything starts with the first program that is run, and ends with this one."""


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
        process = _FORKS.Process(
            target=_become, args=(program, arguments, dict(environment), str(Path.cwd()), folder), daemon=False
        )
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([program, *arguments], limit_s)
        code = process.exitcode
        process.close()
        said, complained = ((streams / name).read_text() for name in ("1", "2"))
        return subprocess.CompletedProcess([program, *arguments], code, said, complained)


def _become(program: str, arguments: tuple[str, ...], environment: dict[str, str], cwd: str, streams: str) -> None:
    """Be the program: in the child."""
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(f"{streams}/{number}", flags, 0o600), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    module, _, function = program.partition(":")
    sys.argv = [module, *arguments]
    warnings.simplefilter("error")
    getattr(import_module(module), function)()
