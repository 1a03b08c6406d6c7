"""The file of what a person approved for this host: read strictly, and taken up anew whenever it changes.

Whatever is wrong with a file is said with its name and the key, all of it at once. A file that became unusable puts
nothing out of force: what was approved before stands until a person mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.small_file import NoToml, parse_toml, read_file
from agent.strict import Reader
from checks.manifest import SCHEMA, Manifest, Section

MAX_BYTES: Final = 1 << 20
"""A larger file is refused: the manifest of a host with 16 GPUs and a hundred disks takes some 30 KiB."""


class ManifestError(Exception):
    """The file is no manifest; the text names file and place of every problem, one a line."""


def load_manifest(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises:
        ManifestError: with every problem at once.
        OSError: the file cannot be read.
    """
    return parse_manifest(read_file(path, most_bytes=MAX_BYTES + 1), name=str(path))


def parse_manifest(content: bytes, *, name: str) -> Manifest:
    """Return the manifest that the bytes hold.

    Args:
        name: of the file, for errors.

    Raises:
        ManifestError: with every problem at once.
    """
    try:
        document = parse_toml(content, most_bytes=MAX_BYTES)
    except NoToml as error:
        raise ManifestError(f"{name}: {error}") from error
    reader = Reader()
    manifest = reader.table(document, Manifest)
    problems = reader.problems if manifest is None else [*_contradictions(manifest)]
    if "schema" not in document:
        problems = [f"schema: it must be given; this version of fleetmend writes {SCHEMA}", *problems]
    if manifest is None or problems:
        raise ManifestError("\n".join(f"{name}: {problem}" for problem in problems))
    return manifest


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong between keys that are right one by one."""
    if manifest.schema != SCHEMA:
        yield f"schema: {manifest.schema} is not known; this version of fleetmend reads {SCHEMA}"
    for name in manifest.unread:
        if name.partition(".")[0] not in set(Section):
            yield f"unread.{name}: no such section; there are {', '.join(Section)}"
    names = {
        "gpus.uuid": [gpu.uuid for gpu in manifest.gpus],
        "gpus.pci": [gpu.pci for gpu in manifest.gpus],
        "accelerators.uuid": [device.uuid for device in manifest.accelerators],
        "ports.name": [port.name for port in manifest.ports],
        "disks.name": [disk.name for disk in manifest.disks],
        "mounts.mount": [mount.mount for mount in manifest.mounts],
    }
    for key, given in names.items():
        for value, times in Counter(given).items():
            if value and times > 1:
                yield f"{key}: {value!r} is given {times} times, and there can be but one"


class Approved:
    """What is approved for this host, as its file says now.

    Attributes:
        problem: why the file cannot be used, empty when it can or there is none.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read nothing yet. Without a path nothing is ever approved."""
        self.problem = ""
        self._path = path
        self._manifest: Manifest | None = None
        self._seen: tuple[int, ...] | None = ()

    def manifest(self) -> Manifest | None:
        """Return the manifest in force, `None` when nothing is approved. The file is read when it changed."""
        if self._path is None:
            return None
        try:
            self._look(self._path)
        except OSError as error:
            self._seen, self.problem = (), f"{self._path}: cannot be read: {error.strerror or error}"
        return self._manifest

    def section(self, section: Section) -> Manifest | None:
        """Return the manifest in force where it says what is to be there of this section."""
        manifest = self.manifest()
        return manifest if manifest is not None and manifest.holds(section) else None

    def _look(self, path: Path) -> None:
        seen = _signature(path)
        if seen == self._seen:
            return
        try:
            self._manifest = load_manifest(path) if seen is not None else None
            self.problem = ""
        except ManifestError as error:
            self.problem = str(error)
        self._seen = seen


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file, `None` when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
