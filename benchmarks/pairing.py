"""What others do to find a bad node, on the same simulated networks: pairs of nodes, and no idea of switches.

Each is given our limit for what counts as slow, and names nodes only. Source: DLRover's two rounds of its network check
(`dlrover/python/master/elastic_training/rdzv_manager.py`), the two passes of Google's cluster health scanner, and the
circle method, by which every node meets every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.simulated_fabric import Network
from checks.bench_judging import GROUP_FAIL_SHARE


@dataclass(frozen=True, slots=True)
class Named:
    """The nodes that were named, and what that took."""

    nodes: frozenset[str]
    tests: int
    rounds: int


def dlrover(network: Network) -> Named:
    """Return who failed twice: with the neighbour, and then, by time, the fastest with the slowest."""
    names = _names(network)
    first = _pairs(names)
    slow, shares = _slow(network, first)
    by_time = sorted(names, key=lambda name: -shares[name])
    half = len(by_time) // 2
    second: list[tuple[str, ...]] = [(by_time[number], by_time[-1 - number]) for number in range(half)]
    second = [*second[:-1], (*second[-1], by_time[half])] if len(by_time) % 2 else second
    again, _ = _slow(network, second)
    return Named(frozenset(slow & again), len(first) + len(second), 2)


def health_scanner(network: Network) -> Named:
    """Return who failed in a random pair, and then with a node that had passed."""
    names = _names(network)
    network.dice.shuffle(names)
    first = _pairs(names)
    slow, _ = _slow(network, first)
    passed = [name for name in names if name not in slow]
    if not slow or not passed:
        return Named(frozenset(), len(first), 1)
    partners = cycle(passed)
    again = {name for name in sorted(slow) if _is_slow(network, (name, next(partners)))}
    return Named(frozenset(again), len(first) + len(slow), 2)


def exhaustive(network: Network) -> Named:
    """Return who was slow in more than half of its pairs with all others."""
    names = _names(network)
    fails: Counter[str] = Counter()
    tests = rounds = 0
    for pairs in circle(names):
        rounds += 1
        for pair in pairs:
            tests += 1
            if _is_slow(network, pair):
                fails.update(pair)
    return Named(frozenset(name for name, count in fails.items() if 2 * count > len(names) - 1), tests, rounds)


def circle(names: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Yield rounds in which nobody is in two pairs, until every two nodes have met once."""
    turning = [*names, ""] if len(names) % 2 else list(names)
    count = len(turning)
    for _ in range(count - 1):
        met = [(turning[number], turning[count - 1 - number]) for number in range(count // 2)]
        yield [pair for pair in met if all(pair)]
        turning[1:] = [turning[-1], *turning[1:-1]]


def _names(network: Network) -> list[str]:
    return [network.node(number) for number in range(network.size)]


def _pairs(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return neighbours; the last of an odd number joins the last pair."""
    pairs: list[tuple[str, ...]] = [tuple(names[at : at + 2]) for at in range(0, len(names) - len(names) % 2, 2)]
    return [*pairs[:-1], (*pairs[-1], names[-1])] if len(names) % 2 else pairs


def _is_slow(network: Network, nodes: tuple[str, ...]) -> bool:
    return min(network.measure(nodes).values()) < GROUP_FAIL_SHARE


def _slow(network: Network, groups: Sequence[tuple[str, ...]]) -> tuple[set[str], dict[str, float]]:
    """Return the nodes of slow groups, and how fast each node's group was; the worse of its rails counts."""
    shares: dict[str, float] = {}
    slow: set[str] = set()
    for group in groups:
        share = min(network.measure(group).values())
        shares |= dict.fromkeys(group, share)
        slow |= set(group) if share < GROUP_FAIL_SHARE else set()
    return slow, shares
