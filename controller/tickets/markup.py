"""Blocks in the markup of each system, so that text of a node stays text: it mentions nobody, links nowhere, runs
nothing. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from controller.tickets.document import Block, Kind, runs


def plain(blocks: Sequence[Block]) -> str:
    """Return plain text."""
    return "\n".join(line for block in blocks for line in _plain_lines(block))


def _plain_lines(block: Block) -> list[str]:
    match block.kind:
        case Kind.HEADING:
            return ["", block.text]
        case Kind.PAIR | Kind.LINK:
            return [f"{block.label}: {block.text}"]
        case Kind.OUTPUT:
            return [f"  {block.text}"]
        case Kind.TEXT:
            return [block.text]


_JOURNAL_MARKUP = re.compile(r"\[(?=/?code\])", re.IGNORECASE)


def journal(blocks: Sequence[Block]) -> str:
    """Return plain text for a ServiceNow journal, which takes what stands between `[code]` and `[/code]` for HTML.

    Source: ServiceNow, "Journal fields": the `[code]` tag.
    """
    return _JOURNAL_MARKUP.sub("[ ", plain(blocks))


def markdown(blocks: Sequence[Block]) -> str:
    """Return Markdown whose foreign text stands in code spans alone.

    There neither GitHub nor GitLab looks for HTML, mentions, references, emoji or quick actions. Source: CommonMark
    6.1; GitHub, "Basic writing and formatting syntax"; GitLab, "GitLab Flavored Markdown", "Quick actions".
    """
    return "\n\n".join(_markdown_run(kind, group) for kind, group in runs(blocks))


def hidden(mark: str) -> str:
    """Return a mark that Markdown does not show. Source: CommonMark 4.6, an HTML block of kind 2."""
    return f"<!-- {mark} -->\n\n"


def _markdown_run(kind: Kind, group: Sequence[Block]) -> str:
    match kind:
        case Kind.HEADING:
            return "\n\n".join(f"**{_span(block.text)}**" for block in group)
        case Kind.OUTPUT:
            return _fenced([block.text for block in group])
        case Kind.TEXT:
            return "\n\n".join(_span(block.text) for block in group)
        case Kind.PAIR:
            return "\n".join(f"- {_span(block.label)} {_span(block.text)}" for block in group)
        case Kind.LINK:
            return "\n".join(f"- {_span(block.label)} <{block.text}>" for block in group)


def _span(text: str) -> str:
    """Return a text as a code span: fenced by more backticks in a row than it has itself."""
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fenced(lines: Sequence[str]) -> str:
    fence = "`" * max(3, *(_longest_run(line) + 1 for line in lines))
    return "\n".join([f"{fence}text", *lines, fence])


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


_WIKI_MARKUP = re.compile(r"\{(?=\s*noformat)|\[(?=~)", re.IGNORECASE)


def wiki(blocks: Sequence[Block]) -> str:
    """Return Jira's wiki markup, with foreign text between `{noformat}`.

    A mention, `[~name]`, is found there too, so that it is taken apart. Source: Jira, "Text formatting notation".
    """
    return "\n".join(_wiki_run(kind, group) for kind, group in runs(blocks))


def _wiki_run(kind: Kind, group: Sequence[Block]) -> str:
    if kind is Kind.LINK:
        return "\n".join(f"* {block.label}: [{block.text}]" for block in group)
    lines = [line for block in group for line in _plain_lines(block) if line]
    inside = "\n".join(_WIKI_MARKUP.sub(lambda found: f"{found[0]} ", line) for line in lines)
    return f"{{noformat}}\n{inside}\n{{noformat}}"


def adf_document(blocks: Sequence[Block], mark: str = "") -> dict[str, Any]:
    """Return a document of Atlassian's format, in which text is text.

    Source: Atlassian, "Atlassian Document Format": nodes doc, heading, paragraph, bulletList, codeBlock; no text node
    may be empty.
    """
    content = [node for kind, group in runs(blocks) for node in _adf_run(kind, group)]
    if mark:
        content.append(_paragraph(_text(mark, {"type": "code"})))
    return {"type": "doc", "version": 1, "content": content}


def adf_text(blocks: Sequence[Block]) -> str:
    """Return the document as JSON, of which the length counts."""
    return msgspec.json.encode(adf_document(blocks)).decode()


def _adf_run(kind: Kind, group: Sequence[Block]) -> list[dict[str, Any]]:
    match kind:
        case Kind.HEADING:
            return [{"type": "heading", "attrs": {"level": 4}, "content": [_text(block.text)]} for block in group]
        case Kind.OUTPUT:
            return [{"type": "codeBlock", "content": [_text("\n".join(block.text for block in group))]}]
        case Kind.TEXT:
            return [_paragraph(_text(block.text)) for block in group]
        case Kind.PAIR | Kind.LINK:
            items = [{"type": "listItem", "content": [_adf_item(block)]} for block in group]
            return [{"type": "bulletList", "content": items}]


def _adf_item(block: Block) -> dict[str, Any]:
    link = {"type": "link", "attrs": {"href": block.text}}
    value = _text(block.text, link) if block.kind is Kind.LINK else _text(block.text)
    return _paragraph(_text(f"{block.label}: ", {"type": "strong"}), value)


def _paragraph(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(content)}


def _text(text: str, *marks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": text or " ", **({"marks": list(marks)} if marks else {})}
