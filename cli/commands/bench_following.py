"""Follows a run of benchmarks until it is over: a line for what begins and ends, and a bar where people look."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.client import Client, Failed
from cli.exit_codes import ExitCode
from cli.printing import console, plain

INTERVAL_S = 0.5
OPEN = frozenset({"planned", "running"})


@dataclass(slots=True)
class RunFollowing:
    """What is followed.

    Attributes:
        to_stderr: keep standard output free for JSON.
    """

    client: Client
    run_id: str
    to_stderr: bool = False
    _said: dict[str, str] = field(default_factory=dict)
    _bar: tuple[Progress, TaskID] | None = None

    def until_over(self, limit_s: float | None) -> dict[str, Any]:
        """Show what happens until the run is over or the time is up; return the run as it is then.

        Raises:
            Failed: the controller is still not answering when the time is up.
        """
        end = time.monotonic() + (limit_s if limit_s is not None else float("inf"))
        with self._shown_as_bar():
            try:
                return self._until(end)
            except KeyboardInterrupt:
                self._say(f"{self.run_id} goes on; `fleetmend bench stop {self.run_id}` ends it.")
                raise

    def _until(self, end: float) -> dict[str, Any]:
        while True:
            run = self._look(last=time.monotonic() >= end)
            if run is not None and (run["outcome"] or time.monotonic() >= end):
                return run
            time.sleep(INTERVAL_S)

    def _look(self, *, last: bool) -> dict[str, Any] | None:
        """A controller that is being restarted is waited for: the run survives it."""
        try:
            run: dict[str, Any] = self.client.get("bench", "runs", self.run_id)
        except Failed as failure:
            if last or failure.code is not ExitCode.UNREACHABLE:
                raise
            self._once("controller", "the controller does not answer; still trying")
            return None
        self._said.pop("controller", None)
        self._show(run)
        return run

    def _show(self, run: dict[str, Any]) -> None:
        self._once("waiting", run["waiting"])
        for turn in run["turns"]:
            name = f"{turn['node']} {turn['benchmark']}"
            if turn["state"] == "running":
                self._once(name, f"{name} begins{' again' if turn['because'] else ''}")
            elif turn["state"] == "planned":
                self._once(name, f"{name}: {turn['because']}" if turn["because"] else "")
            else:
                self._once(name, f"{name}: {turn['state']}: {turn['because']}")
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=share(run["turns"]), description=_doing(run["turns"]))

    def _once(self, subject: str, text: str) -> None:
        """Say what has not been said of this yet."""
        if text and self._said.get(subject) != text:
            self._say(text)
        self._said[subject] = text

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar[0].console.print(plain(text), markup=False, highlight=False)
        else:
            click.echo(plain(text), err=self.to_stderr)

    @contextlib.contextmanager
    def _shown_as_bar(self) -> Iterator[None]:
        """Keep a bar at the end of what is said; in a pipe, or beside JSON, lines alone."""
        if self.to_stderr or not sys.stdout.isatty():
            yield
            return
        columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False))
        with Progress(*columns, TimeElapsedColumn(), console=console(), transient=True) as progress:
            self._bar = progress, progress.add_task("", total=1.0)
            try:
                yield
            finally:
                self._bar = None


def share(turns: list[dict[str, Any]]) -> float:
    """Return how much of a run is done, from 0 to 1."""
    done = [1.0 if turn["state"] not in OPEN else turn["share"] for turn in turns]
    return sum(done) / len(done) if done else 0.0


def _doing(turns: list[dict[str, Any]]) -> str:
    """Return what is under way: by name where it is one, else counted."""
    running = [turn for turn in turns if turn["state"] == "running"]
    if len(running) == 1:
        (turn,) = running
        return plain(f"{turn['node']} {turn['benchmark']} {turn['doing']}".strip())
    ended = sum(turn["state"] not in OPEN for turn in turns)
    return f"{ended} of {len(turns)} ended, {len(running)} under way"
