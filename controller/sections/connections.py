"""Whom the controller is connected to, and where it is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from controller.access.tls import ListenerTls
from controller.sections.section import Section
from wire.url import addresses_of


class BrokerSection(Section):
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


class HttpSection(Section):
    """Where the status page and the API listen."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8642
    public_url: str = Field(default="", description="how people reach the page, for links in tickets and pages")
    certificate_file: Path | None = Field(
        default=None, description="PEM, with its chain: TLS is spoken; read anew at the next handshake when it changed"
    )
    key_file: Path | None = Field(default=None, description="PEM, the private key of the certificate")
    client_ca_file: Path | None = Field(
        default=None, description="PEM: only who shows a certificate of these CAs is answered, probes among them"
    )

    @model_validator(mode="after")
    def _whole(self) -> HttpSection:
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("give certificate_file and key_file, or neither")
        if self.client_ca_file and not self.certificate_file:
            raise ValueError("client_ca_file needs certificate_file: without TLS nobody shows a certificate")
        return self

    @property
    def scheme(self) -> str:
        """What is spoken."""
        return "https" if self.certificate_file else "http"

    def tls(self) -> ListenerTls | None:
        """Return the certificate that is listened with, `None` for plain HTTP.

        Raises:
            OSError: it cannot be used.
        """
        if self.certificate_file is None or self.key_file is None:
            return None
        return ListenerTls(self.certificate_file, self.key_file, self.client_ca_file)
