"""Where the commands of a page are run.

Every page has this machine as a site's host (`Scratch`): what is written to it lies in memory and is gone with the
page, and fleetmend is installed on it. What a place adds is started once, for all the pages that ask for it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tests.support.booted import CHECKOUT, Booted, booted
from tests.support.checkout import ROOT
from tests.support.embedded import EmbeddedCell
from tests.support.kubernetes import KubernetesCluster
from tests.support.parts import missing
from tests.support.postgres import PASSWORD, Postgres, running_postgres

NODES = 8
SPEED = 1440
"""Simulated seconds a second: the hour of a probation takes less than three."""

WRITTEN_TO = ("/etc", "/opt", "/srv", "/usr/lib", "/var/lib", "/var/log")
SETTINGS = "/etc/fleetmend/controller.toml"

LAY = """\
set -e
mount -t tmpfs -o mode=755 fleetmend "$1"; upper=$1; shift
for folder; do
    mkdir -p "$upper$folder" "$upper/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=$upper$folder,workdir=$upper/work$folder" fleetmend "$folder"
done
mkdir -p /opt/fleetmend /etc/fleetmend /var/lib/fleetmend "$upper/home"
ln -sfn "$VENV" /opt/fleetmend/venv
[ -e .venv ] || ln -s "$VENV" .venv
echo ready
exec cat
"""
"""Lays a layer in memory over each folder that pages write to, and waits."""

NEWEST = "import json, sys; print(json.load(sys.stdin)[0]['id'])"
FUNCTIONS = """\
sudo() { while [ "${1#-}" != "$1" ]; do shift 2; done; "$@"; }
incident_of() { fleetmend incidents --node "$1" --json | python -c "$NEWEST"; }
"""
"""What a block can call: everybody is root in a place, and pages cannot know what an incident will be called."""

Ended = subprocess.CompletedProcess[str]


class Place(Protocol):
    """Where a block is run and its files lie."""

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script; both streams are in its standard output."""

    def write(self, path: str, text: str) -> None:
        """Write a file, and the folders that it is in."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A mount namespace of this machine. `process`: keeps it."""

    process: subprocess.Popen[str]
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script in the checkout."""
        as_root = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return subprocess.run(
            ["nsenter", f"--target={self.process.pid}", "--mount", *as_root, "--", "bash"],
            input=f"cd {shlex.quote(str(ROOT))}\n{FUNCTIONS}set -eo pipefail\n{script}",
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
        path = f"{ROOT}/.venv/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
        ours = {"HOME": str(self.home), "COLUMNS": "160", "PATH": path, "NEWEST": NEWEST}
        return {**kept, **ours, **self.environment}

    def write(self, path: str, text: str) -> None:
        """Write a file below a folder that has a layer of its own."""
        quoted = shlex.quote(path)
        written = self.run(f"mkdir -p $(dirname {quoted})\nprintf %s {shlex.quote(text)} > {quoted}", limit_s=10)
        assert written.returncode == 0, written.stdout


@contextmanager
def scratch(folder: Path) -> Iterator[Scratch]:
    """Give a page its host."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    process = subprocess.Popen(
        ["unshare", "--mount", *as_root, "sh", "-c", LAY, "sh", str(folder), *WRITTEN_TO, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "VENV": sys.prefix},
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            missing("a mount namespace with overlays (root, or unprivileged user namespaces)")
        yield Scratch(process, folder / "home")
    finally:
        process.communicate()


@dataclass(frozen=True, slots=True)
class InContainer:
    """A booted systemd with the units of this checkout."""

    machine: Booted

    def run(self, script: str, *, limit_s: float) -> Ended:
        """Run a script in the checkout, as root."""
        assert limit_s <= 60
        both = f"cd {CHECKOUT}\n{FUNCTIONS}set -eo pipefail\nexec 2>&1\n{script}"
        return self.machine.ended("bash", "-c", both)

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        self.machine.write(path, text)


class Started:
    """What runs beside the hosts of pages, each started when the first page asks for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def _new_folder(self, name: str) -> Path:
        made = self._folder / name
        made.mkdir()
        return made

    @cached_property
    def cell(self) -> EmbeddedCell:
        """What `make run` starts."""
        cell = EmbeddedCell(self._new_folder("cell"), NODES, arguments=("--speed", str(SPEED)))
        return self._stack.enter_context(cell)

    @cached_property
    def postgres(self) -> Postgres:
        """A server with a superuser of its own."""
        return self._stack.enter_context(running_postgres())

    @cached_property
    def kubernetes(self) -> KubernetesCluster:
        """A control plane without nodes."""
        return self._stack.enter_context(KubernetesCluster(self._new_folder("kubernetes")))

    @cached_property
    def machine(self) -> Booted:
        """A Debian that systemd has booted."""
        return self._stack.enter_context(booted(self._new_folder("booted")))


def _in_cell(started: Started, host: Scratch) -> Place:
    """A person's shell beside `make run`, on the machine of its controller."""
    cell = started.cell
    host.write(SETTINGS, (cell.state / "controller" / "controller.toml").read_text())
    return replace(host, environment={"FLEETMEND_URL": cell.url, "CELL": str(cell.state)})


def _beside_postgres(started: Started, host: Scratch) -> Place:
    port = str(started.postgres.port)
    login = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "fleetmend", "PGPASSWORD": PASSWORD}
    return replace(host, environment=login)


def _beside_kubernetes(started: Started, host: Scratch) -> Place:
    programs = os.environ.get("KUBEBUILDER_ASSETS", "")
    path = f"{ROOT}/.venv/bin:{programs}:{os.environ['PATH']}"
    return replace(host, environment={"KUBECONFIG": str(started.kubernetes.kubeconfig), "PATH": path})


PLACES: Mapping[str, Callable[[Started, Scratch], Place]] = MappingProxyType(
    {
        "host": lambda _, host: host,
        "cell": _in_cell,
        "postgresql": _beside_postgres,
        "kubernetes": _beside_kubernetes,
        "booted": lambda started, _: InContainer(started.machine),
    }
)
"""Name → what runs a block there: a host by itself; one beside a cell of eight simulated nodes, and with its settings
in /etc/fleetmend/controller.toml; beside a PostgreSQL or a Kubernetes; and one where systemd is up."""
