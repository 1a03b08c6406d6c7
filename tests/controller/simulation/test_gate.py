"""What a policy is held to: each aim can be missed, chance is no regression, and a regression is no chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from controller.assembly import rules_of
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.gate import LEMONS_KNOWN_DAYS, GateVerdict, aims, compared, lemons_known
from controller.simulation.lemons import HORIZONS_DAYS, Horizon, known
from controller.simulation.model import load_model
from controller.simulation.run import Asked
from controller.simulation.trial import Trial, tried

MODEL = load_model(rate=60.0)
RULES = rules_of(ControllerSettings(state=Path("/nonexistent")))
FEW = Horizon(LEMONS_KNOWN_DAYS, 10, 10, 9, {4: 10}, {0: 90})


@pytest.fixture(scope="module")
def trial() -> Trial:
    """One real run, on which each test changes one figure; its lemons are known as they should be."""
    real = tried(Asked(racks_and_leaves(80), 20.0, 2, MODEL), RULES)
    return msgspec.structs.replace(real, lemons=[FEW])


def having(trial: Trial, **figures: object) -> Trial:
    return msgspec.structs.replace(trial, result=msgspec.structs.replace(trial.result, **figures))


def missed(trial: Trial) -> list[str]:
    return [row.name for row in aims([trial] * 4, MODEL) if row.met is False]


def test_a_real_run_of_the_default_policy_misses_nothing(trial: Trial) -> None:
    assert trial.result.cordons > 10
    assert missed(trial) == []
    assert {"recall of F2", "precision of F2"} <= {row.name for row in aims([trial] * 4, MODEL)}


@pytest.mark.parametrize(
    ("figures", "name"),
    [
        ({"false_cordons": 2}, "precision of cordons"),
        ({"false_cordons": 2}, "false cordons, of all"),
        ({"decoy_cordons": 1}, "cordons for decoys"),
        ({"cordons": 0}, "precision of cordons"),
        ({"cordons": 0}, "false cordons, of all"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_aim_is_missed_by_what_misses_it(trial: Trial, figures: dict[str, object], name: str) -> None:
    """Two false cordons among some sixty; a policy that does nothing is not let through for its precision."""
    assert name in missed(having(trial, **figures))


def test_a_class_that_is_never_found_is_missed_though_the_sum_is_not(trial: Trial) -> None:
    per_class = dict(trial.result.per_class)
    rare = min(
        (n for n, each in per_class.items() if each.truth >= 5 and each.recall), key=lambda n: per_class[n].truth
    )
    per_class[rare] = msgspec.structs.replace(per_class[rare], detected=0, recall=0.0)
    assert f"recall of {rare}" in missed(having(trial, per_class=per_class))


@pytest.mark.parametrize(
    ("named", "right", "what"), [(10, 8, ["precision", "recall"]), (8, 8, ["recall"]), (11, 9, ["precision"])]
)
def test_lemons_are_held_to_both(trial: Trial, named: int, right: int, what: list[str]) -> None:
    lemons = msgspec.structs.replace(FEW, named=named, right=right)
    wanted = [f"lemons after 90 days: {each}" for each in what]
    assert missed(msgspec.structs.replace(trial, lemons=[lemons])) == wanted


def test_lemons_of_a_short_run_are_not_held(trial: Trial) -> None:
    short = msgspec.structs.replace(trial, lemons=[msgspec.structs.replace(FEW, days=30.0, named=0, right=0)])
    assert [row.met for row in aims([short] * 4, MODEL) if row.name.startswith("lemons")] == [None, None]
    assert lemons_known([short])[0].precision is None


@dataclass(frozen=True)
class Pages:
    """Pages of several fleets, by two policies."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    worse: bool


@pytest.mark.parametrize(
    "pages",
    [
        Pages((10, 20, 30, 40), (10, 20, 30, 40), worse=False),
        Pages((10, 20, 30, 40), (12, 22, 31, 42), worse=True),
        Pages((10, 20, 30, 40), (9, 18, 29, 38), worse=False),
        Pages((10, 20, 30, 40), (13, 18, 32, 39), worse=False),
        Pages((10, 20, 30, 40), (14, 24, 34, 44), worse=True),
    ],
    ids=["the same", "a little, everywhere", "better", "chance", "much, everywhere"],
)
def test_what_is_worse_beyond_chance_is(trial: Trial, pages: Pages) -> None:
    """The fleets differ far more from each other than the policies do: they are compared fleet by fleet."""
    released, candidate = ([having(trial, pages=each) for each in one] for one in (pages.before, pages.after))
    rows = {row.name: row for row in compared(released, candidate)}
    assert rows["pages"].worse is pages.worse
    assert not any(row.worse for name, row in rows.items() if name != "pages")


def test_less_is_worse_where_more_is_better(trial: Trial) -> None:
    candidate = [having(trial, availability=trial.result.availability - less) for less in (0.014, 0.016, 0.015)]
    worse = [row.name for row in compared([trial] * 3, candidate) if row.worse]
    assert worse == ["availability"]


def test_a_verdict_says_what_fails_in_sentences(trial: Trial) -> None:
    worse = having(trial, decoy_cordons=1, pages=trial.result.pages + 9)
    rows = compared([trial] * 3, [worse] * 3)
    held, pages = aims([worse] * 3, MODEL), trial.result.pages
    verdict = GateVerdict(80, 20.0, [1, 2, 3], "0.1", same=False, aims=held, lemons=[], compared=rows)
    assert verdict.failures == [
        "cordons for decoys is 3, the aim is ≤ 0",
        f"pages: {pages + 9} instead of {pages}, worse than 0.1 by more than chance (+9 to +9)",
    ]


# --- lemons ----------------------------------------------------------------------------------------------------------


def test_what_could_be_known_is_counted_by_hand() -> None:
    """With three failures 9 of 10 lemons and 1 other node, 0.9 of those; with two there are too many others."""
    run = Horizon(30.0, 10, 5, 4, {1: 1, 3: 4, 5: 5}, {0: 80, 1: 8, 2: 6, 3: 1})
    found = known([run])
    assert (found.possible, found.failures) == (0.9, 3)
    assert (found.precision, found.recall) == (0.8, 0.4)
    twice = known([run, run])
    assert (twice.lemons, twice.possible, twice.failures) == (20, 0.9, 3)


def test_where_lemons_fail_like_others_nobody_knows_them() -> None:
    found = known([Horizon(30.0, 2, 0, 0, {0: 1, 1: 1}, {0: 50, 1: 40, 2: 8})])
    assert (found.possible, found.precision, found.recall) == (0.0, None, 0.0)
    assert known([Horizon(30.0, 0, 0, 0, {}, {0: 9})]).possible is None


def test_a_run_says_how_it_stood_after_each_horizon_that_it_reached() -> None:
    model = load_model(rate=15.0)
    model = model.model_copy(update={"nodes": model.nodes.model_copy(update={"lemons": 0.1})})
    first, second = tried(Asked(racks_and_leaves(40), 61.0, 3, model), RULES).lemons
    assert (first.days, second.days) == HORIZONS_DAYS[:2]
    assert 0 < first.named <= second.named
    assert first.lemons == sum(first.lemons_failed.values()) == sum(second.lemons_failed.values())
    assert first.lemons + sum(first.others_failed.values()) == 40
    total = [sum(count * nodes for count, nodes in each.lemons_failed.items()) for each in (first, second)]
    assert 0 < total[0] < total[1]


def test_the_same_trial_gives_the_same() -> None:
    asked = Asked(racks_and_leaves(24), 6.0, 5, MODEL)
    assert tried(asked, RULES) == tried(asked, RULES)
    assert tried(asked, RULES) != tried(replace(asked, seed=6), RULES)
