"""A time zone, as settings name it."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator


def _known(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone, such as UTC or Europe/Berlin")
    return name


Zone = Annotated[str, AfterValidator(_known)]
