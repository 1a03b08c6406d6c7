"""Where a host's files are: this very host, or the image of one below a directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CREDENTIALS: Final = "/etc/fleetmend/credentials"
HANDED: Final = "/run/credentials/{service}.service/secret_"
"""Where a service finds the credentials that systemd/credentials.conf hands it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host's root directory."""

    root: Path = Path("/")

    @property
    def is_live(self) -> bool:
        """Whether it is this host, whose services can be asked."""
        return self.root == Path("/")

    def at(self, path: str | Path) -> Path:
        """Return by which path we reach a file that the host calls `path`."""
        return self.root / str(path).lstrip("/")

    def has(self, path: str | Path) -> bool:
        """Return whether the host has a file that we may see."""
        return os.path.lexists(self.at(path))

    def seen(self, document: Mapping[str, Any], service: str) -> dict[str, Any]:
        """Return settings with every path as we reach it.

        A credential is looked for where it lies, for a service finds it elsewhere and only while it runs.
        """
        return {key: self._seen(value, service) for key, value in document.items()}

    def _seen(self, value: Any, service: str) -> Any:
        if isinstance(value, Mapping):
            return self.seen(value, service)
        if isinstance(value, list):
            return [self._seen(each, service) for each in value]
        return self._reached(value, service) if isinstance(value, str) and value.startswith("/") else value

    def _reached(self, path: str, service: str) -> str:
        handed = HANDED.format(service=service)
        if path.startswith(handed):
            return str(self.at(f"{CREDENTIALS}/{service}/{path.removeprefix(handed)}"))
        return path if self.is_live or not self.at(path).exists() else str(self.at(path))
