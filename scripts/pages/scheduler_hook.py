"""The contract of a scheduler's hook as a page: what the adapter says of itself, and the example that a test runs."""

from __future__ import annotations

import inspect
from pathlib import Path

from controller.schedulers import command
from scripts.pages.markdown import page

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/scheduler-hook"


def scheduler_hook_page() -> str:
    """Return the page."""
    return page(
        "The scheduler's hook",
        'For `[scheduler] kind = "command"`, with `hook = "/path/to/program"`; each call has `deadline_s` of the same '
        "table. How to do without any scheduler, and without a hook: "
        "[nodes that hold themselves](../how-to/no-scheduler.md).",
        "## The contract",
        inspect.cleandoc(command.__doc__ or ""),
        "## An example\n\n`examples/scheduler-hook`, which a test runs through the adapter:",
        f"```sh\n{EXAMPLE.read_text()}```",
    )
