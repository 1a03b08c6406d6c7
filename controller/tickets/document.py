"""What a ticket says, as blocks that each system puts into its own markup. Pure.

What matters most comes first: a system that takes little gets the beginning, and the ticket says that it was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from urllib.parse import quote, urlsplit

from controller.adapters import Notice, PastIncident, RmaBundle
from controller.notices.lengths import links_of
from controller.notices.wording import cut, one_line

MAX_LINE = 1_000
"""Characters of one line. Source: our choice; a line of a kernel log has fewer."""

MAX_LABEL = 60
MAX_BODY_LABEL = 12
"""Of a line of a notice's body, like `What: ...`; a longer one is a sentence with a colon. Source: our choice."""


class Kind(StrEnum):
    """What a block is."""

    TEXT = "text"
    PAIR = "pair"
    LINK = "link"
    HEADING = "heading"
    OUTPUT = "output"
    """A line that a program printed."""


@dataclass(frozen=True, slots=True)
class Block:
    """One line. `label`: of a pair or a link. Both hold what can be shown, on one line, and nothing of markup."""

    kind: Kind
    text: str
    label: str = ""


Render = Callable[[Sequence[Block]], str]


def ticket_blocks(notice: Notice) -> list[Block]:
    """Return all that a new ticket says."""
    return [*_body(notice.body), *_facts(notice), *_links(notice), *(_sent_back(notice.rma) if notice.rma else ())]


def news_blocks(notice: Notice) -> list[Block]:
    """Return what a comment says: what is new, and where to look."""
    news = [*_body(notice.news)] or [Block(Kind.TEXT, "Nothing new.")]
    return [*news, *(link for link in _links(notice) if link.label in {"Incident", "Approve"})]


def within(render: Render, blocks: Sequence[Block], limit: int) -> str:
    """Return the blocks as text of at most `limit` characters; of more, the first ones, and how many are left out."""
    whole = render(blocks)
    if len(whole) <= limit:
        return whole
    least, most = 0, len(blocks)
    while least < most:
        middle = (least + most + 1) // 2
        fits = len(render(_cut(blocks, middle))) <= limit
        least, most = (middle, most) if fits else (least, middle - 1)
    return render(_cut(blocks, least))


def title_of(notice: Notice, limit: int) -> str:
    """Return the title in one line of at most `limit` characters."""
    return one_line(notice.title, limit) or cut(notice.incident_id, limit)


def within_bytes(text: str, limit: int) -> str:
    """Return a text of at most `limit` bytes of UTF-8, for a system that counts these."""
    characters = limit
    while len(text.encode(errors="replace")) > limit:
        characters -= 1
        text = cut(text, characters)
    return text


def runs(blocks: Sequence[Block]) -> Iterator[tuple[Kind, list[Block]]]:
    """Yield the blocks grouped as they stand together."""
    for kind, group in groupby(blocks, key=lambda block: block.kind):
        yield kind, list(group)


def facts_of(notice: Notice) -> dict[str, str]:
    """Return every fact by the name that settings map to a system's own field, without those that are empty."""
    rma = notice.rma
    found = {
        "incident": ", ".join(notice.incidents) or notice.incident_id,
        "node": notice.node,
        "node_serial": rma.node_serial if rma else "",
        "device": notice.device,
        "pci": rma.pci if rma else "",
        "model": rma.model if rma else "",
        "fault_class": notice.fault_class,
        "severity": notice.severity,
        "team": notice.team,
        "follows": notice.follows,
        **notice.facts,
    }
    lines = {one_line(name, MAX_LABEL): one_line(text, MAX_LINE) for name, text in found.items()}
    return {name: text for name, text in lines.items() if name and text}


def _cut(blocks: Sequence[Block], count: int) -> list[Block]:
    left = len(blocks) - count
    return [*blocks[:count], Block(Kind.TEXT, f"({left} more lines did not fit here; the incident's page has them.)")]


def _body(text: str) -> Iterator[Block]:
    for line in text.splitlines():
        said = one_line(line, MAX_LINE)
        label, colon, rest = said.partition(": ")
        if colon and rest and label.replace(" ", "").isalpha() and len(label) <= MAX_BODY_LABEL:
            yield Block(Kind.PAIR, rest, label)
        elif said:
            yield Block(Kind.TEXT, said)


def _facts(notice: Notice) -> Iterator[Block]:
    yield Block(Kind.HEADING, "Where and what")
    for name, text in facts_of(notice).items():
        yield Block(Kind.PAIR, text, name.replace("_", " ").capitalize())


def _links(notice: Notice) -> Iterator[Block]:
    bundles = notice.rma.bundles if notice.rma else []
    named = [*links_of(notice).items(), *((f"Evidence {n}", url) for n, url in enumerate(bundles, 1))]
    for words, url in named:
        if address := address_of(url):
            yield Block(Kind.LINK, address, words)


def address_of(url: str) -> str:
    """Return an address in characters that no markup takes for its own; empty for what is none, or holds an account."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not url.startswith(("http://", "https://")) or not parts.netloc or "@" in parts.netloc:
        return ""
    return quote(url.encode(errors="replace"), safe=":/?#&=%+,;~.-_")


def _sent_back(rma: RmaBundle) -> Iterator[Block]:
    yield Block(Kind.HEADING, "Send back")
    pairs = {"Part": rma.part, "Why": rma.because, "Description": rma.description, **rma.versions}
    for label, text in pairs.items():
        if said := one_line(text, MAX_LINE):
            yield Block(Kind.PAIR, said, one_line(label, MAX_LABEL).capitalize())
    yield from _history(rma.incidents)
    for name, text in rma.evidence.items():
        yield Block(Kind.HEADING, f"Evidence: {one_line(name, MAX_LABEL)}")
        for line in text.splitlines():
            if said := one_line(line, MAX_LINE):
                yield Block(Kind.OUTPUT, said)


def _history(incidents: Sequence[PastIncident]) -> Iterator[Block]:
    if incidents:
        yield Block(Kind.HEADING, "History")
    for past in incidents:
        repairs = f" Tried: {'; '.join(past.repairs)}." if past.repairs else ""
        said = f"{past.fault_class} on {past.node} {past.device}, {past.outcome}: {past.because}{repairs}"
        yield Block(Kind.PAIR, one_line(said, MAX_LINE), one_line(past.opened_at, MAX_LABEL))
