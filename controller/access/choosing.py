"""Which door the settings ask for."""

from __future__ import annotations

import time

import structlog

from controller.access.admitting import Access, opened_with
from controller.access.door import GuardedDoor
from controller.access.tokens import TokenBook
from controller.settings import ControllerSettings

log = structlog.get_logger()


def access_of(settings: ControllerSettings) -> Access:
    """Return who may do what."""
    section = settings.access
    if section is None:
        log.info("access.open", because="without [access] whoever reaches the port may do all", host=settings.http.host)
        return Access()
    door = GuardedDoor(TokenBook(section.tokens_in(settings.state), time.time))
    return Access(door, opened_with(metrics_for_all=section.metrics == "anyone"))
