"""What the report's page shows, and the page as one file that needs nothing else: for mail, wikis and printers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from controller.api.moments import duration, iso
from controller.api.report_tables import ReportTable, tables
from controller.api.report_words import headlines, shown
from controller.policy.reporting.shapes import Report
from controller.web import words
from controller.web.report_plots import Plot, plots

STATIC = Path(__file__).parent / "static"
STYLES = ("fleetmend.css", "report.css")

NODES_SHOWN = 20
"""Of the nodes' table on a page; files of values have all. Source: our choice."""


@dataclass(frozen=True, slots=True)
class ReportView:
    """The page. `span`: which time it is about, in words."""

    span: str
    since: str
    until: str
    fleet: str
    headlines: dict[str, tuple[str, str]]
    plots: tuple[Plot, ...]
    tables: tuple[ReportTable, ...]
    left_out: int
    notes: tuple[str, ...]


def report_view(report: Report) -> ReportView:
    """Return what the page shows."""
    span = report.span
    chosen = tuple(_cut(each) for each in tables(report) if each.name != "summary")
    simulated = f", {span.simulated_nodes} of them simulated" if span.simulated_nodes else ""
    return ReportView(
        f"{duration(span.until - span.since)}, {iso(span.since)[:19]}Z to {iso(span.until)[:19]}Z",
        iso(span.since),
        iso(span.until),
        f"{span.nodes} nodes{simulated}, {span.gpus} GPUs",
        headlines(report),
        plots(report),
        chosen,
        max(0, len(report.nodes) - NODES_SHOWN),
        tuple(report.notes),
    )


def _cut(table: ReportTable) -> ReportTable:
    if table.name != "nodes":
        return table
    rows = table.rows[:NODES_SHOWN]
    return ReportTable(table.name, table.title, table.meaning, table.columns, rows, table.empty)


def environment() -> jinja2.Environment:
    """Return what renders templates: everything is escaped, for names and texts come from nodes."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("controller.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(words.FILTERS, shown=shown)
    return made


def report_file(report: Report, *, about: str) -> str:
    """Return the report as one HTML file. `about`: what it was made of, for its title."""
    return page_of(report_view(report), title=f"Report on {about}")


def page_of(view: ReportView, *, title: str, styles: Iterable[str] = STYLES) -> str:
    """Return what a page shows as one HTML file. `styles`: of the static files."""
    sheets = "\n".join((STATIC / name).read_text("utf-8") for name in styles)
    template = environment().get_template("report_file.html")
    return template.render(view=view, title=title, styles=sheets)
