"""How a BMC is reached over Redfish, and the process that does it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RedfishAccess:
    """One BMC and an account on it. The password itself is read by the asking process alone.

    Attributes:
        url: `https://host:port`, without a path.
        fingerprint: SHA-256 of its certificate in lower-case hex, empty when it is known by its signature.
        verify: whether the certificate counts at all.
    """

    url: str
    user: str
    password_file: Path
    ca_file: Path | None = None
    fingerprint: str = ""
    verify: bool = True

    def command(self) -> tuple[str, ...]:
        """Return the process that asks: other users see its arguments, so none of them is secret."""
        options = [f"--url={self.url}", f"--user={self.user}", f"--password-file={self.password_file}"]
        options += [f"--ca-file={self.ca_file}"] if self.ca_file is not None else []
        options += [f"--fingerprint={self.fingerprint}"] if self.fingerprint else []
        options += [] if self.verify else ["--no-verify"]
        return (sys.executable, "-m", "agent.sources.redfish_child", *options)


def parse_fingerprint(text: str) -> str:
    """Return a SHA-256 in lower-case hex without colons, empty for an empty text.

    Raises:
        ValueError: it is none.
    """
    digits = text.replace(":", "").strip().lower()
    if digits and not _SHA256.fullmatch(digits):
        raise ValueError(f"{text!r} is no SHA-256 of a certificate: 64 hexadecimal digits")
    return digits
