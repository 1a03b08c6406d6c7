"""The status page: what it shows, that nothing a node says can become markup, and that it works in a browser."""

from __future__ import annotations

import html.parser
from dataclasses import dataclass, field, replace

import aiohttp
import pytest

from controller.events import (
    DrillStarted,
    FindingRaised,
    NodePlaced,
    NodeSeen,
    OperatorActed,
    PresenceChanged,
    ScheduleObserved,
)
from controller.web import pages
from controller.web.pages import STATIC
from tests.support.open_cell import OpenCell, disk_full, off_the_bus
from wire.messages import NodeFacts

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' onmouseover='alert(1)"


@dataclass
class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """The page's text with single spaces."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


async def page(http: aiohttp.ClientSession, path: str, *, status: int = 200) -> Page:
    """Return a page as a browser gets it."""
    async with http.get(path, headers={"Accept": "text/html"}) as answer:
        content = await answer.text()
        assert (answer.status, answer.content_type) == (status, "text/html"), content
    parsed = Page()
    parsed.feed(content)
    return parsed


def buttons(shown: Page) -> set[str]:
    """Return what a person can do on a page."""
    return {str(button["data-act"]) for button in shown.all("button") if "data-act" in button}


async def test_the_fleet_page_says_why_and_what_comes_next(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    shown = await page(http, "/")
    assert "■ failed" in shown.text and "1 of 2" in shown.text
    assert off_the_bus().because in shown.text and "Drain is under way, at most 10 min more." in shown.text


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/?health=fine", 422, "'fine' is no health. failed, degraded, unknown, ok"),
        ("/?part=live&health=fine", 422, "'fine' is no health."),
        ("/?healht=ok", 400, "unknown query 'healht'. known: find, group, health"),
        ("/?group=shelf", 422, "the map cannot be grouped by 'shelf'. site, pool, rack, leaf"),
        ("/?part=dead", 422, "a page has no part 'dead'."),
        ("/nodes/n1?health=ok", 400, "unknown query 'health'. this page takes no query"),
    ],
)
async def test_a_page_takes_no_query_that_it_does_not_know(
    http: aiohttp.ClientSession, path: str, status: int, text: str
) -> None:
    assert text in (await page(http, path, status=status)).text


async def test_one_fleet_page_serves_all_who_ask_at_once_and_says_of_when_it_is(
    cell: OpenCell, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked() -> tuple[int, bool]:
        async with http.get("/?part=live") as answer:
            return int(answer.headers[pages.EVENT_HEADER]), "Paused by alice" in await answer.text()

    monkeypatch.setattr(pages, "KEPT_S", 60.0)
    before = cell.cell.belief.last_event_id
    assert await asked() == (before, False)
    await cell.tell(OperatorActed("pause", "fleet", "alice", ""))
    assert await asked() == (before, False)
    monkeypatch.setattr(pages, "KEPT_S", 0.0)
    assert await asked() == (cell.cell.belief.last_event_id, True)


async def test_a_page_names_where_it_is_in_the_navigation(http: aiohttp.ClientSession) -> None:
    named = {
        str(link["href"]): link.get("aria-current") for link in (await page(http, "/")).all("a") if "data-key" in link
    }
    assert named.pop("/") == "page" and set(named.values()) == {None}
    assert set(named) == {"/incidents", "/budgets", "/playbooks", "/audit", "/report"}


async def test_an_empty_cell_says_what_to_expect(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.cell.belief.nodes.clear()
    shown = await page(http, "/")
    assert "No node has been heard yet." in shown.text and "No incident is open." in shown.text


async def test_an_incident_page_offers_what_can_be_done_now(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n3"] = ("17",)
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    assert buttons(await page(http, "/incidents/inc-000001")) == {"approve", "abort"}
    await cell.tell(OperatorActed("approve", "inc-000001", "alice", ""))
    await cell.until_step("n3", "drain")
    assert buttons(await page(http, "/incidents/inc-000001")) == {"abort", "uncordon"}
    await cell.tell(OperatorActed("uncordon", "n3", "alice", ""))
    await cell.until("n3", "closed")
    closed = await page(http, "/incidents/inc-000001")
    assert buttons(closed) == set() and "Nothing more will be done." in closed.text


async def test_an_incident_page_shows_reasons_inputs_and_evidence(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    shown = await page(http, "/incidents/inc-000001")
    assert "It would not have happened if gpu.xid 79 were not failed" in shown.text
    assert "NVRM: Xid (PCI:0000:3b:00): 79" in shown.text and "Probation goes on for 60 s more." in shown.text
    assert [link["href"] for link in shown.all("a") if link.get("rel")] == ["https://runbooks.example/gpu-lost"]


async def test_the_node_page_offers_cordon_or_uncordon(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    assert buttons(await page(http, "/nodes/n4")) == {"cordon", "pause"}
    await cell.tell(OperatorActed("pause", "n4", "alice", ""))
    assert buttons(await page(http, "/nodes/n4")) == {"cordon", "resume"}
    await cell.tell(OperatorActed("cordon", "n4", "alice", ""))
    await cell.until("n4", "running")
    assert buttons(await page(http, "/incidents/inc-000001")) == {"uncordon"}
    assert buttons(await page(http, "/nodes/n4")) == {"uncordon", "resume"}


async def test_pause_freeze_and_a_lost_broker_are_said_on_top(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.tell(OperatorActed("pause", "fleet", "alice", "moving racks"))
    await cell.tell(*(PresenceChanged(f"n{number}", "lost", "Last Will") for number in range(1, 9)))
    cell.nodes.connected = False
    shown = await page(http, "/")
    assert "Paused by alice: moving racks." in shown.text
    assert "Frozen. 8 of 10 agents fell silent together" in shown.text
    assert "The broker is not connected." in shown.text
    assert "resume" in buttons(shown)


async def test_the_live_part_is_the_same_content_without_the_frame(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    for path in ("/", "/nodes/n3", "/incidents/inc-000001"):
        whole, part = await page(http, path), await page(http, f"{path}?part=live")
        assert not part.all("html") and not part.all("script") and part.all("h1")
        assert part.text in whole.text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nodes/n11", "no node is called 'n11'. did you mean"),
        ("/incidents/inc-7", "no incident is called 'inc-7'."),
        ("/nonsense", "there is nothing at this address"),
        ("/static/../pages.py", "there is nothing at this address"),
    ],
)
async def test_what_does_not_exist_is_a_page_that_says_so(http: aiohttp.ClientSession, path: str, text: str) -> None:
    shown = await page(http, path, status=404)
    assert text in shown.text and shown.all("html")


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
async def test_what_a_page_needs_is_served(http: aiohttp.ClientSession, name: str) -> None:
    async with http.get(f"/static/{name}") as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert len(await answer.read()) > 200
        tag = {"If-None-Match": answer.headers["ETag"]}
    async with http.get(f"/static/{name}", headers=tag) as again:
        assert (again.status, await again.read()) == (304, b"")


async def test_a_page_asks_for_nothing_from_elsewhere_and_holds_no_inline_code(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    for path in ("/", "/nodes/n2", "/incidents/inc-000001"):
        shown = await page(http, path)
        loaded = [
            str(e.get("src", e.get("href"))) for e in (*shown.all("script"), *shown.all("link"), *shown.all("img"))
        ]
        assert loaded and all(address.startswith("/static/") for address in loaded)
        assert not shown.all("style")
        assert not [a for _, attributes in shown.elements for a in attributes if a == "style" or a.startswith("on")]


async def hostile(cell: OpenCell) -> None:
    """Have a node, a finding, a scheduler and a person say everything that could become markup."""
    facts = NodeFacts(False, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 8, HOSTILE)
    said = off_the_bus()
    finding = replace(said, device=HOSTILE, because=HOSTILE, pci=HOSTILE, serial=HOSTILE, evidence={HOSTILE: HOSTILE})
    await cell.tell(NodeSeen(HOSTILE, HOSTILE, facts), PresenceChanged(HOSTILE, "online", HOSTILE))
    cell.scheduler.jobs[HOSTILE] = (HOSTILE,)
    await cell.tell(FindingRaised(HOSTILE, HOSTILE, finding, cell.clock.now))
    await cell.until_step(HOSTILE, "drain")
    await cell.tell(
        ScheduleObserved("n1", False, "", HOSTILE, [HOSTILE], cell.clock.now),
        OperatorActed("pause", "fleet", HOSTILE, HOSTILE),
        OperatorActed("pause", HOSTILE, HOSTILE, HOSTILE),
        DrillStarted(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE),
    )
    incident = cell.cell.belief.incidents["inc-000001"]
    incident.evidence = {HOSTILE: HOSTILE, "long": HOSTILE * 9}
    incident.playbook = replace(incident.playbook, runbook="javascript:alert(1)")
    cell.front.intake.rejected[HOSTILE] += 1


async def test_nothing_anybody_says_becomes_markup(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await hostile(cell)
    path = "/nodes/" + HOSTILE.translate({ord(c): f"%{ord(c):02X}" for c in "\"'<>()/= "})
    for address in ("/", path, "/nodes/n1", "/incidents/inc-000001", f"/nodes/{path[7:]}x", "/?health=" + path[7:]):
        status = 404 if address.endswith("x") else 422 if "?" in address else 200
        shown = await page(http, address, status=status)
        scripts = {str(script["src"]) for script in shown.all("script")}
        assert scripts and all(source.startswith("/static/") for source in scripts), address
        assert all(image["src"] == "/static/favicon.svg" for image in shown.all("img")), address
        attributes = {name for _, found in shown.elements for name in found}
        assert not {name for name in attributes if name.startswith("on")}, address
        assert not [link for link in shown.all("a") if str(link.get("href")).startswith("javascript:")], address
    assert "alert(1)" in (await page(http, path)).text


async def test_a_node_shows_where_it_stands_and_a_source_that_cannot_be_read(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.tell(NodePlaced("n3", {"nvlink_domain": ["c.1"], "leaf": ["leaf-1", HOSTILE]}, "slurm"))
    cell.front.topology_errors = {"slurm": f"topology.conf:3: {HOSTILE}"}
    shown = await page(http, "/nodes/n3")
    assert "leaf-1 by slurm" in shown.text and "Nvlink domain c.1 by slurm" in shown.text
    assert "Where nodes stand cannot be read from slurm. What it said last stands. topology.conf:3:" in shown.text
    assert HOSTILE in shown.text
    assert all(image["src"] != "x" for image in shown.all("img"))


async def test_every_page_says_that_settings_are_refused(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.front.settings_error = f"controller.toml: budget.percent: {HOSTILE}"
    shown = await page(http, "/")
    assert "The settings that were read anew are refused. Those from before hold until a restart" in shown.text
    assert HOSTILE in shown.text
    assert all(image["src"] != "x" for image in shown.all("img"))


async def test_every_page_says_when_a_destination_takes_no_notices(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.front.notice_errors = lambda: {"ticket jira": f"jira answered 401: {HOSTILE}"}
    shown = await page(http, "/")
    assert "The ticket system jira takes nothing, or does not answer. What is owed is sent later." in shown.text
    assert HOSTILE in shown.text
    assert all(image["src"] != "x" for image in shown.all("img"))
