"""Findings lost over a hundred `kill -9` of agents, controller and broker, at random moments under load.

What happens, and how it is counted: tests/support/chaos.py. A seed gives the same victims and pauses; the moments are
those of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Row, publish
from cli.broker import CONTROLLER
from tests.support.chaos import AGENT, BROKER, Outcome, chaos


def rows_of(outcome: Outcome, took_s: float) -> list[Row]:
    """Return what is told."""
    return [
        Row("kills of agents", outcome.kills[AGENT], ""),
        Row("kills of the controller", outcome.kills[CONTROLLER], ""),
        Row("kills of the broker", outcome.kills[BROKER], ""),
        Row("faults that happened", outcome.faults, ""),
        Row("findings lost", len(outcome.lost), "", "0"),
        Row("findings that only a level told", outcome.healed, ""),
        Row("events lost that an agent had written down", outcome.events_lost, "", "0"),
        Row("flaws in the log's chain", len(outcome.chain_flaws), "", "0"),
        Row("steps intended twice", len(outcome.intended_twice), "", "0"),
        Row("all stored after the last kill", outcome.calm_after_s, "s"),
        Row("whole run", took_s, "s"),
    ]


def main() -> None:
    """Kill, count and publish; ends with 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleetmend-chaos-") as folder:
        told = chaos(Path(folder), kills=arguments.kills, seed=arguments.seed, nodes=arguments.nodes)
        outcome = asyncio.run(told)
    rows = rows_of(outcome, time.monotonic() - began)
    publish("chaos", rows, about=f"{arguments.kills} kills, {arguments.nodes} nodes, seed {arguments.seed}")
    wrong = [*map(str, outcome.lost), *outcome.chain_flaws, *outcome.intended_twice]
    if wrong or outcome.events_lost:
        sys.exit("\n".join(["something was lost:", *wrong]))


if __name__ == "__main__":
    main()
