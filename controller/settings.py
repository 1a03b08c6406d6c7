"""The controller's configuration: one TOML file, every mistake reported at once, with its path."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from controller.flaws import problems_in
from controller.sections.access import AccessSection
from controller.sections.bench import BenchSection
from controller.sections.connections import BrokerSection, HttpSection
from controller.sections.engine import ApprovalsSection, ModesSection, RolloutSection, SilenceSection
from controller.sections.enrolment import EnrolmentSection
from controller.sections.evidence import EvidenceSection
from controller.sections.kubernetes import KubernetesSection
from controller.sections.limits import BreakerSection, BudgetSection, DomainSection, FreezeSection, LimitSection
from controller.sections.notices import NoticesSection
from controller.sections.pages import PageSection
from controller.sections.power import PowerSection
from controller.sections.report import ReportSection
from controller.sections.schedulers import SchedulerSection
from controller.sections.section import Section
from controller.sections.slurm import SlurmSection
from controller.sections.store import StoreSection
from controller.sections.tickets import TicketSection
from controller.sections.topology import TopologySection
from controller.sections.traces import TracesSection
from wire import toml
from wire.loopback import is_loopback
from wire.topics import NAME
from wire.url import addresses_of


class SettingsError(Exception):
    """The configuration cannot be used. The text has one line for each problem: file, key, what is wrong."""


class ControllerSettings(Section):
    """The whole file."""

    state: Path = Field(description="directory of the event log, keys and ledgers")
    cell: str = "main"
    playbooks: Path | None = Field(
        default=None, description="directory of playbooks; default: those that come with fleetmend"
    )
    signing_key: Path | None = Field(
        default=None, description="Ed25519 private key (PEM); made in the state directory if absent"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="what is less than this is not logged"
    )
    simulated_speedup: Annotated[float, Field(ge=1)] = Field(
        default=1.0, description="waits and probations of simulated nodes are divided by this"
    )
    broker: BrokerSection = BrokerSection()
    http: HttpSection = HttpSection()
    access: AccessSection | None = None
    budget: BudgetSection = BudgetSection()
    limits: list[LimitSection] = Field(default=[], description="budgets of pools, racks, leaves, jobs, SKUs, ...")
    breakers: list[BreakerSection] | None = Field(
        default=None, description="default: 5 % of the fleet, or 2 % by one check, in ten minutes; [] is none"
    )
    freezes: list[FreezeSection] = Field(default=[])
    modes: ModesSection = ModesSection()
    rollout: RolloutSection = RolloutSection()
    approvals: ApprovalsSection = ApprovalsSection()
    domains: list[DomainSection] | None = Field(
        default=None, description="default: leaf, NVLink domain, rack, PDU, row, site, driver and check; [] is none"
    )
    scheduler: SchedulerSection = SchedulerSection()
    slurm: SlurmSection = SlurmSection()
    kubernetes: KubernetesSection = KubernetesSection()
    power: PowerSection = PowerSection()
    tickets: list[TicketSection] = Field(
        default=[], description="where tickets go, the first that takes one; default: a file in the state directory"
    )
    pages: list[PageSection] = Field(
        default=[], description="where pages go, each that takes one; default: a file in the state directory"
    )
    notices: NoticesSection = NoticesSection()
    silence: SilenceSection = SilenceSection()
    store: StoreSection = StoreSection()
    topology: TopologySection = TopologySection()
    evidence: EvidenceSection = EvidenceSection()
    enrolment: EnrolmentSection | None = None
    bench: BenchSection = BenchSection()
    traces: TracesSection = TracesSection()
    report: ReportSection = ReportSection()

    @model_validator(mode="after")
    def _cell_named(self) -> ControllerSettings:
        if not NAME.fullmatch(self.cell):
            raise ValueError(f"cell {self.cell!r} must be letters, digits, '.', '_' and '-'")
        return self

    @model_validator(mode="after")
    def _nobody_unknown_from_afar(self) -> ControllerSettings:
        if not is_loopback(self.http.host) and (self.access is None or self.http.certificate_file is None):
            raise ValueError(
                f"http.host = {self.http.host!r} is reached from other machines: that needs [access], so that people "
                "say who they are, and http.certificate_file, so that nobody on the way reads what they show"
            )
        return self

    @model_validator(mode="after")
    def _nodes_told_where_the_broker_is(self) -> ControllerSettings:
        if self.enrolment is None or self.enrolment.broker_url:
            return self
        if plain := [str(each) for each in addresses_of(self.broker.url) if not each.tls]:
            raise ValueError(
                f"enrolment.broker_url must say where nodes reach the broker over mqtts://: that of [broker], "
                f"{plain[0]}, is reached without TLS"
            )
        return self


def load(path: Path) -> ControllerSettings:
    """Return the settings of a file.

    Raises:
        SettingsError: unreadable, not TOML, or not valid; all problems at once.
    """
    return settings_in(read_document(path), path)


def load_more(path: Path, taken: Collection[str]) -> dict[str, Any]:
    """Return a file that adds to settings which somebody else writes, as a table.

    Args:
        taken: keys that are not the file's to set.

    Raises:
        SettingsError: unreadable, not TOML, not valid, or setting what is taken; all problems at once.
    """
    table = read_document(path)
    theirs = [
        f"{path}: {key}: an option of the command line or the cell itself sets it, leave it out"
        for key in sorted(set(table) & set(taken))
    ]
    if theirs:
        raise SettingsError("\n".join(theirs))
    settings_in({"state": str(path.parent), **table}, path)
    return table


def read_document(path: Path) -> dict[str, Any]:
    """Return the tables of the file, whatever they say.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    try:
        return toml.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error


def settings_in(raw: dict[str, Any], path: Path) -> ControllerSettings:
    """Return what the tables of a file say; `path` is what the file is called in the problems.

    Raises:
        SettingsError: with every problem at once.
    """
    try:
        return ControllerSettings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(problems_in(error, ControllerSettings, str(path))) from error


def with_file(path: Path, problems: str) -> str:
    """Return problems that a part found later, each with the file of settings where it begins with a key of it."""
    tables = ControllerSettings.model_fields
    lines = problems.splitlines()
    return "\n".join(f"{path}: {line}" if re.split("[.:]", line)[0] in tables else line for line in lines)
