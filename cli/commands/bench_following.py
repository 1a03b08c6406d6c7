"""Follows what was asked of many nodes until it is over: a line for what changes, and a bar where people look."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.client import Client, Failed
from cli.exit_codes import ExitCode
from cli.printing import console, counted, plain

INTERVAL_S = 0.5
OPEN = frozenset({"planned", "running"})

Answer = dict[str, Any]


@dataclass(slots=True)
class Following:
    """One thing that is followed.

    Attributes:
        path: where the API has it.
        is_over: whether nothing more happens to it.
        show: called with every answer, to say what is new.
        leaves: what is said when the one who looks goes away; it goes on without.
        to_stderr: keep standard output free for JSON.
    """

    client: Client
    path: tuple[str, ...]
    is_over: Callable[[Answer], bool]
    show: Callable[[Following, Answer], None]
    leaves: str
    to_stderr: bool = False
    _said: dict[str, str] = field(default_factory=dict)
    _bar: tuple[Progress, TaskID] | None = None

    def until_over(self, limit_s: float | None) -> Answer:
        """Show what happens until it is over or the time is up; return how it is then.

        Raises:
            Failed: the controller is still not answering when the time is up.
        """
        end = time.monotonic() + (limit_s if limit_s is not None else float("inf"))
        with self._shown_as_bar():
            try:
                return self._until(end)
            except KeyboardInterrupt:
                self._say(self.leaves)
                raise

    def _until(self, end: float) -> Answer:
        while True:
            answer = self._look(last=time.monotonic() >= end)
            if answer is not None and (self.is_over(answer) or time.monotonic() >= end):
                return answer
            time.sleep(INTERVAL_S)

    def _look(self, *, last: bool) -> Answer | None:
        """A controller that is being restarted is waited for: what was asked survives it."""
        try:
            answer: Answer = self.client.get(*self.path)
        except Failed as failure:
            if last or failure.code is not ExitCode.UNREACHABLE:
                raise
            self.once("controller", "the controller does not answer; still trying")
            return None
        self._said.pop("controller", None)
        self.show(self, answer)
        return answer

    def once(self, subject: str, text: str) -> None:
        """Say what has not been said of this last."""
        if text and self._said.get(subject) != text:
            self._say(text)
        self._said[subject] = text

    def advance(self, share: float, text: str) -> None:
        """Show on the bar how far it is, from 0 to 1, and what is under way."""
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=share, description=plain(text))

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


def following_run(client: Client, run_id: str, *, to_stderr: bool) -> Following:
    """Return what follows a run of benchmarks."""
    leaves = f"{run_id} goes on; `fleetmend bench stop {run_id}` ends it."
    path = ("bench", "runs", run_id)
    return Following(client, path, lambda run: bool(run["outcome"]), _show_run, leaves, to_stderr)


def _show_run(following: Following, run: Answer) -> None:
    following.once("waiting", run["waiting"])
    for turn in run["turns"]:
        name = f"{turn['node']} {turn['benchmark']}"
        following.once(name, _said_of(name, turn))
    following.advance(_share(run["turns"]), _doing(run["turns"]))


def _said_of(name: str, turn: Answer) -> str:
    """Return what is to be said of a turn; one that is planned has something to say after a first try alone."""
    if turn["state"] == "running":
        return f"{name} begins{' again' if turn['because'] else ''}"
    if turn["state"] == "planned":
        return f"{name}: {turn['because']}" if turn["because"] else ""
    return f"{name}: {turn['state']}: {turn['because']}".rstrip(": ")


def _share(turns: list[Answer]) -> float:
    done = [1.0 if turn["state"] not in OPEN else turn["share"] for turn in turns]
    return sum(done) / len(done) if done else 0.0


def _doing(turns: list[Answer]) -> str:
    """Return what is under way: by name where it is one, else counted."""
    running = [turn for turn in turns if turn["state"] == "running"]
    if len(running) == 1:
        (turn,) = running
        return f"{turn['node']} {turn['benchmark']} {turn['doing']}".strip()
    ended = sum(turn["state"] not in OPEN for turn in turns)
    return f"{ended} of {len(turns)} ended, {len(running)} under way"


def following_sweep(client: Client, sweep_id: str, *, to_stderr: bool) -> Following:
    """Return what follows a sweep."""
    leaves = f"{sweep_id} goes on; `fleetmend bench stop {sweep_id}` ends it."
    path = ("bench", "sweeps", sweep_id)
    return Following(client, path, lambda one: one["sweep"]["state"] != "running", _show_sweep, leaves, to_stderr)


def _show_sweep(following: Following, answer: Answer) -> None:
    sweep, groups = answer["sweep"], answer["groups"]
    if sweep["state"] == "running":
        purposes = ", ".join(sorted({group["purpose"] for group in groups}))
        following.once(
            "round", f"round {sweep['round']}: {counted(len(groups), 'group')} ({purposes})" if groups else ""
        )
    for node, because in answer["left"].items():
        following.once(node, f"{node} takes part no more: {because}")
    ended = [group for group in groups if group["state"] not in {"waiting", "meeting", "running"}]
    for group in ended:
        if group["state"] != "pass":
            following.once(f"group {group['number']}", f"group {group['number']} ended: {group['state']}")
    following.advance(len(ended) / len(groups) if groups else 0.0, sweep["text"])
