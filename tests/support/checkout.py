"""The files of this checkout, as git knows them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def checked_in(*folders: str) -> list[str]:
    """Return the files that are tracked, or new and not ignored, by their path from the root.

    A checkout that belongs to another user, as CI machines make them, is read all the same.
    """
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())
