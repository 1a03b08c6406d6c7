"""Commands that are not run: what can be told of them from here all the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from agent.simulation.faults import FAULTS
from tests.support.checkout import ROOT
from tests.support.documents import command_lines
from tests.support.documents.shell import Command, NoShell, commands

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "ansible": "of a site that has it",
        "apt": "of Debian, on the host that is set up",
        "ansible-playbook": "on a site's control machine",
        "clickhouse-client": "of a site's ClickHouse",
        "createdb": "of PostgreSQL's client, on the database's machine",
        "createuser": "of PostgreSQL's client, on the database's machine",
        "curl": "on every operator's machine",
        "dnf": "of Fedora and its kin, on the host that is set up",
        "journalctl": "of systemd, on the host that is set up",
        "jq": "on every operator's machine",
        "kcat": "of a site's Kafka",
        "kubectl": "on every Kubernetes operator's machine",
        "mmdebstrap": "makes a Debian to measure in",
        "mosquitto_passwd": "of Mosquitto, on the broker's machine",
        "openssl": "on every operator's machine",
        "pdcp": "of a site that has pdsh",
        "pdsh": "of a site that has it",
        "pip": "of fleetmend's own environment",
        "python": "of fleetmend's own environment",
        "podman": "where images are built",
        "psql": "of PostgreSQL's client, on the database's machine",
        "rpmbuild": "where packages are built",
        "sacctmgr": "of Slurm",
        "scontrol": "of Slurm",
        "sinfo": "of Slurm",
        "sudo": "on every operator's machine",
        "systemctl": "of systemd, on the host that is set up",
        "systemd-sysusers": "of systemd, on the host that is set up",
        "systemd-tmpfiles": "of systemd, on the host that is set up",
        "uv": "fetched by the checkout",
    }
)
"""Program that a machine with this checkout may lack → where it is found."""

BUILTINS = frozenset({".", ":", "[", "cd", "echo", "exit", "export", "read", "set", "source", "test", "touch", "umask"})
FOLDERS = "agent|benchmarks|checks|cli|controller|examples|kubernetes|monitoring|playbooks|scripts|slurm|systemd|tests"
IN_CHECKOUT = re.compile(rf"(?:\./)?(?:{FOLDERS})/[\w./*-]+")
UNIT = re.compile(r"fleetmend-[a-z-]+(?:\.(?:service|timer|path|target|socket))?")
DRILLS = frozenset(fault.name for fault in FAULTS)


def flaws(text: str) -> list[str]:
    """Return what is wrong with a script that nobody runs."""
    try:
        found = commands(text)
    except NoShell as error:
        return [str(error)]
    return [flaw for command in found for flaw in _flaws(command)]


def _flaws(command: Command) -> Iterator[str]:
    shown = " ".join(command.words)
    if command.program == "fleetmend":
        yield from (f"`{shown}`: {why}" for why in _fleetmend(command.words[1:]))
    elif command.program == "make":
        yield from (f"`{shown}`: no such target" for target in command.words[1:] if not _is_target(target))
    elif not _is_program(command):
        yield f"`{shown}`: nothing here is called {command.words[0]}, and ELSEWHERE does not say where it is"
    yield from (f"`{shown}`: {word} is not in the checkout" for word in command.words if not _is_there(word))
    if command.program == "systemctl":
        yield from (f"`{shown}`: there is no unit {word}" for word in command.words if not _is_unit(word))


def _fleetmend(words: tuple[str, ...]) -> Iterator[str]:
    why = command_lines.why_not(words)
    if why:
        yield why
    elif words[:1] == ("drill",) and words[1:2] and words[1] not in DRILLS and not words[1].startswith(("-", "$")):
        yield f"there is no drill {words[1]}"


def _is_program(command: Command) -> bool:
    name = command.words[0]
    if name in BUILTINS or command.program in ELSEWHERE or "$" in name:
        return True
    if command.program.startswith("fleetmend-"):
        return (ROOT / ".venv" / "bin" / command.program).exists()
    return shutil.which(name) is not None or (ROOT / name).exists() or (ROOT / ".venv/bin" / name).exists()


@cache
def _is_target(name: str) -> bool:
    if "=" in name:
        return True
    asked = ["make", "--dry-run", "--silent", "-C", str(ROOT), name]
    return subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0


def _is_there(word: str) -> bool:
    return not IN_CHECKOUT.fullmatch(word) or any(ROOT.glob(word.removeprefix("./").rstrip("/")))


def _is_unit(word: str) -> bool:
    if not UNIT.fullmatch(word):
        return True
    name = word if "." in word else f"{word}.service"
    return (ROOT / "systemd" / name).exists()
