"""What a gathering is told and what it says afterwards, as the files that lie in its folder.

A bundle's folder holds `plan.json` from its beginning, `bundle.tar.gz` and `packed.json` once it is whole, so that an
agent that starts anew sees which bundles only wait to be sent and which were never finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from wire.evidence import Grant

T = TypeVar("T")

PLAN: Final = "plan.json"
PACKED: Final = "packed.json"
BUNDLE: Final = "bundle.tar.gz"
FILES: Final = "files"
PARTS: Final = "parts.json"
"""Which parts an S3 store has taken."""

MANIFEST: Final = "MANIFEST.json"


class Origin(msgspec.Struct, frozen=True):
    """Whose evidence it is. Times are Unix seconds."""

    node: str
    incident_id: str
    order_id: str
    boot_id: str
    agent_version: str
    asked_at: float
    since: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """One gathering.

    Attributes:
        texts: name → text of what the agent itself knows.
        limit_s: all of it, packing included, is to take no longer.
        most_bytes: of the packed bundle.
        file_bytes: of one file.
        keep_free_bytes: of the disk, so much is left alone.
        left_out: names of tools that this node does not run.
        stuck: program → process of it that cannot be killed: none is started behind it.
        tools: whether programs of the host are run; a simulated machine has none.
    """

    origin: Origin
    grant: Grant
    texts: dict[str, str]
    limit_s: float
    most_bytes: int
    file_bytes: int
    keep_free_bytes: int
    left_out: tuple[str, ...] = ()
    stuck: dict[str, int] = {}
    tools: bool = True


class FileSaid(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a bundle, as its manifest has it.

    Attributes:
        command: what printed it, empty for what the agent itself wrote.
        ended: how the program ended, in words.
        late: it was killed at its limit.
        cut: why it is not whole, empty when it is.
    """

    name: str
    size_bytes: int
    sha256: str = ""
    why: str = ""
    command: tuple[str, ...] = ()
    ended: str = ""
    took_s: float = 0.0
    late: bool = False
    cut: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """MANIFEST.json of a bundle. `left_out`: name of a tool → why there is nothing of it."""

    origin: Origin
    gathered_at: float
    took_s: float
    files: tuple[FileSaid, ...]
    left_out: dict[str, str]
    cut: str = ""


class Packed(msgspec.Struct, frozen=True):
    """A bundle that is whole. `stuck`: as in `Plan`, what was left behind now; `notes`: what is missing, in words."""

    size_bytes: int
    sha256: str
    files: int
    notes: tuple[str, ...] = ()
    stuck: dict[str, int] = {}


class Said(msgspec.Struct, frozen=True):
    """How it went. `outcome`: sent, later or failed. `after_s`: the other end wants to be left alone for so long."""

    outcome: str
    because: str
    after_s: float = 0.0


def load_plan(folder: Path) -> Plan:
    """Return the plan of a bundle's folder.

    Raises:
        OSError, msgspec.MsgspecError: there is none that can be read.
    """
    return _read(folder / PLAN, Plan)


def load_packed(folder: Path) -> Packed:
    """Return what is said of a bundle that is whole.

    Raises:
        OSError, msgspec.MsgspecError: it is not, or it cannot be read.
    """
    return _read(folder / PACKED, Packed)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
