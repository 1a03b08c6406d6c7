"""Who switches nodes off and on, and how their BMCs are reached."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from controller.power.bmcs import PLACE, Bmc
from controller.sections.section import Section

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)


class BmcSection(Section):
    """An account on BMCs, and where they are; what a node's own table leaves out is as in `[power]`."""

    address: str = Field(
        default="", description="https://host[:port] of Redfish, host[:port] of IPMI; `{node}` is the node's name"
    )
    user: str = ""
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    credential: str = Field(
        default="", description="in place of a file: name of a systemd credential (LoadCredential=) with the password"
    )
    system: str = Field(
        default="", description="id of the node among the systems of its BMC; empty where there is only one"
    )
    fingerprint: str = Field(
        default="", description="SHA-256 of the BMC's certificate, where no CA vouches for it; Redfish alone"
    )

    @model_validator(mode="after")
    def _one_password(self) -> BmcSection:
        if self.password_file is not None and self.credential:
            raise ValueError("give password_file or credential, not both")
        if self.credential and not _CREDENTIAL.fullmatch(self.credential):
            raise ValueError(f"credential {self.credential!r} must be letters, digits, '.', '_' and '-'")
        if ":" in self.user:
            raise ValueError("user must have no colon: HTTP's basic authentication ends the name there")
        return self

    def bmc(self) -> Bmc:
        """Return it as the adapters read it."""
        digits = self.fingerprint.replace(":", "").lower()
        return Bmc(self.address, self.user, self._file(), self.system, digits)

    def _file(self) -> Path | None:
        """Return the file of the password. Source of the directory: systemd.exec(5), `LoadCredential=`."""
        if not self.credential:
            return self.password_file
        return Path(os.environ.get("CREDENTIALS_DIRECTORY", "$CREDENTIALS_DIRECTORY")) / self.credential


class PowerSection(BmcSection):
    """Who switches nodes off and on, and tells whether a silent node has power."""

    kind: Literal["none", "redfish", "ipmi"] = "none"
    bmcs: Path | None = Field(
        default=None, description="CSV of nodes and BMCs: node,address,user,password_file,system,fingerprint"
    )
    nodes: dict[str, BmcSection] = Field(default={}, description="node → what is different there; wins over the file")
    ca_file: Path | None = Field(default=None, description="CA of the BMCs' certificates, trusted besides the system's")
    verify: bool = Field(
        default=True, description="false believes any certificate: whoever answers learns the password"
    )
    login: Literal["basic", "session"] = Field(
        default="basic", description="Redfish: the account with each question, or a session that is ended afterwards"
    )
    deadline_s: Annotated[float, Field(gt=0, le=300)] = Field(
        default=30.0, description="for one conversation with a BMC; a slow one takes seconds for an answer"
    )
    interval_s: Annotated[float, Field(ge=1)] = Field(
        default=30.0, description="between two looks at the power of a node whose agent is silent; others are not asked"
    )
    at_once: Annotated[int, Field(ge=1, le=256)] = Field(
        default=16, description="so many BMCs are asked at the same time"
    )

    @model_validator(mode="after")
    def _of_a_kind(self) -> PowerSection:
        if self.model_fields_set and "kind" not in self.model_fields_set:
            raise ValueError("kind is missing: 'redfish' or 'ipmi', or 'none' for a table that is to do nothing")
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is an adapter at all."""
        return self.kind != "none"

    def flaws_of(self, bmc: Bmc) -> Iterator[str]:
        """Yield what is wrong with a BMC as it is written down."""
        if bmc.fingerprint and not _SHA256.fullmatch(bmc.fingerprint):
            yield f"fingerprint {bmc.fingerprint[:80]!r} is no SHA-256: 64 hexadecimal digits"
        if bmc.address and (why := self._why_no_address(bmc.address)):
            yield f"address {_shown(bmc.address)!r} {why}"

    def _why_no_address(self, address: str) -> str:
        host = address.replace(PLACE, "n1")
        if "{" in host or "}" in host:
            return f"must have no braces but those of {PLACE}, which stands for the node's name"
        if self.kind == "ipmi":
            return "" if _HOST.fullmatch(host) else "must be host or host:port, without a scheme"
        parts = urlsplit(host)
        if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc.rpartition("@")[2]):
            return "must be https://host or https://host:port: without TLS anybody on the way learns the password"
        if "@" in parts.netloc:
            return "must not hold an account: give user, and password_file or credential"
        return "" if parts.path in {"", "/"} and not parts.query else "must end with the host, or its port"


def _shown(address: str) -> str:
    """Return an address without an account that should not be in it."""
    return address.rpartition("@")[2][:200]
