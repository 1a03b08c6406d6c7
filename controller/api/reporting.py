"""The API's report: what is asked, held to what the log tells."""

from __future__ import annotations

from controller.api.call import Call
from controller.api.moments import iso
from controller.api.problems import Problem
from controller.api.query import Query
from controller.api.spans import RIGHT, moment_of
from controller.policy.reporting.asked import Asked
from controller.policy.reporting.shapes import Report
from controller.reporting import NotTold

DEFAULT_SPAN_S = 7 * 86_400.0
"""What is reported of when nobody says otherwise. Source: our choice; the week that people meet about."""

DRILLS = ("exclude", "include")

QUERY = (
    Query("since", f"Inclusive: {RIGHT}. Default: seven days before the end, or from when on the log tells."),
    Query("until", "Exclusive, in the same forms. Default: now."),
    Query("drills", "Whether faults that people injected count like others; excluded unless asked for.", DRILLS),
)


async def report(call: Call) -> Report:
    """Return the report on a span.

    Raises:
        Problem: 422, the span is none, or begins before the log tells.
    """
    asked = asked_of(call)
    try:
        return await call.cell.report(asked, whole=bool(call.query.get("since")))
    except NotTold as error:
        from_at = iso(error.from_at)
        raise Problem(
            422, f"older entries were deleted: the log tells from {from_at} on", f"since={from_at}", field="since"
        ) from error


def asked_of(call: Call) -> Asked:
    """Return what a call asks for.

    Raises:
        Problem: 422, that is no span.
    """
    now = call.cell.now()
    until = min(now, _moment(call, "until", now))
    since = _moment(call, "since", until - DEFAULT_SPAN_S)
    if since >= until:
        problem = f"the span ends at {iso(until)}, before it begins" if since > until else "the span is empty"
        raise Problem(422, problem, "since must come before until, and before now", field="since")
    drills = call.query.get("drills") or DRILLS[0]
    if drills not in DRILLS:
        raise Problem(422, f"{drills[:40]!r} is not known here", " or ".join(DRILLS), field="drills")
    return Asked(since, until, drills=drills == "include")


def _moment(call: Call, name: str, default: float) -> float:
    text = call.query.get(name, "")
    try:
        return moment_of(text, call.cell.now()) if text else default
    except ValueError as error:
        raise Problem(422, str(error).partition(";")[0], RIGHT, field=name) from error
