"""The documents that the controller serves: every runbook, alert and link opens, and nothing leads nowhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import aiohttp
import pytest

from controller.manual import address_of, documents
from controller.web.manual_pages import manual_page
from tests.support.checkout import checked_in
from tests.support.open_cell import OpenCell, off_the_bus
from tests.support.promql import alerts
from tests.support.shipped import SHIPPED

HTML = {"Accept": "text/html"}
PAGES = {name: path for name, path in documents().items() if name.endswith(".md")}
RUNBOOK = "docs/how-to/respond/gpu_lost.md"


def shown(name: str) -> str:
    """Return a document's HTML."""
    return str(manual_page(name, PAGES[name]).body)


def headings(name: str) -> set[str]:
    """Return what of a document can be linked to."""
    return set(re.findall(r'<h\d id="([^"]+)"', shown(name)))


async def got(http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    """Return status and text of a page, redirects followed."""
    async with http.get(path, headers=HTML) as answer:
        return answer.status, await answer.text()


def test_all_documents_are_served() -> None:
    assert set(documents()) == {name for name in checked_in("docs") if name.endswith((".md", ".png"))}


async def test_every_runbook_of_ours_opens(http: aiohttp.ClientSession) -> None:
    for playbook in SHIPPED:
        status, text = await got(http, address_of(playbook.runbook))
        assert status == 200 and f">{playbook.name}: " in text and '<h2 id="what-happened">' in text, playbook.name


def test_every_alert_leads_to_its_heading() -> None:
    for name, rule in alerts().items():
        path, _, heading = rule["annotations"]["runbook_url"].partition("#")
        assert heading in headings(path.replace("{{ $externalLabels.fleetmend_docs }}", "docs")), name


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_what_is_served(name: str) -> None:
    for link in map(unescape, re.findall(r'(?:href|src)="([^"]+)"', shown(name))):
        target, heading = urldefrag(urljoin(f"http://controller/{name}", link))
        if not target.startswith("http://controller/"):
            assert link.startswith("https://"), link
            continue
        path = target.removeprefix("http://controller/")
        assert path in documents() or (path.endswith("/") and any(each.startswith(path) for each in PAGES)), link
        assert not heading or heading in headings(path), link


def test_a_document_is_shown_as_markdown_means_it(tmp_path: Path) -> None:
    written = tmp_path / "page.md"
    written.write_text(
        "<!-- for writers -->\n# `a_b`: the [title](x.md)\n\n## Same\n\n## Same\n\n"
        "| a | b |\n|---|---|\n| 1 | <script>alert(1)</script> |\n\n"
        "[code](../../checks/finding.py), [all](respond),\n"
        "[other](https://example.org), [up](../adr/0004-sqlite-first.md)\n"
    )
    page = manual_page("docs/how-to/page.md", written)
    assert page.title == "a_b: the title"
    assert '<h1 id="a_b-the-title">' in page.body
    assert '<h2 id="same">Same</h2>\n<h2 id="same-1">Same</h2>' in page.body
    assert "<td>1</td>" in page.body and "<script>" not in page.body and "for writers" not in page.body
    assert "<a>code</a>" in page.body
    assert '<a href="/docs/how-to/respond/">all</a>' in page.body
    assert '<a href="https://example.org" rel="noreferrer">other</a>' in page.body
    assert '<a href="../adr/0004-sqlite-first.md">up</a>' in page.body


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_documents_begin_with_the_table_of_all(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path, headers=HTML) as answer:
        assert (answer.status, answer.url.path) == (200, "/docs/README.md")


async def test_a_folder_lists_its_documents_by_their_titles(http: aiohttp.ClientSession) -> None:
    status, text = await got(http, "/docs/how-to/respond/")
    assert status == 200 and f'<a href="/{RUNBOOK}">gpu_lost: a GPU has fallen off the bus</a>' in text


async def test_pictures_are_served(http: aiohttp.ClientSession) -> None:
    async with http.get("/docs/images/incident-page.png") as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert (await answer.read()).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path",
    ["nope.md", "how-to/nope/", "how-to", "%2e%2e/README.md", "..%2f..%2fREADME.md", "data/coverage.toml", "%00", "/"],
)
async def test_nothing_else_is_served(http: aiohttp.ClientSession, path: str) -> None:
    status, text = await got(http, f"/docs/{path}")
    assert status == 404 and "there is nothing at this address" in text


async def test_an_incident_leads_to_its_runbook(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    incident = cell.cell.belief.incidents["inc-000001"]
    incident.playbook = replace(incident.playbook, runbook=RUNBOOK)
    async with http.get("/api/v1/incidents/inc-000001") as answer:
        detail = await answer.json()
    assert (detail["runbook"], detail["runbook_url"]) == (RUNBOOK, f"/{RUNBOOK}")
    assert f'<a href="/{RUNBOOK}">{RUNBOOK}</a>' in (await got(http, "/incidents/inc-000001"))[1]


@pytest.mark.parametrize(
    ("runbook", "address"),
    [
        (RUNBOOK, f"https://fleetmend.example/{RUNBOOK}"),
        ("https://wiki.example/gpu-lost", "https://wiki.example/gpu-lost"),
        ("docs/of-ours/gpu-lost.md", ""),
        ("docs/../README.md", ""),
        ("", ""),
    ],
)
def test_a_runbook_is_led_to_where_it_can_be_read(runbook: str, address: str) -> None:
    assert address_of(runbook, "https://fleetmend.example") == address
