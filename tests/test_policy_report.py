"""`make policy-report`: the default playbooks pass, and worse ones do not. This is the gate that CI runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.playbooks import default_directory, load_directory
from scripts import playbook_corpus
from scripts.playbook_corpus import content_of, last_release
from scripts.policy_report import main

SMALL = ("--nodes", "120", "--days", "12", "--seeds", "3", "--rate", "12", "--workers", "1")

ACTS_ON_CONGESTION = """\
playbook: congested
summary: A link is slowed by congestion.
fault_class: congested
severity: warning
precedence: 70
mode: act
answers:
  - {check: fabric.rdma_congestion, verdicts: [degraded]}
guards: {drain: needed, reversible: true}
steps:
  - cordon: {}
  - drain: {jobs: requeue, limit: 15m}
  - verify: {}
  - uncordon: {}
hand_over:
  - ticket: {team: network}
"""


def report(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*SMALL, *arguments])


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the default playbooks, to change."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    for name, content in content_of(default_directory()).items():
        (folder / name).write_bytes(content)
    return folder


def test_the_default_playbooks_pass() -> None:
    """Lemons take 90 days and are held by the long report alone."""
    result = report("--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["failures"]) == (0, [])
    met = {row["name"]: row["met"] for row in told["aims"]}
    assert met["precision of cordons"] and met["recall of hardware that shows"] and met["cordons for decoys"]
    assert met["lemons after 90 days: recall"] is None


def test_playbooks_that_act_on_a_decoy_do_not_pass(changed: Path) -> None:
    """Aims are missed, and it is worse than the last release; the second can be wanted, the first cannot."""
    (changed / "congested.yaml").write_text(ACTS_ON_CONGESTION, encoding="utf-8")
    result = report("--playbooks", str(changed))
    assert result.exit_code == 1
    assert "cordons for decoys is " in result.stderr
    assert "precision of cordons: " in result.stderr and "worse than 0.1 by more than chance" in result.stderr
    rows = [line for line in result.stdout.splitlines() if line.split()[:3] == ["cordons", "for", "decoys"]]
    assert len(rows) == 1 and "MISSED" in rows[0]
    accepted = report("--playbooks", str(changed), "--accept", "precision of cordons")
    assert (accepted.exit_code, "precision of cordons: " in accepted.stderr) == (1, False)
    assert "precision of cordons is " in accepted.stderr


def test_playbooks_that_leave_a_class_alone_do_not_pass(changed: Path) -> None:
    for name in ("rdma_flap.yaml", "rdma_port.yaml"):
        (changed / name).unlink()
    result = report("--playbooks", str(changed))
    assert result.exit_code == 1
    assert "recall of hardware that shows is " in result.stderr


def test_playbooks_that_are_wrong_are_no_candidate(changed: Path) -> None:
    (changed / "gpu_lost.yaml").write_text("playbook: 3\n", encoding="utf-8")
    result = report("--playbooks", str(changed))
    assert result.exit_code == 78
    assert "gpu_lost.yaml" in result.stderr


# --- the record ------------------------------------------------------------------------------------------------------


def test_the_playbooks_of_the_last_release_are_there_and_still_read() -> None:
    """A change of the schema that they do not survive brings them up to it, too; what they do stays as released."""
    assert len(load_directory(last_release())) > 50


def test_the_newest_release_is_the_last(tmp_path: Path) -> None:
    for name in ("0.9", "0.10", "0.2"):
        (tmp_path / name).mkdir()
    assert last_release(tmp_path).name == "0.10"


def test_a_release_is_recorded_once_and_never_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert playbook_corpus.main([], tmp_path) == 0
    (folder,) = tmp_path.iterdir()
    assert content_of(folder) == content_of(default_directory())
    assert playbook_corpus.main([], tmp_path) == 0
    (folder / "gpu_lost.yaml").write_text("playbook: other\n", encoding="utf-8")
    assert playbook_corpus.main([], tmp_path) == 1
    assert f"{folder / 'gpu_lost.yaml'}: is recorded otherwise" in capsys.readouterr().err
    assert playbook_corpus.main(["--again"], tmp_path) == 0
    assert content_of(folder) == content_of(default_directory())
    shutil.rmtree(folder)
