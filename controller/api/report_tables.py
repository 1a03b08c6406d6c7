"""The report as tables: what pages, terminals and files of it have in common. Each says what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from controller.api.moments import iso
from controller.policy.incident import PEOPLE
from controller.policy.reporting.incidents import DRAIN, HANDLING, PROBATION, REPAIR, VERIFY, WAIT
from controller.policy.reporting.shapes import NodeTimes, Report, Spread

Cell = str | float | int | None
"""One value; `None` where the log does not tell."""

Row = TypeVar("Row")

TEXT, COUNT, HOURS, SECONDS, SHARE, MONEY, NUMBER = "text", "count", "hours", "seconds", "share", "money", "number"
"""Kinds of columns: how a value is written for people. Files of values hold it as it is."""

OUTCOMES = ("returned", "recovered", "handed_over", "cancelled", "aborted", "shadowed")
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `name` is for programs, `title` for people."""

    name: str
    title: str
    kind: str = TEXT


@dataclass(frozen=True, slots=True)
class ReportTable:
    """One table.

    Attributes:
        name: for programs: a file's, an anchor's.
        meaning: what is counted, in a sentence.
        empty: what is said in place of a table without rows.
    """

    name: str
    title: str
    meaning: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str


def tables(report: Report) -> list[ReportTable]:
    """Return every table, in the order in which people read."""
    return [make(report) for make in _TABLES]


def table_of(
    name: str,
    title: str,
    meaning: str,
    *,
    rows: list[Row],
    columns: list[tuple[Column, Callable[[Row], Cell]]],
    empty: str,
) -> ReportTable:
    """Return a table of these rows; a column says how its value comes from one."""
    values = tuple(tuple(value(row) for _, value in columns) for row in rows)
    return ReportTable(name, title, meaning, tuple(column for column, _ in columns), values, empty)


def _states(report: Report) -> ReportTable:
    return table_of(
        "states",
        "Time by state",
        "Every node is in exactly one state at any time, so that the shares add up to one.",
        rows=report.availability.states,
        columns=[
            (Column("state", "state"), lambda row: row.state),
            (Column("node_hours", "node-hours", HOURS), lambda row: row.node_hours),
            (Column("gpu_hours", "GPU-hours", HOURS), lambda row: row.gpu_hours),
            (Column("share", "share", SHARE), lambda row: row.share),
        ],
        empty="No node is in the log.",
    )


def _losses(report: Report) -> ReportTable:
    currency = report.losses.currency
    return table_of(
        "losses",
        "GPU-hours lost, by cause",
        "Time out of service, put down to the incident that took the node out first and to what was done meanwhile.",
        rows=report.losses.rows,
        columns=[
            (Column("kind", "kind"), lambda row: row.kind),
            (Column("cause", "cause"), lambda row: row.cause),
            (Column("doing", "meanwhile"), lambda row: row.doing),
            (Column("node_hours", "node-hours", HOURS), lambda row: row.node_hours),
            (Column("gpu_hours", "GPU-hours", HOURS), lambda row: row.gpu_hours),
            (Column("money", f"worth {currency}".strip(), MONEY), lambda row: row.money),
        ],
        empty="Nothing was lost.",
    )


def _at_risk(report: Report) -> ReportTable:
    return table_of(
        "at_risk",
        "In service with a fault",
        "Time that a node took work while an incident about it was open, by what that waited for or did. Not lost: "
        "nobody knows what jobs made of it.",
        rows=report.losses.at_risk,
        columns=[
            (Column("cause", "fault class"), lambda row: row.cause),
            (Column("doing", "meanwhile"), lambda row: row.doing),
            (Column("node_hours", "node-hours", HOURS), lambda row: row.node_hours),
            (Column("gpu_hours", "GPU-hours", HOURS), lambda row: row.gpu_hours),
        ],
        empty="No node was in service with an open incident.",
    )


def _spread(name: str, title: str, of: Callable[[Any], Spread | None]) -> list[tuple[Column, Callable[[Any], Cell]]]:
    def figure(attribute: str) -> Callable[[Any], Cell]:
        return lambda row: getattr(of(row), attribute, None)

    return [
        (Column(f"{name}_count", f"{title}: n", COUNT), lambda row: getattr(of(row), "count", 0)),
        (Column(f"{name}_mean_s", "mean", SECONDS), figure("mean_s")),
        (Column(f"{name}_p50_s", "p50", SECONDS), figure("p50_s")),
        (Column(f"{name}_p95_s", "p95", SECONDS), figure("p95_s")),
    ]


def _detection(report: Report) -> ReportTable:
    return table_of(
        "detection",
        "Time to detect and to isolate (MTTD)",
        "Found: from the fault's own time on the node's clock to the finding. Isolated: from there to the confirmed "
        "cordon.",
        rows=report.detection,
        columns=[
            (Column("fault_class", "fault class"), lambda row: row.fault_class),
            *_spread("found", "found", lambda row: row.found),
            *_spread("isolated", "isolated", lambda row: row.isolated),
            (Column("timeless", "without a time", COUNT), lambda row: row.timeless),
            (Column("clock_ahead", "clock ahead", COUNT), lambda row: row.clock_ahead),
        ],
        empty="No incident opened over a finding.",
    )


def _repair(report: Report) -> ReportTable:
    parts = (WAIT, HANDLING, DRAIN, REPAIR, VERIFY, PROBATION, PEOPLE)
    return table_of(
        "repair",
        "Time to repair (MTTR)",
        "From an incident's opening until its node is back in service, of incidents that took it out; and the mean of "
        "what that went to.",
        rows=report.repair,
        columns=[
            (Column("fault_class", "fault class"), lambda row: row.fault_class),
            *_spread("total", "total", lambda row: row.total),
            *((Column(f"{part}_s", part, SECONDS), _part_of(part)) for part in parts),
        ],
        empty="No node came back.",
    )


def _part_of(part: str) -> Callable[[Any], Cell]:
    return lambda row: row.parts_s[part]


def _failures(report: Report) -> ReportTable:
    return table_of(
        "failures",
        "Time between failures (MTBF)",
        "Device-hours in which the node's agent was heard, over incidents that would take a node out. 90 % interval; "
        "without a failure there is a lower end alone.",
        rows=report.failures,
        columns=[
            (Column("by", "by"), lambda row: row.by),
            (Column("name", "which"), lambda row: row.name),
            (Column("unit", "counted in"), lambda row: row.unit),
            (Column("failures", "failures", COUNT), lambda row: row.failures),
            (Column("device_hours", "device-hours", HOURS), lambda row: row.device_hours),
            (Column("mtbf_h", "MTBF h", HOURS), lambda row: row.mtbf_h),
            (Column("mtbf_low_h", "from", HOURS), lambda row: row.between_h.low),
            (Column("mtbf_high_h", "to", HOURS), lambda row: row.between_h.high),
        ],
        empty="Nothing was heard of any node.",
    )


def _fixes(report: Report) -> ReportTable:
    return table_of(
        "fixes",
        "P(action fixes | class, SKU)",
        f"Fixed: verified, and the same fault stayed away from the same part for {report.lasting_s / DAY_S:g} days. "
        "Posterior mean and 90 % interval under Jeffreys' prior.",
        rows=report.fixes,
        columns=[
            (Column("fault_class", "fault class"), lambda row: row.fault_class),
            (Column("sku", "SKU"), lambda row: row.sku),
            (Column("action", "action"), lambda row: row.action),
            (Column("fixed", "fixed", COUNT), lambda row: row.fixed),
            (Column("not_fixed", "not fixed", COUNT), lambda row: row.not_fixed),
            (Column("pending", "too early", COUNT), lambda row: row.pending),
            (Column("not_done", "not done", COUNT), lambda row: row.not_done),
            (Column("probability", "P(fixes)", SHARE), lambda row: row.probability),
            (Column("low", "from", SHARE), lambda row: row.between.low),
            (Column("high", "to", SHARE), lambda row: row.between.high),
        ],
        empty="No repair was tried.",
    )


def _lemons(report: Report) -> ReportTable:
    return table_of(
        "lemons",
        "Lemons",
        "Nodes that failed at least twice in the 28 days before the end; the score is the probability that a node "
        "fails more than five times as often as the fleet.",
        rows=report.lemons,
        columns=[
            (Column("node", "node"), lambda row: row.node),
            (Column("is_lemon", "lemon"), lambda row: "yes" if row.is_lemon else "no"),
            (Column("score", "score", SHARE), lambda row: row.score),
            (Column("failures", "failures", COUNT), lambda row: row.failures),
            (Column("days", "on days", COUNT), lambda row: row.days),
            (Column("expected", "usual", NUMBER), lambda row: row.expected),
            (Column("times_fleet", "× fleet", NUMBER), lambda row: row.times_fleet),
            (Column("low", "from", NUMBER), lambda row: row.between.low),
            (Column("high", "to", NUMBER), lambda row: row.between.high),
        ],
        empty="No node failed twice.",
    )


def _outcomes(report: Report) -> ReportTable:
    return table_of(
        "outcomes",
        "Incidents by outcome",
        "Opened and closed within the span; open at its end.",
        rows=report.outcomes,
        columns=[
            (Column("fault_class", "fault class"), lambda row: row.fault_class),
            (Column("opened", "opened", COUNT), lambda row: row.opened),
            *((Column(name, name.replace("_", " "), COUNT), _closed_as(name)) for name in OUTCOMES),
            (
                Column("other", "other", COUNT),
                lambda row: sum(n for name, n in row.closed.items() if name not in OUTCOMES),
            ),
            (Column("given_to_people", "given to people", COUNT), lambda row: row.handed_over),
            (Column("open", "still open", COUNT), lambda row: row.open),
        ],
        empty="No incident.",
    )


def _closed_as(outcome: str) -> Callable[[Any], Cell]:
    return lambda row: row.closed.get(outcome, 0)


def _notices(report: Report) -> ReportTable:
    return table_of(
        "notices",
        "Tickets and pages",
        "What people were sent, and how often that is for a node in a month of 30.44 days.",
        rows=report.notices,
        columns=[
            (Column("kind", "kind"), lambda row: row.kind),
            (Column("sent", "sent", COUNT), lambda row: row.sent),
            (Column("per_node_month", "a node-month", NUMBER), lambda row: row.per_node_month),
        ],
        empty="Nothing was sent.",
    )


def _drills(report: Report) -> ReportTable:
    counted = "They count like others in this report." if report.span.drills else "They count nowhere else."
    return table_of(
        "drills",
        "Drills",
        f"Faults that people injected; found: from the injection to the finding. {counted}",
        rows=[report.drills] if report.drills.injected or report.drills.incidents else [],
        columns=[
            (Column("injected", "injected", COUNT), lambda row: row.injected),
            (Column("incidents", "incidents", COUNT), lambda row: row.incidents),
            (Column("returned", "returned", COUNT), lambda row: row.returned),
            *_spread("found", "found", lambda row: row.found),
        ],
        empty="No drill.",
    )


def _nodes(report: Report) -> ReportTable:
    states = ("in_service", "held_out", "kept_out", "lost", "planned", "drill", "unknown")
    return table_of(
        "nodes",
        "Nodes",
        "Hours by state of each node, the longest out first.",
        rows=sorted(report.nodes, key=lambda row: (row.in_service_h - row.known_h, row.node)),
        columns=[
            (Column("node", "node"), lambda row: row.node),
            (Column("sku", "SKU"), lambda row: row.sku),
            (Column("known_h", "known", HOURS), lambda row: row.known_h),
            *((Column(f"{state}_h", state.replace("_", " "), HOURS), _hours_of(state)) for state in states),
            (Column("incidents", "incidents", COUNT), lambda row: row.incidents),
        ],
        empty="No node is in the log.",
    )


def _hours_of(state: str) -> Callable[[NodeTimes], Cell]:
    return lambda row: float(getattr(row, f"{state}_h"))


def _summary(report: Report) -> ReportTable:
    span, availability, goodput = report.span, report.availability, report.goodput
    figures: list[tuple[str, Cell]] = [
        ("since", iso(span.since)),
        ("until", iso(span.until)),
        ("log_tells_from", iso(span.log_tells_from)),
        ("through_entry", span.through),
        ("drills_count", "yes" if span.drills else "no"),
        ("nodes", span.nodes),
        ("simulated_nodes", span.simulated_nodes),
        ("gpus", span.gpus),
        ("availability_nodes", availability.nodes),
        ("availability_gpus", availability.gpus),
        ("availability_nodes_at_least", availability.nodes_at_least),
        ("availability_nodes_at_most", availability.nodes_at_most),
        ("gpu_hours", goodput.gpu_hours),
        ("usable_gpu_hours", goodput.usable_gpu_hours),
        ("goodput_at_most", goodput.at_most),
        ("with_jobs_gpu_hours", goodput.with_jobs_gpu_hours),
        ("jobs_hit", goodput.jobs_hit),
        ("lost_gpu_hours", report.losses.gpu_hours),
        ("lost_money", report.losses.money),
        ("currency", report.losses.currency),
        ("unpriced_gpu_hours", report.losses.unpriced_gpu_hours),
        *((f"note_{number}", note) for number, note in enumerate(report.notes, 1)),
    ]
    return table_of(
        "summary",
        "Summary",
        "The figures at a glance, and what to know before believing them.",
        rows=figures,
        columns=[
            (Column("figure", "figure"), lambda row: row[0]),
            (Column("value", "value", NUMBER), lambda row: row[1]),
        ],
        empty="",
    )


_TABLES: tuple[Callable[[Report], ReportTable], ...] = (
    _summary,
    _states,
    _losses,
    _at_risk,
    _repair,
    _detection,
    _failures,
    _fixes,
    _lemons,
    _outcomes,
    _notices,
    _drills,
    _nodes,
)
