"""How Redfish's documents are read: every value may be missing, or of another type than its schema says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]

ROOT = "/redfish/v1/"
"""Source: DMTF DSP0266."""

MOST_TEXT = 300


def text_of(value: object) -> str:
    """Return a text on one line, without what cannot be printed and of bounded length; empty when it is none."""
    if not isinstance(value, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in value[:MOST_TEXT]).strip()


def inner(document: Document, key: str) -> Document:
    """Return an object within a document, an empty one when there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def objects_in(document: Document, key: str) -> list[Document]:
    """Return the objects of a list within a document."""
    value = document.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def link_in(document: Document, key: str) -> str:
    """Return where a resource is, empty when the document does not name it."""
    return own_link(document.get(key))


def links_in(document: Document, key: str) -> Iterator[str]:
    """Yield where the resources of a list are."""
    for each in objects_in(document, key):
        if link := own_link(each):
            yield link


def own_link(value: object) -> str:
    """Return the path of a resource, empty for anything that does not lead below the service's root."""
    link = value.get("@odata.id") if isinstance(value, dict) else None
    is_path = isinstance(link, str) and link.startswith(ROOT) and link.isascii() and link.isprintable()
    return str(link) if is_path and " " not in str(link) and len(str(link)) <= 500 else ""


def id_of(path: str) -> str:
    """Return the id of a resource, which is the last part of its path."""
    return text_of(path.rstrip("/").rpartition("/")[2])
