"""docs/how-to/write-a-check.md: what it shows is run as it stands there."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from agent.onlooker import look
from agent.settings import Site, Watch, load_settings
from agent.simulation.machine import SimulatedMachine
from agent.sources.source import Timing
from agent.watched import watched
from checks.check import LevelCheck
from checks.finding import Verdict
from checks.readings import HostReading
from checks.readings.site import site_reading
from checks.registry import CHECKS
from checks.site import site_check
from tests.cli.conftest import run_cli
from tests.support.checkout import ROOT

BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/how-to/write-a-check.md").read_text(), re.MULTILINE | re.DOTALL
)
(SCRIPT,) = [text for language, text in BLOCKS if language == "sh"]
(ANSWER,) = [text for language, text in BLOCKS if language == "json"]
(MODULE,) = [text for language, text in BLOCKS if language == "python"]
SETTINGS, PACKAGE = [text for language, text in BLOCKS if language == "toml"]


@pytest.fixture
def machine(tmp_path: Path) -> SimulatedMachine:
    """A simulated node with the page's script in its folder."""
    made = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=1.0)
    folder = made.directory / "etc/fleetmend/checks.d"
    folder.mkdir(parents=True)
    (folder / "licence.sh").write_text(SCRIPT)
    (folder / "licence.sh").chmod(0o755)
    return made


def config(tmp_path: Path, machine: SimulatedMachine, more: str = "") -> str:
    path = tmp_path / "agent.toml"
    first = f'node = "n1"\nsimulation_directory = "{machine.directory}"\n'
    path.write_text(first + more + '\n[broker]\nurl = "mqtt://nowhere"\n')
    return str(path)


@pytest.mark.parametrize(
    ("free", "code", "said"),
    [
        ("9", 0, "fleetmend OK: the check found nothing"),
        ("3", 1, "fleetmend DEGRADED: only 3 seats of the licence server are free"),
        ("0", 2, "fleetmend FAILED: no seat of the licence server is free"),
        (None, 3, "fleetmend UNKNOWN: the number of free seats cannot be read"),
    ],
)
def test_the_script_is_a_check(
    tmp_path: Path, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch, free: str | None, code: int, said: str
) -> None:
    (tmp_path / "free").write_text(free) if free else None
    monkeypatch.setenv("LICENCE_FILE", str(tmp_path / "free"))
    result = run_cli("check", "--only", "site", "--config", config(tmp_path, machine))
    assert (result.returncode, result.stderr) == (code, "")
    assert said in result.stdout.replace("site.licence: ", "")


def test_the_script_is_recorded_and_judged_where_it_is_not(
    tmp_path: Path, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "free").write_text("0")
    monkeypatch.setenv("LICENCE_FILE", str(tmp_path / "free"))
    recording = str(tmp_path / "r.jsonl")
    more = "[site]\ninterval_s = 0.5\nfast_interval_s = 0.5\ndeadline_s = 0.5\n"
    asked = ("--only", "site.licence", "--seconds", "3", "--config", config(tmp_path, machine, more))
    assert run_cli("agent", "record", "-o", recording, *asked).returncode == 0
    (machine.directory / "etc/fleetmend/checks.d/licence.sh").unlink()
    result = run_cli("judge", recording)
    assert result.returncode == 0, result.stderr
    (edge,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (edge["check"], edge["code"], edge["verdict"]) == ("site.licence", "critical", "failed")


def test_the_catalogue_shows_it_with_its_playbook(tmp_path: Path, machine: SimulatedMachine) -> None:
    result = run_cli("checks", "--json", "--config", config(tmp_path, machine, SETTINGS))
    rows = {row["id"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == {check.id for check in CHECKS} - {"gpu.persistence"} | {"site.licence"}
    assert (rows["site.licence"]["interval_s"], rows["site.licence"]["playbook"]) == (300.0, ["site_check"])


def test_the_settings_are_settings(tmp_path: Path, machine: SimulatedMachine) -> None:
    seen = watched(load_settings(Path(config(tmp_path, machine, SETTINGS))))
    (licence,) = [check for check in seen.checks if check.id == "site.licence"]
    assert isinstance(licence, LevelCheck)
    assert (licence.policy.raise_after, licence.policy.clear_after) == (3, 2)
    assert [program.timing for program in seen.programs] == [Timing(300, 10, 20)]


def test_the_answer_is_an_answer() -> None:
    findings = site_check("site.licence").judge([site_reading("site.licence")(1.0, 0, ANSWER)])
    assert [(each.device, each.verdict) for each in findings] == [
        ("host", Verdict.FAILED),
        ("mlx5_0/1", Verdict.DEGRADED),
    ]


async def test_the_package_is_found_and_judged(
    tmp_path: Path, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = tomllib.loads(PACKAGE)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {each}\n" for key, each in points.items())
        for group, points in groups.items()
    ]
    (tmp_path / "acme_fleetmend.py").write_text(MODULE)
    metadata = tmp_path / "acme_fleetmend-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-fleetmend\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    watch = Watch(node="n1", simulation_directory=machine.directory, site=Site(deadline_s=30))
    ours = watched(watch)
    seen = await look(watch, ours, ids=["site.subnet", "site.load"], limit_s=60)
    assert {name: level.verdict for name, level in seen.levels.items()} == {"site.subnet": "ok", "site.load": "ok"}
    (load,) = [check for check in ours.checks if check.id == "site.load"]
    busy = replace(HostReading(1.0), load_1min=99.0, cpu_count=8)
    assert [finding.because for finding in load.judge([busy])] == ["the load is 99 on 8 processors"]  # type: ignore[list-item] # a level check, over its own reading
