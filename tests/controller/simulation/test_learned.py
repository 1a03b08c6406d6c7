"""What a log teaches of repairs and lemons: the same from a simulated log as from an export, and near the truth."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from cli.exit_codes import ExitCode
from cli.log_files import log_writer
from controller.assembly import rules_of
from controller.events import Logged
from controller.policy.reporting.shapes import FixRow
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.learned import Learned, Learning, fixes_of
from controller.simulation.model import FaultClass, Model, load_model
from controller.simulation.run import Asked, simulate
from tests.cli.conftest import run_cli

RULES = rules_of(ControllerSettings(state=Path("/nonexistent")))


def learned(model: Model, *, nodes: int, days: float, seed: int = 1, file: Path | None = None) -> Learned:
    """Return what a simulated fleet teaches, and write its log."""
    learning = Learning()
    asked = Asked(racks_and_leaves(nodes), days, seed, model)
    if file is None:
        simulate(asked, RULES, heard=learning.hear)
        return learning.learned()
    with log_writer(file, "simulated") as write:

        def hear(entry: Logged) -> None:
            learning.hear(entry)
            write(entry)

        simulate(asked, RULES, heard=hear)
    return learning.learned()


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_report_on_the_log_says_what_the_simulation_says_of_itself(tmp_path: Path, name: str) -> None:
    """Without a model's knowledge: from the written log alone, by the command that reads a real one."""
    own = learned(_with(load_model(rate=40.0), lemons=0.05), nodes=60, days=20.0, file=tmp_path / name)
    told = json.loads(run_cli("report", "--log", str(tmp_path / name), "--json").stdout)
    assert told["fixes"] == msgspec.to_builtins(own.fixes)
    assert told["lemons"] == msgspec.to_builtins(own.lemons)
    assert sum(row.fixed + row.not_fixed for row in own.fixes) > 20
    assert any(row.is_lemon for row in own.lemons)


def test_the_log_of_a_run_is_written_and_decides_again_to_the_same(tmp_path: Path) -> None:
    """I12, from the file: its moments are as fine as the simulation's own."""
    file = tmp_path / "log.jsonl"
    command = ("simulate", "--nodes", "64", "--days", "6", "--rate", "40", "--log", str(file))
    assert run_cli(*command).returncode == 0
    replayed = json.loads(run_cli("replay", str(file), "--json").stdout)
    assert (replayed["difference"], replayed["not_held"]) == (None, 0)
    assert replayed["decisions"] > 100


def test_a_log_is_that_of_one_run_and_is_written_where_it_can_be(tmp_path: Path) -> None:
    several = run_cli("simulate", "--seeds", "2", "--log", str(tmp_path / "log"))
    assert (several.returncode, "--log takes the log of one run" in several.stderr) == (ExitCode.USAGE, True)
    nowhere = run_cli("simulate", "--nodes", "4", "--days", "1", "--log", str(tmp_path / "none" / "log"))
    assert nowhere.returncode == ExitCode.NO_OUTPUT
    assert f"{tmp_path / 'none' / 'log'} cannot be written: No such file or directory" in nowhere.stderr


FIRST_RUNGS = {
    ("F3", "reset_gpu", "gpu_memory"): 0.92,
    ("F5", "reset_gpu", "gpu_reset"): 0.70,
    ("F7", "reboot", "gpu_pcie"): 0.40,
    ("F1", "reboot", "gpu_lost"): 0.35,
    ("F12", "power_cycle", "node_lost"): 0.90,
}
"""What the ladder tries first for a class, the class of its incidents, and how probably the model lets it mend."""


@pytest.mark.parametrize("what", FIRST_RUNGS, ids=lambda what: what[0])
def test_the_estimate_of_what_fixes_holds_the_models_truth(what: tuple[str, str, str]) -> None:
    """The truth lies in the 90 % interval of the estimate; the first rung alone is tried on faults as they come.

    Without lemons: a second fault on a part within seven days counts as the first one come back, and a lemon has many.
    """
    name, action, fault_class = what
    row = _row(_alone(name, load_model().classes[name]), fault_class, action)
    assert row.fixed + row.not_fixed > 60
    assert row.between.low is not None and row.between.high is not None
    assert row.between.low <= FIRST_RUNGS[what] <= row.between.high
    assert row.between.high - row.between.low < 0.25


def test_what_the_ladder_tries_first_has_the_models_numbers() -> None:
    classes = load_model().classes
    for (name, action, _), truth in FIRST_RUNGS.items():
        assert truth == classes[name].mends[{"reset_gpu": "reset"}.get(action, "reboot")]


def test_the_estimate_follows_the_model() -> None:
    """A test that holds whatever the model says would hold nothing."""
    hopeless = load_model().classes["F3"].model_copy(update={"mends": {"reset": 0.2, "reboot": 0.2}})
    row = _row(_alone("F3", hopeless), "gpu_memory", "reset_gpu")
    assert row.between.high is not None and row.between.high < 0.4


def test_what_was_tried_in_several_fleets_adds_up() -> None:
    each = [learned(load_model(rate=40.0), nodes=60, days=12.0, seed=seed) for seed in (1, 2)]
    together = fixes_of(each)
    assert sum(row.fixed for row in together) == sum(row.fixed for one in each for row in one.fixes)
    assert fixes_of([each[0]]) == each[0].fixes
    cells = [(row.fault_class, row.sku, row.action) for row in together]
    assert cells == sorted(set(cells))


def _alone(name: str, declared: FaultClass) -> list[FixRow]:
    """Return what a fleet teaches that has this class of faults alone."""
    model = _with(load_model(), lemons=0.0).model_copy(update={"classes": {name: declared}, "rate": 15.0})
    return learned(model, nodes=70, days=120.0).fixes


def _with(model: Model, *, lemons: float) -> Model:
    return model.model_copy(update={"nodes": model.nodes.model_copy(update={"lemons": lemons})})


def _row(rows: list[FixRow], fault_class: str, action: str) -> FixRow:
    (row,) = [each for each in rows if (each.fault_class, each.action) == (fault_class, action)]
    return row
