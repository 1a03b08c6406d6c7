"""Who says where nodes stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from controller.sections.section import Section
from controller.topology.kubernetes import LABELS
from controller.topology.netbox import why_no_field
from wire.places import why_no_kind


class NetBoxSection(Section):
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


class TopologySection(Section):
    """Who says where nodes stand, besides the nodes themselves. For each kind of place the file wins over NetBox, that
    over Slurm, that over Kubernetes, that over the InfiniBand fabric, and that over what a node says of itself."""

    file: Path | None = Field(default=None, description="the operator's own CSV of nodes and places")
    netbox: NetBoxSection | None = None
    slurm: Path | None = Field(default=None, description="Slurm's topology.conf")
    kubernetes_labels: dict[str, tuple[str, ...]] = Field(
        default={},
        description="scheduler.kind = kubernetes: kind of place → labels of a node, of which the first it has counts; "
        "in place of the usual labels of that kind, an empty list for none",
    )
    ib_fabric: Path | None = Field(default=None, description="file into which ibnetdiscover wrote")
    interval_s: Annotated[float, Field(ge=1)] = Field(default=60.0, description="between two looks at each of them")

    @model_validator(mode="after")
    def _kinds_can_be_named(self) -> TopologySection:
        flaws = [flaw for kind in self.kubernetes_labels if (flaw := why_no_kind(kind))]
        if flaws:
            raise ValueError(f"kubernetes_labels: {'; '.join(flaws)}")
        return self

    def label_table(self) -> dict[str, tuple[str, ...]]:
        """Return kind of place → labels of a Kubernetes node, the best first."""
        return {**LABELS, **self.kubernetes_labels}
