"""Who may do what: every route for every role, and nothing for nobody."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from controller.access.roles import Person, Role
from controller.api.routes import ROUTES, Route
from controller.events import OperatorActed
from tests.support.open_cell import OpenCell, disk_full, open_cell
from tests.support.tokens import bearer, guarded, make_token

MAY = {
    Role.VIEWER: {Role.VIEWER},
    Role.OPERATOR: {Role.VIEWER, Role.OPERATOR},
    Role.ADMIN: {Role.VIEWER, Role.OPERATOR, Role.ADMIN},
    Role.APPROVER: {Role.VIEWER, Role.APPROVER},
}
"""Role → the needs that it meets, as docs/how-to/access.md has them."""

ACTING = [route for route in ROUTES if route.body is not None]
WHO = ("viewer", "operator", "admin", "approver")


@dataclass(slots=True)
class Guarded:
    """A cell that asks for tokens, and one token for each role."""

    cell: OpenCell
    http: aiohttp.ClientSession
    tokens: dict[str, str]

    async def status(self, method: str, path: str, who: str = "", **headers: str) -> int:
        """Return the status of a request of somebody."""
        shown = bearer(self.tokens[who]) if who else {}
        body = b"{}" if method == "POST" else None
        named = {"Content-Type": "application/json"} if body else {}
        async with self.http.request(
            method, path, data=body, headers={**named, **shown, **headers}, allow_redirects=False
        ) as answer:
            return answer.status


@pytest.fixture
async def guarded_cell(tmp_path: Path) -> AsyncIterator[Guarded]:
    """A cell with n1 to n3."""
    file = tmp_path / "access-tokens.json"
    tokens = {role.value: make_token(file, role.value, role) for role in Role}
    async with open_cell(tmp_path, access=guarded(file)) as cell:
        await cell.add_nodes("n1", "n2", "n3")
        async with aiohttp.ClientSession(cell.url) as http:
            yield Guarded(cell, http, tokens)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("need", Role)
def test_what_a_role_may(role: Role, need: Role) -> None:
    assert (need in MAY[role]) is Person("x", frozenset({role})).may(need)


def test_nobody_may_nothing_and_two_roles_may_what_each_may() -> None:
    assert not any(Person("x", frozenset()).may(need) for need in Role)
    both = Person("x", frozenset({Role.ADMIN, Role.APPROVER}))
    assert all(both.may(need) for need in Role)


def path_of(route: Route) -> str:
    """Return an address of the route."""
    return route.path.format(name="n1", id="inc-000001", sweep="s1")


async def test_every_act_is_refused_to_whoever_has_not_its_role(guarded_cell: Guarded) -> None:
    before = guarded_cell.cell.cell.belief.last_event_id
    for route in ACTING:
        assert route.need is not Role.VIEWER, route.path
        assert await guarded_cell.status("POST", path_of(route)) == 401, route.path
        for who in WHO:
            if route.need not in MAY[Role(who)]:
                assert await guarded_cell.status("POST", path_of(route), who) == 403, (route.path, who)
    assert before == guarded_cell.cell.cell.belief.last_event_id


async def test_every_act_gets_past_the_door_for_its_own_role(guarded_cell: Guarded) -> None:
    for route in ACTING:
        status = await guarded_cell.status("POST", path_of(route), route.need.value)
        assert status not in {401, 403}, (route.path, status)


async def test_everything_that_is_served_wants_a_token_but_what_is_named(guarded_cell: Guarded) -> None:
    """Also what somebody adds to the router one day without thinking of the door."""
    open_to_all = set()
    for route in guarded_cell.cell.app.router.routes():
        assert route.resource is not None
        path = re.sub(r"\{\w+\}", "x1", route.resource.canonical)
        if path == "/api/v1/live":
            path += "?since=nonsense"
        if await guarded_cell.status(route.method, path) != 401:
            open_to_all.add((route.method, route.resource.canonical))
    assert open_to_all == {
        ("GET", "/healthz"),
        ("GET", "/static/{name}"),
        ("HEAD", "/static/{name}"),
        ("GET", "/login"),
        ("HEAD", "/login"),
        ("POST", "/login"),
        ("POST", "/logout"),
    }


@pytest.mark.parametrize("path", ["/", "/nodes/n1", "/api/v1/nodes", "/metrics", "/api/v1/me", "/api/v1/openapi.json"])
async def test_a_viewer_reads_everything(guarded_cell: Guarded, path: str) -> None:
    assert await guarded_cell.status("GET", path, "viewer") == 200
    assert await guarded_cell.status("GET", path, "approver") == 200


@pytest.mark.parametrize("path", ["/nope", "/api/v1/nodes/nope", "/api/v1/incidents/inc-1", "/etc/passwd"])
async def test_whoever_is_unknown_does_not_learn_what_there_is(guarded_cell: Guarded, path: str) -> None:
    assert await guarded_cell.status("GET", path) == 401
    assert await guarded_cell.status("GET", path, "viewer") == 404


@pytest.mark.parametrize(
    "said", ["Bearer", "Bearer ", "Bearer fmt_00000000_x", "Basic YWRtaW46YWRtaW4=", "admin", "Bearer é"]
)
async def test_no_other_proof_is_taken(guarded_cell: Guarded, said: str) -> None:
    assert await guarded_cell.status("GET", "/api/v1/me", Authorization=said) == 401


async def test_the_log_has_the_name_of_the_token_whatever_the_header_says(guarded_cell: Guarded) -> None:
    headers = {"X-Fleetmend-User": "mallory"}
    assert await guarded_cell.status("POST", "/api/v1/nodes/n2/cordon", "operator", **headers) == 200
    entries = await guarded_cell.cell.front.timeline()
    assert [e.event.by for e in entries if isinstance(e.event, OperatorActed)] == ["operator"]


async def test_an_approver_says_yes_and_an_admin_cannot(guarded_cell: Guarded) -> None:
    await guarded_cell.cell.nodes.find("n3", disk_full())
    waiting = await guarded_cell.cell.until("n3", "waiting")
    address = f"/api/v1/incidents/{waiting.id}/approve"
    assert await guarded_cell.status("POST", address, "admin") == 403
    assert await guarded_cell.status("POST", address, "approver") == 200


async def test_me_says_who_one_is(guarded_cell: Guarded) -> None:
    async with guarded_cell.http.get("/api/v1/me", headers=bearer(guarded_cell.tokens["approver"])) as answer:
        told = await answer.json()
    assert told == {"name": "approver", "roles": ["approver"], "how": "token", "may": ["viewer", "approver"]}
