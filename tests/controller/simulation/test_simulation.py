"""A simulated fleet under the real policy: the same seed gives the same log, and what must not be acted on is not."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from checks.bench_result import Benchmark
from checks.finding import Verdict
from controller import events
from controller.assembly import rules_of
from controller.policy.replaying.again import Again
from controller.policy.rules import Budget, Rules
from controller.settings import ControllerSettings, SettingsError
from controller.simulation.draws import Draws, remaining_s
from controller.simulation.fleet import fleet_of, racks_and_leaves
from controller.simulation.model import Kind, Model, Spread, load_model
from controller.simulation.policies import POLICIES
from controller.simulation.result import between, result_of, results_of
from controller.simulation.run import Asked, simulate
from controller.simulation.score import Score
from controller.simulation.signs import SIGNS, shown_by
from controller.simulation.tally import Returns
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


def truth(score: Score) -> int:
    return sum(each.truth for each in score.tallies.values())


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
    assert truth(score) > 40
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
    assert score.cordons == 0
    if name != "F18":
        assert truth(score) > 5


def test_a_leaf_that_fails_takes_no_node_out(rules: Rules) -> None:
    """I11: one incident for the switch, none for its nodes."""
    score = run(only("F11", times=200.0), rules)
    assert truth(score) >= 2
    assert score.cordons == 0
    assert score.tallies["F11"].detected == truth(score)


def test_a_rack_without_power_takes_no_node_out(rules: Rules) -> None:
    """I11: its nodes are silent together, and one incident is opened for their rack; none of them is power-cycled."""
    told: list[events.Logged] = []
    asked = Asked(racks_and_leaves(96), 10.0, 3, only("rack_power", times=1_000.0))
    score = simulate(asked, rules, heard=told.append)
    assert truth(score) >= 2
    assert score.tallies["rack_power"].detected == truth(score)
    assert score.cordons == 0
    assert score.out_s > 4 * 3600.0 * truth(score), "four nodes are down for hours"
    opened = [entry.event for entry in told if isinstance(entry.event, events.IncidentOpened)]
    assert all(each.node == "" and each.device.startswith("rack=") for each in opened)


def test_the_trays_of_an_nvlink_domain_fail_together_where_places_say_so(rules: Rules) -> None:
    model = only("nvlink_domain", times=2_000.0)
    assert truth(simulate(Asked(racks_and_leaves(96), 10.0, 3, model), rules)) == 0
    trays = {n: {**at, "nvlink_domain": [f"nvl-{i // 18}"]} for i, (n, at) in enumerate(racks_and_leaves(90).items())}
    told: list[events.Logged] = []
    score = simulate(Asked(trays, 10.0, 3, model), rules, heard=told.append)
    assert truth(score) >= 2
    opened = [entry.event for entry in told if isinstance(entry.event, events.IncidentOpened)]
    assert score.tallies["nvlink_domain"].detected == truth(score)
    assert sum(each.device.startswith("nvlink_domain=") for each in opened) > truth(score) / 2
    assert score.cordons < 3 * truth(score), "of 18 trays only those that came before three had failed"


def test_what_hides_is_not_found(rules: Rules) -> None:
    """The score knows of it, and what it costs; the policy cannot."""
    score = run(only("F16", times=100.0), rules)
    assert truth(score) > 2
    assert score.cordons == 0
    assert score.missed_s > 0.0


def test_a_repair_that_mends_nothing_ends_with_people_and_a_return(rules: Rules) -> None:
    model = only("F1", times=30.0)
    hopeless = model.classes["F1"].model_copy(update={"mends": {"reset": 0.0, "reboot": 0.0}})
    repairs = model.repairs.model_copy(update={"comes_back": 0.0})
    score = run(model.model_copy(update={"classes": {"F1": hopeless}, "repairs": repairs}), rules, days=40.0)
    assert truth(score) > 5
    assert score.tickets >= truth(score) - 2
    assert all(seen.fault.ended < math.inf for seen in score.seen.values() if seen.returned_at)
    assert score.tallies["F1"].to_return.count > 2
    assert score.parts.spent_s["people"] > score.parts.spent_s["repair"] > 0.0


def test_a_drain_waits_for_the_jobs_of_its_node(rules: Rules) -> None:
    """For memory errors: an idle node is drained at once, and long jobs are put back when the limit is over."""
    model = only("F3", times=30.0)
    idle = with_jobs(model, busy=0.0)
    long = with_jobs(model, busy=1.0, length=Spread(median_s=400_000.0, sigma=0.1))
    assert drain_s(run(idle, rules)) < 1.0
    assert drain_s(run(long, rules)) == pytest.approx(4 * 3600.0 + 60.0, rel=0.1)


def drain_s(score: Score) -> float:
    means = score.parts.means_s()
    assert means is not None
    return means["drain"]


def with_jobs(model: Model, **jobs: object) -> Model:
    return model.model_copy(update={"jobs": model.jobs.model_copy(update=jobs)})


def test_a_node_is_met_in_a_long_job_more_often_than_in_a_short_one() -> None:
    """Means of what is left of a job: half of E(length²) / E(length), as renewal theory has it."""
    jobs = load_model().jobs.model_copy(update={"busy": 1.0, "length": Spread(median_s=100.0, sigma=0.7)})
    stream = Draws(1).stream("jobs")
    left = [remaining_s(stream, jobs) for _ in range(40_000)]
    assert sum(left) / len(left) == pytest.approx(100.0 * math.exp(1.5 * 0.7**2) / 2.0, rel=0.05)
    idle = jobs.model_copy(update={"busy": 0.25})
    assert sum(not remaining_s(stream, idle) for _ in range(10_000)) == pytest.approx(7_500, rel=0.05)


def test_a_verification_finds_what_its_benchmarks_find(rules: Rules) -> None:
    """Silent corruption shows when its node is out for something else and is measured; a green one returns with it."""
    model = only("F3", "F16", times=1.0)
    rates = {"F3": 300.0, "F16": 60.0}
    soon = Spread(median_s=7_200.0, sigma=0.1)
    changes = {name: {"rate": rate, "repair": soon} for name, rate in rates.items()}
    classes = {name: each.model_copy(update=changes[name]) for name, each in model.classes.items()}
    model = model.model_copy(update={"classes": classes, "rate": 360.0})
    found = run(finding(model, 1.0), rules, nodes=32, days=8.0)
    assert found.tallies["F16"].detected > 3
    assert found.tallies["F16"].to_return.count, "people mended it, and the benchmark passed then"
    assert found.false_cordons == {}
    assert run(finding(model, 0.0), rules, nodes=32, days=8.0).tallies["F16"].detected == 0


def finding(model: Model, share: float) -> Model:
    gemm = model.benchmarks[Benchmark.GEMM].model_copy(update={"finds": {"F16": share}})
    return model.model_copy(update={"benchmarks": {**model.benchmarks, Benchmark.GEMM: gemm}})


def test_people_take_out_what_they_work_on(rules: Rules) -> None:
    """A paged person does not leave a broken node in service for the days of its repair; who sees a job stand still
    comes half an hour later."""
    asked = Asked(racks_and_leaves(200), 10.0, 1, only("F1", times=20.0))
    paged, nobody = (simulate(asked, rules, policy=POLICIES[name]) for name in ("page a person", "nothing"))
    for score in (paged, nobody):
        assert truth(score) > 10
        assert score.out_s > 20 * score.missed_s > 0.0
        assert score.cordons == 0
    assert paged.pages >= truth(paged) > nobody.pages == 0
    assert 1_000 < (nobody.tallies["F1"].stopped_s - paged.tallies["F1"].stopped_s) / truth(nobody) < 2_500


def test_what_comes_back_to_a_part_soon_after_its_return_is_counted() -> None:
    returns = Returns()
    returns.give_back("F1", "n1", "gpu3", 1.0 * DAY_S)
    returns.give_back("F1", "n2", "gpu3", 2.0 * DAY_S)
    assert returns.days_since("F1", "n1", "gpu3", 9.0 * DAY_S) == 8.0
    assert returns.days_since("F1", "n1", "gpu3", 9.0 * DAY_S) == math.inf, "it counts once"
    assert returns.days_since("F2", "n2", "gpu3", 9.0 * DAY_S) == math.inf
    returns.give_back("F1", "n3", "", 33.0 * DAY_S)
    assert returns.days_since("F1", "n2", "gpu3", 33.0 * DAY_S) == math.inf, "it is too old to matter, and forgotten"


def test_a_repair_that_only_hides_comes_back_within_the_month(rules: Rules) -> None:
    model = only("F2", times=20.0)
    hides = model.repairs.model_copy(update={"comes_back": 1.0, "comes_back_after_days": 2.0})
    lasts = model.repairs.model_copy(update={"comes_back": 0.0})
    back, stays = (run(model.model_copy(update={"repairs": each}), rules, days=20.0) for each in (hides, lasts))
    assert back.tallies["F2"].back[30] > 3 * max(1, stays.tallies["F2"].back[30])
    assert back.tallies["F2"].back[7] <= back.tallies["F2"].back[30] <= back.tallies["F2"].returns


def test_what_is_counted_does_not_grow_with_the_days(rules: Rules) -> None:
    score = run(load_model(rate=20.0), rules, nodes=48, days=40.0)
    assert truth(score) > 60
    assert len(score.seen) < 30, "faults that are over are counted, and forgotten"


def test_the_budget_holds_whatever_fails(rules: Rules) -> None:
    """I2: three of a hundred nodes, while hundreds of faults ask for more."""
    tight = replace(rules, budget=Budget(nodes=3))
    score = run(only("F3", "F7", times=120.0), tight, nodes=100, days=2.0)
    assert truth(score) > 20
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


def changed(model: Model, **nodes: object) -> Model:
    return model.model_copy(update={"nodes": model.nodes.model_copy(update=nodes)})


def counts(model: Model, *, days: float = 30.0, nodes: int = 1_000) -> Counter[str]:
    hosts = fleet_of(racks_and_leaves(nodes), model, Draws(1))
    return Counter(fault.name for fault in faults_of(hosts, model, Draws(1), days=days))


def test_new_nodes_fail_more_often_and_some_were_delivered_with_a_fault() -> None:
    model = load_model(rate=8.0)
    old, new = counts(changed(model, latent=0.0)), counts(changed(model, new_share=1.0, latent=0.0))
    days = 14 * 4.0 + 16
    assert new["F2"] / old["F2"] == pytest.approx(days / 30.0, rel=0.3)
    latent = counts(changed(model, new_share=1.0, latent=0.5, young_times=1.0))
    plain = counts(changed(model, new_share=1.0, latent=0.0, young_times=1.0))
    gray = {name: latent[name] - plain[name] for name in latent if latent[name] != plain[name]}
    assert set(gray) == {"F7", "F8", "F9"}
    assert sum(gray.values()) == pytest.approx(500, rel=0.15)


def test_a_bad_driver_is_an_epoch_of_one_class() -> None:
    model = load_model(rate=8.0)
    usual, bad = counts(model), counts(changed(model, epoch_days=14.0))
    assert bad["F5"] > 20 * usual["F5"] > 0
    assert bad["F2"] == pytest.approx(usual["F2"], rel=0.25)
    assert counts(changed(model, epoch_days=14.0, epoch_from_day=40.0))["F5"] < 20


def test_a_hot_month_makes_memory_and_links_fail_more_often() -> None:
    model = load_model(rate=30.0)
    usual, hot = counts(model), counts(changed(model, hot_from_day=0.0, hot_times=3.0))
    assert hot["F3"] / usual["F3"] == pytest.approx(3.0, rel=0.25)
    assert hot["F2"] == pytest.approx(usual["F2"], rel=0.2)
    assert 0.0 < model.nodes.hot_days < 32.0, "a year has one by itself"


def test_what_failed_once_fails_more_often() -> None:
    model = load_model(rate=60.0)
    assert counts(changed(model, repeat=1.3))["F2"] > 1.2 * counts(changed(model, repeat=1.0))["F2"]


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
    assert list(model.classes)[:21] == [f"F{number}" for number in range(1, 22)]
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


def test_a_class_says_what_it_needs_beside_its_other_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[classes.mine]\nsummary = "x"\nrate = -2.0\nkind = "decoy"\npart = "wing"\nsource = "y"\n'
        '[classes.other]\nsummary = "x"\nrate = 1.0\npart = "gpu"\nsource = "y"\n'
        "[benchmarks.chess]\ntakes = {median_s = 1.0, sigma = 0.1}\n[jobs]\nbusy = 1.5\n",
        encoding="utf-8",
    )
    with pytest.raises(SettingsError) as told:
        load_model(file)
    keys = {line.removeprefix(f"{file}: ").partition(": ")[0] for line in str(told.value).splitlines()}
    assert {"classes.mine.rate", "classes.mine.part", "classes.mine.lasts", "classes.other.repair", "jobs.busy"} <= keys
    assert any(key.startswith("benchmarks.chess") for key in keys)


@pytest.mark.parametrize("content", ["[classes", "rate = 0.0\n", "rate = inf\n"])
def test_a_model_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=str(file)):
        load_model(file)


def test_figures_of_several_seeds_have_an_interval(rules: Rules) -> None:
    asked = [Asked(racks_and_leaves(48), 4.0, seed, load_model(rate=30.0)) for seed in (1, 2, 3)]
    runs = [result_of(each, simulate(each, rules), took_s=1.0) for each in asked]
    figures = results_of(runs).figures
    found = figures["cordons"]
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(sum(each.cordons for each in runs) / 3)
    assert figures["per_class.F17.truth"].mean == pytest.approx(sum(r.per_class["F17"].truth for r in runs) / 3)
    assert "per_class.F17.recall" not in figures, "nothing of it is to be found"
    assert figures["ettr.128"].high <= 1.0


def test_the_interval_is_that_of_students_t() -> None:
    found = between([10.0, 12.0, 14.0])
    assert found is not None
    assert (found.mean, found.seeds) == (12.0, 3)
    assert found.high - found.mean == pytest.approx(4.30 * 2.0 / math.sqrt(3))
    assert between([]) is None
    single = between([0.5])
    assert single is not None and (single.low, single.high) == (0.5, 0.5)
    share = between([0.9, 1.0], most=1.0)
    assert share is not None and share.high == 1.0
