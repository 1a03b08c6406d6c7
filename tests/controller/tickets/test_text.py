"""What others wrote stays text in every markup, within every limit, whatever it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from controller.adapters import Notice
from controller.notices.wording import without_secrets
from controller.tickets.document import (
    Block,
    Kind,
    address_of,
    facts_of,
    news_blocks,
    ticket_blocks,
    title_of,
    within,
    within_bytes,
)
from controller.tickets.markup import adf_document, adf_text, hidden, journal, markdown, plain, wiki
from tests.support.jira import check_block
from tests.support.ticket_notices import RMA, ticket_notice

PIECES = (
    *("`", "``", "```", "@team", "#1", "!2", "~label", "<!-- fm-1 -->", "<b>", "</b>", "[x](http://y)", "\n", "\r"),
    *("{noformat}", "{ noformat}", "[~admin]", "[code]", "[/CODE]", "/close", "\u202e", "\x00", "\u2028", "*", "a"),
    *(" ", "\\", "|", ":tada:", "\ud800", "https://x.y", "&amp;", "- ", "    "),
)
HOSTILE = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
INLINE = {"code_inline", "text", "softbreak", "link_open", "link_close", "strong_open", "strong_close"}
WIKI_LINK = re.compile(r"\* [A-Za-z]+( [0-9]+)?: \[https?://[^\s\[\]|]+\]")
RENDERERS: tuple[Callable[[Sequence[Block]], str], ...] = (plain, journal, markdown, wiki, adf_text)


def hostile_notice(text: str) -> Notice:
    """Return a notice with this text wherever a node, a job or a person has a say."""
    rma = replace(
        RMA,
        because=text,
        part=text,
        node_serial=text,
        model=text,
        description=text,
        versions={"driver": text, text: "1"},
        evidence={text: f"{text}\n{text}", "log": text},
        bundles=[text, f"https://host/{text}"],
    )
    facts = {"serial": text, text: text}
    body = f"What: {text}\n{text}"
    return ticket_notice(title=text, body=body, news=text, facts=facts, links={"runbook": text}, rma=rma)


def shown(blocks: Sequence[Block]) -> list[str]:
    return [text for block in blocks for text in ((block.label, block.text) if block.label else (block.text,))]


@given(HOSTILE)
def test_every_block_is_one_line_that_can_be_shown(text: str) -> None:
    for said in shown([*ticket_blocks(hostile_notice(text)), *news_blocks(hostile_notice(text))]):
        assert said and said.isprintable()


@given(HOSTILE)
@example("`")
@example("`` @team `")
def test_markdown_has_foreign_text_in_code_alone(text: str) -> None:
    blocks = ticket_blocks(hostile_notice(text))
    tokens = MarkdownIt("commonmark").parse(markdown(blocks))

    code: list[str] = []
    for token in tokens:
        assert token.type != "html_block"
        if token.type == "fence":
            code += token.content.splitlines()
        for inner in token.children or []:
            assert inner.type in INLINE
            if inner.type == "code_inline":
                code.append(inner.content)
            if inner.type == "link_open":
                assert inner.markup == "autolink"
    foreign = [said for block in blocks if block.kind is not Kind.LINK for said in shown([block])]
    labels = [block.label for block in blocks if block.kind is Kind.LINK]
    assert sorted(code) == sorted([*foreign, *labels])


@given(HOSTILE)
def test_nothing_that_others_wrote_is_taken_for_a_mark(text: str) -> None:
    written = hidden("fm-1-2") + markdown(ticket_blocks(hostile_notice(text)))
    html = [token.content for token in MarkdownIt("commonmark").parse(written) if token.type == "html_block"]

    assert html == ["<!-- fm-1-2 -->\n"]


@given(HOSTILE)
def test_wiki_markup_has_foreign_text_between_noformat_alone(text: str) -> None:
    written = wiki(ticket_blocks(hostile_notice(text)))

    outside = re.sub(r"\{noformat\}\n.*?\n\{noformat\}", "", written, flags=re.DOTALL)
    assert all(
        re.fullmatch(r"\* [A-Za-z]+( [0-9]+)?: \[https?://[^\s\[\]|]+\]", line) for line in outside.split("\n") if line
    )
    assert written.count("{noformat}") % 2 == 0
    assert "[~" not in written


@given(HOSTILE)
def test_a_document_of_jira_is_one(text: str) -> None:
    document = adf_document(ticket_blocks(hostile_notice(text)), "fm-1")

    for node in document["content"]:
        check_block(node)
    assert json.loads(json.dumps(document)) == document


@given(HOSTILE)
def test_a_journal_of_servicenow_has_no_html(text: str) -> None:
    assert not re.search(r"\[/?code\]", journal(ticket_blocks(hostile_notice(text))), re.IGNORECASE)


@pytest.mark.parametrize("render", RENDERERS)
@given(text=HOSTILE, times=st.integers(0, 40), limit=st.integers(300, 5_000))
def test_no_text_is_longer_than_its_system_takes(
    render: Callable[[Sequence[Block]], str], text: str, times: int, limit: int
) -> None:
    blocks = ticket_blocks(hostile_notice(text * times))
    written = within(render, blocks, limit)

    assert len(written) <= limit
    assert (written == render(blocks)) is (len(render(blocks)) <= limit)
    if len(render(blocks)) > limit:
        assert re.search(r"\([0-9]+ more lines did not fit here", written)


@given(HOSTILE, st.integers(4, 300))
def test_a_title_is_one_line_within_its_limit(text: str, limit: int) -> None:
    title = title_of(hostile_notice(text), limit)

    assert 0 < len(title) <= limit
    assert title.isprintable()
    assert len(within_bytes(title, limit).encode()) <= limit


@given(HOSTILE)
@example("HTTP://0")
def test_an_address_has_nothing_of_markup(text: str) -> None:
    for url in (text, f"https://host/{text}", f"https://user:secret@host/{text}"):
        address = address_of(url)
        assert not address or re.fullmatch(r"https?://[A-Za-z0-9:/?#&=%+,;~._-]+", address)
        assert "secret" not in address


def test_a_ticket_begins_with_what_matters_and_ends_with_evidence() -> None:
    said = plain(ticket_blocks(ticket_notice())).splitlines()

    assert said[:4] == ["What: Xid 79 on GPU-3 at 90 °C.", "Next: n2 stays out of service.", "", "Where and what"]
    assert said[-3:] == [
        "Evidence: gpu.xid 79",
        "  NVRM: Xid (PCI:0000:3b:00): 79, pid=1234",
        "  GPU has fallen off the bus.",
    ]
    history = "gpu_lost on n2 GPU-3, returned: Xid 79 Tried: reboot on 2026-01-02T03:30:00Z: done, verified."
    assert f"2026-01-02T03:04:05Z: {history}" in said


def test_a_ticket_for_several_incidents_names_them() -> None:
    assert facts_of(ticket_notice(incidents=("inc-1", "inc-2")))["incident"] == "inc-1, inc-2"


def test_a_secret_in_a_log_is_not_told() -> None:
    line = "curl -H 'Authorization: Bearer abcdefgh1234' password=hunter2"
    rma = replace(RMA, evidence={"job log": line})
    said = plain(ticket_blocks(ticket_notice(body=line, facts={line: line}, rma=rma)))

    assert without_secrets(line) in said
    assert "hunter2" not in said
    assert "abcdefgh1234" not in said
