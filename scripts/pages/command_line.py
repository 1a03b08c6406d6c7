"""The page of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

import controller.main
from cli.main import fleetmend
from scripts.pages.markdown import page

HELP_WIDTH = 100


def cli_page() -> str:
    """Return the help of every command."""
    root = click.Context(fleetmend, info_name="fleetmend", terminal_width=HELP_WIDTH, **fleetmend.context_settings)
    daemon = controller.main.main
    beside = click.Context(daemon, info_name="fleetmend-controller", terminal_width=HELP_WIDTH)
    return page("Command line", *_commands(fleetmend, root), *_commands(daemon, beside))


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, click.Context(inner, parent=context, info_name=name, terminal_width=HELP_WIDTH))
