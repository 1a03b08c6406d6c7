"""How PostgreSQL is reached: every connection notices a dead peer within seconds, on both ends.

A cut network sends no sign. So both ends probe a silent connection, the server ends a transaction whose client sleeps,
and no statement may take longer than its limit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg

from controller.store.log import StoreError

logging.getLogger("psycopg").setLevel(logging.CRITICAL)
"""Each of its warnings is about an error that is raised as well."""

OLDEST_SERVER = 140_000
"""Source: PostgreSQL 14 release notes: `idle_session_timeout`, which ends a leader that no longer moves."""

CONNECT_LIMIT_S = 5
STATEMENT_LIMIT_MS = 15_000

CLIENT_PROBES: dict[str, Any] = {
    "connect_timeout": CONNECT_LIMIT_S,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9_000,
    "application_name": "fleetmend-controller",
}
"""Source: libpq's connection parameters. A silent peer is given up after 3 + 2 × 3 s."""

SERVER_PROBES: tuple[LiteralString, ...] = (
    "SET tcp_keepalives_idle = 3",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 9000",
    "SET idle_in_transaction_session_timeout = 5000",
)
"""The same from the other end, so that a controller that vanished leaves no lock behind. Source: PostgreSQL 15 manual,
19.3.2 and 20.11.1."""

DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')
"""
"""What was acknowledged survives a power cut and, where replicas are synchronous, the loss of the primary."""


@dataclass(frozen=True, slots=True)
class Server:
    """A database that holds one cell.

    Attributes:
        url: `postgresql://user@host:port/database?...`, as libpq reads it, without a password.
        password: empty to let libpq find it (PGPASSFILE, peer, certificates).
    """

    url: str
    password: str = ""

    @property
    def name(self) -> str:
        """Return the place for people and logs: the URL without its query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def parameters(self) -> dict[str, Any]:
        """Return what every connection is made with."""
        secret = {"password": self.password} if self.password else {}
        return {"conninfo": self.url, "autocommit": True, **CLIENT_PROBES, **secret}

    def connect(self) -> psycopg.Connection[Any]:
        """Return a new connection.

        Raises:
            StoreError: no server answers, or it is too old.
        """
        try:
            connection = psycopg.connect(**self.parameters())
            for statement in SERVER_PROBES:
                connection.execute(statement)
            connection.execute(DURABLE)
            connection.execute(f"SET statement_timeout = {STATEMENT_LIMIT_MS}")
        except psycopg.Error as error:
            raise StoreError(f"cannot reach the event log at {self.name}: {told(error)}") from error
        if connection.info.server_version < OLDEST_SERVER:
            connection.close()
            raise StoreError(f"{self.name} is PostgreSQL {connection.info.server_version}; 14 or newer is needed")
        return connection


def told(error: psycopg.Error) -> str:
    """Return what an error says, as one line."""
    return " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
