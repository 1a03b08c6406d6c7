"""Where traces of incidents are sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from controller.sections.section import Section

PATH: Final = "/v1/traces"
"""Source: OTLP/HTTP, "the default URL path for requests that carry trace data"."""

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)[ \t]*")
"""Source: RFC 9110 5.1 and 5.5: a token, a colon, and visible letters of ASCII."""


class TracesSection(Section):
    """Where traces of incidents are sent, by OpenTelemetry's OTLP over HTTP. Needs the extra `fleetmend[traces]`."""

    endpoint: str = Field(
        default="",
        description="of the receiver, e.g. http://localhost:4318; /v1/traces is put behind it unless it has a path. "
        "Empty sends none",
    )
    headers_file: Path | None = Field(
        default=None, description="one `Name: value` a line, e.g. a token; read anew for each request"
    )
    ca_file: Path | None = None
    sample: Annotated[float, Field(ge=0, le=1)] = Field(default=1.0, description="share of incidents that are traced")
    ui_url: str = Field(
        default="", description="where people see a trace, e.g. https://grafana.example/trace/{trace_id}"
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> TracesSection:
        parts = urlsplit(self.endpoint)
        if self.endpoint and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("endpoint must be http://host:port or https://host:port")
        if parts.username is not None or parts.password is not None:
            raise ValueError("endpoint must not hold a secret: put it into headers_file")
        if not self.endpoint and (self.headers_file or self.ca_file or self.ui_url):
            raise ValueError("headers_file, ca_file and ui_url need endpoint")
        if self.ui_url and not (self.ui_url.startswith(("http://", "https://")) and "{trace_id}" in self.ui_url):
            raise ValueError("ui_url must begin with https:// or http:// and hold {trace_id}")
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        parts = urlsplit(self.endpoint)
        return self.endpoint if parts.path.strip("/") else f"{self.endpoint.rstrip('/')}{PATH}"


def header_of(line: str, number: int) -> tuple[str, str]:
    """Return the name and the value that a line holds.

    Raises:
        ValueError: it is no header. The line itself is not told: it may be a secret.
    """
    found = _HEADER.fullmatch(line)
    if found is None:
        raise ValueError(f"line {number} is not `Name: value`")
    return found[1], found[2]
