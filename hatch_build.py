"""What hatchling adds to a wheel and an sdist: the commit that they were built from, for `fleetmend --version`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT_FILE: Final = "cli/commit"
"""Where it is in both, and where an sdist that is unpacked has it already."""

GIT: Final = ("git", "-c", "safe.directory=*")
DESCRIBE: Final = ("describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+changed")


def commit_of(root: Path) -> str | None:
    """Return the commit of a checkout, `+changed` when files differ from it; `None` where there is no git to ask."""
    if not (root / ".git").exists():
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        told = subprocess.run(
            [*GIT, *DESCRIBE], cwd=root, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


class CommitHook(BuildHookInterface):
    """Writes the commit beside the command line's own files; an editable install has none, for it is any commit."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the file put in.

        Args:
            version: `standard` or `editable`.
        """
        if version == "editable":
            return
        unpacked, commit = Path(self.root) / COMMIT_FILE, commit_of(Path(self.root))
        if commit is not None:
            # It goes when the build has ended.
            self.folder = tempfile.TemporaryDirectory(prefix="fleetmend-build-")
            unpacked = Path(self.folder.name) / "commit"
            unpacked.write_text(f"{commit}\n", encoding="utf-8")
        if unpacked.exists():
            build_data["force_include"][str(unpacked)] = COMMIT_FILE
