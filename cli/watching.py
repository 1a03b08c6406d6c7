"""What the commands have in common that look at this host themselves, without a controller."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from agent.settings import SettingsError, Watch, load_settings
from agent.simulation.states import MachineBroken
from cli.client import Failed
from cli.exit_codes import ExitCode
from wire.logs import configure_logging

P = ParamSpec("P")
R = TypeVar("R")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration of this host's agent; without it, every default.",
)


def load_watch(config: Path | None) -> Watch:
    """Return what is watched on this host, and set up logging for a command: a defect of ours is said on stderr.

    Raises:
        Failed: the configuration cannot be used, with every problem.
    """
    configure_logging(level=logging.ERROR)
    try:
        return Watch() if config is None else load_settings(config)
    except SettingsError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error


def needs_machine(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a simulated machine that is not there into a sentence and an exit code."""

    @wraps(command)
    def guarded(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return command(*arguments, **options)
        except MachineBroken as error:
            raise Failed(str(error), ExitCode.CONFIG) from error

    return guarded


def choose(text: str, known: tuple[str, ...], *, what: str) -> frozenset[str]:
    """Return the names in a list with commas between them, empty when it is empty.

    Raises:
        click.BadParameter: with every name that is not known.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}")
    return frozenset(names)
