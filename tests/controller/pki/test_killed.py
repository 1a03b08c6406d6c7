"""`kill -9` at each change that an authority makes in its folder: what is left is whole, or made so by a second run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_kill_9_at_each_step_of_each_act_leaves_an_authority_that_can_be_used(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.controller.pki.killed_authority", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert int(told.stdout) > 30
