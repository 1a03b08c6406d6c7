"""How active benchmarks are run: how many at once, and the limits that a site sets itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from checks.bench_limits import BenchBound, BenchFloor, BenchLimits, LimitsRefused, shipped_limits, with_site
from controller.policy.benching.bench_rules import DEFAULT_AT_ONCE, BenchRules
from controller.policy.scopes import CHECK_KIND, KINDS, NODE_KIND, PLAYBOOK_KIND
from controller.sections.bench_when import WhenSection
from controller.sections.section import Section

BOUNDED = tuple(kind for kind in KINDS if kind not in {CHECK_KIND, NODE_KIND, PLAYBOOK_KIND})
"""Kinds of scopes in which leases are counted."""

LONGEST_REST_S = 86_400.0
"""Source: our choice; a run that rests for longer holds its node's turn for nothing, and one for ever never ends."""

_Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FloorSection(Section):
    """What this site demands of one metric on one kind of GPU, in place of what fleetmend does."""

    metric: str = Field(description="as in checks/data/bench_limits.json, e.g. `node_all_reduce`")
    sku: str = Field(description="kind of GPU, e.g. `H100`")
    fail: _Limit | None = Field(default=None, description="worse than this fails")
    warn: _Limit | None = Field(default=None, description="worse than this warns")
    because: str = Field(default="set by this site", description="why, as results say it")

    def floor(self) -> BenchFloor:
        """Return the floor for the policy."""
        return BenchFloor(self.metric, self.sku, self.because, self.fail, self.warn)


class BoundSection(Section):
    """What is possible, for a kind of GPU that fleetmend does not know; what it knows cannot be changed."""

    metric: str
    sku: str
    possible: _Limit = Field(description="what physics allows: no machine does better")
    best: _Limit | None = Field(default=None, description="the best that healthy machines are known to reach")
    source: str = Field(description="where that stands, e.g. a data sheet")

    def bound(self) -> BenchBound:
        """Return the bound for the policy."""
        return BenchBound(self.metric, self.sku, self.possible, self.source, self.best)


class BenchSection(Section):
    """Active benchmarks on idle or cordoned nodes."""

    at_once: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={},
        description="kind of scope → benchmarks that run in each of them at once, a group of nodes is one; "
        + ", ".join(f"{kind} = {most}" for kind, most in DEFAULT_AT_ONCE.items())
        + " unless set; 0 lets none run",
    )
    again_after_s: Annotated[float, Field(ge=0, le=LONGEST_REST_S)] = Field(
        default=60.0, description="how long a node rests before a number that was too low is measured again"
    )
    trust_nodes: bool = Field(
        default=False,
        description="with scheduler `none`, a free node that shows no work for ten seconds counts as idle",
    )
    floors: list[FloorSection] = Field(default=[], description="the site's own demands")
    bounds: list[BoundSection] = Field(default=[], description="what is possible where fleetmend does not know it")
    when: WhenSection = WhenSection()

    @field_validator("at_once")
    @classmethod
    def _known_kinds(cls, at_once: dict[str, int]) -> dict[str, int]:
        unknown = [kind for kind in at_once if kind not in BOUNDED]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no kind of scope; there are {', '.join(BOUNDED)}")
        return at_once

    @model_validator(mode="after")
    def _possible(self) -> BenchSection:
        try:
            self.limits()
        except LimitsRefused as refused:
            raise ValueError("; ".join(refused.problems)) from refused
        return self

    def limits(self) -> BenchLimits:
        """Return the limits with the site's own.

        Raises:
            LimitsRefused: a floor is beyond what physics allows, or a bound is known already.
        """
        floors, bounds = (each.floor() for each in self.floors), (each.bound() for each in self.bounds)
        return with_site(shipped_limits(), floors, bounds)

    def rules(self, scheduler: str) -> BenchRules:
        """Return what the policy goes by; `scheduler` says which nodes are idle."""
        return BenchRules(
            at_once={**DEFAULT_AT_ONCE, **self.at_once},
            limits=self.limits(),
            again_after_s=self.again_after_s,
            idle_by=scheduler,
            trust_nodes=self.trust_nodes,
        )
