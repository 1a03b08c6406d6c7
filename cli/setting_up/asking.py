"""Questions at a terminal, each with what the host or a flag says as its answer; elsewhere nobody is asked."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from cli.client import Failed
from cli.exit_codes import ExitCode
from controller import keys

STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks, or takes what is the default."""

    is_interactive: bool

    @classmethod
    def at_terminal(cls, *, is_quiet: bool) -> Asking:
        """Return one who asks where a person can answer, unless they said not to."""
        return cls(not is_quiet and sys.stdin.isatty())

    def text(self, given: str | None, question: str, default: str = "") -> str:
        """Return what was given, else the answer, else the default."""
        if given is not None or not self.is_interactive:
            return default if given is None else given
        answer: str = click.prompt(question, default=default, show_default=bool(default))
        return answer.strip()

    def choice(self, given: str | None, question: str, choices: Sequence[str], default: str) -> str:
        """Return what was given, else which of the choices."""
        if given is not None or not self.is_interactive:
            return default if given is None else given
        answer: str = click.prompt(question, type=click.Choice(choices), default=default)
        return answer

    def yes(self, given: bool | None, question: str, *, default: bool) -> bool:
        """Return what was given, else yes or no."""
        if given is not None or not self.is_interactive:
            return default if given is None else given
        return click.confirm(question, default=default)

    def secret(self, given: str | None, question: str) -> str | None:
        """Return what the file that was named holds, else what is typed unseen; `None` for nothing."""
        if given is not None:
            return secret_in(given)
        if not self.is_interactive:
            return None
        return click.prompt(question, hide_input=True, default="", show_default=False) or None


def secret_in(file: str) -> str:
    """Return the secret in a file, or on standard input for `-`.

    Raises:
        Failed: it cannot be read, or is none.
    """
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        because = getattr(error, "strerror", None) or str(error)
        raise Failed(f"the password in {file} cannot be read: {because}", ExitCode.NO_INPUT) from error
    secret = text.strip()
    if not secret or not secret.isprintable():
        raise Failed(f"{file} has to hold a password on one line and nothing else", ExitCode.CONFIG)
    return secret


def keys_in(lines: Sequence[str], file: Path | None) -> dict[str, str]:
    """Return the keys (id → public key) of lines `ID KEY`, and of a file as `fleetmend keys show --toml` prints it.

    Raises:
        Failed: a line or the file holds something else.
    """
    found = dict[str, str]()
    for line in lines:
        try:
            told = {key_id: line.split()[1] for key_id in keys.public_keys(line)}
        except ValueError:
            told = {}
        if not told:
            raise Failed(
                f"--trusted-key {line!r}: give a line as `fleetmend keys show` prints it: ID KEY", ExitCode.CONFIG
            )
        found |= told
    if file is not None:
        tables = toml_in(file).get("trusted_keys", {})
        if not isinstance(tables, Mapping) or not all(isinstance(each, Mapping) for each in tables.values()):
            raise Failed(f"{file}: trusted_keys has to hold tables: [trusted_keys.ID]", ExitCode.CONFIG)
        found |= {key_id: str(table.get("public_key", "")) for key_id, table in tables.items()}
    return found


def toml_in(file: Path) -> dict[str, Any]:
    """Return the tables of a file.

    Raises:
        Failed: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}", ExitCode.NO_INPUT) from error
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{file}: not TOML: {error}", ExitCode.CONFIG) from error


def places_in(pairs: Sequence[str]) -> dict[str, str]:
    """Return kind → name of each KIND=NAME.

    Raises:
        click.BadParameter: one has no `=`.
    """
    for pair in pairs:
        if not all(pair.partition("=")):
            raise click.BadParameter(f"{pair!r} is not KIND=NAME, e.g. rack=r12", param_hint="--place")
    return {kind: name for kind, _, name in (pair.partition("=") for pair in pairs)}
