"""Who may ask: no page of another site, no host name that an attacker has pointed here, nothing oversized.

A browser is the way in: a hostile page could post to the API (CSRF), or have its own name resolve to the controller's
address and read it (DNS rebinding). Both are refused here, whether people have to say who they are or not.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from controller.api.problems import Problem
from wire.loopback import is_loopback

MAX_BODY_BYTES = 65_536
READING = frozenset({"GET", "HEAD"})
MAX_USER = 64
DEFAULT_USER = "operator"
USER_HEADER = "X-Fleetmend-User"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every answer."""

TLS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}
"""Sent with every answer over TLS. Source: RFC 6797; a year, as browsers' makers advise."""


def check_host(request: web.Request, hosts: frozenset[str]) -> None:
    """Return if the request was made by a name of this controller's.

    Raises:
        Problem: 403, by another name.
    """
    name = host_name(request.headers.get("Host", ""))
    if not (name in hosts or is_loopback(name)):
        raise Problem(
            403, f"this controller is not called {name[:80]!r}", "use 127.0.0.1, or set http.public_url", field="Host"
        )


def check_origin(request: web.Request) -> None:
    """Return if no page of another site made the request.

    Raises:
        Problem: 403, a page of another site did.
    """
    origin = request.headers.get("Origin", "")
    foreign = "Origin" in request.headers and _authority(origin) != request.headers.get("Host", "").lower()
    if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Problem(
            403,
            f"a page of another site ({origin[:80]!r}) may not act here",
            "use the status page or the CLI",
            field="Origin",
        )


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def user_of(request: web.Request) -> str:
    """Return who acts, as they say themselves.

    Raises:
        Problem: 400, the name is too long or not printable.
    """
    name = request.headers.get(USER_HEADER, DEFAULT_USER).strip() or DEFAULT_USER
    if len(name) > MAX_USER or not name.isprintable():
        raise Problem(
            400, f"{USER_HEADER} is not a name", f"at most {MAX_USER} printable characters", field=USER_HEADER
        )
    return name
