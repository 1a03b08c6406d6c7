"""The units and their company that come with fleetmend: in the installed package, or in the folder of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cli

FOLDER: Final = "systemd"
_PACKAGE: Final = Path(cli.__file__).parent


def directory() -> Path:
    """Return where they are."""
    packaged = _PACKAGE / FOLDER
    return packaged if packaged.is_dir() else _PACKAGE.parent / FOLDER


def text(name: str) -> str:
    """Return one of the files."""
    return (directory() / name).read_text("utf-8")
