"""The process `fleetmend-agent`, kept small: it stays in memory on every host, beside people's jobs."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Final, cast

NEVER_USED: Final = ("rich", "greenlet")
"""structlog imports both where they are installed: rich for pretty tracebacks on a terminal, which is 5 MiB and a tenth
of a second at each start of a daemon that writes JSON, and greenlet for contexts that the agent has none of."""

BARE: Final = "prometheus_client"
"""Of this package the agent uses the modules that write text, where it is scraped. The package itself would import its
HTTP servers, gateways and metrics of several processes beside them: 1.3 MiB."""


def leave_out() -> None:
    """Keep what the agent never uses from being imported."""
    for name in NEVER_USED:
        sys.modules[name] = cast(ModuleType, None)
    spec = find_spec(BARE)
    if spec is not None:
        sys.modules[BARE] = module_from_spec(spec)


def main() -> None:
    """Run the agent without what it never uses."""
    leave_out()
    import_module("agent.main").main()


if __name__ == "__main__":
    main()
