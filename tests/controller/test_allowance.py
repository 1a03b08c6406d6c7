"""What a node may say: enough for any that is well, and no more of one that floods; nobody else gets less for it."""

from __future__ import annotations

import random

import pytest

from controller.allowance import BURST, BURST_BYTES, BYTES_PER_S, CALM_S, MESSAGES_PER_S, MOST_WAITING, Allowance

NOW = 1_790_000_000.0
DAY_S = 86_400.0


def said(allowance: Allowance, node: str, count: int, *, size_bytes: int = 500, at: float = NOW) -> int:
    """Have a node say so much, each decided before the next; return how much of it was taken."""
    taken = 0
    for _ in range(count):
        if not allowance.why_not(node, size_bytes, at):
            allowance.done(node)
            taken += 1
    return taken


def test_a_full_outbox_passes_at_once() -> None:
    assert said(Allowance(), "n1", 100_000) == 100_000


def test_a_flood_gets_its_allowance_and_no_more() -> None:
    allowance = Allowance()
    assert said(allowance, "n1", BURST + 1_000) == BURST
    assert "more than 20 messages a second" in allowance.why_not("n1", 500, NOW)
    assert said(allowance, "n1", 1_000, at=NOW + 10.0) == 10 * MESSAGES_PER_S
    assert said(allowance, "n2", 1_000) == 1_000


def test_large_messages_are_counted_by_their_size() -> None:
    allowance = Allowance()
    size = 256 << 10
    assert said(allowance, "n1", 10_000, size_bytes=size) == BURST_BYTES // size
    assert said(allowance, "n1", 10_000, size_bytes=size, at=NOW + 5.0) == 5 * BYTES_PER_S // size
    assert allowance.why_not("n1", size, NOW + 5.0) == "flooding: it says more than 256 KiB a second"


def test_no_node_has_more_than_its_share_of_what_waits() -> None:
    allowance = Allowance()
    waiting = [allowance.why_not("n1", 500, NOW) for _ in range(MOST_WAITING + 10)]
    assert waiting.count("") == MOST_WAITING
    assert not allowance.why_not("n2", 500, NOW)
    allowance.done("n1")
    assert not allowance.why_not("n1", 500, NOW)
    assert allowance.why_not("n1", 500, NOW)


def test_a_level_counts_for_all_that_it_changes() -> None:
    allowance = Allowance()
    assert not allowance.why_not("n1", 60_000, NOW)
    allowance.charge("n1", MOST_WAITING)
    assert "wait already" in allowance.why_not("n1", 500, NOW)
    allowance.done("n1", events=MOST_WAITING)
    allowance.done("n1")
    assert not allowance.why_not("n1", 500, NOW)
    allowance.charge("n1", BURST)
    allowance.done("n1", events=BURST + 1)
    assert "messages a second" in allowance.why_not("n1", 500, NOW)


def test_turns_stay_fair_whoever_speaks_how_often() -> None:
    """One node says a thousand times what each of the others does; of the others nothing is ever dropped."""
    allowance, dice, dropped = Allowance(), random.Random(1), dict.fromkeys(("n1", "n2", "n3"), 0)
    at = NOW
    for _ in range(200_000):
        at += 0.0005
        node = "n1" if dice.random() < 0.999 else dice.choice(("n2", "n3"))
        if allowance.why_not(node, 2_000, at):
            dropped[node] += 1
        elif dice.random() < 0.95:
            allowance.done(node)
    assert dropped["n1"] > 50_000
    assert (dropped["n2"], dropped["n3"]) == (0, 0)


def test_who_floods_is_named_until_it_kept_quiet_for_a_while() -> None:
    allowance = Allowance()
    said(allowance, "n1", BURST + 7)
    said(allowance, "n2", 10)
    assert allowance.flooding(NOW + CALM_S - 1.0) == {"n1": 7}
    assert allowance.flooding(NOW + CALM_S) == {}


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_clock_that_jumps_takes_nothing_from_anybody(jump_s: float) -> None:
    allowance = Allowance()
    said(allowance, "n1", BURST)
    at = NOW + jump_s
    allowance.why_not("n1", 500, at)
    assert said(allowance, "n1", 1_000, at=at + 10.0) >= 10 * MESSAGES_PER_S
