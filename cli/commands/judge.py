"""`fleetmend judge`: the agent's own judgement, over a file."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from agent.recorder import reader_of
from agent.replay import replay
from agent.watched import watched
from checks.check import Check
from checks.errors import CannotJudge
from checks.judge import Judged, judge_lines
from checks.recording import MAX_LINE_BYTES as MAX_ENTRY_BYTES
from checks.recording import read
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.watching import config_option, load_watch

MAX_LINE_BYTES = 1 << 20
"""What is longer is read in pieces, so that a file without line ends cannot fill the memory."""


@click.command()
@click.argument("recording", metavar="[FILE]", required=False)
@click.option("--kernel-log", "log", metavar="FILE", help="Judge the lines of a kernel log in place of a recording.")
@click.option("--accept-userspace", is_flag=True, help="Believe also what any process could have written.")
@config_option
def judge(recording: str | None, log: str | None, accept_userspace: bool, config: Path | None) -> None:
    """Judge a recording, or the lines of a kernel log.

    FILE is what `fleetmend agent record` wrote, or a case of the tests; - reads standard input. It is judged as the
    agent would: with hysteresis, grace and releases, on the recording's own clock. Prints one JSON object each time
    that a finding comes, changes, or is over (verdict ok).

    Checks of this host's site are judged with, and --config changes checks as it does for the agent.

    With --kernel-log: one JSON object a finding and nothing for other lines. Takes what `dmesg`, `dmesg --raw`,
    /dev/kmsg and `journalctl -k -o short` print, told apart by line.
    """
    if (recording is None) == (log is None):
        raise click.UsageError("give either a recording or --kernel-log FILE")
    if log is not None:
        _judge_log(log, accept_userspace)
    elif recording is not None:
        _judge_recording(recording, watched(load_watch(config)).checks, accept_userspace=accept_userspace)


def _judge_log(source: str, accept_userspace: bool) -> None:
    with _opened(source) as log:
        said = _print(judge_lines(_lines(log, source), accept_userspace))
    _say_nothing_found(said)


def _judge_recording(source: str, checks: Sequence[Check], *, accept_userspace: bool) -> None:
    with _opened(source) as file:
        try:
            header, taken = read(_entries(file, source), name=source)
            said = _print(replay(header, taken, checks=checks, accept_userspace=accept_userspace))
        except CannotJudge as error:
            raise Failed(f"no recording: {error}", ExitCode.BAD_DATA) from error
    _say_nothing_found(said)


def _print(findings: Iterable[Judged]) -> int:
    said = 0
    for said, judged in enumerate(findings, start=1):  # noqa: B007 - how many there were is the answer
        click.echo(judged.as_json())
    return said


def _say_nothing_found(said: int) -> None:
    """Say so on standard error: silence alone would leave open whether anything was judged."""
    if not said:
        click.echo("nothing found", err=True)


def _opened(source: str) -> AbstractContextManager[BinaryIO]:
    if source == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        opened: AbstractContextManager[BinaryIO] = reader_of(Path(source))
    except OSError as error:
        raise _unreadable(source, error) from error
    return opened


def _entries(file: BinaryIO, source: str) -> Iterator[bytes]:
    """Yield the lines of a recording; of an overlong one as much as shows that it is."""
    while line := _line(file, source, MAX_ENTRY_BYTES + 1):
        yield line


def _lines(log: BinaryIO, source: str) -> Iterator[bytes]:
    """Yield the lines; the rest of an overlong one is dropped, as no more than its beginning is ever judged."""
    while line := _line(log, source, MAX_LINE_BYTES):
        yield line
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = _line(log, source, MAX_LINE_BYTES)


def _line(file: BinaryIO, source: str, most_bytes: int) -> bytes:
    try:
        return file.readline(most_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Failed(f"{source} is compressed and damaged: {error}", ExitCode.BAD_DATA) from error
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: OSError) -> Failed:
    return Failed(f"{source} cannot be read: {error.strerror or error}", ExitCode.NO_INPUT)
