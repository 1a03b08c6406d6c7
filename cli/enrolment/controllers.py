"""Asks the controllers of a cell, and none that only says it is one: each proves itself by a CA that is known here."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cli.client import Client, Failed, Unreachable
from cli.exit_codes import ExitCode
from controller.pki.certificates import CertificateError, fingerprint, from_pem, to_pem

Answer = TypeVar("Answer")

MAX_AUTHORITIES_BYTES: Final = 256 << 10
"""Of what a controller says before it has proven itself."""

ANOTHER_MAY: Final = frozenset({ExitCode.UNREACHABLE, ExitCode.REFUSED_NOW})
"""Where another controller may have another answer: this one is away, or stands by."""


@dataclass(frozen=True, slots=True)
class Pin:
    """How a controller proves itself: by a CA of this fingerprint or in this file; without either, by the system's."""

    fingerprint: str = ""
    ca_file: Path | None = None

    def client(self, url: str, token: str = "") -> Client:
        """Return who asks the controller at an address, and gives the token to nobody else.

        Raises:
            Failed: it is not reached, or has another CA.
        """
        return Client(url, token=token, tls=self._context(url))

    def _context(self, url: str) -> ssl.SSLContext | None:
        if not url.startswith("https:"):
            return None
        if self.fingerprint:
            return ssl.create_default_context(cadata=authority_of(url, self.fingerprint))
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise Failed(
                f"{self.ca_file}: cannot be used for TLS: {error.strerror or error}", ExitCode.CONFIG
            ) from error


def authority_of(url: str, wanted: str) -> str:
    """Return, in PEM, the CA of a fingerprint from a controller that has proven nothing yet and is told nothing.

    Raises:
        Failed: it is not reached, or has no such CA.
    """
    unproven = ssl.create_default_context()
    unproven.check_hostname = False
    unproven.verify_mode = ssl.CERT_NONE
    with Client(url, tls=unproven).open("enrol", "authorities") as answer:
        content = answer.read(MAX_AUTHORITIES_BYTES)
    try:
        found = from_pem(str(json.loads(content)["authorities"]).encode())
    except (ValueError, TypeError, KeyError, CertificateError) as error:
        raise Failed(f"what answers at {url} gives no CA: is it a controller?", ExitCode.UNREACHABLE) from error
    matching = [each for each in found if fingerprint(each).lower() == wanted.lower()]
    if not matching:
        has = ", ".join(map(fingerprint, found))
        raise Failed(
            f"what answers at {url} has another CA ({has}) than {wanted}: nothing was sent. Compare it with what "
            "`fleetmend pki show` prints where the authority is",
            ExitCode.FORBIDDEN,
        )
    return to_pem(matching[:1]).decode()


def first_answer(urls: Sequence[str], ask: Callable[[str], Answer], *, lost: str) -> Answer:
    """Return what the first controller answers that can.

    Args:
        lost: what to do when none of them can.

    Raises:
        Failed: one of them said no, or none can answer now.
    """
    failures: list[Failed] = []
    for url in urls:
        try:
            return ask(url)
        except Failed as failure:
            if failure.code not in ANOTHER_MAY:
                raise
            failures.append(_told(url, failure))
    codes = {failure.code for failure in failures}
    told = [*map(str, failures), *([lost] if ExitCode.UNREACHABLE in codes else [])]
    raise Failed("; ".join(told), max(codes))


def _told(url: str, failure: Failed) -> Failed:
    """Return a failure in words for somebody on a host, who starts no controller."""
    text = failure.fact if isinstance(failure, Unreachable) else f"{url}: {failure}"
    return Failed(text, failure.code)


def identity_in(answer: Any) -> dict[str, Any]:
    """Return the identity in an answer, which is a controller's that has proven itself.

    Raises:
        Failed: it is none.
    """
    wanted = {
        "node": str,
        "certificate": str,
        "authorities": str,
        "cell": str,
        "broker_url": list,
        "trusted_keys": dict,
    }
    if not isinstance(answer, dict) or any(not isinstance(answer.get(name), kind) for name, kind in wanted.items()):
        raise Failed("the controller's answer is no identity: is it of another version?", ExitCode.UNREACHABLE)
    return answer
