"""The controller's configuration: one TOML file, every mistake reported at once, with its path."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from controller.policy.freezes import minute_of_week, moment_in
from controller.policy.ledger import KEPT_S
from controller.policy.playbook import Mode
from controller.policy.rules import FAMILIES, BreakerRule, Budget, DomainRule, Freeze, Limit
from controller.policy.scopes import FLEET_KIND, KINDS, Scope
from controller.topology.netbox import why_no_field
from wire.places import why_no_kind
from wire.topics import NAME
from wire.url import addresses_of


class SettingsError(Exception):
    """The configuration cannot be used. The text has one line for each problem: file, key, what is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSection(_Section):
    """How to reach the MQTT broker."""

    url: str | tuple[str, ...] = Field(
        default="mqtt://127.0.0.1:1883",
        description="mqtt:// or mqtts://, host and port; a list names the nodes of a clustered broker, which are tried "
        "in turn. ?v=3 speaks MQTT 3.1.1, ?dots=tilde writes ~ for dots (docs/how-to/clustered-broker.md)",
    )
    username: str = ""
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str | tuple[str, ...]) -> str | tuple[str, ...]:
        addresses_of(url)
        return url


class HttpSection(_Section):
    """Where the status page and the API listen."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8642
    public_url: str = Field(default="", description="how people reach the page, for links in tickets and pages")


class BudgetSection(_Section):
    """How many nodes may be out at once: `nodes` or `percent` of the fleet, one of the two."""

    nodes: Annotated[int, Field(ge=0)] | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None

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
    window_s: Annotated[float, Field(gt=0, le=KEPT_S)] = 600.0
    cooldown_s: Annotated[float, Field(gt=0)] = Field(default=600.0, description="then one node may go, as a canary")
    because: str = ""

    def rule(self) -> BreakerRule:
        """Return the breaker for the policy."""
        scope = _rule_scope(self.scope)
        return BreakerRule(scope, self.budget(), self.window_s, self.cooldown_s, self.at_least, self.because)


class DomainSection(_Section):
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


class FreezeSection(_Section):
    """When nothing disruptive is begun: `begins` and `ends` are dates and times (once), or `Fri 18:00` (each week)."""

    scope: str = Field(default=FLEET_KIND, description="`fleet`, `rack=r12`, or `rack` for each rack")
    begins: datetime | str = Field(description="2026-12-24T00:00:00 or `Fri 18:00`")
    ends: datetime | str = Field(description="as `begins`; not included")
    zone: str = Field(default="UTC", description="IANA time zone of both, such as Europe/Berlin")
    because: str = Field(min_length=1, description="why, for people who wait for it")

    @field_validator("scope")
    @classmethod
    def _known_kind(cls, text: str) -> str:
        return _checked_scope(text)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone, such as UTC or Europe/Berlin")
        return name

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


class SchedulerSection(_Section):
    """Who places work on nodes."""

    kind: Literal["none", "slurm", "command"] = "none"
    hook: Path | None = Field(default=None, description="kind = command: the operator's own program")
    slurm_form: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="kind = slurm: what its programs are asked for; auto is JSON where they offer it, else text",
    )
    interval_s: Annotated[float, Field(gt=0)] = 5.0
    deadline_s: Annotated[float, Field(gt=0)] = 15.0

    @model_validator(mode="after")
    def _hook_given(self) -> SchedulerSection:
        if self.kind == "command" and self.hook is None:
            raise ValueError("kind = 'command' needs hook = '/path/to/program'")
        return self


class NoticeSection(_Section):
    """Where tickets or pages go: a file of JSON lines, or a webhook."""

    kind: Literal["json_lines", "webhook"] = "json_lines"
    path: Path | None = Field(default=None, description="json_lines: the file; default in the state directory")
    url: str = Field(default="", description="webhook: where to POST")
    deduplicates: bool = Field(default=False, description="webhook: the receiver drops a repeated Idempotency-Key")

    @model_validator(mode="after")
    def _url_given(self) -> NoticeSection:
        if self.kind == "webhook" and not self.url.startswith(("http://", "https://")):
            raise ValueError("kind = 'webhook' needs url = 'https://...'")
        return self


class SilenceSection(_Section):
    """When an agent counts as lost, and when so many are that the cell freezes."""

    silent_after_s: Annotated[float, Field(gt=0)] = 180.0
    agent_lost_after_s: Annotated[float, Field(ge=0)] = 30.0
    freeze_nodes: Annotated[int, Field(ge=2)] = 3
    freeze_share: Annotated[float, Field(gt=0, le=1)] = 0.3


class StoreSection(_Section):
    """Where the event log lives, and for how long."""

    url: str = Field(
        default="",
        description="postgresql://user@host:port/database, without a password; default: a file in the state directory",
    )
    password_file: Path | None = Field(
        default=None, description="file that holds the password and nothing else; else as libpq finds it (PGPASSFILE)"
    )
    keep_days: Annotated[float, Field(ge=1)] = Field(
        default=90.0, description="entries older than this are deleted once a snapshot holds what they say"
    )
    snapshot_every: Annotated[int, Field(ge=1_000)] = Field(
        default=200_000, description="entries after which a new snapshot is written: a start reads no more than these"
    )

    @model_validator(mode="after")
    def _url_fits(self) -> StoreSection:
        parts = urlsplit(self.url)
        if self.url and (parts.scheme != "postgresql" or not parts.path.strip("/")):
            raise ValueError("url must be postgresql://user@host:port/database, or empty")
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("url must not hold the password: put it into password_file, or into libpq's PGPASSFILE")
        return self

    @property
    def password(self) -> str:
        """What the password file holds, empty without one."""
        return self.password_file.read_text("utf-8").strip() if self.password_file else ""


class NetBoxSection(_Section):
    """NetBox as a source of where nodes stand: its devices have the names of nodes."""

    url: str = Field(description="of its root, https://netbox.example")
    token_file: Path | None = Field(default=None, description="file that holds an API token and nothing else")
    ca_file: Path | None = None
    query: str = Field(
        default="status=active", description="which devices, as in NetBox's address line, e.g. role=gpu-server"
    )
    places: dict[str, str] = Field(
        default={"site": "site", "rack": "rack"},
        description="kind of place → field of a device: site, location, rack, role, cluster, tenant, platform, "
        "device_type, custom_fields.NAME, or tags.PREFIX for tags like PREFIX:name",
    )
    interval_s: Annotated[float, Field(ge=10)] = Field(
        default=600.0, description="between two readings of all devices, which are work for it"
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> NetBoxSection:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with https:// or http://")
        flaws = [flaw for kind, field in self.places.items() for flaw in (why_no_kind(kind), why_no_field(field))]
        if any(flaws):
            raise ValueError("; ".join(filter(None, flaws)))
        return self


class TopologySection(_Section):
    """Who says where nodes stand, besides the nodes themselves. For each kind of place the file wins over NetBox, that
    over Slurm, that over the InfiniBand fabric, and that over what a node says of itself."""

    file: Path | None = Field(default=None, description="the operator's own CSV of nodes and places")
    netbox: NetBoxSection | None = None
    slurm: Path | None = Field(default=None, description="Slurm's topology.conf")
    ib_fabric: Path | None = Field(default=None, description="file into which ibnetdiscover wrote")
    interval_s: Annotated[float, Field(ge=1)] = Field(default=60.0, description="between two looks at each file")


class ModesSection(BaseModel):
    """How far incidents may go by themselves: `shadow`, `ask` or `act`.

    Of what a playbook says and of the modes of a node's pools the strictest holds. `"PLAYBOOK@POOL" = "act"`, a key of
    its own, has the last word for that playbook in that pool.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Mode] = Field(init=False)

    pool: dict[str, Mode] = Field(default={}, description='pool → mode, e.g. `pool.research = "ask"`')
    playbook: dict[str, Mode] = Field(default={}, description="playbook → mode, in place of what its file says")

    @model_validator(mode="after")
    def _both_named(self) -> ModesSection:
        wrong = [key for key in self.__pydantic_extra__ or {} if not all(key.partition("@"))]
        if wrong:
            raise ValueError(f'{wrong[0]!r} is none of pool.NAME, playbook.NAME and "PLAYBOOK@POOL"')
        return self

    def modes(self) -> dict[str, Mode]:
        """Return the modes as the policy reads them."""
        pools = {f"pool.{name}": mode for name, mode in self.pool.items()}
        books = {f"playbook.{name}": mode for name, mode in self.playbook.items()}
        return {**pools, **books, **(self.__pydantic_extra__ or {})}

    def playbooks(self) -> list[str]:
        """Return every playbook that is named."""
        return [*self.playbook, *(key.partition("@")[0] for key in self.__pydantic_extra__ or {})]


class RolloutSection(_Section):
    """How a changed playbook is tried before it answers every incident of its kind."""

    canaries: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=1, description="so many incidents must end well before; 0 trusts every text as it is loaded"
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="of further incidents that the new text answers while one goes on; 0 is one at a time"
    )


class ApprovalsSection(_Section):
    """How long a person's yes holds, and how long a question keeps a node out."""

    valid_s: Annotated[float, Field(gt=0)] = Field(
        default=86_400.0, description="a yes is used for steps that begin within this; `approve --for` says another"
    )
    answer_within_s: Annotated[float, Field(gt=0)] = Field(
        default=86_400.0, description="then a node that is out and waits for a yes is handed to people"
    )


class ControllerSettings(_Section):
    """The whole file."""

    state: Path = Field(description="directory of the event log, keys and ledgers")
    cell: str = "main"
    playbooks: Path | None = Field(
        default=None, description="directory of playbooks; default: those that come with fleetmend"
    )
    signing_key: Path | None = Field(
        default=None, description="Ed25519 private key (PEM); made in the state directory if absent"
    )
    simulated_speedup: Annotated[float, Field(ge=1)] = Field(
        default=1.0, description="waits and probations of simulated nodes are divided by this"
    )
    broker: BrokerSection = BrokerSection()
    http: HttpSection = HttpSection()
    budget: BudgetSection = BudgetSection()
    limits: list[LimitSection] = Field(default=[], description="budgets of pools, racks, leaves, jobs, SKUs, ...")
    breakers: list[BreakerSection] | None = Field(
        default=None, description="default: 5 % of the fleet, or 2 % by one check, in ten minutes; [] is none"
    )
    freezes: list[FreezeSection] = []
    modes: ModesSection = ModesSection()
    rollout: RolloutSection = RolloutSection()
    approvals: ApprovalsSection = ApprovalsSection()
    domains: list[DomainSection] | None = Field(
        default=None, description="default: leaf, NVLink domain, rack, PDU, row, site, driver and check; [] is none"
    )
    scheduler: SchedulerSection = SchedulerSection()
    tickets: NoticeSection = NoticeSection()
    pages: NoticeSection = NoticeSection()
    silence: SilenceSection = SilenceSection()
    store: StoreSection = StoreSection()
    topology: TopologySection = TopologySection()

    @model_validator(mode="after")
    def _cell_named(self) -> ControllerSettings:
        if not NAME.fullmatch(self.cell):
            raise ValueError(f"cell {self.cell!r} must be letters, digits, '.', '_' and '-'")
        return self


def load(path: Path) -> ControllerSettings:
    """Return the settings of a file.

    Raises:
        SettingsError: unreadable, not TOML, or not valid; all problems at once.
    """
    return _validated(path, _table(path))


def load_more(path: Path, taken: Collection[str]) -> dict[str, Any]:
    """Return a file that adds to settings which somebody else writes, as a table.

    Args:
        taken: keys that are not the file's to set.

    Raises:
        SettingsError: unreadable, not TOML, not valid, or setting what is taken; all problems at once.
    """
    table = _table(path)
    theirs = [f"{path}: {key}: it is set elsewhere, leave it out" for key in sorted(set(table) & set(taken))]
    if theirs:
        raise SettingsError("\n".join(theirs))
    _validated(path, {"state": str(path.parent), **table})
    return table


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error


def _validated(path: Path, raw: dict[str, Any]) -> ControllerSettings:
    try:
        return ControllerSettings.model_validate(raw)
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise SettingsError("\n".join(problems)) from error
