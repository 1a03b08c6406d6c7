"""`fleetmend judge`: the agent's own judgement, over a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from checks.judge import judge_lines
from cli.client import Failed
from cli.exit_codes import ExitCode

MAX_LINE_BYTES = 1 << 20
"""What is longer is read in pieces, so that a file without line ends cannot fill the memory."""


@click.command()
@click.option("--kernel-log", "source", metavar="FILE", required=True, help="The log; - reads standard input.")
@click.option("--accept-userspace", is_flag=True, help="Believe also what any process could have written.")
def judge(source: str, accept_userspace: bool) -> None:
    """Say what the lines of a kernel log mean.

    Prints one JSON object a finding and nothing for other lines. Takes what `dmesg`, `dmesg --raw`, /dev/kmsg and
    `journalctl -k -o short` print, told apart by line.
    """
    with _opened(source) as log:
        for judged in judge_lines(_lines(log, source), accept_userspace):
            click.echo(judged.as_json())


def _opened(source: str) -> AbstractContextManager[BinaryIO]:
    if source == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise _unreadable(source, error) from error


def _lines(log: BinaryIO, source: str) -> Iterator[bytes]:
    """Yield the lines; the rest of an overlong one is dropped, as no more than its beginning is ever judged."""
    try:
        while line := log.readline(MAX_LINE_BYTES):
            yield line
            while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = log.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: OSError) -> Failed:
    return Failed(f"{source} cannot be read: {error.strerror or error}", ExitCode.NO_INPUT)
