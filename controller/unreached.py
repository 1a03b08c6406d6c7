"""Why a connection did not come about, in words that say what and where and hold no more of an address than that."""

from __future__ import annotations

import os
import ssl

import aiohttp

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures before anything was sent."""


def why_unreached(error: aiohttp.ClientError) -> str:
    """Return the system's own reason, with host and port. aiohttp's text may have the whole address, secrets in it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{_said(error.certificate_error)} ({error.host}:{error.port})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{_said(error.os_error)} ({error.host}:{error.port})"
    return "no connection came about in time"


def _said(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or cause}"
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return str(getattr(cause, "strerror", "") or cause)
