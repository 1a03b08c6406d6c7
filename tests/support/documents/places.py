"""Where the commands of a page are run.

Every page has this machine as a site's host (`Scratch`): what is written to it lies in memory and is gone with the
page, and fleetmend is installed on it. What a place adds is started once, for all the pages that ask for it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from cli.ports import free_port
from tests.support.booted import CHECKOUT, Booted
from tests.support.checkout import ROOT
from tests.support.embedded import EmbeddedCell
from tests.support.parts import missing
from tests.support.postgres import PASSWORD, Postgres, running_postgres

NODES = 8
SPEED = 1440
"""Simulated seconds a second: the hour of a probation takes less than three."""

WRITTEN_TO = ("/etc", "/opt", "/srv", "/usr/lib", "/var/lib", "/var/log")
SETTINGS = "/etc/fleetmend/controller.toml"
WRITE_LIMIT_S = 120.0
PATH = f"{ROOT}/.venv/bin:{os.environ['PATH']}:/usr/sbin:/sbin"

LAY = """\
set -e
mount --rbind "$TEMPORARY" "$TEMPORARY"
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 fleetmend "$1"; upper=$1; shift
for folder; do
    mkdir -p "$upper$folder" "$upper/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=$upper$folder,workdir=$upper/work$folder" fleetmend "$folder"
done
mkdir -p /opt/fleetmend /etc/fleetmend /var/lib/fleetmend "$upper/home"
ln -sfn "$VENV" /opt/fleetmend/venv
cd "$PWD"
[ -e .venv ] || ln -s "$VENV" .venv
echo ready
exec cat
"""
"""Lays a layer in memory over each folder that pages write to, closes the rest of the machine to them, and waits."""

NEWEST = "import json, sys; print(json.load(sys.stdin)[0]['id'])"
FUNCTIONS = """\
up() {
    : > /srv/up.log
    fleetmend up --state /srv/cell --speed 1440 --port "$PORT" "$@" > /srv/up.log 2>&1 & echo $! > /srv/up.pid
    until grep -q "^Status page" /srv/up.log; do kill -0 $! || { cat /srv/up.log; return 1; }; sleep 0.1; done
}
down() { kill -INT "$(cat /srv/up.pid)"; until grep -q "] stopped" /srv/up.log; do sleep 0.1; done; }
incident_of() {
    fleetmend incidents --node "$1" --json | python -c "$NEWEST" 2> /dev/null && return
    fleetmend drill gpu-off-bus --node "$1" --repair succeeds --wait > /dev/null
    incident_of "$1"
}
"""
"""What a block can call: a cell in the background, and the incident that a page cannot know the name of."""

AS_ANYBODY = 'sudo() { shift 2; "$@"; }\n'
"""`sudo -u USER` where there is no such user."""

AS_USER = 'sudo() { setpriv --reuid="$2" --regid="$2" --init-groups "${@:3}"; }\n'

Ended = subprocess.CompletedProcess[str]


class Place(Protocol):
    """Where a block is run and its files lie."""

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script; both streams are in its standard output."""

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file, and the folders that it is in."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """Mounts and processes of its own. `first`: the process that ends with the page, and all others with it."""

    first: int
    home: Path
    port: int = field(default_factory=free_port)
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script in the checkout."""
        as_root = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return subprocess.run(
            ["nsenter", f"--target={self.first}", "--mount", "--pid", *as_root, "--", "bash"],
            input=f"cd {shlex.quote(str(ROOT))}\n{AS_ANYBODY}{FUNCTIONS}set -eo pipefail\n{script}",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=limit_s,
            env=self._whole_environment(),
        )

    def _whole_environment(self) -> dict[str, str]:
        foreign = ("FLEETMEND_", "XDG_", "PYTEST")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {"HOME": str(self.home), "COLUMNS": "160", "PATH": PATH, "NEWEST": NEWEST}
        return {**kept, **ours, **self.environment}

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file below a folder that has a layer of its own."""
        script = f"install -D -m {mode:o} /dev/stdin {shlex.quote(path)} <<< {shlex.quote(text.removesuffix(chr(10)))}"
        written = self.run(script, limit_s=WRITE_LIMIT_S)
        assert written.returncode == 0, written.stdout


@contextmanager
def scratch(folder: Path) -> Iterator[Scratch]:
    """Give a page its host."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            *as_root,
            "sh",
            "-c",
            LAY,
            "sh",
            str(folder),
            *WRITTEN_TO,
            str(ROOT),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "VENV": sys.prefix, "TEMPORARY": tempfile.gettempdir()},
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            missing("a mount namespace with overlays (root, or unprivileged user namespaces)")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Scratch(int(children[0]), folder / "home")
    finally:
        process.communicate()


@dataclass(frozen=True, slots=True)
class InContainer:
    """A booted systemd with the units of this checkout."""

    machine: Booted

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script in the checkout, as root."""
        both = f"cd {CHECKOUT}\n{AS_USER}{FUNCTIONS}set -eo pipefail\nexec 2>&1\n{script}"
        return self.machine.ended("bash", "-c", both, limit_s=limit_s)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file inside."""
        self.machine.write(path, text, mode=mode)


class Started:
    """What runs beside the hosts of pages, each started when the first page asks for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def _new_folder(self, name: str) -> Path:
        made = self._folder / name
        made.mkdir()
        return made

    def _new_cell(self, name: str) -> EmbeddedCell:
        cell = EmbeddedCell(self._new_folder(name), NODES, arguments=("--speed", str(SPEED)))
        return self._stack.enter_context(cell)

    @cached_property
    def cell(self) -> EmbeddedCell:
        """What `make run` starts. No page leaves a node out in it: others would wait for its budget."""
        return self._new_cell("cell")

    @cached_property
    def newcomers_cell(self) -> EmbeddedCell:
        """One more, for the page that breaks half of its nodes."""
        return self._new_cell("newcomer")

    @cached_property
    def postgres(self) -> Postgres:
        """A server with a superuser of its own."""
        return self._stack.enter_context(running_postgres())


def _in_cell(cell: EmbeddedCell, host: Scratch) -> Place:
    """A person's shell beside `make run`, on the machine of its controller."""
    host.write(SETTINGS, (cell.state / "controller" / "controller.toml").read_text())
    return replace(host, environment={"FLEETMEND_URL": cell.url, "CELL": str(cell.state)})


def _before_a_cell(_: Started, host: Scratch) -> Place:
    """A person's shell where a page starts a cell of its own."""
    port = str(host.port)
    return replace(host, environment={"PORT": port, "FLEETMEND_URL": f"http://127.0.0.1:{port}"})


def _beside_postgres(started: Started, host: Scratch) -> Place:
    """`STORE` and `STORE_PASSWORD`: what `[store]` wants, for a database called fleetmend."""
    server = started.postgres
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "fleetmend", "PGPASSWORD": PASSWORD}
    secret = "/etc/fleetmend/store.password"
    host.write(secret, PASSWORD, mode=0o400)
    return replace(host, environment={**login, "STORE": server.url("fleetmend"), "STORE_PASSWORD": secret})


PLACES: Mapping[str, Callable[[Started, Scratch], Place]] = MappingProxyType(
    {
        "host": lambda _, host: host,
        "fresh": _before_a_cell,
        "cell": lambda started, host: _in_cell(started.cell, host),
        "newcomer": lambda started, host: _in_cell(started.newcomers_cell, host),
        "postgresql": _beside_postgres,
    }
)
"""Name → what runs a block there: a host by itself; one where `up` and `down` stand for a cell in another terminal; one
beside a cell of eight simulated nodes, with its settings in /etc/fleetmend; one beside a second such cell; and one
beside a PostgreSQL."""
