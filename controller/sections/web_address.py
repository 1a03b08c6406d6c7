"""Addresses of other systems' HTTP interfaces, as settings hold them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(f"must be https://host or https://host/path: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not has_port:
        raise ValueError("must be https://host or https://host/path")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold neither an account nor a query: secrets come from files")
    return text.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_address)]
"""`https://host[:port][/path]` without an account, a query and an end of `/`."""
