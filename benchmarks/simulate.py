"""What a simulated fleet costs: node-days a second, and whether memory grows with the days.

Each size runs in a process of its own, so that one does not find what another one left. Memory is read when a tenth of
the days, and when all of them are over: what a fleet has open at any time is the same from some weeks on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import psutil

from benchmarks.report import Row, publish
from cli.rules_asked import NO_STATE
from controller.assembly import rules_of
from controller.events import Logged
from controller.settings import ControllerSettings
from controller.simulation.clockwork import EPOCH
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.model import load_model
from controller.simulation.result import result_of
from controller.simulation.run import Asked, simulate
from controller.simulation.truth import DAY_S

SIZES = ((1_000, 30), (1_000, 365), (10_000, 30))
"""Nodes and days."""

MEBIBYTE = 2**20
TOLD_EVERY_DAYS = 5


def run(nodes: int, days: int) -> dict[str, float]:
    """Return what one run cost, and tell on standard error how it goes on."""
    process, resident, told = psutil.Process(), {}, [0, 0]

    def heard(entry: Logged) -> None:
        told[1] += 1
        day = int((entry.at - EPOCH) / DAY_S)
        if day >= told[0]:
            told[0] = day + TOLD_EVERY_DAYS
            resident[day] = process.memory_info().rss / MEBIBYTE
            took = time.monotonic() - began
            print(f"day {day}: {resident[day]:.0f} MiB, {told[1]} entries, {took:.0f} s", file=sys.stderr, flush=True)

    asked = Asked(racks_and_leaves(nodes), float(days), 1, load_model())
    rules = rules_of(ControllerSettings(state=NO_STATE))
    began, cpu = time.monotonic(), time.process_time()
    score = simulate(asked, rules, heard=heard)
    took, used = time.monotonic() - began, time.process_time() - cpu
    result = result_of(asked, score, took_s=took)
    early = resident[min(day for day in resident if day >= min(30, days // 2))]
    return {
        "took_s": took,
        "cpu_s": used,
        "node_days_per_cpu_s": nodes * days / used,
        "early_mib": early,
        "late_mib": process.memory_info().rss / MEBIBYTE,
        "entries": told[1],
        "cordons": result.cordons,
        "false_cordons": result.false_cordons,
    }


def rows_of(nodes: int, days: int) -> list[Row]:
    """Run one size in a process of its own and return its figures."""
    command = [sys.executable, "-m", "benchmarks.simulate", "--one", str(nodes), str(days)]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    what = f"{nodes:,} nodes, {days} days"
    aim = "≤ 30" if (nodes, days) == SIZES[0] else ""
    return [
        Row(what, told["took_s"], "s", aim),
        Row(f"{what}: its CPU", told["cpu_s"], "s"),
        Row(f"{what}: node-days a second of CPU", told["node_days_per_cpu_s"], "1/s"),
        Row(f"{what}: memory after {min(30, days // 2)} days", told["early_mib"], "MiB"),
        Row(f"{what}: memory at the end", told["late_mib"], "MiB"),
        Row(f"{what}: entries of its log", told["entries"], ""),
        Row(f"{what}: false cordons of {told['cordons']:,.0f}", told["false_cordons"], ""),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", action="store_true", help="Run 10,000 nodes for a year as well.")
    parser.add_argument("--one", nargs=2, type=int, metavar=("NODES", "DAYS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(*arguments.one)))
        return
    sizes = [*SIZES, *([(10_000, 365)] if arguments.year else [])]
    rows = [row for size in sizes for row in rows_of(*size)]
    publish("simulate", rows, about="fleets that are not there, the default policy, seed 1")


if __name__ == "__main__":
    main()
