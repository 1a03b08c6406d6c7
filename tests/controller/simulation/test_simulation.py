"""A simulated fleet under the real policy: the same seed gives the same log, and what must not be acted on is not."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from checks.finding import Verdict
from controller import events
from controller.assembly import rules_of
from controller.policy.replaying.again import Again
from controller.policy.rules import Budget, Rules
from controller.settings import ControllerSettings, SettingsError
from controller.simulation.draws import Draws
from controller.simulation.fleet import fleet_of, racks_and_leaves
from controller.simulation.model import Kind, Model, load_model
from controller.simulation.result import result_of, together
from controller.simulation.run import Asked, simulate
from controller.simulation.score import Score
from controller.simulation.signs import SIGNS, shown_by
from controller.simulation.truth import DAY_S, faults_of


@pytest.fixture(scope="module")
def rules() -> Rules:
    return rules_of(ControllerSettings(state=Path("/nonexistent")))


def only(*names: str, times: float = 1.0) -> Model:
    """Return the model with these classes alone, so many times as often."""
    model = load_model()
    classes = {name: each.model_copy(update={"rate": each.rate * times}) for name, each in model.classes.items()}
    rate = sum(each.rate for name, each in classes.items() if name in names) or 1.0
    return model.model_copy(update={"classes": {name: classes[name] for name in names}, "rate": rate})


def run(model: Model, rules: Rules, *, nodes: int = 96, days: float = 10.0, seed: int = 3) -> Score:
    return simulate(Asked(racks_and_leaves(nodes), days, seed, model), rules)


def test_the_same_seed_gives_the_same_log_and_another_one_another(rules: Rules) -> None:
    def log(seed: int) -> list[bytes]:
        told: list[events.Logged] = []
        simulate(Asked(racks_and_leaves(64), 8.0, seed, load_model(rate=20.0)), rules, heard=told.append)
        return [msgspec.json.encode(entry, order="deterministic") for entry in told]

    first = log(1)
    assert first == log(1)
    assert first != log(2)


def test_the_log_is_decided_again_to_the_byte(rules: Rules) -> None:
    """I12: a simulated log is one like any other."""
    told: list[events.Logged] = []
    simulate(Asked(racks_and_leaves(64), 8.0, 5, load_model(rate=30.0)), rules, heard=told.append)
    replay = Again(rules)
    replay.take_all(told)
    assert replay.difference is None
    assert replay.entries == len(told)
    assert replay.decisions > 100


def test_hardware_that_shows_is_found_and_nothing_else_is_taken_out(rules: Rules) -> None:
    asked = Asked(racks_and_leaves(200), 10.0, 1, load_model(rate=30.0))
    score = simulate(asked, rules)
    result = result_of(asked, score, took_s=1.0)
    assert len(score.seen) > 40
    assert result.cordons > 20
    assert (result.false_cordons, result.decoy_cordons, result.precision) == (0, 0, 1.0)
    assert result.recall is not None and result.recall > 0.95
    assert 0.9 < result.availability < 1.0
    assert result.missed_fault_node_hours >= 0.0
    assert 1.0 > result.ettr["128"] > result.ettr["1024"] > result.ettr["9600"] > 0.5


@pytest.mark.parametrize("name", ["F17", "F18", "F19", "F20", "F21"])
def test_decoys_are_left_alone(rules: Rules, name: str) -> None:
    """I1: a program's own fault, slowness, congestion, maintenance and silence take no node out."""
    times = 20.0 if name in {"F17", "F20", "F21"} else 1.0
    score = run(only(name, times=times), rules)
    assert score.cordons == []
    if name != "F18":
        assert len(score.seen) > 5


def test_a_leaf_that_fails_takes_no_node_out(rules: Rules) -> None:
    """I11: one incident for the switch, none for its nodes."""
    score = run(only("F11", times=200.0), rules)
    assert len(score.seen) >= 2
    assert score.cordons == []
    assert all(seen.detected_at for seen in score.seen.values())
    assert score.came_back == 0, "it is on many nodes, and came once"


def test_what_hides_is_not_found(rules: Rules) -> None:
    """The score knows of it, and what it costs; the policy cannot."""
    score = run(only("F16", times=100.0), rules)
    assert len(score.seen) > 2
    assert score.cordons == []
    assert score.missed_s > 0.0


def test_a_repair_that_mends_nothing_ends_with_people_and_a_return(rules: Rules) -> None:
    model = only("F1", times=30.0)
    hopeless = model.classes["F1"].model_copy(update={"mends": {"reset": 0.0, "reboot": 0.0}})
    repairs = model.repairs.model_copy(update={"comes_back": 0.0})
    score = run(model.model_copy(update={"classes": {"F1": hopeless}, "repairs": repairs}), rules, days=40.0)
    assert len(score.seen) > 5
    assert score.tickets >= len(score.seen) - 2
    assert all(seen.fault.ended < math.inf for seen in score.seen.values() if seen.returned_at)
    assert sum(bool(seen.returned_at) for seen in score.seen.values()) > 2


def test_the_budget_holds_whatever_fails(rules: Rules) -> None:
    """I2: three of a hundred nodes, while hundreds of faults ask for more."""
    tight = replace(rules, budget=Budget(nodes=3))
    score = run(only("F3", "F7", times=120.0), tight, nodes=100, days=2.0)
    assert len(score.seen) > 30
    assert score.most_held == 3


def test_the_rate_is_the_one_that_was_asked_for() -> None:
    model = load_model(rate=8.0)
    hosts = fleet_of(racks_and_leaves(2_000), model, Draws(1))
    own = Counter(fault.name for fault in faults_of(hosts, model, Draws(1), days=20.0) if fault.is_nodes_own)
    assert sum(own.values()) == pytest.approx(8.0 * 40, rel=0.25)
    assert own["F2"] > own["F13"]


def test_lemons_fail_more_often() -> None:
    model = load_model(rate=8.0)
    hosts = fleet_of(racks_and_leaves(2_000), model, Draws(1))
    lemons = {host.name for host in hosts if host.lemon}
    faults = [f for f in faults_of(hosts, model, Draws(1), days=20.0) if f.is_nodes_own]
    share = sum(fault.nodes[0] in lemons for fault in faults) / len(faults)
    assert 10 < len(lemons) < 40
    assert share > 0.15


def test_faults_come_in_their_order_and_within_the_days() -> None:
    model = load_model()
    faults = list(faults_of(fleet_of(racks_and_leaves(100), model, Draws(4)), model, Draws(4), days=12.0))
    assert [fault.begins for fault in faults] == sorted(fault.begins for fault in faults)
    assert faults[-1].begins < 12.0 * DAY_S
    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))


def test_every_sign_is_what_a_real_check_says() -> None:
    for name, findings in SIGNS.items():
        assert findings, f"{name}.jsonl shows nothing"
        assert all(finding.because for finding in findings)
    (off_bus,) = shown_by("gpu_off_bus", "GPU-n1-3", "s1")
    assert (off_bus.check, off_bus.code, off_bus.verdict) == ("gpu.xid", "79", Verdict.FAILED)
    assert (off_bus.device, off_bus.serial) == ("GPU-n1-3", "s1")


def test_every_class_of_the_model_has_a_source() -> None:
    model = load_model()
    assert list(model.classes) == [f"F{number}" for number in range(1, 22)]
    assert all(each.source for each in model.classes.values())
    assert {each.kind for each in model.classes.values()} == set(Kind)


def test_what_is_overridden_is_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[classes.F1]\nrate = 9.5\n[nodes]\nlemons = 0.0\n", encoding="utf-8")
    model = load_model(tmp_path / "mine.toml", rate=2.3)
    assert (model.rate, model.classes["F1"].rate, model.nodes.lemons) == (2.3, 9.5, 0.0)
    assert model.classes["F1"].signs == load_model().classes["F1"].signs


def test_every_mistake_of_a_model_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[classes.F1]\nrate = -1.0\nsigns = ["none_such"]\n[classes.F3]\nmends = {prayer = 0.5}\n[nodes]\ncolour = 3\n',
        encoding="utf-8",
    )
    with pytest.raises(SettingsError) as told:
        load_model(file)
    text = str(told.value)
    assert all(line.startswith(f"{file}: ") for line in text.splitlines())
    assert "classes.F1.rate: " in text
    assert "nodes.colour: no such key here; there are lemons, " in text
    assert "classes.F3" in text


@pytest.mark.parametrize("content", ["[classes", "rate = 0.0\n", "rate = inf\n"])
def test_a_model_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=str(file)):
        load_model(file)


def test_figures_of_several_seeds_have_an_interval(rules: Rules) -> None:
    asked = [Asked(racks_and_leaves(48), 4.0, seed, load_model(rate=30.0)) for seed in (1, 2, 3)]
    results = [result_of(each, simulate(each, rules), took_s=1.0) for each in asked]
    found = together(results, lambda each: float(each.cordons))
    assert found is not None
    mean, low, high = found
    assert low <= mean <= high
    assert mean == pytest.approx(sum(each.cordons for each in results) / 3)
    assert together(results, lambda _: None) is None
