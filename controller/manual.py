"""The documents that come with fleetmend: what there is, and where people read it.

An installed fleetmend has them in its package, a checkout in its own folder. Playbooks name their runbooks by their
place in a checkout, `docs/how-to/respond/gpu_lost.md`; the controller serves them at that very path.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = "docs"
WEB = ("http://", "https://")
_PACKAGE = Path(__file__).parent


def directory() -> Path:
    """Return where the documents are."""
    packaged = _PACKAGE / FOLDER
    return packaged if packaged.is_dir() else _PACKAGE.parent / FOLDER


@cache
def documents() -> dict[str, Path]:
    """Return every document and picture by its path in a checkout, e.g. `docs/how-to/alerts.md`."""
    root = directory()
    found = (path for suffix in ("md", "png") for path in root.rglob(f"*.{suffix}"))
    return {f"{FOLDER}/{path.relative_to(root).as_posix()}": path for path in found}


def address_of(runbook: str, page_url: str = "") -> str:
    """Return where people open a runbook, empty when that is known of none.

    Args:
        runbook: an address, or a document of ours, as playbooks name it.
        page_url: where the controller's pages begin; without it the address is one of the controller's own.
    """
    if runbook.startswith(WEB):
        return runbook
    return f"{page_url}/{runbook}" if runbook in documents() else ""
