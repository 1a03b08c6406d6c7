"""Opens the log that the settings name, and says how its controllers agree on who leads.

PostgreSQL's driver (0.2 s, 26 MB) is loaded only where it is used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from controller.leadership import Alone, Leadership
from controller.sections.store import StoreSection
from controller.store.log import EventLog, StoreError
from controller.store.sqlite import SqliteLog
from wire.files import SecretError

FILE = "events.sqlite"


def open_store(section: StoreSection, state: Path) -> EventLog:
    """Return the log that the settings name, made or migrated as needed.

    Raises:
        StoreError: it cannot be opened, or its password cannot be read.
    """
    if not section.url:
        return SqliteLog(state / FILE)
    postgresql: Any = import_module("controller.store.postgresql")
    try:
        opened: EventLog = postgresql.open_log(section.url, section.password)
    except SecretError as error:
        raise StoreError(f"store.password_file: {error}") from error
    return opened


def leadership_of(event_log: EventLog, holder: str, url: str) -> Leadership:
    """Return the part of a controller in the leadership of the log's cell.

    Args:
        holder: the controller's name for people.
        url: where it answers.
    """
    if isinstance(event_log, SqliteLog):
        return Alone(event_log, url)
    postgresql: Any = import_module("controller.store.postgresql_leadership")
    part: Leadership = postgresql.PostgresqlLeadership(event_log, holder, url)
    return part
