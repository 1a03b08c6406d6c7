"""The controller's configuration: one TOML file, every mistake reported at once, with its path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from controller.policy.rules import Budget
from controller.topology.netbox import why_no_field
from wire.places import why_no_kind
from wire.topics import NAME


class SettingsError(Exception):
    """The configuration cannot be used. The text has one line for each problem: file, key, what is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSection(_Section):
    """How to reach the MQTT broker."""

    url: str = Field(
        default="mqtt://127.0.0.1:1883", description="mqtt:// or mqtts://, host and port; ?v=3 speaks MQTT 3.1.1"
    )
    username: str = ""
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    ca_file: Path | None = None


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
    scheduler: SchedulerSection = SchedulerSection()
    tickets: NoticeSection = NoticeSection()
    pages: NoticeSection = NoticeSection()
    silence: SilenceSection = SilenceSection()
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
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        return ControllerSettings.model_validate(raw)
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise SettingsError("\n".join(problems)) from error
