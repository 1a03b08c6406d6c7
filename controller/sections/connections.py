"""Whom the controller is connected to, and where it is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from controller.access.tls import ListenerTls
from controller.sections.section import Section
from wire.tls import TlsFiles
from wire.url import addresses_of


class BrokerSection(Section):
    """How to reach the MQTT broker."""

    url: str | tuple[str, ...] = Field(
        default="mqtt://127.0.0.1:1883",
        description="mqtt:// or mqtts://, host and port; a list names the nodes of a clustered broker, which are tried "
        "in turn. ?v=3 speaks MQTT 3.1.1, ?dots=tilde writes ~ for dots (docs/how-to/clustered-broker.md)",
    )
    username: str = ""
    password_file: Path | None = Field(
        default=None, description="file that holds the password and nothing else; read anew for each connection"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM: CAs of the broker's certificate; those that the system trusts when left out"
    )
    certificate_file: Path | None = Field(
        default=None,
        description="PEM, with its chain: shown to the broker in place of username and password "
        "(docs/how-to/certificates.md); when it is replaced, the connection is renewed",
    )
    key_file: Path | None = Field(
        default=None, description="PEM, the private key of the certificate, which nobody else may read"
    )

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str | tuple[str, ...]) -> str | tuple[str, ...]:
        addresses_of(url)
        return url

    @model_validator(mode="after")
    def _whole(self) -> BrokerSection:
        files = self.tls()
        if because := files.why_incomplete():
            raise ValueError(because)
        if self.certificate_file and not all(address.tls for address in addresses_of(self.url)):
            raise ValueError("certificate_file needs mqtts:// in every url: without TLS nobody is shown a certificate")
        return self

    def tls(self) -> TlsFiles:
        """Return the files of TLS."""
        return TlsFiles(self.ca_file, self.certificate_file, self.key_file)


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
