"""`fleetmend checks`: the catalogue of everything that is looked at."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from agent.watched import watched
from cli.catalogue import Row, catalogue
from cli.printing import cell, console, print_json
from cli.tables import table
from cli.watching import config_option, load_watch
from controller.playbooks import load_default


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@config_option
def checks(as_json: bool, config: Path | None) -> None:
    """List every check: its source, how often it looks and at what cost, what it can say, and what answers that.

    The site's own are among them; those that --config switches off are not.
    """
    watch = load_watch(config)
    rows = list(catalogue(load_default(), watched(watch), watch.timings()))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    shown = table("check", "source", "interval", "cost", "verdicts*", "actions*", "playbooks*")
    for row in rows:
        texts = (row.source, _interval(row), row.cost, *map(", ".join, (row.verdicts, row.action, row.playbook)))
        shown.add_row(cell(row.id, "bold"), *map(cell, texts))
    console().print(shown)


def _interval(row: Row) -> str:
    return f"{row.interval_s:g} s" if row.interval_s else "as it comes"
