"""Runs a fleet through its days under one set of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from controller import events
from controller.events import Logged
from controller.policy.rollout import loaded
from controller.policy.rules import Rules
from controller.simulation.clockwork import EPOCH, Clockwork
from controller.simulation.draws import Draws
from controller.simulation.fleet import Placed, fleet_of
from controller.simulation.model import Model
from controller.simulation.policies import Policy
from controller.simulation.score import Score
from controller.simulation.truth import DAY_S, Fault, faults_of
from controller.simulation.world import World


@dataclass(frozen=True, slots=True)
class Asked:
    """What is simulated. `placed`: the nodes, and where they stand."""

    placed: Placed
    days: float
    seed: int
    model: Model


def simulate(
    asked: Asked, rules: Rules, *, policy: Policy | None = None, heard: Callable[[Logged], None] | None = None
) -> Score:
    """Return what a cell that goes by these rules did in so many days.

    Args:
        policy: answers in place of the rules' playbooks.
        heard: told of every entry of its log.
    """
    if policy is not None:
        rules = replace(rules, playbooks=policy.playbooks)
    draws = Draws(asked.seed)
    hosts = fleet_of(asked.placed, asked.model, draws)
    clock = Clockwork(replace(rules, simulated_speedup=1.0))
    world = World(clock, asked.model, draws)
    score = Score(world)
    world.truth = score
    if policy is not None:
        world.judged, world.measures = policy.judged, False
        world.people.look_by_themselves = policy.people_look
    clock.heard += [score.hear, world.hear, *([heard] if heard is not None else [])]
    clock.happen(events.RulesLoaded(rules.digest(), "The simulation began."), *loaded(clock.belief, rules))
    world.open(hosts)
    _await(clock, world, faults_of(hosts, asked.model, draws, days=asked.days))
    clock.run(EPOCH + asked.days * DAY_S)
    score.end(clock.now)
    return score


def _await(clock: Clockwork, world: World, faults: Iterator[Fault]) -> None:
    """Have the next fault happen when it is due, and wait for the one after it then: no year is held in memory."""
    fault = next(faults, None)
    if fault is not None:
        clock.after(EPOCH + fault.begins - clock.now, partial(_begin, clock, world, faults, fault))


def _begin(clock: Clockwork, world: World, faults: Iterator[Fault], fault: Fault) -> None:
    world.begin(fault)
    _await(clock, world, faults)
