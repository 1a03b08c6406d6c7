"""A real PostgreSQL for tests: one server for all of them, durable as in service, and a database for each.

The kernel ends the server with the test process. As root it runs as `nobody`, because PostgreSQL refuses root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from cli.ports import free_port
from controller.store.postgresql_connection import Server
from tests.support.parts import missing

USER, PASSWORD = "fleetmend", "a password of the tests"
SETTINGS = ("max_connections=60", "shared_buffers=32MB", "log_min_messages=warning")
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")


def find_program(name: str) -> str:
    """Return where a program of PostgreSQL's server is; Debian has it on nobody's PATH."""
    versions = sorted(found for folder in FOLDERS for found in Path("/").glob(f"{folder[1:]}/{name}"))
    if not versions and not shutil.which(name):
        missing("PostgreSQL")
    return str(versions[-1]) if versions else str(shutil.which(name))


@dataclass(slots=True)
class Postgres:
    """One server.

    Attributes:
        options: further settings, as `name=value`.
    """

    directory: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _names: Iterator[int] = field(default_factory=itertools.count)

    def make(self) -> None:
        """Make an empty cluster."""
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.directory, secret):
                shutil.chown(path, "nobody")
        initdb = [find_program("initdb"), "-D", str(self.directory / "data"), "-U", USER, f"--pwfile={secret}"]
        told = subprocess.run(
            [*_as_somebody(), *initdb, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr

    def copy_of(self, primary: Postgres) -> None:
        """Make a replica that follows another server."""
        secret = {**os.environ, "PGPASSWORD": PASSWORD}
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")
        copy = [find_program("pg_basebackup"), "-D", str(self.directory / "data"), "--write-recovery-conf", "--no-sync"]
        told = subprocess.run(
            [*_as_somebody(), *copy, "--checkpoint=fast", "-h", "127.0.0.1", "-p", str(primary.port), "-U", USER],
            cwd="/",
            env=secret,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.directory}"]
        flags = [flag for each in (*settings, *SETTINGS, *self.options) for flag in ("-c", each)]
        with (self.directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [*_as_somebody(), find_program("postgres"), "-D", str(self.directory / "data"), *flags],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, (self.directory / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is a fast shutdown, SIGQUIT is as a crash."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=30)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as an administrator and return its rows."""
        with psycopg.connect(self.url(database), password=PASSWORD, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> Server:
        """Make an empty database and return how it is reached."""
        name = f"cell{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return Server(self.url(name), PASSWORD)

    def new_schema(self, server: Server, name: str) -> Server:
        """Make a schema in a database, for one of several cells in it, and return how it is reached."""
        with psycopg.connect(server.url, password=PASSWORD, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return Server(f"{server.url}?options=-csearch_path%3D{name}", PASSWORD)


@contextlib.contextmanager
def running_replica(primary: Postgres) -> Iterator[Postgres]:
    """Give a synchronous replica: what the primary acknowledges is on both."""
    with tempfile.TemporaryDirectory(prefix="fleetmend-replica-", ignore_cleanup_errors=True) as directory:
        replica = Postgres(Path(directory))
        replica.copy_of(primary)
        replica.start()
        try:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
            yield replica
        finally:
            if replica.process is not None and replica.process.poll() is None:
                replica.stop(signal.SIGQUIT)


def _as_somebody() -> list[str]:
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "KILL"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig", "KILL"]


@contextlib.contextmanager
def running_postgres(*options: str) -> Iterator[Postgres]:
    """Give a running server of one's own."""
    if shutil.which("setpriv") is None:
        missing("setpriv")
    with tempfile.TemporaryDirectory(prefix="fleetmend-postgres-", ignore_cleanup_errors=True) as directory:
        server = Postgres(Path(directory), options)
        server.make()
        server.start()
        try:
            yield server
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop(signal.SIGQUIT)
