"""The page of errors and exit codes."""

from __future__ import annotations

import agent.machine
import agent.settings
import checks.errors
import controller.errors
import controller.leadership
import controller.main
import controller.store.log
import wire.messages
import wire.transport
from cli.exit_codes import MEANINGS
from scripts.pages.docstrings import doc
from scripts.pages.markdown import code, page, table


def errors_page() -> str:
    """Return what goes wrong in words and in numbers."""
    codes = [(str(int(code_)), meaning) for code_, meaning in MEANINGS.items()]
    daemon = [
        (str(controller.main.EX_IOERR), "controller: the event log cannot be read or written"),
        (
            str(controller.main.EX_TEMPFAIL),
            "controller: another one has the state directory or leads now, or the port is taken",
        ),
        (str(agent.settings.EX_CONFIG), "both: the configuration, a playbook or the key cannot be used; not retried"),
    ]
    refusals = (
        checks.errors.CannotObserve,
        checks.errors.CannotJudge,
        wire.messages.Refused,
        wire.transport.NotPublished,
        agent.machine.ActionRefused,
        agent.machine.ActionFailed,
        controller.errors.Retryable,
        controller.errors.InDoubt,
        controller.errors.Permanent,
        controller.errors.Refused,
        controller.errors.NotLeading,
        controller.leadership.LeadershipLost,
        controller.store.log.StoreError,
        controller.store.log.Fenced,
    )
    rows = [(code(f"{kind.__module__}.{kind.__name__}"), doc(kind)) for kind in refusals]
    return page(
        "Errors and exit codes",
        "## fleetmend",
        table(("exit code", "meaning"), codes),
        "## fleetmend-controller and fleetmend-agent\n\n0 after SIGTERM or SIGINT, and else:",
        table(("exit code", "meaning"), daemon),
        "## Inside\n\nIll health is a value, a finding; failing to look and failing to act are errors.",
        table(("error", "what it says"), rows),
    )
