"""Secrets stay where they are: each is a word that is looked for afterwards in everything that leaves a process.

The other systems are one server that is as bad as it can be: it sends back what it was sent, headers and all, as the
text of an error. Every secret must have reached it (or the broker), else nothing is proven.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gzip
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from agent.simulation import states
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import SimulatedMachine
from cli.broker import CONTROLLER, Mosquitto
from cli.cell_files import SIMULATED_ORDERS, Access, AgentPlan, write_agent
from cli.ports import free_port
from controller import keys
from controller.access.roles import Role
from controller.access.sessions import make_key
from controller.api.routes import ROUTES
from controller.settings import ControllerSettings
from tests.cli.conftest import run_cli
from tests.support.broker import listening, running_broker, settings
from tests.support.certificates import write_certificate
from tests.support.controllers import ControllerProcess
from tests.support.tokens import make_token
from wire import topics

LIMIT_S = 60.0
PLAYBOOK = """
playbook: people_at_once
summary: A GPU has a fault that a person looks at.
fault_class: gpu
severity: critical
precedence: 1
mode: act
answers:
  - {check: gpu.xid, verdicts: [degraded]}
guards: {drain: needed, reversible: true}
steps:
  - cordon: {}
  - collect: {on_success: hand_over, on_failure: hand_over}
hand_over:
  - ticket: {team: datacentre}
  - page: {severity: critical}
"""
POWER = "power.password_file"
"""It is used once the node is silent."""

_READING = [route for route in ROUTES if route.method == "GET" and not route.path.endswith("/live")]
NO_SECRETS = re.compile(r"(^|\.)(ca_file|rest_ca_file|client_ca_file|certificate_file|inventory_file)$")
DOOR = ("http.key_file", "access.tokens_file", "access.session_key_file")
ELSEWHERE = {
    "store.password_file": "tests/cli/test_controller.py",
    "tickets.password_file": "tests/controller/tickets/test_any_system.py",
    "slurm.rest_token_file": "tests/controller/schedulers/test_slurm_rest.py",
    "evidence.s3.secret_key_file": "tests/controller/test_evidence_s3.py",
    "access.oidc.client_secret_file": "tests/controller/access/test_oidc.py",
    "enrolment.tokens_file": "tests/cli/test_enrol.py",
    **dict.fromkeys(DOOR, "below"),
}
"""Secrets of settings that exclude the others here, and who plants them."""


def canary(name: str) -> str:
    """Return a secret that is found nowhere by chance."""
    return f"canary-{name.replace('_', '-')}-{os.urandom(9).hex()}"


@dataclass(slots=True)
class Echo:
    """A server that takes everything and answers with all that it was sent."""

    heard: list[str] = field(default_factory=list)
    plain: str = ""
    secure: str = ""

    @contextlib.contextmanager
    def served(self, directory: Path) -> Iterator[Echo]:
        """Serve, with and without TLS."""
        certificate = write_certificate(directory, "echo")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        with contextlib.ExitStack() as stack:
            plain, secure = (
                stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())) for _ in "ab"
            )
            secure.socket = context.wrap_socket(secure.socket, server_side=True)
            for server in (plain, secure):
                threading.Thread(target=server.serve_forever, daemon=True).start()
                stack.callback(server.shutdown)
            self.plain = f"http://127.0.0.1:{plain.server_port}"
            self.secure = f"https://127.0.0.1:{secure.server_port}"
            yield self

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
                said = f"{self.command} {self.path}\n{self.headers}\n{body.decode(errors='replace')}"
                heard.append(said)
                text = json.dumps({"message": said, "errors": [said], "error": {"message": said}}).encode()
                self.send_response(400 + len(heard) % 2 * 103, " ".join(str(self.headers).split())[:500])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)
        return Handler


@dataclass(slots=True)
class Secrets:
    """Files that hold one secret each."""

    directory: Path
    planted: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, text: str = "{}") -> str:
        """Return a new file with a new secret in it."""
        self.planted[name] = canary(name)
        return self.keep(name, text.format(self.planted[name]))

    def keep(self, name: str, text: str) -> str:
        """Return a new file, readable by its owner alone."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return str(path)


def tables(secrets: Secrets, echo: Echo, broker_url: str, password: str) -> dict[str, Any]:
    """Return settings of a controller that has a secret for everything."""
    secrets.planted["broker.password_file"] = password
    timeout = {"timeout_s": 3.0}
    return {
        "simulated_speedup": 3_600.0,
        "budget": {"percent": 100.0},
        "silence": {"silent_after_s": 180.0, "agent_lost_after_s": 1.0, "freeze_nodes": 50},
        "broker": {
            "url": broker_url,
            "username": CONTROLLER,
            "password_file": secrets.keep("broker.password_file", password),
        },
        "evidence": {"where": "controller", "keep_free_bytes": 0},
        "power": {
            "kind": "redfish",
            "verify": False,
            "interval_s": 1.0,
            "nodes": {
                "n1": {
                    "address": echo.secure,
                    "user": "fleetmend",
                    "password_file": secrets.file(POWER),
                }
            },
        },
        "topology": {
            "netbox": {"url": echo.plain, "token_file": secrets.file("topology.netbox.token_file"), "interval_s": 10.0}
        },
        "traces": {
            "endpoint": echo.plain,
            "headers_file": secrets.file("traces.headers_file", "Authorization: Bearer {}"),
        },
        "notices": {"listen_every_s": 1.0, "bundle_s": 0.0},
        "tickets": [
            {
                "kind": "jira",
                "url": echo.plain,
                "project": "OPS",
                "token_file": secrets.file("tickets.token_file"),
                **timeout,
            }
        ],
        "pages": [
            {
                "kind": "alertmanager",
                "urls": [echo.plain],
                "user": "u",
                "password_file": secrets.file("pages.password_file"),
                **timeout,
            },
            {
                "kind": "pagerduty",
                "routing_key_file": secrets.file("pages.routing_key_file"),
                "events_url": echo.plain,
                **timeout,
            },
            {"kind": "opsgenie", "token_file": secrets.file("pages.token_file"), "url": echo.plain, **timeout},
            {
                "kind": "chat",
                "urls_file": secrets.file("pages.urls_file", "json://u:{}@" + echo.plain.removeprefix("http://")),
                **timeout,
            },
        ],
    }


def secret_settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every setting of a controller that names a file with a secret."""
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        if name.endswith("_file") and not NO_SECRETS.search(path):
            yield path
        for kind in _models(info.annotation):
            yield from secret_settings(kind, f"{path}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def test_every_setting_that_names_a_secret_is_planted(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    tables(secrets, Echo(plain="http://127.0.0.1:1", secure="https://127.0.0.1:1"), "mqtt://127.0.0.1:1", "x")
    found = {re.sub(r"^power\.nodes\.", "power.", name) for name in secret_settings(ControllerSettings)}
    assert found == set(secrets.planted) - {""} | set(ELSEWHERE)


def spellings(secret: str) -> list[bytes]:
    """Return how a secret may be found: as it is, and in base64 at each of the three offsets."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"\0" * offset + raw)[4:-4] for offset in range(3)]
    return [raw, *encoded]


@dataclass(slots=True)
class Search:
    """Looks for secrets in what was found in many places."""

    planted: dict[str, str]
    found: list[str] = field(default_factory=list)
    looked_at: int = 0

    def look(self, place: str, content: bytes) -> None:
        """Note every secret that is in there."""
        self.looked_at += 1
        for name, secret in self.planted.items():
            if any(spelling in content for spelling in spellings(secret)):
                self.found.append(f"{name} is in {place}")

    def look_at_files(self, directory: Path, *, but: set[Path]) -> None:
        """Look at every file below, and into those that are packed."""
        for path in directory.rglob("*"):
            if not path.is_file() or path in but:
                continue
            content = path.read_bytes()
            self.look(str(path), content)
            with contextlib.suppress(tarfile.TarError, OSError, zlib.error, EOFError), tarfile.open(path) as bundle:
                for member in bundle.getmembers():
                    inside = bundle.extractfile(member) if member.isfile() else None
                    self.look(f"{path}:{member.name}", inside.read() if inside else b"")

    def look_at_processes(self) -> None:
        """Look at the arguments and the environment of every process that is ours."""
        for process in psutil.Process().children(recursive=True):
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    self.look(f"/proc/{process.pid}/{name}", Path(f"/proc/{process.pid}/{name}").read_bytes())

    def look_at_pages(self, url: str, *, token: str = "", tls: ssl.SSLContext | None = None) -> set[int]:
        """Look at everything that can be got from the controller; return the status codes that it answered with."""
        names = ("{name}", "n1"), ("{id}", "inc-000001")
        paths = {functools.reduce(lambda path, name: path.replace(*name), names, route.path) for route in _READING}
        codes = set()
        for path in {*paths, "/", "/login", "/metrics", "/incidents/inc-000001", "/nodes/n1"}:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            request = urllib.request.Request(url + path, headers=headers)  # noqa: S310 - our own address
            try:
                with urllib.request.urlopen(request, timeout=10, context=tls) as answer:  # noqa: S310 - as above
                    codes.add(answer.status)
                    self.look(path, answer.read(5_000_000) + str(answer.headers).encode())
            except urllib.error.HTTPError as refusal:
                codes.add(refusal.code)
                self.look(path, refusal.read() + str(refusal.headers).encode())
        return codes


async def until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)


@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_no_secret_leaves_its_file(tmp_path: Path) -> None:
    kept, cell = tmp_path / "secrets", tmp_path / "cell"
    kept.mkdir()
    cell.mkdir()
    secrets = Secrets(kept)
    async with contextlib.AsyncExitStack() as stack:
        echo = stack.enter_context(Echo().served(kept))
        broker = await stack.enter_async_context(running_broker(kept / "broker"))
        told = tables(secrets, echo, broker.url, broker.credentials(CONTROLLER)[1])
        (kept / "playbooks").mkdir()
        (kept / "playbooks" / "people_at_once.yaml").write_text(PLAYBOOK)
        told["playbooks"] = str(kept / "playbooks")
        told["signing_key"] = str(kept / "signing-key.pem")
        key = keys.load_or_make(kept / "signing-key.pem")
        secrets.planted["signing_key"] = (kept / "signing-key.pem").read_text().splitlines()[1]
        listener = await stack.enter_async_context(listening(settings(broker, client_id="ear"), f"{topics.ROOT}/#"))
        controller = ControllerProcess(cell / "controller", told)
        controller.start()
        stack.callback(controller.end)
        agent, machine = start_agent(cell, secrets, broker, key)
        stack.callback(agent.wait)
        stack.callback(agent.kill)
        search = Search(secrets.planted)
        await until("the node is not well", lambda: b'"ok"' in _get(controller.url, "nodes"))
        report_fault(machine)
        await until("no incident", lambda: b"inc-000001" in _get(controller.url, "incidents"))
        search.look_at_processes()
        await until("no bundle", lambda: b'"stored"' in _get(controller.url, "evidence"))
        used = set(secrets.planted) - {"signing_key", "broker.password_file", "agent.broker"}
        await until("not every notice was sent", lambda: used - {POWER} <= reached(echo, secrets.planted))
        agent.kill()
        await until("the BMC was not asked", lambda: used <= reached(echo, secrets.planted))
        search.look_at_processes()
        search.look_at_pages(controller.url)
        for received in listener.heard:
            search.look(received.topic, received.payload)
        look_at_exports(search, controller, cell)
        controller.end()
    search.look_at_files(cell, but={cell / "agent" / "broker.password"})
    search.look("the broker's log", broker.log.read_bytes())
    assert search.found == []
    assert search.looked_at > 50


def test_no_secret_of_the_door_leaves_its_file(tmp_path: Path) -> None:
    kept, state, log = tmp_path / "kept", tmp_path / "state", tmp_path / "log"
    kept.mkdir()
    certificate = write_certificate(kept, "controller")
    key, tokens, session_key = certificate.with_suffix(".key"), kept / "tokens.json", kept / "session-key"
    key.chmod(0o600)
    token = make_token(tokens, "alice", Role.ADMIN, expires_at=time.time() + 3_600.0)
    make_key(session_key)
    planted = (key.read_text().splitlines()[1], token, session_key.read_text().strip())
    port = free_port()
    told = {
        "state": str(state),
        "broker": {"url": "mqtt://127.0.0.1:9"},
        "http": {"port": port, "certificate_file": str(certificate), "key_file": str(key)},
        "access": {"tokens_file": str(tokens), "session_key_file": str(session_key)},
    }
    config = tmp_path / "controller.toml"
    config.write_text(tomli_w.dumps(told))
    search = Search(dict(zip(DOOR, planted, strict=True)))
    with log.open("wb") as output:
        command = [sys.executable, "-m", "controller.main", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            tls = ssl.create_default_context(cafile=certificate)
            end = time.monotonic() + LIMIT_S
            while b"controller.started" not in log.read_bytes():
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            assert 401 not in search.look_at_pages(f"https://127.0.0.1:{port}", token=token, tls=tls)
            assert 401 in search.look_at_pages(f"https://127.0.0.1:{port}", token=f"{token}x", tls=tls)
            assert 401 in search.look_at_pages(f"https://127.0.0.1:{port}", tls=tls)
            listed = run_cli("access", "token", "list", "--json", "--config", str(config))
            assert listed.returncode == 0, listed.stderr
            search.look("access token list", listed.stdout.encode())
            search.look_at_processes()
        finally:
            process.terminate()
            process.wait()
    search.look_at_files(tmp_path, but={key, session_key})
    assert search.found == []


def start_agent(
    cell: Path, secrets: Secrets, broker: Mosquitto, key: Ed25519PrivateKey
) -> tuple[subprocess.Popen[bytes], SimulatedMachine]:
    """Start an agent with secrets of its own."""
    machine = SimulatedMachine.create(cell / "machine", name="n1", seed=1, speedup=3_600.0)
    username, password = broker.credentials("n1")
    plan = AgentPlan(
        "n1", cell / "agent", SIMULATED_ORDERS, keys.key_id(key), keys.public_text(key), simulation=cell / "machine"
    )
    config = write_agent(plan, Access(broker.url, username, password))
    secrets.planted["agent.broker"] = password
    with (cell / "agent.log").open("wb") as output:
        command = [sys.executable, "-m", "agent", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    return process, machine


def report_fault(machine: SimulatedMachine) -> None:
    """Have the driver say something that a person is paged for at once."""
    gpu = machine.hardware().gpus[0]
    with states.locked(machine.directory):
        line = f"NVRM: Xid (PCI:{gpu.pci}): 10001, nobody knows what this is"
        KernelLogFiles(machine.directory).append([line], severity=3, booted_at=machine.state().booted_at)


def reached(echo: Echo, planted: dict[str, str]) -> set[str]:
    """Return the secrets that the server was sent."""
    heard = "\n".join(list(echo.heard)).encode()
    return {name for name, secret in planted.items() if any(each in heard for each in spellings(secret))}


def look_at_exports(search: Search, controller: ControllerProcess, cell: Path) -> None:
    """Look at what the command line writes out."""
    config = ("--config", str(controller.directory / "controller.toml"))
    for arguments in (("controller", "export"), ("audit", "export"), ("keys", "show"), ("keys", "prepare")):
        told = subprocess.run([sys.executable, "-m", "cli.main", *arguments, *config], capture_output=True, check=True)
        search.look(" ".join(arguments), told.stdout + told.stderr)
    subprocess.run(
        [sys.executable, "-m", "cli.main", "controller", "backup", str(cell / "backup"), *config], check=True
    )


def _get(url: str, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}", timeout=5) as answer:  # noqa: S310 - our own address
            content: bytes = answer.read()
            return content
    except OSError:
        return b""
