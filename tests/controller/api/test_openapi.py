"""The OpenAPI document is whole, and the answers are what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from controller.api import enrolling
from controller.api.routes import ROUTES, Route
from controller.sweep_events import SweepAsked
from tests.support import benching
from tests.support.enrolling import office
from tests.support.open_cell import OpenCell, disk_full, off_the_bus
from tests.support.openapi import conforms, resolve


@pytest.fixture
async def document(http: aiohttp.ClientSession) -> dict[str, Any]:
    """The document as the controller serves it."""
    async with http.get("/api/v1/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        content: dict[str, Any] = await answer.json()
        return content


def every_part(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from every_part(inner)


def addresses(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return method and path of all that the document describes."""
    return {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}


def test_it_is_openapi_3_1_and_names_every_route(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0" and document["info"]["title"] == "fleetmend" and document["info"]["version"]
    assert {(route.method, route.path) for route in ROUTES} == addresses(document)
    validate(document)


async def test_where_hosts_enrol_it_names_those_addresses_as_well(cell: OpenCell, tmp_path: Path) -> None:
    async with office(cell, tmp_path) as at, at.http.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    answering = {
        (route.method, route.resource.canonical)
        for route in cell.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith(enrolling.ENROL)
    }
    enrolment = {address for address in answering if address[0] != "HEAD"}
    assert len(enrolment) == 3
    assert {(route.method, route.path) for route in ROUTES} | enrolment == addresses(document)
    validate(document)


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    references = [part["$ref"] for part in every_part(document) if "$ref" in part]
    assert references
    for reference in references:
        assert resolve(reference, document)


def test_operation_ids_are_unique_and_path_parameters_declared(document: dict[str, Any]) -> None:
    operations = [(path, o) for path, methods in document["paths"].items() for o in methods.values()]
    names = [operation["operationId"] for _, operation in operations]
    assert sorted(names) == sorted(set(names))
    for path, operation in operations:
        declared = {p["name"] for p in operation["parameters"] if p["in"] == "path" and p["required"]}
        assert set(re.findall(r"\{(\w+)\}", path)) == declared


def test_every_post_states_its_body_and_the_guards(document: dict[str, Any]) -> None:
    posts = [methods["post"] for methods in document["paths"].values() if "post" in methods]
    assert len([route for route in ROUTES if route.method == "POST"]) == len(posts) > 0
    for operation in posts:
        assert "application/json" in operation["requestBody"]["content"]
        assert {"200", "400", "403", "413", "415", "422"} <= set(operation["responses"])


READ = [route for route in ROUTES if route.method == "GET"]


@pytest.mark.parametrize("route", READ, ids=lambda route: route.operation.name)
async def test_what_is_answered_is_what_the_document_says(
    cell: OpenCell, http: aiohttp.ClientSession, document: dict[str, Any], route: Route
) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    run_id = await cell.ask_bench("n4")
    await cell.nodes.come_back("n4", benching.measured())
    await cell.tell(benching.learnt(benching.GIB))
    is_bench = "/bench/" in route.path
    await cell.tell(SweepAsked(["n8", "n9", "n10"], "alice", "jobs are slow"))
    named = {"name": "n4", "id": run_id} if is_bench else {"name": "n2", "id": "inc-000001"}
    if "/playbooks/" in route.path:
        named["name"] = "gpu_lost"
    async with http.get(route.path.format(**named, sweep="sweep-000001")) as answer:
        content = await answer.json()
    assert content or not is_bench
    schema = document["paths"][route.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert conforms(content, schema, document), content


async def test_a_failure_is_what_the_document_says(http: aiohttp.ClientSession, document: dict[str, Any]) -> None:
    async with http.get("/api/v1/nodes/m1") as answer:
        content = await answer.json()
    assert conforms(content, {"$ref": "#/components/schemas/Failure"}, document)
    assert not conforms({"error": "x"}, {"$ref": "#/components/schemas/Failure"}, document)
