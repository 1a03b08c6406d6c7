"""The process `fleetmend-agent`, kept small: it stays in memory on every host, beside people's jobs."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import cast


def main() -> None:
    """Run the agent without what it never uses.

    structlog imports rich where it is installed, for pretty tracebacks on a terminal: 5 MiB and a tenth of a second at
    each start of a daemon that writes JSON.
    """
    sys.modules["rich"] = cast(ModuleType, None)
    import_module("agent.main").main()


if __name__ == "__main__":
    main()
