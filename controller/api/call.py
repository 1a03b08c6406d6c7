"""One request as a handler sees it: checked values, no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from controller.access.roles import Person, everything
from controller.api.cell_view import CellView
from controller.api.problems import Problem, unknown
from controller.policy.folding import incident_in
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief

BodyType = TypeVar("BodyType")
OPERATOR = everything("operator")


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked.

    Attributes:
        cell: whose state it is about.
        path: the names in the path.
        query: the values after the question mark, each known to the route.
        body: the decoded body, `None` for a route that takes none.
        person: who asks; as they say themselves where nobody is asked for a token.
    """

    cell: CellView
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    person: Person = OPERATOR

    @property
    def by(self) -> str:
        """Who asks, as the log shows it."""
        return self.person.name

    def node(self) -> NodeBelief:
        """Return the node that the path names.

        Raises:
            Problem: 404, there is no such node.
        """
        return known_node(self.cell, self.path["name"])

    async def incident(self) -> Incident:
        """Return the incident that the path names.

        Raises:
            Problem: 404, there is no such incident.
        """
        name = self.path["id"]
        found = self.cell.belief.incidents.get(name) or incident_in(await self.cell.timeline(incident_id=name), name)
        if found is None:
            raise unknown("incident", name, reversed(self.cell.belief.incidents))
        return found

    def said(self, shape: type[BodyType]) -> BodyType:
        """Return the body, which the route has decoded to this shape."""
        assert isinstance(self.body, shape)
        return self.body


def known_node(cell: CellView, name: str) -> NodeBelief:
    """Return the node of this name.

    Raises:
        Problem: 404, there is no such node.
    """
    found = cell.belief.nodes.get(name)
    if found is None:
        raise unknown("node", name, cell.belief.nodes)
    return found


def refused(because: str, hint: str) -> Problem:
    """Return the 409 for what may not be done now."""
    return Problem(409, because, hint)


Handler = Callable[[Call], Awaitable[Any]]
