"""A real Prometheus that scrapes what a test runs."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.ports import free_port
from tests.support.embedded import until
from tests.support.parts import missing

CONFIGURATION = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
"""
JOB = """
  - job_name: {job}
    static_configs:
      - targets: {targets}
        labels: {{cell: main}}
"""


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; the test skips where it is not, and fails in CI."""
    return shutil.which(name) or missing(name)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer.

        Raises:
            AssertionError: with Prometheus' own words, it is an error.
        """
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - an address of ours
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def value(self, expression: str) -> float | None:
        """Return the first value of an expression, `None` when it has none."""
        found = self.ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def all_up(self) -> bool:
        """Return whether every target was scraped."""
        targets = self.ask("targets")["activeTargets"]
        return bool(targets) and all(each["health"] == "up" for each in targets)

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):  # noqa: S310 - an address of ours
                return True
        except OSError:
            return False


@contextlib.contextmanager
def prometheus(directory: Path, jobs: Mapping[str, list[str]], *, rules: Path) -> Iterator[Prometheus]:
    """Give a Prometheus that scrapes these hosts and ports once a second, by job."""
    text = CONFIGURATION.format(rules=json.dumps(str(rules)))
    text += "".join(JOB.format(job=job, targets=json.dumps(targets)) for job, targets in jobs.items())
    (directory / "prometheus.yml").write_text(text)
    address = f"127.0.0.1:{free_port()}"
    with (directory / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(
            [
                *(program("prometheus"), f"--config.file={directory}/prometheus.yml"),
                *(f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address={address}"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Prometheus(f"http://{address}")
    try:
        until("Prometheus is ready", server.is_ready, limit_s=30.0)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)
