"""The event log over TLS: a server that cannot prove who it is is told nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from controller.sections.store import StoreSection
from controller.store.choosing import leadership_of, open_store
from controller.store.log import StoreError
from tests.support.certificates import write_certificate
from tests.support.postgres import PASSWORD, Postgres, find_program, running_postgres


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Postgres]:
    """A server that answers nobody but over TLS."""
    find_program("postgres")
    with running_postgres() as server:
        for file in (write_certificate(folder, "server"), folder / "server.key"):
            shutil.copy2(file, server.directory)
            if os.geteuid() == 0:
                shutil.chown(server.directory / file.name, "nobody")
        (server.directory / "data" / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        for name, value in (("cert", "server.pem"), ("key", "server.key")):
            server.execute(f"ALTER SYSTEM SET ssl_{name}_file = '{server.directory}/{value}'")
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("CREATE DATABASE cell")
        server.execute("SELECT pg_reload_conf()")
        yield server


def section(server: Postgres, folder: Path, host: str = "127.0.0.1", **asked: str) -> StoreSection:
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    url = f"{server.url('cell').replace('127.0.0.1', host)}?{query}"
    return StoreSection(url=url, password_file=secret)


def test_the_log_and_the_leadership_travel_over_tls(server: Postgres, folder: Path, tmp_path: Path) -> None:
    verified = section(server, folder, sslmode="verify-full", sslrootcert=str(folder / "server.pem"))
    with closing(open_store(verified, tmp_path)) as log:
        leadership_of(log, "c1", "http://c1")
        log.begin_term()
        with psycopg.connect(verified.url, password=PASSWORD) as looking:
            seen = looking.execute(
                "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = 'cell'"
            ).fetchall()
    assert len(seen) >= 2
    assert set(seen) == {(True,)}


@pytest.mark.parametrize(
    ("host", "asked", "because"),
    [
        ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": "other.pem"}, "certificate verify failed"),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "server.pem"}, 'does not match host name "localhost"'),
        ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": "none.pem"}, "none.pem"),
        ("127.0.0.1", {"sslmode": "disable"}, "no pg_hba.conf entry"),
    ],
)
def test_what_proves_nothing_is_refused(
    server: Postgres, folder: Path, tmp_path: Path, host: str, asked: dict[str, str], because: str
) -> None:
    write_certificate(folder, "other")
    paths = {name: str(folder / value) if name == "sslrootcert" else value for name, value in asked.items()}
    with pytest.raises(StoreError, match=because):
        open_store(section(server, folder, host, **paths), tmp_path)


def test_a_password_that_others_can_read_is_refused(server: Postgres, folder: Path, tmp_path: Path) -> None:
    asked = section(server, folder, sslmode="require")
    assert asked.password_file is not None
    asked.password_file.chmod(0o644)
    with pytest.raises(StoreError, match=r"store\.password_file: .* can be read by others than its owner: chmod 600"):
        open_store(asked, tmp_path)
    asked.password_file.chmod(0o600)
