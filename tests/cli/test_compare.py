"""`fleetmend replay --compare`: what a candidate would have done otherwise, and a no where it crosses a limit."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

import playbooks
from cli.exit_codes import ExitCode
from controller.hindsight.limits import MEASURES
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import run_cli
from tests.cli.test_replay import config, exported, history

__all__ = ["config"]


@pytest.fixture
def log(tmp_path: Path, config: Path) -> Path:
    return exported(history(config), tmp_path / "log.jsonl.gz")


@pytest.fixture
def laxer(tmp_path: Path) -> Path:
    """Return the playbooks of fleetmend, with the one for lost GPUs in shadow mode."""
    folder = tmp_path / "laxer"
    shutil.copytree(Path(playbooks.__file__).parent, folder)
    book = folder / "gpu_lost.yaml"
    text = book.read_text("utf-8")
    assert "mode: act" in text
    book.write_text(text.replace("mode: act", "mode: shadow"), encoding="utf-8")
    return folder


def test_the_same_rules_differ_in_nothing(log: Path, config: Path) -> None:
    result = run_cli("replay", str(log), "--config", str(config), "--compare", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert told["history"] == told["candidate"]
    assert told["history"]["cordons"] == told["same_cordons"] == 1
    assert [told[name] for name in ("added", "avoided", "moved", "unknown", "crossed")] == [[], [], [], [], []]
    assert (told["drawn"], told["seed"], told["rules"]) == (None, None, told["history_rules"])


def test_what_a_candidate_avoids_is_said_with_both_reasons(log: Path, config: Path, laxer: Path) -> None:
    result = run_cli("replay", str(log), "--config", str(config), "--playbooks", str(laxer), "--compare")
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    assert "Cordons avoided History took these nodes out; the candidate does not." in text
    assert "inc-000001, gpu_lost" in text
    assert "ended shadowed: Shadow mode" in text


def test_the_store_itself_can_be_compared(tmp_path: Path, config: Path, laxer: Path) -> None:
    with closing(SqliteLog(tmp_path / "events.sqlite")) as store:
        asyncio.run(store.append(history(config), []))
    result = run_cli("replay", "--config", str(config), "--playbooks", str(laxer), "--compare", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert [row["node"] for row in json.loads(result.stdout)["avoided"]] == ["n1"]


def test_a_limit_that_is_crossed_is_a_no(log: Path, config: Path, laxer: Path) -> None:
    given = ("replay", str(log), "--config", str(config), "--playbooks", str(laxer), "--compare", "--json")
    result = run_cli(*given, "--max-avoided-cordons", "0", "--max-more-pages", "0")
    assert result.returncode == ExitCode.NO
    said = "--max-avoided-cordons: 1 cordons of history that it does not make, at most 0 are allowed"
    assert result.stderr.splitlines() == [said]
    assert json.loads(result.stdout)["crossed"] == [said]
    assert run_cli(*given, "--max-avoided-cordons", "1").returncode == 0


def test_every_limit_is_an_option() -> None:
    text = run_cli("replay", "--help").stdout
    assert all(f"--{name} N" in text for name in MEASURES)


def test_a_page_needs_nothing_else_and_escapes_what_nodes_say(
    tmp_path: Path, config: Path, log: Path, laxer: Path
) -> None:
    page = tmp_path / "page.html"
    given = ("replay", str(log), "--config", str(config), "--playbooks", str(laxer), "--compare", "--html", str(page))
    result = run_cli(*given, "--max-avoided-cordons", "0", "--simulate-forward", "--seed", "4")
    assert (result.returncode, result.stdout) == (ExitCode.NO, "")
    html = page.read_text("utf-8")
    assert "Candidate against log.jsonl.gz" in html
    assert "--max-avoided-cordons: 1 cordons of history" in html
    assert "fault model, seed 4" in html
    assert '<figure class="plot" id="plot-over-time">' in html
    assert not any(word in html for word in ("<script", "http://", "https://", "@import", "url("))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--html", "page.html"), ExitCode.USAGE, "go with --compare"),
        (("--simulate-forward",), ExitCode.USAGE, "go with --compare"),
        (("--max-unknown", "1"), ExitCode.USAGE, "go with --compare"),
        (("--compare", "--seed", "1"), ExitCode.USAGE, "go with --simulate-forward"),
        (("--compare", "--max-unknown", "-1"), ExitCode.USAGE, "--max-unknown"),
        (("--compare", "--html", "/nowhere/page.html"), ExitCode.NO_OUTPUT, "/nowhere/page.html cannot be written"),
        (("--compare", "--simulate-forward", "--model", "/nowhere/m.toml"), ExitCode.CONFIG, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(
    log: Path, config: Path, options: tuple[str, ...], code: ExitCode, said: str
) -> None:
    result = run_cli("replay", str(log), "--config", str(config), *options)
    assert result.returncode == code
    assert said in result.stderr
