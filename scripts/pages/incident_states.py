"""The page of where an incident can stand, drawn from the table that the fold enforces."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from controller.policy import transitions
from controller.policy.transitions import TRANSITIONS, Place
from scripts.pages.markdown import code, page, table

START = "[*]"


def incident_states_page() -> str:
    """Return the diagram and the table of an incident's states."""
    said = _said()
    intro = (
        "Where an incident can stand, and where each event leads from there. The controller's fold refuses an event "
        "that is not drawn here, before it is committed. While a place ends in `_step`, a step is under way."
    )
    diagram = "\n".join(["```mermaid", "stateDiagram-v2", *_arrows(), "```"])
    places = table(("place", "what it means"), [(code(place), said.get(place.name, "")) for place in Place])
    rows = [(code(before), code(kind), code(after)) for before, kind, after in _ways()]
    return page("Incident states", intro, diagram, places, table(("in", "event", "leads to"), rows))


def _ways() -> Iterator[tuple[Place, str, Place]]:
    for before, ways in TRANSITIONS.items():
        yield from ((before, kind, after) for kind, after in ways.items())


def _arrows() -> Iterator[str]:
    yield f"    {START} --> {Place.AUTOMATIC}: incident.opened"
    yield from (f"    {before} --> {after}: {kind}" for before, kind, after in _ways() if before is not after)
    yield f"    {Place.CLOSED} --> {START}"


def _said() -> dict[str, str]:
    """Return what the string behind each place says; a step's place needs none beyond the introduction."""
    tree = ast.parse(inspect.getsource(transitions))
    (places,) = (each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == Place.__name__)
    return {
        ast.unparse(before.targets[0]): str(after.value.value)
        for before, after in zip(places.body, places.body[1:], strict=False)
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
