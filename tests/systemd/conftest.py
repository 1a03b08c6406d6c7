"""A booted systemd for the files of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.booted import Booted, booted


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """Boot once for a file: its tests leave the units as they found them."""
    with booted(tmp_path_factory.mktemp("booted")) as running:
        yield running
