"""A Debian that systemd has booted, in a container of its own, with this checkout installed as on a real host.

The root file system is made once by scripts/ensure-test-parts and never written to: every boot lays a layer in memory
over it. Nothing is reached from inside but the container's own loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from tests.support.checkout import ROOT
from tests.support.parts import missing

OPT: Final = "/opt/fleetmend"
OPT_FOLDER: Final = "opt"
"""Where that is outside, below the folder of the test."""

CHECKOUT: Final = f"{OPT}/checkout"
DEPENDENCIES: Final = f"{OPT}/dependencies"
LIBRARY: Final = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
BOOT_LIMIT_S: Final = 120.0
COMMAND_LIMIT_S: Final = 120.0
LOOK_S: Final = 0.02

UNIFIED: Final = "1" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "0"
"""A host of control groups of both kinds can hand on those of the old one alone."""

BEYOND_NSPAWN: Final = ("CAP_SYSLOG", "CAP_SYS_MODULE")
"""What systemd-nspawn takes away by itself: a unit of ours is to be what forbids it."""

ASK: Final = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
"""No client of ours: it must run in no time, and take nothing for granted."""

KERNEL_LOG: Final = Path("/dev/kmsg")
"""Of the host, as on every host: whoever may read it sees the same."""

NETWORK: Final = "--private-network"

PYTHON: Final = "/usr" if sys.base_prefix == "/usr" else f"{OPT}/python"
"""The distribution's own is inside. Another is put where units may look: home directories are closed to them."""


def root_file_system() -> Path:
    """Return where scripts/ensure-test-parts has put it."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    folder = Path(data) / "fleetmend" / "booted"
    if os.geteuid() != 0:
        missing("root, to boot a systemd of its own")
    if not KERNEL_LOG.exists():
        missing(f"{KERNEL_LOG}, of a kernel of one's own")
    if not (folder / "complete").exists() or shutil.which("systemd-nspawn") is None:
        missing("a root file system for systemd (scripts/ensure-test-parts)")
    return folder / "root"


@dataclass(slots=True)
class Installed:
    """What /opt/fleetmend is inside: an environment for each version, and a link to the one that is used."""

    folder: Path

    def install(self, version: str) -> None:
        """Make an environment that calls this checkout so; it is not used yet."""
        environment = self.folder / f"venv-{version}"
        packages, programs = environment / LIBRARY, environment / "bin"
        described = packages / f"fleetmend-{version}.dist-info"
        for folder in (described, programs):
            folder.mkdir(parents=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.3\nName: fleetmend\nVersion: {version}\n")
        (packages / "brought.pth").write_text(f"{CHECKOUT}\n{DEPENDENCIES}\n")
        (environment / "pyvenv.cfg").write_text(f"home = {PYTHON}/bin\ninclude-system-site-packages = false\n")
        (programs / "python3").symlink_to(f"{PYTHON}/bin/python3")
        for script in entry_points(group="console_scripts"):
            if script.dist is not None and script.dist.name == "fleetmend":
                called = f"#!{OPT}/venv/bin/python3\nfrom {script.module} import {script.attr}\n{script.attr}()\n"
                (programs / script.name).write_text(called)
                (programs / script.name).chmod(0o755)

    def use(self, version: str) -> None:
        """Have the link name this version, as an upgrade does."""
        new = self.folder / "venv.new"
        new.symlink_to(f"venv-{version}")
        new.replace(self.folder / "venv")


@dataclass(slots=True)
class Booted:
    """The running container.

    Attributes:
        folder: where what it says is kept.
        root: its root file system, which is not written to.
    """

    folder: Path
    root: Path
    process: subprocess.Popen[bytes] | None = None
    first: int = field(default=0)

    def start(self, brought: Mapping[str, str]) -> None:
        """Boot, and return when every unit is up.

        Args:
            brought: folder outside → where it is seen inside, and cannot be written to.
        """
        with (self.folder / "console").open("wb") as console:
            self.process = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", f"--directory={self.root}", "--read-only", "--volatile=overlay"),
                    *(NETWORK, "--register=no", "--keep-unit", "--console=pipe", "--link-journal=no", "--boot"),
                    *(f"--capability={','.join(BEYOND_NSPAWN)}", "--system-call-filter=@module"),
                    f"--bind={KERNEL_LOG}",
                    *(f"--bind-ro={outside}:{place}" for outside, place in brought.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": UNIFIED},
            )
        self.until(self._is_up, limit_s=BOOT_LIMIT_S)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "console").read_text(errors="replace")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self.first = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).strip() in {"running", "degraded"}

    def run(self, *command: str, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        """Run a program inside as root; return what it printed.

        Args:
            check: whether it must end well.
            limit_s: how long it may take.
        """
        ended = self.ended(*command, limit_s=limit_s)
        assert not check or ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def ended(self, *command: str, limit_s: float = COMMAND_LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run a program inside as root; return how it ended."""
        enter = ("nsenter", f"--target={self.first}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return subprocess.run(
            [*enter, "--", *command], capture_output=True, text=True, check=False, timeout=limit_s, env=ENVIRONMENT
        )

    def path(self, inside: str) -> Path:
        """Return by which path the host reaches a file inside."""
        return Path(f"/proc/{self.first}/root{inside}")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file inside, and the folders that it is in."""
        file = self.path(inside)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def bring(self, name: str) -> None:
        """Have a program of the outside inside as well, and the libraries that it needs: both are of one release."""
        program = shutil.which(name, path="/usr/sbin:/usr/bin") or missing(name)
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for path in (program, *re.findall(r"=> (/\S+)", told)):
            inside = self.path(path)
            if not inside.exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, inside)

    def show(self, unit: str, key: str) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def said(self, unit: str) -> str:
        """Return what a unit, and systemd of it, has logged."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def until(self, condition: Callable[[], object], *, limit_s: float = 20.0) -> float:
        """Wait for something; return how many seconds that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < limit_s, f"{condition} is not so after {limit_s:g} s"
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def main_process(self, unit: str) -> int:
        """Return the process of a daemon as the container counts; never 0, which would be whoever sends it a signal."""
        number = int(self.show(unit, "MainPID"))
        assert number > 1, self.said(unit)
        return number

    def send(self, unit: str, number: signal.Signals) -> int:
        """Send a daemon a signal; return which process got it."""
        process = self.main_process(unit)
        self.run("kill", f"-{number.value}", str(process))
        return process

    def replaced(self, unit: str, process: int) -> None:
        """Wait until another process has taken the place of this one, and is ready."""
        shown = ("systemctl", "show", "--value", "--property=MainPID", "--property=ActiveState", unit)
        self.until(
            lambda: (told := self.run(*shown).split())[1] == "active" and told[0] not in {"0", str(process)},
            limit_s=60,
        )

    def answer(self, path: str) -> Any:
        """Return what the controller answers inside."""
        return json.loads(self.run("python3", "-c", ASK, f"http://127.0.0.1:8642/api/v1/{path}"))

    def stop(self) -> None:
        """Power off, and end what does not."""
        if self.process is None:
            return
        if self.first and self.process.poll() is None:
            os.kill(self.first, signal.SIGRTMIN + 4)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(10)


ENVIRONMENT: Final = {"PATH": f"{OPT}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


@contextmanager
def bare(folder: Path, brought: Mapping[str, str], *, root: Path | None = None) -> Iterator[Booted]:
    """Boot with nothing of fleetmend in it but the folders that are brought.

    Args:
        root: another root file system than that of scripts/ensure-test-parts.
    """
    machine = Booted(folder, root or root_file_system())
    try:
        machine.start(brought)
        yield machine
    finally:
        machine.stop()


@contextmanager
def with_program(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Booted]:
    """Boot with this checkout as the program in /opt/fleetmend/venv, and none of its units, users and folders.

    Args:
        more: further folders outside → what they are called below /opt/fleetmend.
    """
    installed = Installed(folder / OPT_FOLDER)
    installed.folder.mkdir()
    brought = {str(installed.folder): OPT, str(ROOT): CHECKOUT, f"{sys.prefix}/{LIBRARY}": DEPENDENCIES}
    brought |= {outside: f"{OPT}/{name}" for outside, name in (more or {}).items()}
    if PYTHON != "/usr":
        brought[sys.base_prefix] = PYTHON
    for place in list(brought.values())[1:]:
        (installed.folder / Path(place).name).mkdir(exist_ok=True)
    installed.install("1.0")
    installed.use("1.0")
    with bare(folder, brought) as machine:
        if PYTHON != "/usr":
            machine.write("/etc/ld.so.conf.d/python.conf", f"{PYTHON}/lib\n")
            machine.run("ldconfig")
        yield machine


@contextmanager
def booted(folder: Path) -> Iterator[Booted]:
    """Boot with the units of this checkout installed and none of them enabled."""
    with with_program(folder) as machine:
        install_units(machine)
        yield machine


def install_units(machine: Booted) -> None:
    """Put every unit, and the users and folders that they need, where docs/how-to/install.md puts them."""
    for file in sorted((ROOT / "systemd").iterdir()):
        if file.suffix in {".service", ".target", ".path", ".timer"}:
            machine.write(f"/etc/systemd/system/{file.name}", file.read_text())
    for kind in ("sysusers", "tmpfiles"):
        file = ROOT / "systemd" / f"fleetmend.{kind}.conf"
        machine.write(f"/usr/lib/{kind}.d/fleetmend.conf", file.read_text())
    machine.run("systemd-sysusers")
    machine.run("systemd-tmpfiles", "--create")
    machine.run("systemctl", "daemon-reload")
