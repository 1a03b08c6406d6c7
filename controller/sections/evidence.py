"""Where the large bundles of evidence go that nodes gather."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from controller.sections.section import Section

Bytes = Annotated[int, Field(ge=1)]

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named so that it is not told to nodes


class S3Section(Section):
    """An S3-compatible store. Needs the extra `fleetmend[s3]`; nodes are given presigned URLs and never the keys."""

    endpoint: str = Field(default="", description="https://host:port of the store; AWS's own when empty")
    region: str = "us-east-1"
    bucket: str = Field(description="it must exist")
    prefix: str = Field(default="evidence/", description="what the names of bundles begin with")
    access_key: str = Field(default="", description="id of the access key")
    secret_key_file: Path | None = Field(default=None, description="file that holds the secret key and nothing else")
    path_style: bool = Field(default=True, description="https://host/bucket/name, as most stores besides AWS want it")

    @model_validator(mode="after")
    def _can_be_asked(self) -> S3Section:
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("endpoint must begin with https:// or http://")
        if bool(self.access_key) != bool(self.secret_key_file):
            raise ValueError("give access_key and secret_key_file, or neither: then they are found as AWS's tools do")
        return self


class EvidenceSection(Section):
    """Where the bundles go that nodes gather when they are asked for evidence: bug reports, logs, counters.

    Without it a node sends a summary of 64 KiB at most, which incidents and tickets show either way.
    """

    where: Literal["none", "controller", "s3"] = Field(
        default="none", description="none: no bundles; controller: to a folder of it; s3: to an S3-compatible store"
    )
    directory: Path | None = Field(default=None, description="default: `evidence` in the state directory")
    url: str = Field(
        default="", description="where nodes reach this controller; default: http.public_url, or the page's address"
    )
    host: str = Field(default="127.0.0.1", description="with `port`: where uploads alone are taken")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0,
        description="a port that takes uploads and nothing else, so that the API need not be open to nodes; "
        "0: the API's own port takes them",
    )
    certificate: Path | None = Field(default=None, description="PEM, for TLS on that port")
    certificate_key: Path | None = Field(default=None, description="PEM, its private key")
    bundle_bytes: Bytes = Field(default=256 << 20, description="a longer bundle is refused")
    node_bytes: Bytes = Field(default=1 << 30, description="of all bundles of one node")
    total_bytes: Bytes = Field(default=50 << 30, description="of all bundles; the oldest go first")
    keep_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=2 << 30, description="of the disk, which the event log may share, so much is left alone"
    )
    keep_days: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="then a bundle is deleted, unless its incident is open"
    )
    at_once: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="uploads that are taken at a time")
    valid_s: Annotated[float, Field(ge=60, le=604_800)] = Field(
        default=86_400.0, description="how long after its order a node may send a bundle"
    )
    s3: S3Section | None = None

    @model_validator(mode="after")
    def _whole(self) -> EvidenceSection:
        if (self.where == "s3") != (self.s3 is not None):
            raise ValueError("where = 's3' and [evidence.s3] belong together: give both or neither")
        if bool(self.certificate) != bool(self.certificate_key):
            raise ValueError("give certificate and certificate_key, or neither")
        if self.certificate and not self.port:
            raise ValueError("certificate needs port: the API's own port speaks no TLS")
        if self.url and (urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname):
            raise ValueError("url must be http:// or https://, host and port")
        if self.where == "controller" and self.port and not self.url and self.host in _ANY_ADDRESS:
            raise ValueError(f"url is missing: no node finds this controller at {self.host}")
        return self
