"""fleetmend as the HealthCheckProgram, Prolog and Epilog of a real Slurm, installed as the how-to says.

What is installed and what stands in slurm.conf is taken from the page itself, so that the page cannot drift. Changed
are paths, since nothing may be written to /etc, and the interval, since nobody waits for 300 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.simulation.machine import SimulatedMachine
from tests.support.checkout import ROOT
from tests.support.slurm import SCHEDULE_AT_ONCE, SlurmCluster, needs_slurm

pytestmark = [needs_slurm, pytest.mark.timeout(180)]

HOW_TO = ROOT / "docs" / "how-to" / "slurm-health-check.md"
INSTALLED_IN = "/etc/fleetmend"
PROGRAM = "/opt/fleetmend/venv/bin/fleetmend"
BY_HAND = "memory test by hand"
LOST_GPU = "fleetmend:check gpu.count: GPU at "


@dataclass(slots=True)
class Site:
    """A Slurm cluster whose nodes are simulated GPU hosts with node-check installed."""

    folder: Path
    interval_s: int
    nodes: int
    cluster: SlurmCluster = field(init=False)

    def __post_init__(self) -> None:
        settings = self._settings_of_the_page()
        self.cluster = SlurmCluster(self.folder / "cluster", nodes=self.nodes, settings=settings)
        self.cluster.directory.mkdir()
        for node in self.cluster.node_names:
            self._create(node)

    def install(self) -> None:
        """Install node-check by the commands of the page, and then fill in what is a site's own."""
        done = subprocess.run(
            ["sh", "-eu"],
            input=self._moved(block("sh")),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
        installed = self.folder / "slurm" / "node-check"
        text = installed.read_text()
        for shipped, ours in self._own_lines().items():
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, ours)
        installed.write_text(text)

    def machine(self, node: str) -> SimulatedMachine:
        """Return the hardware of a node."""
        return SimulatedMachine.open(self.folder / node)

    def break_(self, node: str, fault: str) -> None:
        """Make a fault happen."""
        asyncio.run(self.machine(node).inject_fault(fault, device="", parameters={"repair": "fails"}))

    def run(self, program: str, node: str) -> subprocess.CompletedProcess[str]:
        """Run a program as slurmd does: by its path, and with one variable alone."""
        return subprocess.run(
            [str(self.folder / "slurm" / program)],
            env={"SLURMD_NODENAME": node},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def log(self) -> str:
        """Return what was written to the syslog."""
        path = self.folder / "syslog"
        return path.read_text() if path.exists() else ""

    def logged(self, pattern: str) -> bool:
        """Return whether a line of the syslog begins so."""
        return re.search(f"^{pattern}", self.log(), re.MULTILINE) is not None

    def clean(self) -> None:
        """Mend everything, give every node back, and forget the syslog."""
        for node in self.cluster.node_names:
            self.machine(node).mend()
        (self.folder / "syslog").unlink(missing_ok=True)
        self.cluster.clean()

    def _settings_of_the_page(self) -> dict[str, str]:
        lines = self._moved(block("ini")).splitlines()
        settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        assert settings["HealthCheckInterval"] == "300"
        scheduling = f"{SCHEDULE_AT_ONCE},{settings['SchedulerParameters']}"
        return {**settings, "HealthCheckInterval": str(self.interval_s), "SchedulerParameters": scheduling}

    def _own_lines(self) -> Mapping[str, str]:
        """Return what this site fills in: where Slurm and fleetmend are, and one node's settings beside the others'."""
        tools = self.folder / "bin"
        tools.mkdir()
        logger = tools / "logger"
        logger.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{self.folder}/syslog\n')
        logger.chmod(0o755)
        return {
            "export PATH=": f"export PATH={tools}:",
            "# export SLURM_CONF=/opt/slurm/etc/slurm.conf": f"export SLURM_CONF={self.cluster.conf}",
            f"[ -r {INSTALLED_IN}/agent.toml ]": f'[ -r "{self.folder}/$SLURMD_NODENAME.toml" ]',
            f"--config {INSTALLED_IN}/agent.toml": f'--config "{self.folder}/$SLURMD_NODENAME.toml"',
            PROGRAM: str(Path(sys.executable).with_name("fleetmend")),
        }

    def _create(self, node: str) -> None:
        machine = SimulatedMachine.create(self.folder / node, name=node, seed=1, speedup=360.0)
        (self.folder / f"{node}.toml").write_text(
            f'node = "another-name"\nsimulation_directory = "{machine.directory}"\n[broker]\nurl = "mqtt://nowhere"\n'
        )

    def _moved(self, text: str) -> str:
        return text.replace(INSTALLED_IN, str(self.folder))


def block(language: str) -> str:
    """Return the first code block of the page in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, language
    return found[1]


@contextlib.contextmanager
def served(folder: Path, *, interval_s: int, nodes: int) -> Iterator[Site]:
    """Run such a cluster for the time of the block."""
    site = Site(folder, interval_s, nodes)
    site.install()
    with site.cluster:
        yield site


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Slurm runs the health check. Not oftener than this: slurmd starts the next one behind one that still runs."""
    with served(tmp_path_factory.mktemp("watched"), interval_s=10, nodes=2) as site:
        yield site


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Slurm runs no health check here, so that prolog and epilog are the first to see a fault."""
    with served(tmp_path_factory.mktemp("unwatched"), interval_s=0, nodes=4) as site:
        yield site


@pytest.fixture
def site(unwatched: Site) -> Site:
    unwatched.clean()
    return unwatched


def test_the_health_check_drains_a_node_that_lost_a_gpu_and_no_other(watched: Site) -> None:
    job = watched.cluster.submit("true", node="n2")
    watched.cluster.wait_for_job(job, state="COMPLETED")
    assert (watched.cluster.node_reason("n2"), watched.log()) == ("none", "")
    watched.break_("n2", "gpu-off-bus")
    watched.cluster.wait_for("n2", state="drained")
    assert watched.cluster.node_reason("n2").startswith(LOST_GPU)
    assert watched.cluster.node_state("n1") == "idle"
    waiting, other = watched.cluster.submit("true", node="n2"), watched.cluster.submit("true")
    watched.cluster.wait_for_job(other, state="COMPLETED")
    assert watched.cluster.job_state(waiting) == "PENDING"


def test_a_mended_node_is_not_given_back_by_the_health_check(site: Site) -> None:
    site.break_("n2", "gpu-off-bus")
    assert site.run("health-check", "n2").returncode == 0
    assert site.cluster.node_state("n2") == "drained"
    site.machine("n2").mend()
    assert site.run("health-check", "n2").returncode == 0
    assert site.cluster.node_state("n2") == "drained"


def test_a_node_that_is_well_runs_jobs(site: Site) -> None:
    job = site.cluster.submit("true", node="n1")
    site.cluster.wait_for_job(job, state="COMPLETED")
    site.cluster.wait_for("n1", state="idle")
    assert (site.cluster.node_reason("n1"), site.log()) == ("none", "")


def test_the_prolog_refuses_a_job_which_then_runs_elsewhere(site: Site) -> None:
    site.break_("n1", "gpu-off-bus")
    job = site.cluster.submit(node="n1")
    site.cluster.wait_for("n1", state="drained")
    assert site.cluster.node_reason("n1").startswith(LOST_GPU)
    # Slurm keeps a requeued job back for two minutes.
    site.cluster.run("scontrol", "update", f"JobId={job}", "ReqNodeList=", "StartTime=now")
    site.cluster.wait_for_job(job, state="RUNNING")
    assert site.cluster.restarts(job) == 1
    assert site.cluster.node_state("n2") == "mixed"


def test_the_epilog_drains_a_node_that_lost_a_gpu_under_the_job(site: Site) -> None:
    job = site.cluster.submit("sleep 600", node="n1")
    site.cluster.wait_for_job(job, state="RUNNING")
    site.break_("n1", "gpu-off-bus")
    assert site.cluster.node_state("n1") == "mixed"
    site.cluster.run("scancel", job)
    site.cluster.wait_for("n1", state="drained")
    assert site.cluster.node_reason("n1").startswith(LOST_GPU)


def test_a_driver_that_hangs_is_unknown_in_time_and_refuses_no_job(site: Site) -> None:
    site.break_("n1", "nvml-hang")
    job = site.cluster.submit("true", node="n1")
    site.cluster.wait_for_job(job, state="COMPLETED")
    site.cluster.wait_for("n1", state="idle")
    assert (site.cluster.node_reason("n1"), site.cluster.restarts(job)) == ("none", 0)
    for program in ("fleetmend-prolog", "fleetmend-epilog"):
        assert site.logged(rf"-t {program} -- fleetmend UNKNOWN: .*the source nvml gave no answer within 5.5 s")


def test_the_health_check_of_a_driver_that_hangs_ends_before_slurmd_would_kill_it(site: Site) -> None:
    site.break_("n1", "nvml-hang")
    began = time.monotonic()
    assert site.run("health-check", "n1").returncode == 0
    assert time.monotonic() - began < 45.0
    assert site.logged("-t fleetmend-health-check -- fleetmend UNKNOWN: gpu.nvml, gpu.count, .*no answer within 10 s")
    assert (site.cluster.node_state("n1"), site.cluster.node_reason("n1")) == ("idle", "none")


@pytest.mark.parametrize("program", ["health-check", "prolog", "epilog"])
def test_somebody_elses_reason_stays(site: Site, program: str) -> None:
    site.break_("n1", "gpu-off-bus")
    site.cluster.drain("n1", BY_HAND)
    ended = site.run(program, "n1")
    assert ended.returncode == (1 if program == "prolog" else 0)
    assert site.cluster.node_reason("n1") == BY_HAND
    assert f"n1 is out of service in Slurm already: {BY_HAND}" in site.log()


@pytest.mark.parametrize("program", ["health-check", "prolog", "epilog"])
def test_beyond_the_budget_a_node_stays_in_service(site: Site, program: str) -> None:
    site.cluster.drain("n4", "fleetmend:inc-000007 GPU lost")
    site.break_("n1", "gpu-off-bus")
    ended = site.run(program, "n1")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert (site.cluster.node_state("n1"), site.cluster.node_reason("n1")) == ("idle", "none")
    assert "n1 is left in service: fleetmend holds 1 of the other nodes in Slurm out, at most 1 node" in site.log()


@pytest.mark.parametrize(
    ("broken", "code"), [("/no/such/fleetmend", 127), ("false", 1), ("sh -c 'exit 2'", 2), ("sh -c 'kill -9 $$'", 137)]
)
@pytest.mark.parametrize("program", ["health-check", "prolog", "epilog"])
def test_a_fleetmend_that_cannot_run_refuses_nothing(site: Site, program: str, broken: str, code: int) -> None:
    folder = site.folder / "broken"
    folder.mkdir(exist_ok=True)
    text = (site.folder / "slurm" / "node-check").read_text()
    (folder / program).write_text(text.replace(str(Path(sys.executable).with_name("fleetmend")), broken))
    (folder / program).chmod(0o755)
    ended = subprocess.run([str(folder / program)], env={}, capture_output=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert site.logged(f"-t fleetmend-{program} -- fleetmend ended with {code} and without a word$")


def test_a_slurmctld_that_does_not_answer_refuses_nothing(site: Site) -> None:
    site.break_("n1", "gpu-off-bus")
    site.cluster.kill_controller()
    try:
        ended = site.run("prolog", "n1")
        assert (ended.returncode, ended.stdout) == (0, "")
        assert "n1 is left in service: " in site.log()
    finally:
        site.cluster.start_controller()
