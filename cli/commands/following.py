"""Follows a node's incidents from a moment on, line by line, until they are over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import click

from cli.client import Client, Failed
from cli.exit_codes import ExitCode
from cli.printing import clock, plain

INTERVAL_S = 0.3
ROW = ("id", "node", "device", "fault_class", "playbook", "state", "outcome", "opened_at", "closed_at", "because")

_UNFINISHED = frozenset({"current", "waiting", "next", "planned"})


def over(incident: dict[str, Any]) -> bool:
    """Return whether nothing more happens by itself: it is closed, or people have it and have been told."""
    if incident["closed_at"]:
        return True
    resting = incident["state"] in {"handed_over", "aborted"}
    return resting and not any(step["state"] in _UNFINISHED for step in incident["steps"])


def returned(incident: dict[str, Any]) -> bool:
    """Return whether the node is as it should be: back in service, or never taken out and well again."""
    return incident["outcome"] in {"returned", "recovered"} and bool(incident["closed_at"])


@dataclass(slots=True)
class Following:
    """What is followed.

    Attributes:
        since: ISO time; only what happened then or later is shown, and only incidents in which something did.
        to_stderr: keep standard output free for JSON.
    """

    client: Client
    node: str
    since: str
    to_stderr: bool = False
    _shown: dict[str, int] = field(default_factory=dict)
    _cut_off: bool = False

    def until_over(self, timeout_s: float) -> list[dict[str, Any]]:
        """Show what happens until all is over or the time is up; return the incidents.

        Raises:
            Failed: the controller is still not answering when the time is up.
        """
        end = time.monotonic() + timeout_s
        while True:
            incidents = self._look(last=time.monotonic() >= end)
            if (incidents and all(map(over, incidents))) or time.monotonic() >= end:
                return incidents
            time.sleep(INTERVAL_S)

    def _look(self, *, last: bool) -> list[dict[str, Any]]:
        """A controller that is being restarted is waited for: the incident survives it."""
        try:
            incidents = self._incidents()
        except Failed as failure:
            if last or failure.code is not ExitCode.UNREACHABLE:
                raise
            if not self._cut_off:
                self._say("the controller does not answer; still trying")
            self._cut_off = True
            return []
        self._cut_off = False
        for incident in incidents:
            self._show(incident)
        return incidents

    def _incidents(self) -> list[dict[str, Any]]:
        rows = self.client.get("incidents", node=self.node)
        candidates = [row["id"] for row in rows if not row["closed_at"] or row["opened_at"] >= self.since]
        details = [self.client.get("incidents", name) for name in reversed(candidates)]
        return [detail for detail in details if any(self._new(entry) for entry in detail["timeline"])]

    def _new(self, entry: dict[str, Any]) -> bool:
        return bool(entry["at"] >= self.since)

    def _show(self, incident: dict[str, Any]) -> None:
        shown = self._shown.get(incident["id"], 0)
        for entry in incident["timeline"]:
            if entry["event_id"] > shown and self._new(entry):
                because = f": {entry['because']}" if entry["because"] else ""
                self._say(f"{clock(entry['at'])} {incident['id']} {entry['text']}{because}")
                self._shown[incident["id"]] = entry["event_id"]

    def _say(self, text: str) -> None:
        click.echo(plain(text), err=self.to_stderr)

    @staticmethod
    def row(incident: dict[str, Any]) -> dict[str, Any]:
        """Return the incident as `fleetmend incidents --json` lists it."""
        return {name: incident[name] for name in ROW}
