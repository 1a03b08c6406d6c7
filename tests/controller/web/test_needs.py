"""The role that a button's address needs is that of the route behind it, whatever things are called."""

from __future__ import annotations

import re

import pytest

from controller.api.routes import ROUTES, Route
from controller.web.needs import need_of

ACTS = [route for route in ROUTES if route.method == "POST"]


@pytest.mark.parametrize("name", ["n1", "gpu-[0]", "a/b", "%22%3E", "x/cordon"])
@pytest.mark.parametrize("route", ACTS, ids=[route.path for route in ACTS])
def test_every_act_has_the_role_of_its_route(route: Route, name: str) -> None:
    assert need_of(re.sub(r"\{\w+\}", lambda _: name, route.path)) is route.need


def test_what_is_not_served_has_none() -> None:
    with pytest.raises(LookupError):
        need_of("/api/v1/nodes/n1/explode")
