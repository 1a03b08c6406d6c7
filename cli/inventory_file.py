"""Manifests on their way to and from people: as text that can be read and edited, and as a table of differences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import tomli_w

from agent import small_file
from agent.manifest_file import MAX_BYTES, ManifestError, parse_manifest
from agent.plain_text import plain
from checks.differences import Difference
from checks.manifest import SCHEMA, Manifest
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import cell, console
from cli.tables import table
from controller import durable

HEAD = """\
# What a host is made of, as `fleetmend inventory` captured it. `fleetmend inventory approve FILE` holds the host to it.
# A fact that is left out is not compared; a list of parts that is left out says that there are none. What could not be
# read stands under [unread], and is not held against the host.
"""

MODE = 0o644
"""The agent has a user of its own, and who approves is another."""


def render(manifest: Manifest) -> str:
    """Return the text of the file. What is at its default is left out."""
    return f"{HEAD}\n{tomli_w.dumps({'schema': SCHEMA, **_table(manifest)})}"


def read_file(path: Path) -> tuple[bytes, Manifest]:
    """Return a file's bytes and the manifest in it.

    Raises:
        Failed: it cannot be read, or is no manifest, with every problem.
    """
    try:
        content = small_file.read_file(path, most_bytes=MAX_BYTES + 1)
        return content, parse_manifest(content, name=str(path))
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror or error}", ExitCode.NO_INPUT) from error
    except ManifestError as error:
        raise Failed(f"no inventory: {error}", ExitCode.BAD_DATA) from error


def put_in_force(path: Path, content: bytes) -> None:
    """Make this the approved manifest; whoever reads it gets the whole old one or the whole new one.

    Raises:
        Failed: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, content, mode=MODE)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> Failed:
    """Return the failure that says so."""
    return Failed(f"{path} cannot be written: {error.strerror or error}", ExitCode.NO_OUTPUT)


def print_differences(found: Iterable[Difference]) -> None:
    """Print a table of differences, the parts as people call them."""
    shown = table("part", "place", "difference", "approved*", "found*", "serial")
    for each in found:
        what = f"{each.kind}: {each.fact}" if each.fact else each.kind.value
        section = each.section.value.replace("_", " ")
        cells = (section, each.place, what, each.approved, each.found, each.serial)
        shown.add_row(*(cell(text, "bold" if place == 0 else "") for place, text in enumerate(cells)))
    console().print(shown)


def _table(part: Any) -> dict[str, Any]:
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    return {plain(name): _plain(value) for name, value in values.items() if value not in (None, "", (), {})}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _table(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(name): plain(text) for name, text in value.items()}
    return plain(value) if isinstance(value, str) else value
