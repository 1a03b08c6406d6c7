"""Where this host got its identity and renews it: `fleetmend enrol` writes and reads this; the agent does not."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from agent.access import Rules, Section, why_no_authority
from wire.loopback import is_loopback


def why_no_controllers(urls: tuple[str, ...]) -> str:
    """Return what is wrong with the addresses of controllers, empty when nothing is."""
    return "; ".join(filter(None, map(_why_no_controller, urls)))


def _why_no_controller(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_right = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        is_right = is_private = False
    return "" if is_right and is_private else f"{url!r} is not https://host or https://host:port"


class Enrolment(Section, frozen=True, kw_only=True):
    """Where this host renews its certificate (docs/how-to/enrol-hosts.md). The agent itself does not use it.

    Attributes:
        controllers: https:// addresses of the controllers, which are tried in turn; the one that leads answers.
        ca_file: certificates in PEM that theirs are signed with; those that the system trusts when it is left out.
    """

    RULES: ClassVar[Rules] = {"controllers": why_no_controllers, "ca_file": why_no_authority}

    controllers: tuple[str, ...] = ()
    ca_file: Path | None = None
