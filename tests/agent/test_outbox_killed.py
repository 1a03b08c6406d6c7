"""I7: `kill -9` in each write of the outbox, before it and with half of it on the disk: no finding is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.parts import missing

SOURCE = Path(__file__).parent.parent / "doubles" / "kill" / "killed_at_write.c"


def shim(directory: Path) -> Path:
    """Return the freshly compiled library that kills."""
    compiler = shutil.which("gcc")
    if compiler is None:
        missing("gcc, which builds what kills a process in its writes,")
    library = directory / "killed_at_write.so"
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin")
    subprocess.run([str(compiler), *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True, capture_output=True)
    return library


def test_i7_kill_9_in_each_write_of_the_outbox_loses_nothing(tmp_path: Path) -> None:
    library = shim(tmp_path)
    told = subprocess.run(
        [sys.executable, "-m", "tests.agent.killed_outbox", str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert int(told.stdout) > 40
