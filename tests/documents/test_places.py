"""What the commands of documents can do to the machine that they are tested on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents.places import WRITE_LIMIT_S, Scratch, scratch

ELSEWHERE = Path("/written-by-a-page")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Scratch]:
    """A page's host."""
    with scratch(tmp_path) as given:
        yield given
    ELSEWHERE.unlink(missing_ok=True)


def test_what_a_page_writes_is_gone_with_it(host: Scratch) -> None:
    host.write("/srv/written-by-a-page", "text\n")
    assert host.run("cat /srv/written-by-a-page", limit_s=WRITE_LIMIT_S).stdout == "text\n"
    assert not Path("/srv/written-by-a-page").exists()


def test_what_has_no_layer_cannot_be_written(host: Scratch) -> None:
    ended = host.run(f"touch {ELSEWHERE}", limit_s=WRITE_LIMIT_S)
    assert ended.returncode != 0
    assert "Read-only file system" in ended.stdout
