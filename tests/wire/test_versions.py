from __future__ import annotations

import pytest

from wire import versions


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("0.1.0", (0, 1)),
        ("0.3", (0, 3)),
        ("1.20.3rc1", (1, 20)),
        ("0.2.dev4+g1a2b", (0, 2)),
        ("", None),
        ("1", None),
        ("latest", None),
        ("0.x", None),
    ],
)
def test_a_version_is_of_a_minor_release(version: str, release: tuple[int, int] | None) -> None:
    assert versions.release_of(version) == release


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [("0.1.0", "0.1.9", False), ("0.1.0", "0.3.0", True), ("0.1.0", "1.1.0", True), ("0.1.0", "", False)],
)
def test_versions_differ_by_their_minor_release(one: str, other: str, *, differ: bool) -> None:
    assert versions.differ(one, other) is differ
