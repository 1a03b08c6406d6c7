"""A real Slurm cluster on this machine: munged, slurmctld and several slurmd on free ports of the loopback.

Everything lies in one directory. Every process is a child that dies with the one that started it, is ended by its
process id, and leaves no job step behind.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from cli.ports import free_ports

PROGRAMS = ("slurmctld", "slurmd", "munged", "munge", "scontrol", "squeue", "sinfo", "scancel", "sbatch", "setpriv")
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
GPUS_PER_NODE = 8
SCHEDULE_AT_ONCE = "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1"


def _missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]


def _search_path() -> str:
    """The daemons are in sbin, which an ordinary user's PATH leaves out."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


needs_slurm = pytest.mark.skipif(
    bool(_missing_programs()) and os.environ.get("CI") != "true",
    reason=f"Slurm is not installed ({', '.join(_missing_programs())} missing): apt-get install {PACKAGES}",
)
"""Skips where Slurm is missing, but never in CI: there its absence is a failure."""


LIMIT_S = 90.0
"""How long a state is waited for: prolog and epilog of a node with a driver that hangs take 20 s on an idle machine."""

SETTLED_S = 2.0
"""So long after a boot a node may be asked to reboot again. A request within the second of the last boot is one that
this boot has answered already: the node is in service at once, and down as "unexpectedly rebooted" when it does boot; a
message that is under way for long moves the boot by one second more. Source: seen in 22.05."""

REBOOT_PROGRAM = """#!/bin/sh
# slurmd gives it no node's name: that stands in the command line of an ancestor.
process=$PPID
while [ "$process" -gt 1 ]; do
    name=$(tr '\\0' '\\n' <"/proc/$process/cmdline" | grep -A1 -x -e -N | tail -n 1)
    [ -z "$name" ] || break
    process=$(awk '/^PPid/ {{print $2}}' "/proc/$process/status")
done
echo "$name" >>{book}
"""


class SlurmDidNotStart(Exception):
    """A daemon ended or stayed silent; the text holds its last words."""


@dataclass(slots=True)
class SlurmCluster:
    """Nodes n1..nN with eight GPUs (plain files) each, in one partition `gpu`.

    Attributes:
        directory: configuration, state and logs; it must exist.
        slurmd_timeout_s: after how long without an answer slurmctld sets a node down.
        settings: more of slurm.conf; one that is there already is replaced.
    """

    directory: Path
    nodes: int = 4
    cpus_per_node: int = 2
    slurmd_timeout_s: int = 10
    settings: Mapping[str, str] = field(default_factory=dict)
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _sockets: Path = Path()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def node_names(self) -> list[str]:
        """n1..nN."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def conf(self) -> Path:
        """The cluster's slurm.conf."""
        return self.directory / "etc" / "slurm.conf"

    @property
    def sockets(self) -> Path:
        """The directory of munged's socket."""
        return self._sockets

    def env(self) -> dict[str, str]:
        """Return what a process must add to its environment to speak to this cluster."""
        return {"SLURM_CONF": str(self.conf), "PATH": _search_path()}

    def start(self) -> None:
        """Start every daemon and return when all nodes are idle.

        Raises:
            SlurmDidNotStart: programs are missing, or a daemon did not come up.
        """
        if missing := _missing_programs():
            raise SlurmDidNotStart(f"{', '.join(missing)} not found: apt-get install {PACKAGES}")
        # A Unix socket's path is limited to 108 bytes, which a test's directory can exceed.
        self._sockets = Path(tempfile.mkdtemp(prefix="fleetmend-munge-"))
        try:
            self._write_files()
            self._start_munged()
            self.start_controller()
            for node in self.node_names:
                self.start_node(node)
            self.wait_for(*self.node_names, state="idle")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every job and daemon, whatever state they are in."""
        for node in self.node_names:
            self._end(node)
        self._end("slurmctld")
        self._end_strays()
        self._end("munged")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld and return when it answers."""
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        self.until("slurmctld answers", lambda: self._try("scontrol", "ping").stdout.find("is UP") >= 0)

    def stop_controller(self) -> None:
        """Have slurmctld hang: it takes connections and answers nothing."""
        self._daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def continue_controller(self) -> None:
        """Have slurmctld go on."""
        self._daemons["slurmctld"].send_signal(signal.SIGCONT)

    def kill_controller(self) -> None:
        """End slurmctld without a word."""
        self._end("slurmctld", signal.SIGKILL)

    def start_node(self, node: str, *arguments: str) -> None:
        """Start one slurmd; `-b` makes it say that the node booted."""
        (self.directory / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._spawn(node, "slurmd", "-D", "-N", node, "-f", str(self.conf), *arguments)

    def kill_node(self, node: str) -> None:
        """End one slurmd without a word."""
        self._end(node, signal.SIGKILL)

    def reboots(self, node: str) -> int:
        """Return how often slurmd was told to reboot a node."""
        return (self.directory / "reboots").read_text().split().count(node)

    def come_back(self, node: str, *, after_s: float = 2.1) -> None:
        """Have a node come back from a reboot: its slurmd is another one, and says that it booted.

        Returns when the boot lies so far back that slurmctld, which compares times in seconds, cannot take it for the
        answer to a later request.

        Args:
            after_s: of a reboot that Slurm was not told of: at least two seconds, or 24.11 takes it for one for ever.
        """
        before = self._started(node)
        self.kill_node(node)
        # slurmctld compares times in seconds, and takes a boot within the second of the request for an older one.
        time.sleep(after_s)
        self.start_node(node, "-b")
        self.until(f"{node} has registered anew", lambda: self._started(node) not in {before, "None"})
        self.until(f"{node} has rebooted for Slurm", lambda: "REBOOT" not in self._shown(node, "State"))
        booted = datetime.fromisoformat(self._shown(node, "BootTime")).timestamp()
        self.until(f"{node}'s boot is past", lambda: time.time() >= booted + SETTLED_S)

    def _started(self, node: str) -> str:
        return self._shown(node, "SlurmdStartTime")

    def _shown(self, node: str, name: str) -> str:
        return self.run("scontrol", "-o", "show", "node", node).split(f" {name}=")[1].split(" ")[0]

    def run(self, *command: str) -> str:
        """Return what a Slurm command printed; fail the test when it failed."""
        done = self._try(*command)
        assert done.returncode == 0, f"{' '.join(command)}: rc {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, script: str = "sleep 600", *, node: str = "", options: tuple[str, ...] = ()) -> str:
        """Submit a batch job and return its id; `node` is where it must run."""
        where = ("--nodelist", node) if node else ()
        output = ("--output", str(self.directory / "log" / "job-%j.out"))
        return self.run("sbatch", "--parsable", *where, *output, *options, "--wrap", script).split(";")[0]

    def drain(self, node: str, reason: str) -> None:
        """Drain a node as an administrator does by hand."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def reserve(self, name: str, nodes: str, *more: str) -> None:
        """Reserve nodes for root for ten minutes."""
        what = ("Users=root", "Duration=10", f"Nodes={nodes}", *more)
        self.run("scontrol", "create", "reservation", f"ReservationName={name}", *what)

    def unreserve(self, name: str) -> None:
        """End a reservation."""
        self.run("scontrol", "delete", "reservation", name)

    def resume(self, node: str) -> None:
        """Give a node back as an administrator does by hand."""
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", "Reason= ")

    def node_state(self, node: str) -> str:
        """Return the state as sinfo says it: `idle`, `draining`, `drained`, `mixed`, `idle*`, ...

        sinfo alone can go on showing `mixed` for half a minute after the job has ended; `scontrol show` makes slurmctld
        count anew.
        """
        self.run("scontrol", "show", "node", node)
        return self.run("sinfo", "-h", "-N", "-n", node, "-o", "%T").splitlines()[0]

    def node_reason(self, node: str) -> str:
        """Return the reason on a node, `none` when there is none, or a blank, as 24.11 keeps in its place."""
        printed = self.run("sinfo", "-h", "-N", "-n", node, "-o", "%E")
        return printed.splitlines()[0] if printed else "none"

    def job_state(self, job: str) -> str:
        """Return the state of a job of the last minute: `RUNNING`, `PENDING`, `CANCELLED`, ..."""
        return self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").splitlines()[0]

    def restarts(self, job: str) -> int:
        """Return how often a job was put back into the queue."""
        found = re.search(r" Restarts=(\d+)", self.run("scontrol", "-o", "show", "job", job))
        assert found is not None, f"scontrol shows no Restarts of job {job}"
        return int(found[1])

    def wait_for(self, *nodes: str, state: str, limit_s: float = LIMIT_S) -> None:
        """Return when every one of these nodes is in a state."""
        self.until(f"{nodes} {state}", lambda: all(self.node_state(n) == state for n in nodes), limit_s=limit_s)

    def wait_for_job(self, job: str, *, state: str, limit_s: float = LIMIT_S) -> None:
        """Return when a job is in a state."""
        self.until(f"job {job} {state}", lambda: self.job_state(job) == state, limit_s=limit_s)

    def clean(self) -> None:
        """End every job and make every node idle, so that the next test finds the cluster as it was started."""
        self.until("no job is left", self._without_jobs)
        self.until("every node is idle", self._all_idle)

    def _all_idle(self) -> bool:
        """Look, and give back what somebody holds: a test may have left a node between two states."""
        waiting = [node for node in self.node_names if self.node_state(node) != "idle"]
        for node in waiting:
            if self.node_reason(node) != "none":
                self._try("scontrol", "update", f"NodeName={node}", "State=RESUME", "Reason= ")
        return not waiting

    def _without_jobs(self) -> bool:
        jobs = self.run("squeue", "-h", "-o", "%A").split()
        for job in jobs:
            self._try("scancel", job)
        return not jobs

    def until(self, what: str, holds: Callable[[], bool], *, limit_s: float = LIMIT_S) -> None:
        """Return when it holds; fail with `what`, and with what the cluster says, when it takes too long."""
        end = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > end:
                now = self._try("sinfo", "-h", "-N", "-o", "%N %T %E").stdout + self._try("squeue", "-h").stdout
                raise TimeoutError(f"not within {limit_s:.0f} s: {what}\n{now}\n{self._last_words()}")
            self._check_daemons()
            time.sleep(0.05)

    def _check_daemons(self) -> None:
        for name, process in self._daemons.items():
            if process.poll() is not None:
                raise SlurmDidNotStart(f"{name} ended with code {process.returncode}\n{self._last_words()}")

    def _last_words(self) -> str:
        logs = sorted((self.directory / "log").glob("*.out"))
        return "\n".join(f"--- {log.name}: {log.read_text(errors='replace')[-600:]}" for log in logs)

    def _try(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**os.environ, **self.env()}, capture_output=True, text=True, timeout=60, check=False
        )

    def _start_munged(self) -> None:
        key = self.directory / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._spawn(
            "munged",
            *("munged", "--foreground", "--force", "--num-threads=2"),
            f"--socket={self._sockets / 'munge'}",
            f"--key-file={key}",
            f"--pid-file={self.directory / 'munge' / 'pid'}",
            f"--log-file={self.directory / 'munge' / 'log'}",
            f"--seed-file={self.directory / 'munge' / 'seed'}",
        )
        self.until(
            "munged answers", lambda: self._try("munge", "-n", "-S", str(self._sockets / "munge")).returncode == 0
        )

    def _spawn(self, name: str, *command: str) -> None:
        """Start a daemon that the kernel ends when this process dies, however it dies."""
        with (self.directory / "log" / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={**os.environ, **self.env()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
            )

    def _end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self._daemons.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _end_strays(self) -> None:
        """End job steps and their commands: slurmd lets them live on without it."""
        strays = list(self._strays())
        for process in strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(strays, timeout=5)

    def _strays(self) -> Iterator[psutil.Process]:
        """A step's title overwrites its environment, but it keeps slurmd's directory; its job has the environment."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                step = process.name().startswith("slurmstepd") and process.cwd() == str(self.directory)
                environment = {} if step else process.environ()
                job = environment.get("SLURM_CONF") == str(self.conf) and "SLURM_JOB_ID" in environment
                if step or job:
                    yield process

    def _write_files(self) -> None:
        for name in ("etc", "log", "munge", "spool", "state", "dev"):
            (self.directory / name).mkdir(exist_ok=True)
        (self.directory / "munge").chmod(0o700)
        # Without device files behind them the GPUs would make every node invalid; plain files will do.
        for gpu in range(GPUS_PER_NODE):
            (self.directory / "dev" / f"gpu{gpu}").touch()
        (self.directory / "reboots").touch()
        reboot = self.directory / "reboot"
        reboot.write_text(REBOOT_PROGRAM.format(book=self.directory / "reboots"))
        reboot.chmod(0o755)
        etc = self.directory / "etc"
        (etc / "gres.conf").write_text(f"Name=gpu File={self.directory}/dev/gpu[0-{GPUS_PER_NODE - 1}]\n")
        (etc / "cgroup.conf").write_text(self._cgroup_setting())
        self.conf.write_text("\n".join([*self._settings(), *self._node_lines()]) + "\n")

    def _cgroup_setting(self) -> str:
        """Job steps need no control group here; 23.11 renamed the way to say so."""
        return "CgroupPlugin=disabled\n" if slurm_version() >= (23, 11) else "CgroupAutomount=no\n"

    def _settings(self) -> list[str]:
        host, user, here = socket.gethostname().split(".")[0], getpass.getuser(), self.directory
        settings = {
            "ClusterName": "fleetmendtest",
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": free_ports(1)[0],
            "SlurmUser": user,
            "SlurmdUser": user,
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._sockets / 'munge'}",
            "CredType": "cred/munge",
            "StateSaveLocation": here / "state",
            "SlurmdSpoolDir": here / "spool" / "%n",
            "SlurmctldPidFile": here / "state" / "slurmctld.pid",
            "SlurmdPidFile": here / "state" / "slurmd.%n.pid",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "SchedulerParameters": SCHEDULE_AT_ONCE,
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core",
            "GresTypes": "gpu",
            "ReturnToService": 1,
            "SlurmctldTimeout": 30,
            "SlurmdTimeout": self.slurmd_timeout_s,
            "InactiveLimit": 0,
            "KillWait": 2,
            "MinJobAge": 60,
            "SlurmdParameters": "config_overrides",
            "RebootProgram": here / "reboot",
            "ResumeTimeout": 300,
        }
        return [f"{name}={value}" for name, value in {**settings, **self.settings}.items()]

    def _node_lines(self) -> Iterator[str]:
        host = socket.gethostname().split(".")[0]
        for node, port in zip(self.node_names, free_ports(self.nodes), strict=True):
            yield (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={self.cpus_per_node} RealMemory=1000 Gres=gpu:{GPUS_PER_NODE} State=UNKNOWN"
            )
        yield f"PartitionName=gpu Nodes=n[1-{self.nodes}] Default=YES MaxTime=INFINITE State=UP"


def slurm_version() -> tuple[int, int]:
    """Return the release of the Slurm that is installed here, e.g. (22, 5)."""
    printed = subprocess.run(
        ["slurmctld", "-V"], capture_output=True, text=True, check=True, env={"PATH": _search_path()}
    ).stdout
    numbers = re.findall(r"\d+", printed)
    return int(numbers[0]), int(numbers[1])
