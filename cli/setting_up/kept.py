"""Settings and passwords that are there already, and are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.place import Place
from cli.setting_up.asking import toml_in
from cli.setting_up.course import Wishes
from cli.setting_up.part import Part


def kept_document(file: str, place: Place) -> dict[str, Any] | None:
    """Return the tables of a file of settings that is there, `None` where there is none.

    Raises:
        Failed: it cannot be read, or is not TOML.
    """
    path = place.at(file)
    return toml_in(path) if path.exists() else None


def kept_password(part: Part, wishes: Wishes) -> str:
    """Return the password at the broker that is there, empty without one that we may read."""
    try:
        return wishes.place.at(part.password_path(wishes.host)).read_text("utf-8").strip()
    except OSError:
        return ""


def broker_of(document: Mapping[str, Any], part: Part, wishes: Wishes) -> Mapping[str, Any]:
    """Return the table [broker], with every path as we reach it."""
    table: Mapping[str, Any] = wishes.place.seen(document, part.service).get("broker", {})
    return table


def needs_broker(url: str) -> str:
    """Return the URL.

    Raises:
        Failed: there is none.
    """
    if not url:
        raise Failed("say where the broker is: --broker mqtts://HOST:8883", ExitCode.USAGE)
    return url
