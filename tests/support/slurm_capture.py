"""Captures what the installed Slurm prints of one known story, as test data.

    python -m tests.support.slurm_capture DIR

For each data parser that scontrol offers, the JSON; and the text of the same moments, so that the two readers can be
held against each other. The names of the files say the command, `origin.json` the release.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from controller.schedulers.slurm_programs import SECONDS
from controller.schedulers.slurm_text import JOB_FORMAT
from tests.support.slurm import SlurmCluster

JOB_FIELDS = (
    *("job_id", "job_state", "nodes", "state_reason", "restart_cnt"),
    *("partition", "account", "qos", "start_time", "end_time"),
    *("array_job_id", "array_task_id", "array_task_string", "het_job_id", "het_job_id_set", "het_job_offset"),
)
"""The part of a job that is kept: the whole, with its environment and paths, is 7 kB each."""

STATES = "RUNNING,COMPLETING,SUSPENDED,CONFIGURING"
OUR_REASON = "fleetmend:inc-000007 GPU 3 has fallen off the bus (Xid 79)."


def capture(cluster: SlurmCluster, folder: Path) -> None:
    """Write every file."""
    origin = {"release": cluster.run("scontrol", "--version"), "jobs_reduced_to": JOB_FIELDS}
    (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
    parsers = re.findall(r"data_parser/(v\S+)", cluster.run("scontrol", "--json=list", "show", "node"))
    moments: dict[str, Callable[[SlurmCluster], None]] = {"working": _nodes_at_work, "silent": _silent}
    for moment, comes_about in moments.items():
        comes_about(cluster)
        for parser in parsers:
            _save(
                folder / f"nodes-{moment}-{parser}.json",
                cluster.run("scontrol", "-a", f"--json={parser}", "show", "node"),
            )
            jobs = json.loads(cluster.run("squeue", "-a", "-t", STATES, f"--json={parser}"))
            jobs["jobs"] = [{key: job[key] for key in JOB_FIELDS if key in job} for job in jobs["jobs"]]
            _save(folder / f"jobs-{moment}-{parser}.json", json.dumps(jobs, indent=1))
            _save(
                folder / f"reservations-{moment}-{parser}.json",
                cluster.run("scontrol", f"--json={parser}", "show", "reservation"),
            )
        _save(folder / f"nodes-{moment}.txt", cluster.run("scontrol", "-a", "-o", "show", "node"))
        _save(folder / f"jobs-{moment}.txt", cluster.run("squeue", "-h", "-a", "-t", STATES, "-o", JOB_FORMAT))
        _save(folder / f"reservations-{moment}.txt", cluster.run("scontrol", "-o", "show", "reservation"))


def _save(path: Path, text: str) -> None:
    path.write_text(text + "\n")


def _nodes_at_work(cluster: SlurmCluster) -> None:
    """A job over n1 and n2, an array's task on n3, a heterogeneous job on n4 and n5; n2 is ours, n4 somebody's.

    n5 is in maintenance, and a reservation of n1 and n2 is to come.
    """
    wide = cluster.submit(options=("--nodes=2", "--nodelist=n1,n2", "--time=30"))
    array = cluster.submit(options=("--array=1-2", "--cpus-per-task=2", "--nodelist=n3"))
    both = cluster.submit(options=("-N1", "--nodelist=n4", ":", "-N1", "--nodelist=n5"))
    for job in (wide, f"{array}_1", both):
        cluster.until(f"{job} runs", partial(_runs, cluster, job))
    cluster.reserve("firmware", "n5", "Flags=MAINT,IGNORE_JOBS", "StartTime=now")
    cluster.reserve("big-run", "n[1-2]", "StartTime=now+1hour")
    cluster.drain("n2", OUR_REASON)
    cluster.drain("n4", 'by hand; State=IDLE, Reason=none [me] 100 % "quoted" ü')


def _runs(cluster: SlurmCluster, job: str) -> bool:
    return cluster.job_state(job) == "RUNNING"


def _silent(cluster: SlurmCluster) -> None:
    """n1 and n4 lose their slurmd and are set down after a while."""
    cluster.kill_node("n1")
    cluster.kill_node("n4")
    cluster.until("n1 is down", lambda: "State=DOWN" in cluster.run("scontrol", "-o", "show", "node", "n1"), limit_s=60)


def main() -> None:
    """Start a cluster, let the story happen, write what Slurm says of it."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(SECONDS)
    with tempfile.TemporaryDirectory() as scratch, SlurmCluster(Path(scratch), nodes=5) as cluster:
        capture(cluster, folder)


if __name__ == "__main__":
    main()
