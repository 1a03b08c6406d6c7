"""`fleetmend up`: what it is asked to do is looked at before anything starts."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import run_cli
from tests.support.broker import require_mosquitto
from tests.support.embedded import EmbeddedCell, until

HOLD = """\
playbook: hold
summary: A GPU has fallen off the bus.
fault_class: gpu_lost
severity: warning
precedence: 1
mode: ask
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, codes: ["79"]}
guards: {drain: not_needed, reversible: true}
steps:
  - cordon: {on_success: hand_over}
hand_over:
  - ticket: {team: platform}
"""


def test_playbooks_that_cannot_be_used_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "hold.yaml").write_text(HOLD.replace("gpu.xid", "gpu.xdi"))
    result = run_cli("up", "--state", str(tmp_path / "cell"), "--playbooks", str(tmp_path))
    assert result.returncode == 2
    assert f"{tmp_path}/hold.yaml:9: answers[0].check: there is no check `gpu.xdi`" in result.stderr
    assert not (tmp_path / "cell").exists()


def test_playbooks_of_ones_own_answer_in_place_of_fleetmends(tmp_path: Path) -> None:
    require_mosquitto()
    for folder in ("cell", "playbooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "playbooks" / "hold.yaml").write_text(HOLD)
    with EmbeddedCell(tmp_path / "cell", 1, arguments=("--playbooks", str(tmp_path / "playbooks"))) as cell:
        cell.drill("gpu-off-bus", "n1")
        (incident, *_) = until("an incident is open", lambda: cell.incidents("n1"))
    assert (incident["playbook"], incident["state"]) == ("hold", "waiting")
