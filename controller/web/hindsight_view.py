"""A comparison of history and candidate as one page that needs nothing else."""

from __future__ import annotations

from controller.api.hindsight_tables import hindsight_tables
from controller.api.moments import duration, iso
from controller.api.report_words import hours
from controller.hindsight.result import Comparison, CordonRow
from controller.web.hindsight_plots import hindsight_plots
from controller.web.report_view import STYLES, ReportView, page_of


def hindsight_view(found: Comparison, crossed: list[str]) -> ReportView:
    """Return what the page shows. `crossed`: a sentence for each limit that the candidate crosses."""
    return ReportView(
        f"{duration(found.last_at - found.first_at)}, {iso(found.first_at)[:19]}Z to {iso(found.last_at)[:19]}Z",
        "",
        "",
        f"{found.entries:,} entries; history by rules {found.history_rules or 'unknown'}, candidate by {found.rules}",
        _headlines(found),
        hindsight_plots(found),
        tuple(hindsight_tables(found)),
        0,
        (*crossed, *_notes(found)),
    )


def _headlines(found: Comparison) -> dict[str, tuple[str, str]]:
    return {
        "cordons added": (str(len(found.added)), f"{_false(found.added)} known to be false"),
        "cordons avoided": (str(len(found.avoided)), f"{_false(found.avoided)} known to be false"),
        "at another moment": (str(len(found.moved)), f"{found.same_cordons} at the same"),
        "GPU-hours out": (hours(found.candidate.gpu_hours_out), f"history {hours(found.history.gpu_hours_out)}"),
        "tickets, pages": (
            f"{found.candidate.tickets}, {found.candidate.pages}",
            f"history {found.history.tickets}, {found.history.pages}",
        ),
        "unknown": (
            f"{hours(found.unknown_gpu_hours)} GPU-h",
            f"{sum(not each.drawn for each in found.unknown)} courses",
        ),
    }


def _false(rows: list[CordonRow]) -> int:
    return sum(row.truth == "false" for row in rows)


def _notes(found: Comparison) -> list[str]:
    if found.seed is None:
        return []
    return [
        f"Figures that say drawn come from the fault model, seed {found.seed}: another seed gives others. They stand "
        "apart from what is known."
    ]


def hindsight_file(found: Comparison, *, about: str, crossed: list[str]) -> str:
    """Return the comparison as one HTML file. `about`: the log, for its title."""
    view = hindsight_view(found, crossed)
    return page_of(view, title=f"Candidate against {about}", styles=(*STYLES, "hindsight.css"))
