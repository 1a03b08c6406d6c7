"""The fault model as data: model.toml, and what a person overrides of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from checks.bench_result import Benchmark
from controller.flaws import problems_in
from controller.sections.section import Section
from controller.settings import SettingsError, read_document
from controller.simulation.signs import SIGNS

DEFAULT: Final = Path(__file__).with_name("model.toml")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Kind(StrEnum):
    """How a class of fault behaves."""

    NODE = "node"
    """One node's hardware fails, and its agent says so."""
    SILENT = "silent"
    """The node is down: nothing is heard of its agent, and its scheduler hears nothing either."""
    LEAF = "leaf"
    """All nodes of a leaf switch show it; none of them is at fault. Its rate is that of leaf switches."""
    DOMAIN = "domain"
    """All nodes of an NVLink domain show it; none of them is at fault. Its rate is that of domains."""
    POWER = "power"
    """A rack has no power: all its nodes are down, and none of them is at fault. Its rate is that of racks."""
    HIDDEN = "hidden"
    """Nothing tells."""
    DECOY = "decoy"
    """It passes by itself, and nothing is to be done to the node."""
    PLANNED = "planned"
    """People take the node out for a while."""
    UNHEARD = "unheard"
    """The agent is not heard, and the node is well."""


NODE_FAULTS: Final = frozenset({Kind.NODE, Kind.SILENT, Kind.HIDDEN})
"""Faults that are the node's own: what is right to take it out for."""

SHARED_BY: Final[Mapping[Kind, str]] = {Kind.LEAF: "leaf", Kind.DOMAIN: "nvlink_domain", Kind.POWER: "rack"}
"""Kind of a fault that several nodes share → kind of place that they share."""


class Spread(Section):
    """A lognormal time."""

    median_s: Positive
    sigma: NotNegative


class Repairs(Section):
    """How long things take; see model.toml."""

    poll_s: Positive
    collect_s: Positive
    restart_service: Spread
    reset: Spread
    reboot: Spread
    verify_s: Positive
    drain_requeue: Spread
    answer: Spread
    effect_s: NotNegative
    silent_after_s: NotNegative
    scheduler_notices_s: NotNegative
    comes_back: Share
    comes_back_after_days: Positive
    longest_repair_days: Positive


class Jobs(Section):
    """What nodes do, and what a fault costs those who do it; see model.toml."""

    busy: Share
    length: Spread
    checkpoint_s: Positive
    resume_s: NotNegative
    gives_up_s: NotNegative


class Measuring(Section):
    """One benchmark.

    Attributes:
        metric, value: the number that a well node gives, in the unit of checks/data/bench_limits.json; empty: none.
        finds: class of a hidden fault → probability that it finds it, whenever it is run.
    """

    takes: Spread
    metric: str = ""
    value: Positive = 1.0
    finds: Mapping[str, Share] = {}


class Nodes(Section):
    """What makes nodes differ; see model.toml."""

    lemons: Share
    lemon_times: Positive
    young_days: NotNegative
    young_times: Positive
    new_share: Share
    latent: Share
    latent_classes: tuple[str, ...]
    repeat: Positive
    repeats_at_most: Annotated[int, Field(ge=0)]
    hot_times: Positive
    hot_classes: tuple[str, ...]
    hot_from_day: NotNegative
    hot_days: NotNegative
    epoch_days: NotNegative
    epoch_from_day: NotNegative
    epoch_times: Positive
    epoch_classes: tuple[str, ...]


class FaultClass(Section):
    """One class of fault.

    Attributes:
        rate: faults of 1,000 nodes in a day, before the model's own rate shares them out.
        signs: what shows, each a recording below `signs/`; one of them is drawn for a fault.
        mends: verb → probability that it mends the fault for good.
        repair: how long people take once they took it up; decoys last as long as `lasts` instead.
        redundant: the node may work on: taking it out is wrong.
    """

    summary: str
    rate: NotNegative
    kind: Kind = Kind.NODE
    part: Literal["gpu", "port", "host"]
    signs: tuple[str, ...] = ()
    mends: Mapping[str, Share] = {}
    repair: Annotated[Spread | None, Field(validate_default=True)] = None
    lasts: Annotated[Spread | None, Field(validate_default=True)] = None
    redundant: bool = False
    source: str

    @field_validator("signs")
    @classmethod
    def _known_signs(cls, signs: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(signs) - SIGNS.keys()):
            raise ValueError(f"no sign is called {', '.join(unknown)}; there are {', '.join(sorted(SIGNS))}")
        return signs

    @field_validator("mends")
    @classmethod
    def _known_verbs(cls, mends: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := sorted(set(mends) - MENDING):
            raise ValueError(f"{', '.join(unknown)} mends nothing; there are {', '.join(sorted(MENDING))}")
        return mends

    @field_validator("repair", "lasts")
    @classmethod
    def _has_its_time(cls, time: Spread | None, info: ValidationInfo) -> Spread | None:
        kind = info.data.get("kind")
        needed = {"lasts"} if kind in PASSING else {"repair"}
        if kind is not None and time is None and info.field_name in needed:
            raise ValueError(f"a class that is {kind} needs it")
        return time


PASSING: Final = frozenset({Kind.DECOY, Kind.PLANNED, Kind.UNHEARD})
"""What passes by itself."""

MENDING: Final = frozenset({"restart_service", "reset", "reboot"})


class Model(Section):
    """The whole file."""

    rate: Positive
    repairs: Repairs
    jobs: Jobs
    benchmarks: Mapping[Benchmark, Measuring]
    nodes: Nodes
    classes: Mapping[str, FaultClass]

    def rate_of(self, name: str) -> float:
        """Return the faults of a class in a node's day; those of nodes add up to the model's own rate."""
        declared = self.classes[name]
        together = sum(each.rate for each in self.classes.values() if each.kind in NODE_FAULTS | {Kind.LEAF})
        scale = self.rate / together if declared.kind in NODE_FAULTS | {Kind.LEAF} and together else 1.0
        return declared.rate * scale / 1000.0


def load_model(overrides: Path | None = None, *, rate: float | None = None) -> Model:
    """Return the model.

    Args:
        overrides: a TOML file that holds what differs.
        rate: hardware faults of 1,000 nodes in a day; it outranks the files.

    Raises:
        SettingsError: with every mistake of the file.
    """
    content = read_document(DEFAULT)
    name = str(overrides or DEFAULT)
    if overrides is not None:
        content = _merged(content, read_document(overrides))
    if rate is not None:
        content["rate"] = rate
    try:
        return Model.model_validate(content)
    except ValidationError as error:
        raise SettingsError(problems_in(error, Model, name)) from error


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = _merged(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged
