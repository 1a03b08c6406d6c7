"""The documents of fleetmend as pages: a runbook opens at 3 a.m. where the incident is, without any other server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from controller.manual import FOLDER, documents
from controller.web.query import check_query

Render = Callable[..., web.Response]
FIRST = f"{FOLDER}/README.md"
_NO_WORD = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class ManualPage:
    """One document, ready to be shown. `entries`: of a folder, the address and title of each document in it."""

    title: str
    body: Markup | str = ""
    entries: tuple[tuple[str, str], ...] = ()


class ManualPages:
    """Serves the documents. `render`: given a template, values and the part that is asked for."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve them where they are in a checkout, so that their links to one another hold."""
        router.add_get(f"/{FOLDER}", self._first)
        router.add_get(f"/{FOLDER}/", self._first)
        router.add_get(f"/{FOLDER}/{{path:.+}}", self._document)

    async def _first(self, _request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"/{FIRST}"})

    async def _document(self, request: web.Request) -> web.Response:
        check_query(request)
        name = f"{FOLDER}/{request.match_info['path']}"
        found = documents().get(name)
        if found is not None and found.suffix == ".png":
            return web.Response(body=found.read_bytes(), content_type="image/png")
        view = folder_page(name) if found is None else manual_page(name, found)
        if found is None and not view.entries:
            raise web.HTTPNotFound
        return self._render("manual.html", {"view": view}, part=request.query.get("part", ""))


@cache
def manual_page(name: str, path: Path) -> ManualPage:
    """Return a document as it is shown. `name`: its path in a checkout."""
    tokens = _markdown().parse(path.read_text("utf-8"))
    titles = [after.content for each, after in pairwise(tokens) if each.tag == "h1"]
    _name_headings(tokens)
    _lead_links(tokens, dirname(name))
    html = _markdown().renderer.render(tokens, _markdown().options, {})
    return ManualPage(_plain(titles[0]) if titles else name, Markup(html))  # noqa: S704 - from files of ours alone


def folder_page(name: str) -> ManualPage:
    """Return what lists the documents of a folder, whose name ends in `/`; without entries there is no such folder."""
    inside = [each for each in sorted(documents()) if f"{dirname(each)}/" == name and each.endswith(".md")]
    entries = ((f"/{each}", manual_page(each, documents()[each]).title) for each in inside)
    return ManualPage(name, entries=tuple(entries))


@cache
def _markdown() -> MarkdownIt:
    """Return what reads Markdown. Of HTML the documents have comments alone, which are not shown."""
    made = MarkdownIt("commonmark").enable("table")
    made.add_render_rule("html_block", _nothing)
    made.add_render_rule("html_inline", _nothing)
    return made


def _nothing(*_args: Any, **_options: Any) -> str:
    return ""


def _name_headings(tokens: list[Token]) -> None:
    """Give headings the names that links into documents use."""
    seen: Counter[str] = Counter()
    for opened, text in pairwise(tokens):
        if opened.type == "heading_open":
            slug = slug_of(text.content)
            opened.attrSet("id", f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1


def slug_of(heading: str) -> str:
    """Return a heading's name in links: as GitHub and GitLab make it."""
    return _NO_WORD.sub("", _plain(heading).lower()).replace(" ", "-")


def _plain(text: str) -> str:
    """Return a line of Markdown as it is read: without its backquotes and the addresses of its links."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")


def _lead_links(tokens: list[Token], folder: str) -> None:
    """Have links that lead out of the documents lead nowhere: what they mean is in a checkout alone."""
    for token in (child for each in tokens for child in each.children or ()):
        address = str(token.attrGet("href") or "")
        if token.type != "link_open" or address.startswith("#"):
            continue
        if urlsplit(address).scheme:
            token.attrSet("rel", "noreferrer")
        elif normpath(join(folder, urlsplit(address).path)) not in documents():
            _lead_to_folder(token, folder, address)


def _lead_to_folder(token: Token, folder: str, address: str) -> None:
    inside = f"{normpath(join(folder, urlsplit(address).path))}/"
    if any(name.startswith(inside) for name in documents()):
        token.attrSet("href", f"/{inside}")
    else:
        token.attrs.pop("href")
