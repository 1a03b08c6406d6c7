"""The default playbooks of each release, kept so that a change of them can be held to those of the last one.

A clone in CI has no tags, and a wheel of the last release is not to be had everywhere. So they stand in the tree, as
what releases said over MQTT does. `make record-playbooks` runs it; docs/how-to/hold-a-policy-to-its-aims.md says when.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from controller.playbooks import default_directory
from scripts.wire_corpus import release

FOLDER: Final = Path(__file__).parent.parent / "tests" / "playbooks" / "released"


def last_release(releases: Path = FOLDER) -> Path:
    """Return the folder of the newest release whose playbooks were recorded."""
    return max((each for each in releases.iterdir() if each.is_dir()), key=lambda each: _number(each.name))


def _number(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("."))


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the playbooks of a folder: file → its text."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.yaml"))}


def main(arguments: list[str], releases: Path = FOLDER) -> int:
    """Record the playbooks of this checkout's release, and return the exit code: 1 when others were recorded."""
    folder, made = releases / release(), content_of(default_directory())
    recorded = content_of(folder)
    if recorded and recorded != made and arguments != ["--again"]:
        for name in sorted(name for name in recorded.keys() | made.keys() if recorded.get(name) != made.get(name)):
            sys.stderr.write(f"{folder / name}: is recorded otherwise\n")
        sys.stderr.write("What was released never changes. --again records a release anew that is not out yet.\n")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in made.items():
        (folder / name).write_bytes(content)
    sys.stdout.write(f"{folder}: {len(made)} playbooks\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
