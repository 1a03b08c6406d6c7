"""The agent's configuration: one TOML file, validated whole before anything starts.

Every problem is reported at once with its path; nothing falls back silently. Secrets are read from files, never written
here.
"""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from agent.access import Broker, Redfish, Rules, Section, TrustedKey, why_no_authority
from agent.bundles.tools import NAMES
from agent.enrolment import Enrolment
from agent.small_file import NoToml, parse_toml, read_file
from agent.sources.registry import SOURCES
from agent.sources.source import Declaration, Timing
from agent.strict import Reader, Wrong
from checks.check import LatchedCheck
from checks.readings.site import ID
from checks.registry import CHECKS
from wire.orders import OrderAction
from wire.places import why_no_kind, why_no_place
from wire.reaching import why_no_address
from wire.topics import NAME, RESERVED

EX_CONFIG: Final = 78
"""Exit code of a process whose configuration is wrong. Source: sysexits.h."""

INVENTORY_FILE: Final = "inventory.toml"

MAX_BYTES: Final = 1 << 20
"""Of the file. Source: our choice; one with every key takes some 20 KiB."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class SettingsError(Exception):
    """The file cannot be used; the text names every problem, one a line."""


def _why_no_name(text: str) -> str:
    return "" if NAME.fullmatch(text) else f"{text!r} is not a name of letters, digits, '.', '_' and '-'"


def _own_name() -> str:
    return os.environ.get("FLEETMEND_NODE", "") or socket.gethostname()


def _why_no_node(name: str) -> str:
    if name in RESERVED:
        return f"{name!r} is how the cell's own part is called at the broker: give `node` another name"
    return _why_no_name(name)


def _why_no_places(places: dict[str, str | list[str]]) -> str:
    kinds = [why_no_kind(kind) for kind in places]
    names = [name for each in places.values() for name in ([each] if isinstance(each, str) else each)]
    return "; ".join(filter(None, (*kinds, *map(why_no_place, names))))


def _why_no_own_address(text: str) -> str:
    return why_no_address(text) if text else ""


def _why_no_tools(names: frozenset[str]) -> str:
    strange = sorted(names - NAMES)
    return f"no such tool or file: {', '.join(strange)}; there are {', '.join(sorted(NAMES))}" if strange else ""


class Source(Section, frozen=True, kw_only=True):
    """When one source is read, and when a reading is late.

    Attributes:
        enabled: whether it is read at all. The checks it feeds are `unknown` on a node where it is not.
        interval_s: between two readings while all is calm.
        fast_interval_s: the same while a fault is about to count, or has just come or gone.
        deadline_s: when a reading is late.
    """

    enabled: bool = True
    interval_s: Seconds
    fast_interval_s: Seconds
    deadline_s: Seconds

    def __post_init__(self) -> None:
        """Refuse times that contradict each other."""
        if self.deadline_s > self.interval_s:
            raise Wrong(f"deadline_s {self.deadline_s:g} is longer than interval_s {self.interval_s:g}")
        if self.fast_interval_s > self.interval_s and self.fast_interval_s != self._declared_fast_s:
            raise Wrong(f"fast_interval_s {self.fast_interval_s:g} is longer than interval_s {self.interval_s:g}")

    def timing(self) -> Timing:
        """Return it as the source is given it; a declared fast interval is never longer than the one that was set."""
        return Timing(self.interval_s, min(self.fast_interval_s, self.interval_s), self.deadline_s)

    @property
    def _declared_fast_s(self) -> float:
        (declared,) = [each.default for each in msgspec.structs.fields(self) if each.name == "fast_interval_s"]
        return float(declared)


def _section_of(declared: Declaration) -> tuple[str, Any, Any]:
    """Return name, type and default of one source's section, with what it declares as defaults."""
    fields = [(name, Seconds, value) for name, value in asdict(declared.timing).items()]
    section: Any = msgspec.defstruct(f"Source_{declared.name}", fields, bases=(Source,), frozen=True, kw_only=True)
    section.__doc__ = declared.summary
    return declared.name, section, section()


Sources = msgspec.defstruct("Sources", [_section_of(each) for each in SOURCES], bases=(Section,), frozen=True)
Sources.__doc__ = "Every polled source, by its name."


class KernelLog(Section, frozen=True):
    """Where kernel records come from.

    `accept_userspace_records` believes lines that any privileged container can write; it is for trying things out.
    """

    path: Path = Path("/dev/kmsg")
    state_interval_s: Seconds = 10
    accept_userspace_records: bool = False


class Recording(Section, frozen=True):
    """What the agent itself records, for `fleetmend judge`.

    Attributes:
        file: where it goes; a recording that is there already goes on. Nothing is recorded while it is left out.
        most_bytes: the recording ends before it is longer. An 8-GPU host at rest writes about 1 MiB in a minute.
    """

    file: Path | None = None
    most_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 1_000_000_000


class Site(Section, frozen=True, kw_only=True):
    """The site's own programs: executables in a folder, and functions of its packages (docs/how-to/write-a-check.md).

    Attributes:
        folder: each executable in it is the check `site.<its name>`.
        interval_s: between two runs of a program, unless the settings of its check say otherwise.
        fast_interval_s: the same while a fault is about to count, or has just come or gone.
        deadline_s: when a program is killed, unless the settings of its check say otherwise.
    """

    folder: Path = Path("/etc/fleetmend/checks.d")
    interval_s: Seconds = 60
    fast_interval_s: Seconds = 10
    deadline_s: Seconds = 10

    def __post_init__(self) -> None:
        """Refuse times that contradict each other, and a folder that depends on where the agent was started."""
        if self.deadline_s > self.interval_s:
            raise Wrong(f"deadline_s {self.deadline_s:g} is longer than interval_s {self.interval_s:g}")
        if not self.folder.is_absolute():
            raise Wrong(f"folder {self.folder} is not an absolute path")


class Bundles(Section, frozen=True, kw_only=True):
    """The large bundle of evidence, for a controller that gives leave to send one (docs/how-to/evidence.md).

    Attributes:
        most_bytes: of a packed bundle.
        file_bytes: of one file in it.
        keep_free_bytes: of the state disk, so much is left alone.
        limit_s: gathering takes no longer, and no longer than the order lets it.
        rate_bytes_per_s: it is sent no faster, so that a job's storage and network do not feel it.
        left_out: tools and files that are not asked and not copied, by their names in docs/how-to/evidence.md.
        ca_file: certificates in PEM that the receiver's is signed with; those that the system trusts when left out.
    """

    RULES: ClassVar[Rules] = {"left_out": _why_no_tools, "ca_file": why_no_authority}

    most_bytes: Annotated[int, msgspec.Meta(ge=4 << 20, le=4 << 30)] = 256 << 20
    file_bytes: Annotated[int, msgspec.Meta(ge=64 << 10)] = 64 << 20
    keep_free_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 30
    limit_s: Annotated[float, msgspec.Meta(ge=30, le=3_600)] = 280
    rate_bytes_per_s: Annotated[int, msgspec.Meta(ge=64 << 10)] = 8 << 20
    left_out: frozenset[str] = frozenset()
    ca_file: Path | None = None


def _why_no_listener(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return f"{host!r} is no IP address of this host, e.g. 127.0.0.1, or 0.0.0.0 for all of them"
    return ""


class Metrics(Section, frozen=True, kw_only=True):
    """Where Prometheus may scrape this agent (docs/how-to/metrics.md); it takes 0.6 MiB more then.

    Attributes:
        port: of `/metrics`. Nothing listens while it is left out; 0 is any free one, which the log names.
        host: address to listen on. There is no password: on any other than a loopback address, whoever reaches the
            port may read.
    """

    RULES: ClassVar[Rules] = {"host": _why_no_listener}

    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    host: str = "127.0.0.1"


class CheckSettings(Section, frozen=True, kw_only=True):
    """What this node changes about one check; what is left out stays as the check declares it.

    Attributes:
        enabled: whether it is judged at all. What it had raised is cleared when it no longer is.
        raise_after: how many readings must show a fault before it is raised. Not for checks of the kernel log.
        raise_within: of the last so many readings; 0 means that they must follow each other.
        clear_after: consecutive readings without the fault before it is cleared.
        boot_grace_s: until the host has been up for so long, a fault is `unknown`.
        interval_s: between two runs, for a program of the site (`site.*`) alone.
        deadline_s: when it is killed, for a program of the site alone.
    """

    enabled: bool = True
    raise_after: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    raise_within: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    clear_after: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    boot_grace_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    interval_s: Seconds | None = None
    deadline_s: Seconds | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other."""
        if self.raise_within and self.raise_within < (self.raise_after or 1):
            raise Wrong(f"raise_within {self.raise_within} is less than raise_after {self.raise_after}")
        if self.interval_s and self.deadline_s and self.deadline_s > self.interval_s:
            raise Wrong(f"deadline_s {self.deadline_s:g} is longer than interval_s {self.interval_s:g}")

    def policy(self) -> dict[str, Any]:
        """Return what it changes of a check's policy."""
        return {name: value for name in OF_POLICY if (value := getattr(self, name)) is not None}


OF_POLICY: Final = ("raise_after", "raise_within", "clear_after", "boot_grace_s")
OF_PROGRAM: Final = ("interval_s", "deadline_s")
BY_ID: Final = {check.id: check for check in CHECKS}


def _why_no_checks(checks: dict[str, CheckSettings | None]) -> str:
    named = ((name, setting or CheckSettings()) for name, setting in checks.items())
    return "; ".join(flaw for name, setting in named if (flaw := _why_no_check(name, setting)))


def _why_no_check(name: str, setting: CheckSettings) -> str:
    given = [key for key in (*OF_POLICY, *OF_PROGRAM) if getattr(setting, key) is not None]
    check = BY_ID.get(name)
    if check is None:
        return "" if ID.fullmatch(name) else f"there is no check {name!r}{_nearest(name)}"
    if isinstance(check, LatchedCheck) and given:
        return f"{name} judges the kernel log line by line: of its settings only `enabled` can be given"
    if of_program := [key for key in given if key in OF_PROGRAM]:
        return f"{name}: {' and '.join(of_program)} can be set for its source alone, as [sources.{check.source}]"
    return ""


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, BY_ID, n=1)
    return f"; did you mean {near[0]!r}?" if near else " (`fleetmend checks` lists them)"


class Watch(Section, frozen=True, kw_only=True):
    """What is watched, and how: all that who looks at a node needs to know. Every key has a default.

    Attributes:
        node: this node's name; `FLEETMEND_NODE` of the environment when it is left out, and else the host's own.
        inventory_file: what a person approved for this host (`fleetmend inventory approve`); `inventory.toml` in
            state_directory when it is left out. It may be placed there by other means, too; on a disk of this host,
            for it is looked at with every reading.
        simulation_directory: when set, the node is a simulated one whose state lies there.
        checks: check id, in quotes → what this node changes about it.
    """

    RULES: ClassVar[Rules] = {"checks": _why_no_checks}

    node: str = msgspec.field(default_factory=_own_name)
    state_directory: Path = Path("/var/lib/fleetmend-agent")
    inventory_file: Path | None = None
    simulation_directory: Path | None = None
    kernel_log: KernelLog = KernelLog()
    sources: Sources = Sources()  # type: ignore[valid-type] # made from the registry, which mypy cannot follow
    redfish: Redfish = Redfish()
    site: Site = Site()
    checks: dict[str, CheckSettings] = msgspec.field(default_factory=dict)

    @property
    def approved_inventory(self) -> Path:
        """Where the approved inventory of this host is, whether there is one or not."""
        return self.inventory_file or self.state_directory / INVENTORY_FILE

    def timings(self) -> dict[str, Timing]:
        """Return when each source is read that is not switched off."""
        chosen: dict[str, Source] = {declared.name: getattr(self.sources, declared.name) for declared in SOURCES}
        return {name: source.timing() for name, source in chosen.items() if source.enabled}


class Settings(Watch, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        orders_allowed: what this node lets a controller ask of it; anything else is refused. What takes the GPUs
            (`bench`) or repairs is not allowed by default.
        log_level: what is less than this is not logged.
        trusted_keys: key id → public key of a controller. Without any, every order is refused.
        places: kind → name or names of where the node stands (`rack`, `pool`), where whoever set it up knows; it
            wins over what the node finds out.
        address: host name or IP address by which other nodes reach this host, to tell whether it lives when the agent
            is silent. Left out, the agent finds it, but for one in a container: there nobody is asked.
    """

    RULES: ClassVar[Rules] = {
        **Watch.RULES,
        "node": _why_no_node,
        "cell": _why_no_name,
        "places": _why_no_places,
        "address": _why_no_own_address,
    }

    cell: str = "main"
    broker: Broker
    status_interval_s: Seconds = 60
    orders_allowed: frozenset[OrderAction] = frozenset({OrderAction.RUN_CHECKS, OrderAction.COLLECT, OrderAction.REACH})
    trusted_keys: dict[str, TrustedKey] = msgspec.field(default_factory=dict)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    recording: Recording = Recording()
    evidence: Bundles = Bundles()
    metrics: Metrics = Metrics()
    enrolment: Enrolment = Enrolment()
    places: dict[str, str | list[str]] = msgspec.field(default_factory=dict)
    address: str = ""

    @property
    def username(self) -> str:
        """Who the node is at the broker: itself where only its password is named, nobody where that is not either."""
        return self.broker.username or (self.node if self.broker.password_file else "")


def load_settings(path: Path) -> Settings:
    """Return the settings in the file.

    Raises:
        SettingsError: with every problem at once.
    """
    return settings_in(read_document(path), path)


def read_document(path: Path) -> dict[str, Any]:
    """Return the tables of the file, whatever they say.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    try:
        return parse_toml(read_file(path, most_bytes=MAX_BYTES + 1), most_bytes=MAX_BYTES)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except NoToml as error:
        raise SettingsError(f"{path}: {error}") from error


def settings_in(document: Mapping[str, Any], path: Path) -> Settings:
    """Return what the tables of a file say; `path` is what the file is called in the problems.

    Raises:
        SettingsError: with every problem at once.
    """
    reader = Reader()
    settings = reader.table({"node": _own_name(), **document}, Settings)
    if settings is None:
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    return settings
