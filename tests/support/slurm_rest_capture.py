"""Captures what the installed slurmrestd answers in one known story, as test data.

    python -m tests.support.slurm_rest_capture FILE

One JSON document: the release, and each exchange with its method, path, body, status and answer.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.slurm import SlurmCluster
from tests.support.slurm_capture import JOB_FIELDS
from tests.support.slurm_rest import SlurmRestd, with_tokens

NODE_FIELDS = ("name", "state", "reason", "boot_time")
RESERVATION_FIELDS = ("name", "node_list", "flags", "start_time", "end_time", "users")


@dataclass(slots=True)
class Captured:
    """What was asked and answered so far; a name says what the exchange shows."""

    url: str
    exchanges: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, name: str, method: str, path: str, token: str, body: object = None) -> None:
        """Ask, and keep the answer."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} | ({"X-SLURM-USER-TOKEN": token} if token else {})
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=content)  # noqa: S310 - the loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the loopback
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        asked = {"method": method, "path": path, "body": body}
        self.exchanges[name] = {**asked, "status": status, "answer": _reduced(text)}


def _reduced(text: str) -> object:
    """Keep of nodes, jobs, reservations and paths what is read; the whole is 700 kB."""
    try:
        read = json.loads(text)
    except ValueError:
        return text
    for kind, kept in (("nodes", NODE_FIELDS), ("jobs", JOB_FIELDS), ("reservations", RESERVATION_FIELDS)):
        if isinstance(read.get(kind), list):
            read[kind] = [{key: each[key] for key in kept if key in each} for each in read[kind]]
    if "paths" in read:
        return {"paths": {path: {key: {} for key in methods} for path, methods in read["paths"].items()}}
    read.pop("meta", None)
    return read


def capture(cluster: SlurmCluster, rest: SlurmRestd) -> dict[str, Any]:
    """Let the story happen, and return the document."""
    captured, token = Captured(rest.url), rest.token()
    job = cluster.submit(node="n2", options=("--time=30",))
    cluster.wait_for_job(job, state="RUNNING")
    cluster.reserve("firmware", "n4", "Flags=MAINT,IGNORE_JOBS", "StartTime=now")
    captured.ask("openapi", "GET", "/openapi/v3", token)
    paths = captured.exchanges["openapi"]["answer"]["paths"]
    for version in sorted({found[1] for path in paths if (found := re.match(r"/slurm/(v[0-9.]+)/node/", path))}):
        _by(captured, f"/slurm/{version}", token, stranger=rest.token("nobody"))
    cluster.kill_controller()
    captured.ask("down", "GET", "/slurm/v0.0.42/nodes/", token)
    captured.ask("down: drain", "POST", "/slurm/v0.0.42/node/n3", token, {"state": ["DRAIN"], "reason": "x"})
    cluster.start_controller()
    return {"release": cluster.run("scontrol", "--version"), "exchanges": captured.exchanges}


def _by(captured: Captured, root: str, token: str, *, stranger: str) -> None:
    version, node = root.removeprefix("/slurm/"), f"{root}/node/n3"
    for what in ("nodes/", "jobs/", "reservations/", "node/n2", "node/n99"):
        captured.ask(f"{version}: {what}", "GET", f"{root}/{what}", token)
    captured.ask(f"{version}: bad token", "GET", f"{root}/nodes/", "bad.token.here")
    captured.ask(f"{version}: no token", "GET", f"{root}/nodes/", "")
    captured.ask(f"{version}: wrong method", "PUT", node, token)
    captured.ask(f"{version}: not allowed", "POST", node, stranger, {"state": ["DRAIN"], "reason": "x"})
    drain = {"state": ["DRAIN"], "reason": "fleetmend:inc-000007 GPU 3 has fallen off the bus (Xid 79)."}
    captured.ask(f"{version}: drain", "POST", node, token, drain)
    captured.ask(f"{version}: drained", "GET", node, token)
    captured.ask(f"{version}: resume", "POST", node, token, {"state": ["RESUME"], "reason": " "})
    captured.ask(f"{version}: resumed", "GET", node, token)
    captured.ask(f"{version}: not drained", "POST", node, token, {"state": ["RESUME"], "reason": " "})


def main() -> None:
    """Start a cluster, capture, write."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = with_tokens(Path(scratch))
        with SlurmCluster(Path(scratch), nodes=4, settings=settings) as cluster, SlurmRestd(cluster) as rest:
            document = capture(cluster, rest)
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
