"""Gives a secret to whoever asked for it: on standard output, or in a file that its owner alone can read."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.client import Failed
from cli.exit_codes import ExitCode


def hand_over(text: str, output: Path | None) -> None:
    """Print the secret, or write it into a file that is not there yet.

    Raises:
        Failed: the file is there, or cannot be written.
    """
    if output is None:
        click.echo(text)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise Failed(f"{output}: {error.strerror}", ExitCode.NO_OUTPUT) from error
