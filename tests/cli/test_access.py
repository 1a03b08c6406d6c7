"""`fleetmend access`, and every other command with a token in its hand."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.client import Client, Failed
from cli.exit_codes import ExitCode
from cli.ports import free_port
from controller.access.roles import Role
from controller.sections.access import TOKENS
from tests.cli.conftest import Result, environment, run_cli
from tests.support.certificates import write_certificate
from tests.support.tokens import make_token


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a controller that asks for tokens; it finds no broker, and needs none here."""
    state, file = tmp_path / "state", tmp_path / "controller.toml"
    state.mkdir()
    file.write_text(
        f'state = "{state}"\n[broker]\nurl = "mqtt://127.0.0.1:9"\n[http]\nport = {free_port()}\n[access]\n'
    )
    return file


def token_of(config: Path, name: str, *roles: Role) -> Path:
    """Make a token; return the file that holds it."""
    output = config.parent / f"{name}.token"
    output.touch(0o600)
    output.write_text(make_token(config.parent / "state" / TOKENS, name, *roles))
    return output


@pytest.fixture
def url(config: Path) -> Iterator[str]:
    """A controller of that configuration, as its service runs it."""
    yield from running(config)


def running(config: Path) -> Iterator[str]:
    """Run a controller; give its address."""
    command = [sys.executable, "-m", "controller.main", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        assert process.stderr is not None
        started = next(json.loads(line) for line in process.stderr if "controller.started" in line)
        yield started["url"]
    finally:
        process.terminate()
        process.communicate()


def test_a_token_is_made_used_listed_and_revoked(config: Path, url: str) -> None:
    def ask(token: Path) -> Result:
        return run_cli("--token-file", str(token), "access", "whoami", FLEETMEND_URL=url)

    alice = config.parent / "alice.token"
    roles = ("--role", "operator", "--role", "approver")
    made = run_cli("access", "token", "make", "alice", *roles, "-o", str(alice), "--config", str(config))
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert alice.stat().st_mode & 0o777 == 0o600
    assert ask(alice).stdout == "alice: operator, approver\n"
    nobody = run_cli("nodes", FLEETMEND_URL=url)
    assert (nobody.returncode, nobody.stdout) == (ExitCode.FORBIDDEN, "")
    assert "--token-file" in nobody.stderr
    by_environment = run_cli("nodes", FLEETMEND_URL=url, FLEETMEND_TOKEN_FILE=str(alice))
    assert (by_environment.returncode, by_environment.stderr) == (0, "")
    listed = json.loads(run_cli("access", "token", "list", "--json", "--config", str(config)).stdout)
    assert [(row["name"], row["roles"], row["good"]) for row in listed] == [("alice", ["operator", "approver"], True)]
    revoked = run_cli("access", "token", "revoke", "alice", "--config", str(config))
    assert revoked.stdout == f"revoked: {listed[0]['id']} (alice)\n"
    assert ask(alice).returncode == ExitCode.FORBIDDEN


def test_a_role_that_is_not_had_is_told(config: Path, url: str) -> None:
    viewer = token_of(config, "bob", Role.VIEWER)
    refused = run_cli("pause", FLEETMEND_URL=url, FLEETMEND_TOKEN_FILE=str(viewer))
    assert refused.returncode == ExitCode.FORBIDDEN
    assert refused.stderr == "fleetmend: bob may not do this: it needs the role operator; bob has: viewer\n"


def test_a_token_is_printed_once_and_kept_only_when_its_owner_got_it(config: Path) -> None:
    made = run_cli("access", "token", "make", "ci", "--role", "viewer", "--config", str(config))
    assert made.returncode == 0 and made.stdout.startswith("fmt_") and "ci, viewer, until" in made.stderr
    again = run_cli("access", "token", "make", "x", "--role", "viewer", "-o", str(config), "--config", str(config))
    assert (again.returncode, "File exists" in again.stderr) == (ExitCode.NO_OUTPUT, True)
    listed = run_cli("access", "token", "list", "--config", str(config)).stdout
    assert "ci" in listed and " x " not in listed and made.stdout.strip().rpartition("_")[2] not in listed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("access", "token", "make", "fleetmend", "--role", "viewer"), ExitCode.USAGE),
        (("access", "token", "make", "a", "--role", "root"), ExitCode.USAGE),
        (("access", "token", "make", "a"), ExitCode.USAGE),
        (("access", "token", "revoke", "nobody"), ExitCode.NO),
    ],
)
def test_what_cannot_be(config: Path, arguments: tuple[str, ...], code: ExitCode) -> None:
    refused = run_cli(*arguments, "--config", str(config))
    assert (refused.returncode, refused.stdout) == (code, "")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("fmt_x", 0o644, "chmod 600"),
        ("", 0o600, "a token and nothing else"),
        ("a b", 0o600, "a token and nothing else"),
    ],
)
def test_a_token_file_that_cannot_be_used(tmp_path: Path, content: str, mode: int, said: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    refused = run_cli("--token-file", str(file), "nodes")
    assert (refused.returncode, said in refused.stderr) == (ExitCode.CONFIG, True)


def test_a_token_is_never_sent_where_others_read_it() -> None:
    with pytest.raises(Failed, match="without https") as refused:
        Client("http://fleet.example:8642", token="fmt_secret")
    assert "fmt_secret" not in str(refused.value) + repr(Client("https://fleet.example", token="fmt_secret"))


def test_a_token_is_not_sent_to_where_the_controller_sends_one() -> None:
    assert asyncio.run(_headers_elsewhere()) == ["Bearer fmt_secret", ""]


async def _headers_elsewhere() -> list[str]:
    """Return what the controller and the store of bundles hear when the first sends a client to the second."""
    heard: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in request.splitlines()[1:] if line)
        heard.append(headers.get("Authorization", ""))
        elsewhere = f"http://localhost:{port}/bundle?signed=1"
        writer.write(
            f"HTTP/1.1 307 x\r\nLocation: {elsewhere}\r\n".encode() if len(heard) == 1 else b"HTTP/1.1 200 x\r\n"
        )
        writer.write(b"Content-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await asyncio.to_thread(_fetch, Client(f"http://127.0.0.1:{port}", token="fmt_secret"))
    return heard


def _fetch(client: Client) -> Any:
    with client.open("evidence", "b1") as answer:
        return answer.read()


def test_from_another_machine_by_tls_with_a_certificate_of_ones_own(config: Path, tmp_path: Path) -> None:
    server, mine = write_certificate(tmp_path, "server"), write_certificate(tmp_path, "mine")
    address = "127.0.0.1"
    listening = f'host = "0.0.0.0"\npublic_url = "https://{address}"\nclient_ca_file = "{mine}"\n'
    files = f'certificate_file = "{server}"\nkey_file = "{server.with_suffix(".key")}"\n'
    config.write_text(config.read_text().replace("[http]\n", f"[http]\n{listening}{files}"))
    token = token_of(config, "alice", Role.VIEWER)
    for url in running(config):
        here = f"https://{address}:{url.rpartition(':')[2]}"
        tls = {"FLEETMEND_CA_FILE": str(server), "FLEETMEND_KEY_FILE": str(mine.with_suffix(".key"))}
        shown = tls | {"FLEETMEND_URL": here, "FLEETMEND_TOKEN_FILE": str(token)}
        asked = run_cli("access", "whoami", **shown, FLEETMEND_CERTIFICATE_FILE=str(mine))
        assert (asked.stdout, asked.returncode) == ("alice: viewer\n", 0), asked.stderr
        assert run_cli("access", "whoami", **shown).returncode == ExitCode.UNREACHABLE
        untrusted = run_cli("access", "whoami", FLEETMEND_URL=here, FLEETMEND_TOKEN_FILE=str(token))
        assert (untrusted.returncode, "--ca-file or FLEETMEND_CA_FILE" in untrusted.stderr) == (69, True)
        assert "fleetmend up" not in untrusted.stderr
        plain = run_cli("access", "whoami", FLEETMEND_URL=here.replace("https", "http"))
        assert (plain.returncode, "name it by https://" in plain.stderr) == (ExitCode.UNREACHABLE, True), plain.stderr


@pytest.mark.parametrize("more", ["", "[access]\n"])
def test_a_controller_that_anybody_can_reach_and_use_does_not_start(tmp_path: Path, more: str) -> None:
    config = tmp_path / "controller.toml"
    config.write_text(f'state = "{tmp_path}"\n[http]\nhost = "0.0.0.0"\n{more}')
    command = [sys.executable, "-m", "controller.main", "--config", str(config)]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=60)
    assert refused.returncode == ExitCode.CONFIG
    assert "that needs [access]" in refused.stderr and "http.certificate_file" in refused.stderr


def test_what_the_door_needs_is_found_out_before_the_start(config: Path, tmp_path: Path) -> None:
    secret = tmp_path / "oidc.secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    provider = (
        '[access.oidc]\nissuer = "https://login.example"\nclient_id = "fleetmend"\n'
        f'client_secret_file = "{secret}"\n[access.oidc.roles]\nviewer = ["everybody"]\n'
    )
    config.write_text(f"{config.read_text()}{provider}")
    refused = _checked(config)
    assert (refused.returncode, "access.oidc.client_secret_file" in refused.stderr) == (ExitCode.CONFIG, True)
    secret.chmod(0o600)
    assert _checked(config).returncode == 0
    config.write_text(config.read_text().replace("[access]", f'[access]\nsession_key_file = "{tmp_path}/none"'))
    refused = _checked(config)
    assert (refused.returncode, "access.session_key_file" in refused.stderr) == (ExitCode.CONFIG, True)


def _checked(config: Path) -> Result:
    command = [sys.executable, "-m", "controller.main", "--config", str(config), "--check"]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=60)
