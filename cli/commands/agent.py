"""`fleetmend agent record`: what this host's sources read, kept in a file."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from agent.onlooker import record as record_node
from agent.onlooker import source_names
from agent.recorder import Recorder, create
from agent.settings import Watch
from agent.watched import Watched, watched
from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.watching import choose, config_option, load_watch, needs_machine


@click.group()
def agent() -> None:
    """Record what this host's sources read."""


@agent.command()
@click.option("-o", "--output", metavar="FILE", required=True, help="- for standard output; *.gz is compressed.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long; else at Ctrl-C.")
@click.option("--only", metavar="SOURCE,...", default="", help="Record these sources alone.")
@config_option
@needs_machine
def record(output: str, seconds: float | None, only: str, config: Path | None) -> None:
    """Record what this host's sources read, for `fleetmend judge`.

    Needs no controller, no broker and no configuration, and runs beside an agent. What the kernel log holds already is
    recorded first. The file is whole after every line, however the recording ends.
    """
    watch = load_watch(config)
    ours = watched(watch)
    sources = choose(only, source_names(watch, ours), what="source")
    try:
        out = create(output)
    except OSError as error:
        raise _unwritable(output, error.strerror or str(error)) from error
    recorder = Recorder(out, only=sources)
    asyncio.run(_record(watch, ours, recorder, sources=sources, seconds=seconds))
    if recorder.failure:
        raise _unwritable(output, recorder.failure)
    click.echo(f"{recorder.entries} entries recorded", err=True)


async def _record(
    watch: Watch, ours: Watched, recorder: Recorder, *, sources: frozenset[str], seconds: float | None
) -> None:
    ending, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    if seconds is not None:
        loop.call_later(seconds, ending.set)
    await record_node(watch, ours, recorder, only=sources, ending=ending)


def _unwritable(output: str, because: str) -> Failed:
    return Failed(f"{output} cannot be written: {because}", ExitCode.NO_OUTPUT)
