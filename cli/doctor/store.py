"""`store`: whether the event log can be opened, and who can listen on the way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cli.doctor.diagnosis import CONTROLLER, Check, Diagnosis, Role, fine, missing, unsafe
from cli.doctor.patient import Patient
from controller.store.log import StoreError
from wire.loopback import is_loopback


@dataclass(frozen=True, slots=True)
class Store:
    """The event log.

    Attributes:
        url: of PostgreSQL, without a password; empty for a file in the state directory.
        is_near: whether it is reached within this machine.
        speaks_tls: whether the connection was encrypted.
        failure: why it cannot be opened.
    """

    url: str = ""
    is_near: bool = True
    speaks_tls: bool = False
    failure: str = ""


def read(patient: Patient) -> Store:
    """Connect to the database that the settings name.

    Raises:
        OSError: the password cannot be read.
    """
    table = patient.documents[Role.CONTROLLER].get("store", {})
    url = str(table.get("url", ""))
    if not url:
        return Store()
    file = table.get("password_file")
    password = Path(file).read_text("utf-8").strip() if file else ""
    postgresql: Any = import_module("controller.store.postgresql_connection")
    server = postgresql.Server(url, password)
    try:
        connection = server.connect()
    except StoreError as error:
        return Store(server.name, failure=str(error))
    with connection:
        host = connection.info.host
        is_near = host.startswith("/") or is_loopback(host)
        return Store(server.name, is_near, bool(connection.pgconn.ssl_in_use))


def judge(store: Store) -> Iterator[Diagnosis]:
    """Say whether the controller can remember anything."""
    if not store.url:
        yield fine("The event log is a file in the state directory.")
    elif store.failure:
        yield missing(f"{store.failure[0].upper()}{store.failure[1:]}.", "docs/how-to/postgresql-and-standbys.md")
    elif not store.is_near and not store.speaks_tls:
        yield unsafe(
            f"The event log at {store.url} is reached over the network without TLS.",
            "Add ?sslmode=verify-full&sslrootcert=FILE to store.url, and a certificate to the server.",
        )
    else:
        yield fine(f"The event log at {store.url} answers{' by TLS' if store.speaks_tls else ''}.")


CHECK = Check("store", "An event log that can be opened.", CONTROLLER, read, judge)
