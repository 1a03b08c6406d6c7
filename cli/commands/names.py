"""Names for the shell's completion, asked of the controller; silence when it does not answer."""

from __future__ import annotations

from dataclasses import replace

import click

from cli.client import Failed, client_of

COMPLETION_TIMEOUT_S = 1.0


def node_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the nodes whose names begin so."""
    return [name for name in _asked(context, ("nodes",), "name") if name.startswith(incomplete)]


def open_incident_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the open incidents whose ids begin so."""
    return [name for name in _asked(context, ("incidents",), "id", state="open") if name.startswith(incomplete)]


def open_run_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the runs of benchmarks whose ids begin so."""
    return [name for name in _asked(context, ("bench", "runs"), "run_id") if name.startswith(incomplete)]


def sweep_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the sweeps whose ids begin so."""
    return [name for name in _asked(context, ("bench", "sweeps"), "id") if name.startswith(incomplete)]


def _asked(context: click.Context, path: tuple[str, ...], key: str, **query: str) -> list[str]:
    try:
        client = replace(client_of(context, context.params.get("url")), timeout_s=COMPLETION_TIMEOUT_S)
        return [str(row[key]) for row in client.get(*path, **query)]
    except Failed:
        return []
