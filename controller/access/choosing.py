"""Which door the settings ask for."""

from __future__ import annotations

import time

import structlog

from controller.access.admitting import Access, opened_with
from controller.access.door import GuardedDoor
from controller.access.limits import Limits
from controller.access.sessions import SessionKey, Sessions, make_key
from controller.access.tokens import TokenBook
from controller.sections.access import AccessSection
from controller.settings import ControllerSettings

log = structlog.get_logger()


def access_of(settings: ControllerSettings) -> Access:
    """Return who may do what.

    Raises:
        OSError: the key that signs sessions cannot be made.
    """
    section = settings.access
    if section is None:
        log.info("access.open", because="without [access] whoever reaches the port may do all", host=settings.http.host)
        return Access()
    tokens = TokenBook(section.tokens_in(settings.state), time.time)
    door = GuardedDoor(tokens, _sessions(settings, section, tokens))
    limits = Limits(section.requests_per_s, section.burst, time.monotonic)
    return Access(door, opened_with(metrics_for_all=section.metrics == "anyone"), limits=limits)


def _sessions(settings: ControllerSettings, section: AccessSection, tokens: TokenBook) -> Sessions:
    """Return what knows browsers again; where there is no key yet it is made."""
    key = section.session_key_in(settings.state)
    if not key.exists():
        make_key(key)
    secure = settings.http.scheme == "https" or settings.http.public_url.startswith("https:")
    return Sessions(SessionKey(key), tokens, time.time, section.session_s, secure)
