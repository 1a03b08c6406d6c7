"""Kills a renewal with SIGKILL before each change that it makes on the disk; prints how often.

Run as a module with a folder to work in: a process that forks must have no other thread.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from agent.enrolment import Enrolment
from cli.enrolment.identity import read_pair, renewed
from cli.enrolment.settings_file import Named
from controller.access.files import write
from controller.pki import certificates
from controller.pki.authority import Authority
from controller.pki.certificates import AuthorityKey, Kind
from controller.pki.requests import new_request
from tests.support.killed import dies

NODE: Final = "gpu-1"
NOW: Final = datetime.now(UTC)


def given(authority: Authority, key: AuthorityKey) -> dict[str, Any]:
    """Return what a controller answers."""
    chain = authority.sign(new_request(key, NODE), common_name=NODE, kind=Kind.AGENT, days=9, now=NOW)
    return {"node": NODE, "certificate": chain.decode(), "authorities": authority.bundle().decode()}


def main(work: Path) -> None:
    """Kill it at each step; the pair is to be whole after each, and the next renewal is to end well."""
    authority = Authority.found(work / "pki", now=NOW)
    certificate, key_file, ca = (work / name for name in ("certificate.pem", "key.pem", "ca.pem"))
    first = certificates.new_key()
    write(key_file, certificates.key_to_pem(first))
    write(certificate, given(authority, first)["certificate"].encode())
    write(ca, b"of another time")
    at, was_killed = 0, True
    while was_killed:
        at += 1
        coming = certificates.new_key()
        answer = given(authority, coming)
        act = partial(renewed, answer, coming, Named("main", certificate, key_file, ca, Enrolment()))
        was_killed = dies(act, at)
        _, held = read_pair(certificate, key_file)
        assert was_killed or certificates.public_bytes(held) == certificates.public_bytes(coming)
        assert was_killed or ca.read_bytes() == authority.bundle()
        write(ca, b"of another time")
    assert not key_file.with_name("key.pem.next").exists()
    print(at - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
