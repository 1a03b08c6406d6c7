"""Before and after: whether the broker lets a host in, and whether what was started works, in sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from cli.broker_trial import Seen, holds_connection, try_brokers, urls_of, visitor_of
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import plain
from cli.setting_up import systemd
from cli.setting_up.course import Wishes
from cli.setting_up.part import Access, Part
from cli.setting_up.systemd import NotDone

CONNECT_S: Final = 20.0
LOOK_S: Final = 0.5
STEADY: Final = 3
"""So many looks in a row have to see the connection: a broker that refuses somebody takes the connection first."""

STANDS_BY: Final = "Stands by"


def runs(service: str, wishes: Wishes) -> bool:
    """Return whether a service runs on this very host."""
    if not wishes.host.runs_systemd:
        return False
    try:
        return systemd.show(f"{service}.service").active == "active"
    except NotDone:
        return False


def try_broker(access: Access, kept: str) -> None:
    """Have the broker say whether it lets us in.

    Raises:
        Failed: no broker does, with what each of them said.
    """
    try:
        seen = try_brokers(access.url, access.visitor(kept))
    except ValueError as error:
        raise Failed(f"--broker: {error}", ExitCode.CONFIG) from error
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}", ExitCode.NO_INPUT) from error
    if any(each.let_in for each in seen):
        click.echo(plain(f"The broker at {', '.join(each.address for each in seen if each.let_in)} lets it in."))
        return
    said = "; ".join(map(_refusal, seen))
    code = ExitCode.FORBIDDEN if any(each.reached for each in seen) else ExitCode.UNREACHABLE
    raise Failed(f"{said}; nothing was changed (--untried sets up without asking the broker)", code)


def _refusal(seen: Seen) -> str:
    if seen.reached:
        return f"the broker at {seen.address} does not let it in: {seen.because}"
    return f"no broker answers at {seen.address}: {seen.because}"


def try_settings(broker: Mapping[str, Any], *, usual: str) -> None:
    """Have the broker of a table [broker] say whether it lets us in.

    Args:
        usual: the user where there is a password and none is named.

    Raises:
        Failed: no broker does, or the password cannot be read.
    """
    try:
        visitor = visitor_of(broker, usual)
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}", ExitCode.NO_INPUT) from error
    files = {"ca_file": visitor.ca_file, "certificate_file": visitor.certificate_file, "key_file": visitor.key_file}
    try_broker(Access(urls_of(broker), visitor.username, visitor.password, **files), "")


def tell_how_it_runs(part: Part, broker: Mapping[str, Any]) -> None:
    """Say in a sentence how a service that was started is.

    Raises:
        Failed: it does not run, or the broker does not keep it.
    """
    try:
        unit = systemd.show(f"{part.service}.service")
    except NotDone as error:
        raise Failed(str(error), ExitCode.NO) from error
    if unit.active != "active":
        said = systemd.last_words(unit.name)
        raise Failed(f"{part.service} is {unit.active} ({unit.result}):\n{said}".rstrip(), ExitCode.NO)
    status = f" It says: {unit.status}" if unit.status else ""
    click.echo(plain(f"{part.service} runs.{status}"))
    if unit.status.startswith(STANDS_BY):
        return
    urls = urls_of(broker)
    if not _stays(lambda: holds_connection(systemd.show(unit.name).process, urls)):
        raise Failed(
            f"{part.service} holds no connection to the broker at {urls}: `journalctl -u {part.service}` says why",
            ExitCode.UNREACHABLE,
        )
    click.echo(f"{part.service} holds its connection to the broker.")


def _stays(condition: Callable[[], bool]) -> bool:
    """Return whether something is so several times in a row, before time is up."""
    ends_at_s, row = time.monotonic() + CONNECT_S, 0
    while row < STEADY and time.monotonic() < ends_at_s:
        row = row + 1 if condition() else 0
        time.sleep(LOOK_S)
    return row >= STEADY
