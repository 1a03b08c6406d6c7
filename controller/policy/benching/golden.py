"""What a matrix product must give, bit by bit: what peers of one kind agree on, so that whoever differs is found. Pure.

A node's answer is `version of its library:digest`, as `gemm` says it when all GPUs of the node computed the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from checks.bench_baseline import LEAST_PEERS
from checks.bench_result import BenchMachine
from controller.bench_events import GoldenAgreed
from controller.policy.benching.book import PEERS_KEPT, BenchBook

MOST_DISSENT = 0.2
"""When more than this share of the peers computed something else, nobody knows who is right. Source: our choice, the
share from which a change is the fleet's and not the nodes'."""

KINDS_KEPT = 256
"""Source: our choice; kinds of GPUs × drivers × versions of a library that are in use at once are some tens."""


def golden_kind(machine: BenchMachine, digest: str) -> str:
    """Return what all who must compute the same have in common."""
    return f"{_of(machine.sku, machine.driver)}{digest.partition(':')[0]}"


def _of(sku: str, driver: str) -> str:
    return f"{sku} {driver} "


def vote(book: BenchBook, node: str, machine: BenchMachine, digest: str) -> None:
    """Note what a healthy node computed; the kinds, and the nodes of each, that were heard last are kept."""
    kind = golden_kind(machine, digest)
    if kind in book.golden:
        return
    votes = book.votes.pop(kind, {})
    votes.pop(node, None)
    book.votes[kind] = {**votes, node: digest}
    for old in list(book.votes[kind])[:-PEERS_KEPT]:
        del book.votes[kind][old]
    for old in list(book.votes)[:-KINDS_KEPT]:
        del book.votes[old]


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


def handed_out(book: BenchBook, *, skus: Collection[str], driver: str) -> str:
    """Return what a node of this kind must compute, empty while nothing is known.

    Where nodes of one kind have libraries of several versions, that is the one agreed on last; a node with another
    version says that it did not use it.

    Args:
        skus: the names by which results may call its GPUs: the model's, or that of its kind.
    """
    kinds = tuple(_of(sku, driver) for sku in skus)
    return next((book.golden[kind] for kind in reversed(book.golden) if kind.startswith(kinds)), "")
