"""Command lines of `fleetmend`, read by the commands themselves and not run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.main import fleetmend

PLACEHOLDER = "$"


def why_not(words: Sequence[str], *, whole: bool = True) -> str:
    """Return why these words behind `fleetmend` are no command line, empty when they are one.

    Args:
        words: without the program. What the shell puts in (`$last`) passes for anything.
        whole: whether everything that must be given has to be there, as in a block; not so in the middle of a sentence.
    """
    try:
        _walk(fleetmend, None, list(words), whole=whole)
    except click.MissingParameter as error:
        return error.format_message() if whole else ""
    except click.UsageError as error:
        return error.format_message()
    except click.exceptions.Exit:
        return ""
    return ""


def _walk(command: click.Command, parent: click.Context | None, words: list[str], *, whole: bool) -> None:
    read = _leniently(command)
    with read.make_context(command.name or "", words, parent=parent) as context:
        rest = [*context._protected_args, *context.args]
        if not isinstance(read, click.Group):
            return
        if rest:
            name, inner, rest = read.resolve_command(context, rest)
            assert inner is not None, name
            _walk(inner, context, rest, whole=whole)
        elif whole and not read.invoke_without_command:
            raise click.UsageError(f"a command of `{context.command_path}` is missing")


def _leniently(command: click.Command) -> click.Command:
    """Return a command that takes files which are not here, and words that the shell puts in."""
    read = copy.copy(command)
    read.params = [copy.copy(each) for each in command.params]
    read.no_args_is_help = False
    for each in read.params:
        if not isinstance(each.type, click.types.BoolParamType):
            each.type = _Lenient(each.type)
        if isinstance(each, click.Option):
            each.prompt = None
    return read


class _Lenient(click.ParamType[Any]):
    """Another type, but for files that are not here and for words that only the shell knows."""

    def __init__(self, real: click.ParamType[Any]) -> None:
        self.real = real
        self.name = real.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and PLACEHOLDER in value:
            return Path(value) if isinstance(self.real, click.Path) else value
        if isinstance(self.real, click.Path | click.File):
            return Path(value) if isinstance(value, str) else value
        return self.real.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self.real.get_metavar(param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        return self.real.get_missing_message(param, ctx)
