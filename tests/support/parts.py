"""Real parts that a test needs and this machine may not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test on somebody's laptop; in CI, where every part has to be, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {what} is missing")
    pytest.skip(f"{what} is not here")
