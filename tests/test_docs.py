"""The documents say what the code does: generated pages, links, examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.settings import load_settings
from checks.check import LevelCheck
from checks.registry import CHECKS
from cli.main import fleetmend
from controller.settings import load
from scripts.generate_docs import BUILDERS, PAGES
from scripts.pages.coverage import load_coverage
from scripts.pages.log_events import collect_log_events
from tests.support.checkout import ROOT, checked_in

DOCUMENTS = [ROOT / name for name in checked_in() if name.endswith(".md")]
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"(?:^|`|/)fleetmend (?:--url \S+ )?([a-z]+)", re.MULTILINE)
EVENT_NAME = re.compile(r"[a-z_]+\.[a-z_]+")


@pytest.mark.parametrize("name", BUILDERS)
def test_a_reference_page_says_what_the_code_does(name: str) -> None:
    written = PAGES / name
    assert written.is_file(), "run `make docs`"
    assert BUILDERS[name]() == written.read_text(), "run `make docs`"


def test_pages_do_not_depend_on_the_order_of_hashes() -> None:
    """The process of the tests has one of its own, mostly another each time, and this one has this."""
    command = [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"]
    fixed = {"PYTHONHASHSEED": "1", "COLUMNS": "60"}
    checked = subprocess.run(command, env=fixed, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_check_has_its_place() -> None:
    page = BUILDERS["checks.md"]()
    assert [*(check.id for check in CHECKS), "Benchmarks"] == re.findall(r"^## (\S+)$", page, re.MULTILINE)


def test_log_events_are_a_noun_and_a_past_participle_or_so() -> None:
    events = collect_log_events()
    assert len(events) > 20
    assert [name for name in events if not EVENT_NAME.fullmatch(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(document: Path) -> None:
    context = click.Context(fleetmend)
    blocks = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", document.read_text(), re.DOTALL))
    named = set(COMMAND.findall(blocks)) | set(re.findall(r"`fleetmend ([a-z]+)", document.read_text()))
    assert set() == named - set(fleetmend.list_commands(context))


def test_example_settings_are_valid(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "how-to" / "install.md").read_text()
    (tmp_path / "secret_broker").touch(mode=0o600)
    (tmp_path / "secret_broker").write_text("secret")
    examples = re.findall(r"```toml\n# (\S+)\n(.*?)```", guide, re.DOTALL)
    for name, text in examples:
        (tmp_path / name).write_text(re.sub(r"/run/credentials/[a-z.-]+", str(tmp_path), text))
    assert [name for name, _ in examples] == ["controller.toml", "agent.toml"]
    assert load(tmp_path / "controller.toml").scheduler.kind == "slurm"
    assert load_settings(tmp_path / "agent.toml").node == "gpu-017"


def test_the_page_on_slurm_and_the_program_that_slurm_runs_say_the_same() -> None:
    """What the page has Slurm do is tried in tests/end_to_end/test_slurm_health_check.py."""
    program = ROOT / "slurm" / "node-check"
    shipped, page = program.read_text(), (ROOT / "docs" / "how-to" / "slurm-health-check.md").read_text()
    (looks,) = re.findall(r"^\| limit for the look \|(.*)\|$", page, re.MULTILINE)
    limits = dict(re.findall(r"program=(\S+) limit_s=(\d+)", shipped))
    names = ("health-check", "prolog", "epilog")
    assert [cell.strip() for cell in looks.split("|")] == [f"{limits[name]} s" for name in names]
    ((grace_s, limit_s),) = re.findall(r"timeout --kill-after=(\d+) (\d+) ", shipped)
    (percent,) = re.findall(r"--at-most (\d+)", shipped)
    text = " ".join(page.split())
    assert f"longer than the {int(grace_s) + int(limit_s)} s after which" in text
    assert f"fewer than {percent} % of" in text
    checks = set(re.findall(r"[a-z]+\.[a-z_]+", " ".join(re.findall(r"checks=(\S+)", shipped))))
    assert checks <= {check.id for check in CHECKS if isinstance(check, LevelCheck)}
    assert os.access(program, os.X_OK)


def test_every_decision_has_its_parts() -> None:
    decisions = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [f"{number:04}" for number in range(1, len(decisions) + 1)] == [path.name[:4] for path in decisions]
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], path.name
        assert "rejected" in path.read_text(), path.name


INVARIANT = re.compile(r"^## I(\d+): (.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def test_every_invariant_names_what_keeps_it_and_tests_that_carry_its_number() -> None:
    page = (ROOT / "docs" / "explanation" / "safety.md").read_text()
    found = dict(INVARIANT.findall(page))
    assert list(found) == [str(number) for number in range(1, 13)]
    for number, text in found.items():
        named = re.findall(r"`([a-z_/0-9]+(?:\.py)?)`", text)
        assert [name for name in named if "/" in name and not (ROOT / name).exists()] == []
        tests = [name for name in named if name.startswith("tests/")]
        carried = re.compile(rf"\bI{number}\b|test_(?:i\d+_)*i{number}_")
        assert tests and [name for name in tests if not carried.search((ROOT / name).read_text())] == [], f"I{number}"
        assert any(name.endswith(".py") and not name.startswith("tests/") for name in named) or number == "12"


def test_the_coverage_names_every_check_and_no_other() -> None:
    coverage = load_coverage()
    signals = [signal for family in coverage.family for signal in family.signals]
    assert {check.id for check in CHECKS} == {check for signal in signals for check in signal.checks}
    assert {len(coverage.peers)} == {len(signal.peers) for signal in signals}
