"""What the policy goes by besides belief: playbooks, budget and limits, as data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import msgspec

from checks.finding import Finding
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.when import WhenRules
from controller.policy.playbook import Mode, Playbook
from controller.policy.scopes import CHECK_KIND, FLEET, Scope


@dataclass(frozen=True, slots=True)
class Budget:
    """How many nodes of the fleet fleetmend may hold out at once: an absolute number, or a share of the fleet.

    A share is rounded down, but a fleet of any size may have one node out, or nothing could ever be mended.
    """

    nodes: int | None = None
    percent: float | None = None

    def limit(self, fleet_size: int) -> int:
        """Return the number of nodes that may be out."""
        if self.nodes is not None:
            return self.nodes
        return max(1, math.floor(fleet_size * (self.percent or 0.0) / 100.0))

    def text(self, fleet_size: int) -> str:
        """Return the budget as people read it."""
        limit = self.limit(fleet_size)
        nodes = f"{limit} {'node' if limit == 1 else 'nodes'}"
        return nodes if self.nodes is not None else f"{nodes} ({self.percent or 0.0:g} % of {fleet_size})"


MAX_ANSWERS_KEPT = 10_000
"""A node may say any code; what is remembered is bounded."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget of a scope, or of each scope of a kind when the scope has no name."""

    scope: Scope
    budget: Budget
    because: str = ""


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """How many nodes may be taken out of a scope within a window, before the breaker opens.

    Attributes:
        at_least: a share of a small scope is never less than this, or two faults on one day would open it.
        cooldown_s: how long it stays open before one incident may go on as a canary.
    """

    scope: Scope
    budget: Budget
    window_s: float
    cooldown_s: float
    at_least: int = 1
    because: str = ""

    def limit(self, size: int) -> int:
        """Return the number of nodes that may be taken out within the window."""
        return max(self.budget.limit(size), self.at_least)


DEFAULT_BREAKERS = (
    BreakerRule(
        FLEET,
        Budget(percent=5.0),
        window_s=600.0,
        cooldown_s=600.0,
        at_least=20,
        because="hardware takes a node every few hours; a twentieth of the fleet in ten minutes has another cause",
    ),
    BreakerRule(
        Scope(CHECK_KIND),
        Budget(percent=2.0),
        window_s=600.0,
        cooldown_s=600.0,
        at_least=10,
        because="one check that condemns so many nodes in ten minutes is a suspect itself",
    ),
)
"""Source: our choice. The rates are those of the fault model (4 incidents a day in 1,000 nodes) times some 1,000."""


@dataclass(frozen=True, slots=True)
class DomainRule:
    """When failures of several nodes are put down to something that they share.

    Attributes:
        kind: of the scope that is suspected.
        families: of checks whose failures may have such a cause.
        team: who gets the ticket.
        least_nodes: so many nodes of it must have failed within the window of its kind.
        least_share: and at least this share of its nodes.
        wait_s: how long a single failure waits for others before its node is acted on.
        because: what is suspected, as the incident says it.
    """

    kind: str
    families: frozenset[str]
    team: str
    least_nodes: int = 3
    least_share: float = 0.0
    wait_s: float = 0.0
    because: str = ""


FAMILIES = frozenset({"gpu", "fabric", "host", "storage", "npu", "amd", "agent", "node", "site", "bench"})
"""The first words of the checks' ids, those of the controller's own checks included."""

_ANY_HARDWARE = FAMILIES - {"site"}

DEFAULT_DOMAINS = (
    DomainRule(
        "leaf", frozenset({"fabric"}), "network", wait_s=5.0, because="the leaf switch or its uplinks are suspected"
    ),
    DomainRule(
        "nvlink_domain", frozenset({"fabric", "gpu"}), "datacentre", because="its NVLink switches are suspected"
    ),
    DomainRule("rack", _ANY_HARDWARE, "datacentre", because="power or cooling of the rack is suspected"),
    DomainRule("pdu", _ANY_HARDWARE, "datacentre", because="the power feed is suspected"),
    DomainRule("row", _ANY_HARDWARE, "datacentre", because="power or cooling of the row is suspected"),
    DomainRule("site", _ANY_HARDWARE, "datacentre", because="the site's power or network is suspected"),
    DomainRule(
        "driver",
        frozenset({"gpu", "fabric"}),
        "platform",
        least_nodes=5,
        least_share=0.05,
        because="the driver version is suspected before the nodes are",
    ),
    DomainRule(
        CHECK_KIND,
        FAMILIES,
        "platform",
        least_nodes=10,
        least_share=0.05,
        because="the check itself is suspected before the nodes are",
    ),
)
"""Source: three nodes within 60 s are the design's (I11); what a driver or a check needs is our choice: five, or ten,
and a twentieth of those that could fail, which no hardware does by chance within ten minutes."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing disruptive is begun in a scope: once, or each week.

    Attributes:
        begins, ends: Unix seconds of a freeze that is once, both 0 for a weekly one.
        weekly_begins, weekly_ends: minutes since Monday 0:00 in `zone`; an end before the beginning is next week's.
        zone: IANA name of the time zone.
    """

    scope: Scope
    because: str
    begins: float = 0.0
    ends: float = 0.0
    weekly_begins: int = 0
    weekly_ends: int = 0
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class RolloutRule:
    """How a changed playbook is tried.

    Attributes:
        canaries: so many incidents must end well before the new text answers all; 0 trusts every text at once.
        share: of further incidents that the new text answers while one goes on; 0.0 is one at a time.
    """

    canaries: int = 1
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything an operator can set about deciding.

    Attributes:
        budget: of the fleet; `limits` has those of other scopes.
        agent_lost_after_s: how long an agent must have been silent before that is a finding.
        mass_silence_nodes, mass_silence_share: so many nodes and such a share of the fleet silent at once mean that
            the broker or a network is gone: nothing new is begun, and one page is sent.
        simulated_speedup: waits and probations of simulated nodes are divided by this.
        modes: `pool.NAME`, `playbook.NAME` or `PLAYBOOK@POOL` → how far its incidents may go by themselves.
        rollout: how a changed playbook is tried.
        approval_valid_s: how long a person's yes is used, unless they say otherwise.
        answer_within_s: how long a node stays out for a question in mode `ask` that nobody answers.
        bench: how many benchmarks may run at once, and what is demanded of their results.
        when: which of them begin by themselves, and for how much.
    """

    playbooks: tuple[Playbook, ...]
    budget: Budget
    limits: tuple[Limit, ...] = ()
    breakers: tuple[BreakerRule, ...] = DEFAULT_BREAKERS
    freezes: tuple[Freeze, ...] = ()
    domains: tuple[DomainRule, ...] = DEFAULT_DOMAINS
    agent_lost_after_s: float = 30.0
    mass_silence_nodes: int = 3
    mass_silence_share: float = 0.3
    simulated_speedup: float = 1.0
    modes: Mapping[str, Mode] = field(default_factory=dict)
    rollout: RolloutRule = RolloutRule()
    approval_valid_s: float = 86_400.0
    answer_within_s: float = 86_400.0
    bench: BenchRules = field(default_factory=BenchRules)
    when: WhenRules = field(default_factory=WhenRules)
    _others: dict[tuple[str, ...], Rules] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `with_playbooks` made before."""
    _answers: dict[tuple[str, str, str, str], Playbook | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `answering` found before: nodes ask the same few questions, and each costs a look at every playbook."""

    def digest(self) -> str:
        """Return a name for exactly these rules: the same text of them gives the same."""
        content = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]

    def with_playbooks(self, playbooks: tuple[Playbook, ...]) -> Rules:
        """Return the same rules for other playbooks; the same ones again for the same texts."""
        texts = tuple(f"{book.name} {book.digest}" for book in playbooks)
        if texts not in self._others:
            self._others.clear()
            self._others[texts] = replace(self, playbooks=playbooks)
        return self._others[texts]

    def answering(self, finding: Finding) -> Playbook | None:
        """Return the playbook that answers a finding: the one of lowest precedence, `None` when nobody does."""
        asked = (finding.check, finding.code, finding.verdict, finding.action)
        if asked not in self._answers:
            answering = [playbook for playbook in self.playbooks if playbook.answer(finding)]
            first = min(answering, key=lambda playbook: (playbook.precedence, playbook.name), default=None)
            if len(self._answers) >= MAX_ANSWERS_KEPT:
                self._answers.clear()
            self._answers[asked] = first
        return self._answers[asked]
