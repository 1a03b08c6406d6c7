"""The Ansible that scripts/ensure-test-parts has put beside the other real parts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.support.parts import missing

ENDED = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
"""One host of the recap at the end."""


def packages() -> Path:
    """Return the folder in which `import ansible` finds it."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    folder = Path(data) / "fleetmend" / "ansible"
    found = next(iter(folder.glob("lib/python3*/site-packages/ansible")), None)
    if found is None:
        missing("Ansible (scripts/ensure-test-parts)")
    return found.parent


def recap(printed: str) -> dict[str, tuple[int, bool]]:
    """Return host → how much was changed, and whether all went well."""
    return {
        host: (int(changed), unreached == failed == "0") for host, changed, unreached, failed in ENDED.findall(printed)
    }
