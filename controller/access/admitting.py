"""Who may have what: the role that each address needs, and whether the one who asks has it.

What is not named here, and is no route of the API's table, may be read by a viewer and done by an admin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web

from controller.access.door import PERSON, STILL, Door, OpenDoor
from controller.access.limits import Limits, network_of
from controller.access.roles import Person, Role, words_of
from controller.api import enrolling, guards, metrics
from controller.api.problems import Problem
from controller.api.routes import ROUTES, Route
from wire.evidence import UPLOADS

Address = tuple[str, str]
"""Method and path, as the router has them."""

OPEN: frozenset[Address] = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/static/{name}"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/logout"),
        ("GET", "/login/oidc"),
        ("GET", "/login/back"),
        ("POST", UPLOADS),
        ("HEAD", f"{UPLOADS}/{{upload}}"),
        ("PATCH", f"{UPLOADS}/{{upload}}"),
        ("GET", enrolling.AUTHORITIES),
        ("POST", enrolling.ENROL),
        ("POST", enrolling.RENEW),
    }
)
"""What everybody may have: a probe's answer, the look of the page, the page to sign in, uploads, which want a grant of
their own, and enrolment, which wants a token or a certificate of its own."""


NOBODY = Person("", frozenset())


def needs_of(routes: Iterable[Route] = ROUTES) -> dict[Address, Role]:
    """Return the role that each route of the table needs."""
    return {(route.method, route.path): route.need for route in routes}


@dataclass(slots=True)
class Access:
    """Lets people in, each to what they may have.

    Attributes:
        opened: what everybody may have.
        limits: how often each may ask, `None` for as often as they like.
        alone: one person may do what reaches the whole fleet.
    """

    door: Door = field(default_factory=OpenDoor)
    opened: frozenset[Address] = OPEN
    needs: Mapping[Address, Role] = field(default_factory=needs_of)
    limits: Limits | None = None
    alone: bool = True

    def follow(self, other: Access) -> None:
        """Let people in as another one does from here on."""
        self.door, self.opened, self.needs = other.door, other.opened, other.needs
        self.limits, self.alone = other.limits, other.alone

    def admit(self, request: web.Request) -> None:
        """Return if the request may be answered, and keep who makes it.

        Raises:
            Problem: 401, nobody knows who; 403, they may not; 429, they ask too often.
        """
        need = self._need(request)
        if need is None:
            self._count(request, NOBODY)
            request[PERSON] = NOBODY
            return
        request[PERSON] = person = self._known(request)
        _check(person, need)
        request[STILL] = lambda: self._may_still(request, need)

    def _known(self, request: web.Request) -> Person:
        """Return who asks; whoever is unknown is counted by where they come from."""
        try:
            person = self.door.person(request)
        except Problem:
            self._count(request, NOBODY)
            raise
        self._count(request, person)
        return replace(person, alone=self.alone)

    def _count(self, request: web.Request, person: Person) -> None:
        if self.limits is not None:
            self.limits.take(f"@{person.name}" if person.name else network_of(request.remote or ""))

    def _may_still(self, request: web.Request, need: Role) -> bool:
        try:
            return self.door.person(request).may(need)
        except Problem:
            return False

    def _need(self, request: web.Request) -> Role | None:
        """Return what one has to be, `None` for anybody."""
        route = request.match_info.route
        resource = route.resource
        path = resource.canonical if resource is not None else ""
        method = "GET" if route.method == "HEAD" else route.method
        if {(route.method, path), (method, path)} & self.opened:
            return None
        return self.needs.get((method, path), Role.VIEWER if request.method in guards.READING else Role.ADMIN)


def opened_with(*, metrics_for_all: bool) -> frozenset[Address]:
    """Return what everybody may have."""
    return OPEN | {("GET", metrics.PATH)} if metrics_for_all else OPEN


def _check(person: Person, need: Role) -> None:
    if not person.may(need):
        had = words_of(person.roles)
        raise Problem(403, f"{person.name} may not do this: it needs the role {need}", f"{person.name} has: {had}")
