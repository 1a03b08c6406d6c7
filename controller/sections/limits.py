"""How much may be out, how fast, when nothing is begun, and what failures of several nodes are put down to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from controller.policy.freezes import minute_of_week, moment_in
from controller.policy.ledger import KEPT_S
from controller.policy.rules import FAMILIES, BreakerRule, Budget, DomainRule, Freeze, Limit
from controller.policy.scopes import FLEET_KIND, KINDS, Scope
from controller.sections.section import Section
from controller.sections.zone import Zone


class BudgetSection(Section):
    """How many nodes may be out at once: `nodes` or `percent` of the fleet, one of the two."""

    nodes: Annotated[int, Field(ge=0)] | None = Field(default=None, description="so many; either this or percent")
    percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="or this share of the scope; the fleet's is 10 when neither is given"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> BudgetSection:
        if self.nodes is not None and self.percent is not None:
            raise ValueError("set nodes or percent, not both")
        return self

    def budget(self) -> Budget:
        """Return the budget; without any setting, 10 % of the fleet."""
        if self.nodes is None and self.percent is None:
            return Budget(percent=10.0)
        return Budget(nodes=self.nodes, percent=self.percent)


class _Scoped(BudgetSection):
    scope: str = Field(description="`rack=r12`, or `rack` for each rack; kinds: " + ", ".join(KINDS))

    @field_validator("scope")
    @classmethod
    def _known_kind(cls, text: str) -> str:
        return _checked_scope(text)

    @model_validator(mode="after")
    def _amount_given(self) -> _Scoped:
        if self.nodes is None and self.percent is None:
            raise ValueError("set nodes or percent")
        return self


class LimitSection(_Scoped):
    """How many nodes of one scope may be out at once; `[budget]` is the fleet's own."""

    because: str = Field(default="", description="why, for people who wait for it")

    def limit(self) -> Limit:
        """Return the limit for the policy."""
        return Limit(_rule_scope(self.scope), self.budget(), self.because)


class BreakerSection(_Scoped):
    """How many nodes may be taken out of one scope within a window before the breaker opens."""

    at_least: Annotated[int, Field(ge=1)] = Field(default=1, description="a share is never less than this many nodes")
    window_s: Annotated[float, Field(gt=0, le=KEPT_S)] = Field(default=600.0, description="in which they are counted")
    cooldown_s: Annotated[float, Field(gt=0)] = Field(default=600.0, description="then one node may go, as a canary")
    because: str = Field(default="", description="why, for people who wait for it")

    def rule(self) -> BreakerRule:
        """Return the breaker for the policy."""
        scope = _rule_scope(self.scope)
        return BreakerRule(scope, self.budget(), self.window_s, self.cooldown_s, self.at_least, self.because)


class DomainSection(Section):
    """When failures of several nodes are put down to something that they share."""

    kind: str = Field(description="of what is suspected: leaf, rack, pdu, row, site, nvlink_domain, driver, check, ...")
    families: Annotated[list[str], Field(min_length=1)] = Field(
        description="first words of the checks whose failures may have such a cause, e.g. gpu, fabric, node"
    )
    team: str = Field(min_length=1, description="who gets the ticket")
    least_nodes: Annotated[int, Field(ge=2)] = Field(default=3, description="so many must have failed together")
    least_share: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, description="and this share of its nodes")
    wait_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0.0, description="how long a single failure waits for others before its node is acted on"
    )
    because: str = Field(min_length=1, description="what is suspected, as the incident says it")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, text: str) -> str:
        if text not in KINDS or text == FLEET_KIND:
            raise ValueError(f"{text!r} is no kind of domain; kinds: {', '.join(k for k in KINDS if k != FLEET_KIND)}")
        return text

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: list[str]) -> list[str]:
        unknown = sorted(set(names) - FAMILIES)
        if unknown:
            raise ValueError(f"no checks are of {', '.join(unknown)}; families: {', '.join(sorted(FAMILIES))}")
        return names

    def rule(self) -> DomainRule:
        """Return the rule for the policy."""
        return DomainRule(
            self.kind,
            frozenset(self.families),
            self.team,
            least_nodes=self.least_nodes,
            least_share=self.least_share,
            wait_s=self.wait_s,
            because=self.because,
        )


class FreezeSection(Section):
    """When nothing disruptive is begun: `begins` and `ends` are dates and times (once), or `Fri 18:00` (each week)."""

    scope: str = Field(default=FLEET_KIND, description="`fleet`, `rack=r12`, or `rack` for each rack")
    begins: datetime | str = Field(description="2026-12-24T00:00:00 or `Fri 18:00`")
    ends: datetime | str = Field(description="as `begins`; not included")
    zone: Zone = Field(default="UTC", description="IANA time zone of both, such as Europe/Berlin")
    because: str = Field(min_length=1, description="why, for people who wait for it")

    @field_validator("scope")
    @classmethod
    def _known_kind(cls, text: str) -> str:
        return _checked_scope(text)

    @model_validator(mode="after")
    def _understood(self) -> FreezeSection:
        self.freeze()
        return self

    def freeze(self) -> Freeze:
        """Return the freeze for the policy.

        Raises:
            ValueError: the two times are not of one kind, or the end is not after the beginning.
        """
        scope = _rule_scope(self.scope)
        if isinstance(self.begins, datetime) and isinstance(self.ends, datetime):
            begins, ends = (moment_in(time, self.zone).timestamp() for time in (self.begins, self.ends))
            if ends <= begins:
                raise ValueError(f"`ends` ({self.ends}) is not after `begins` ({self.begins})")
            return Freeze(scope, self.because, begins=begins, ends=ends, zone=self.zone)
        if isinstance(self.begins, str) and isinstance(self.ends, str):
            weekly = minute_of_week(self.begins), minute_of_week(self.ends)
            return Freeze(scope, self.because, weekly_begins=weekly[0], weekly_ends=weekly[1], zone=self.zone)
        raise ValueError("`begins` and `ends` must both be dates and times, or both be like `Fri 18:00`")


def _checked_scope(text: str) -> str:
    kind, separator, name = text.partition("=")
    if kind not in KINDS or (separator and not name) or (kind == FLEET_KIND and separator):
        raise ValueError(
            f"{text!r} is no scope: write `fleet`, `rack=r12`, or `rack` for each; kinds: {', '.join(KINDS)}"
        )
    return text


def _rule_scope(text: str) -> Scope:
    kind, _, name = text.partition("=")
    return Scope(kind, name)
