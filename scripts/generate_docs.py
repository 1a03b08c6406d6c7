"""Write docs/reference from the code, or with --check say which pages no longer say what the code does.

A page is a pure function of what can be imported: the registry of checks, the settings' models, topics and messages,
the metrics, the command line, the playbooks' schema, the literal names of log events. Nothing looks at the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.pages.api import api_page
from scripts.pages.checks import checks_page
from scripts.pages.command_line import cli_page
from scripts.pages.coverage import coverage_page
from scripts.pages.errors import errors_page
from scripts.pages.history_rules import history_rules_page
from scripts.pages.incident_states import incident_states_page
from scripts.pages.log_events import log_events_page
from scripts.pages.measures import measures_page
from scripts.pages.metrics import metrics_page
from scripts.pages.node_counters import node_counters_page
from scripts.pages.playbook_schema import playbooks_page
from scripts.pages.scheduler_hook import scheduler_hook_page
from scripts.pages.settings import settings_page
from scripts.pages.topics import topics_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"

BUILDERS: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "coverage.md": coverage_page,
    "checks.md": checks_page,
    "cli.md": cli_page,
    "errors-and-exit-codes.md": errors_page,
    "history-rules.md": history_rules_page,
    "incident-states.md": incident_states_page,
    "log-events.md": log_events_page,
    "measures.md": measures_page,
    "metrics.md": metrics_page,
    "node-counters.md": node_counters_page,
    "playbook-schema.md": playbooks_page,
    "scheduler-hook.md": scheduler_hook_page,
    "settings.md": settings_page,
    "topics.md": topics_page,
}


def drifted(folder: Path) -> list[str]:
    """Return the pages that are missing or no longer say what the code does."""
    return [
        name
        for name, build in BUILDERS.items()
        if not (folder / name).is_file() or (folder / name).read_text() != build()
    ]


def main() -> None:
    """Write every page; with --check write none, and exit with 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name the pages that differ")
    if parser.parse_args().check:
        differing = drifted(PAGES)
        if differing:
            sys.exit(f"docs/reference differs from the code in {', '.join(differing)}: run `make docs`")
        return
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, build in BUILDERS.items():
        (PAGES / name).write_text(build())


if __name__ == "__main__":
    main()
