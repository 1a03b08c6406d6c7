"""What a matrix product must give, bit by bit: what peers of one kind agree on, so that whoever differs is found. Pure.

A GPU's answer is a text `what decides the bits:digest`, e.g. the library's version and the shape before the colon.
"""

from __future__ import annotations

from collections import Counter

from checks.bench_baseline import LEAST_PEERS
from checks.bench_result import BenchMachine
from controller.bench_events import GoldenAgreed
from controller.policy.benching.book import BenchBook

MOST_DISSENT = 0.2
"""When more than this share of the peers computed something else, nobody knows who is right. Source: our choice, the
share from which a change is the fleet's and not the nodes'."""

KINDS_KEPT = 256
"""Source: our choice; kinds of GPUs × drivers × versions of a library that are in use at once are some tens."""

HANDED_OUT = 8
"""So many are told to a node, which takes the one that its own library decides."""


def golden_kind(machine: BenchMachine, golden: str) -> str:
    """Return what all who must compute the same have in common."""
    return f"{machine.sku} {machine.driver} {golden.partition(':')[0]}"


def agreement(book: BenchBook, kind: str) -> GoldenAgreed | None:
    """Return that peers agree, `None` while fewer than eight do, or too many differ."""
    votes = book.votes.get(kind, {})
    if kind in book.golden or not votes:
        return None
    golden, count = max(Counter(votes.values()).items(), key=lambda item: (item[1], item[0]))
    if count < LEAST_PEERS or len(votes) - count > MOST_DISSENT * len(votes):
        return None
    peers = sorted(node for node, digest in votes.items() if digest == golden)
    because = f"{count} of {len(votes)} peers computed the same: whoever does not is wrong."
    return GoldenAgreed(kind, golden, peers, because)


def handed_out(book: BenchBook, *, sku: str, driver: str) -> str:
    """Return what a node of this kind must compute, as comma-separated answers; empty while nothing is known."""
    kinds = [kind for kind in book.golden if kind.startswith(f"{sku} {driver} ")]
    return ",".join(book.golden[kind] for kind in kinds[-HANDED_OUT:])
