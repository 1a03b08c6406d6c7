"""The threat model says what is so: each test that it names exists, and no address, role or order is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from controller.access.admitting import OPEN
from controller.access.roles import Role
from controller.api.routes import ROUTES, Route
from wire.orders import OrderAction

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/explanation/threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", TEXT)))
PEOPLE, _, ORDERS = TEXT.partition("## What each compromise gives")[0].partition("### What a node may be ordered")
ROLES = dict(re.findall(r"^\| `?(nobody|\w+(?=`))`? \|(.*)\|$", PEOPLE, re.MULTILINE))


@cache
def _functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_exists(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).is_file(), path
    assert function.startswith("test_")
    assert function in _functions_in(path)


def test_every_statement_names_a_test() -> None:
    tables = re.findall(r"^\| statement \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    stated = [row for table in tables for row in table.splitlines()]
    assert len(stated) > 50
    assert [row for row in stated if not re.search(r"`tests/[\w/]+\.py::test_\w+`", row)] == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_address_is_in_the_row_of_its_role_and_in_no_other(route: Route) -> None:
    address = f"`{route.method} {route.path}`"
    need = "nobody" if (route.method, route.path) in OPEN else str(route.need)
    assert [role for role, row in ROLES.items() if address in row] == [need]


def test_every_role_has_a_row() -> None:
    assert set(ROLES) == {"nobody", *Role}


@pytest.mark.parametrize("action", OrderAction)
def test_every_order_is_there(action: OrderAction) -> None:
    assert re.search(rf"^\| [^|]*`{action}`[^|]*\|", ORDERS, re.MULTILINE)
