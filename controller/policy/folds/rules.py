"""Rules and playbooks that changed: what was left may find an answer now. And a log that came from a backup."""

from __future__ import annotations

from controller import events
from controller.policy.belief import Belief
from controller.policy.folds import questions

FORGOTTEN_AT_MOST = 100_000
"""So many incidents may have been opened after a backup. Source: our choice; 10,000 nodes open some 300 in a day."""


def loaded(belief: Belief, event: events.RulesLoaded, _at: float) -> None:
    """Note by which rules decisions are made."""
    questions.ask_all_again(belief)
    belief.rules_digest = event.digest


def trusted(belief: Belief, event: events.PlaybooksTrusted, _at: float) -> None:
    """Trust these texts."""
    for playbook in event.playbooks:
        belief.rollouts.trust(playbook)
    questions.ask_all_again(belief)


def rollout_began(belief: Belief, event: events.RolloutBegan, _at: float) -> None:
    """Try a changed text."""
    belief.rollouts.begin(event.playbook)
    questions.ask_all_again(belief)


def rollout_settled(belief: Belief, event: events.RolloutSettled, _at: float) -> None:
    """Take in how the trial of a text ended."""
    belief.rollouts.settle(event)
    questions.ask_all_again(belief)


def restored(belief: Belief, _event: events.LogRestored, _at: float) -> None:
    """Give no incident a number that was given after the backup: nodes and ticket systems know that other one."""
    belief.opened = (belief.opened // FORGOTTEN_AT_MOST + 1) * FORGOTTEN_AT_MOST
