"""Which door the settings ask for."""

from __future__ import annotations

import ssl
import time

import structlog

from controller.access.admitting import Access, opened_with
from controller.access.door import GuardedDoor
from controller.access.limits import Limits
from controller.access.oidc import Provider
from controller.access.sessions import SessionKey, Sessions, make_key
from controller.access.tokens import TokenBook
from controller.notices.secret import read_secret
from controller.sections.access import AccessSection
from controller.sections.oidc import OidcSection
from controller.settings import ControllerSettings, SettingsError

log = structlog.get_logger()


def access_of(settings: ControllerSettings) -> Access:
    """Return who may do what.

    Raises:
        OSError: the key that signs sessions cannot be made.
        SettingsError: a file that the provider needs cannot be used.
    """
    section = settings.access
    if section is None:
        log.info("access.open", because="without [access] whoever reaches the port may do all", host=settings.http.host)
        return Access()
    tokens = TokenBook(section.tokens_in(settings.state), time.time)
    door = GuardedDoor(tokens, _sessions(settings, section, tokens), _provider(settings, section.oidc))
    limits = Limits(section.requests_per_s, section.burst, time.monotonic)
    return Access(
        door, opened_with(metrics_for_all=section.metrics == "anyone"), limits=limits, alone=not section.two_people
    )


def is_alike(before: AccessSection | None, after: AccessSection | None) -> bool:
    """Return whether a controller may go from one to the other while it runs: it serves the same addresses by both."""
    if before is None or after is None:
        return before is after
    return (before.oidc is None) == (after.oidc is None)


def _sessions(settings: ControllerSettings, section: AccessSection, tokens: TokenBook) -> Sessions:
    """Return what knows browsers again; in the state directory a key is made where there is none yet."""
    key = section.session_key_in(settings.state)
    if section.session_key_file is None and not key.exists():
        make_key(key)
    if SessionKey(key).now() is None:
        raise SettingsError(f"access.session_key_file: {key} cannot be used; openssl rand -hex 32 makes what it holds")
    secure = settings.http.scheme == "https" or settings.http.public_url.startswith("https:")
    return Sessions(SessionKey(key), tokens, time.time, section.session_s, secure, section.oidc)


def _provider(settings: ControllerSettings, section: OidcSection | None) -> Provider | None:
    """Return where people sign in, `None` when tokens alone are taken."""
    if section is None:
        return None
    secret = (
        read_secret(section.client_secret_file, "access.oidc.client_secret_file") if section.client_secret_file else ""
    )
    page = settings.http.public_url or f"{settings.http.scheme}://{settings.http.host}:{settings.http.port}"
    try:
        tls = ssl.create_default_context(cafile=section.ca_file)
    except OSError as error:
        raise SettingsError(
            f"access.oidc.ca_file: {section.ca_file} cannot be used: {error.strerror or error}"
        ) from error
    return Provider(section, f"{page.rstrip('/')}/login/back", secret, tls)
