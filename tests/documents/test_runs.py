"""Every command of the documents that can be run here is run, page by page, in the order in which readers type them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.documents.blocks import blocks_of, pages
from tests.support.documents.places import PLACES, Started, scratch
from tests.support.documents.running import put, run

FIRST = "docs/tutorial/first-drill.md"
"""A newcomer's page, which finds the cell as it has just been started."""

RUN = sorted(
    (page for page in pages() if any(block.kind == "run" for block in blocks_of(page))),
    key=lambda page: (page != FIRST, page),
)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """What the pages share."""
    with ExitStack() as stack:
        yield Started(tmp_path_factory.mktemp("started"), stack)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN)
def test_what_a_page_has_people_type_works(page: str, started: Started, tmp_path: Path) -> None:
    with scratch(tmp_path) as host:
        for block in blocks_of(page):
            place = PLACES.get(block.about, PLACES["host"])(started, host)
            put(block, place)
            if block.kind == "run":
                run(block, place)
