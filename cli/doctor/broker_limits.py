"""`broker_limits`: whether the kernel limits what one address may send to the broker, which Mosquitto does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cli.doctor.diagnosis import BROKER, CannotLook, Check, Diagnosis, advice, fine, missing
from cli.doctor.patient import Patient
from cli.setting_up import broker
from cli.setting_up.host import PROGRAMS
from wire.loopback import is_loopback

TABLE: Final = ("inet", "fleetmend_broker")
"""Source: systemd/fleetmend-broker.nft."""

ASK_S: Final = 10.0
NOT_THERE: Final = "No such file or directory"
"""What nft says of a table that is not loaded. Source: ENOENT, by strerror(3)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is limited.

    Attributes:
        has_nft: whether rules can be loaded at all.
        listened: ports of the broker that others reach.
        limited: those of which the rules that are loaded speak; `None` while none are loaded.
    """

    has_nft: bool
    listened: frozenset[int]
    limited: frozenset[int] | None = None


def read(patient: Patient) -> Limits:
    """Return the ports that are open, and those that are limited.

    Raises:
        OSError: the broker's configuration cannot be read.
        CannotLook: the rules cannot be listed.
    """
    text = patient.place.at(broker.CONFIGURATION).read_text("utf-8", "replace")
    program = shutil.which("nft", path=os.pathsep.join(PROGRAMS))
    if program is None:
        return Limits(has_nft=False, listened=listened(text))
    return Limits(True, listened(text), _loaded(program))


def listened(text: str) -> frozenset[int]:
    """Return the ports that a mosquitto.conf opens to others than this host. Source: mosquitto.conf(5), `listener`."""
    opened = (line.split() for line in text.splitlines() if line.startswith(("listener ", "listener\t")))
    return frozenset(
        int(words[1])
        for words in opened
        if len(words) > 1 and words[1].isdecimal() and int(words[1]) and not (len(words) > 2 and is_loopback(words[2]))
    )


def _loaded(program: str) -> frozenset[int] | None:
    command = (program, "--json", "list", "table", *TABLE)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotLook(f"The packet filter cannot be asked: {error}") from error
    if ended.returncode == 0:
        return limited(ended.stdout)
    if NOT_THERE in ended.stderr:
        return None
    raise CannotLook(f"The packet filter does not say what it limits: {' '.join(ended.stderr.split())[:200]}")


def limited(said: str) -> frozenset[int]:
    """Return the ports that the rules name, as `nft --json` lists them. Source: libnftables-json(5).

    Raises:
        CannotLook: that is none of its lists.
    """
    try:
        listed = json.loads(said)["nftables"]
        rules = [each["rule"]["expr"] for each in listed if "rule" in each]
        matches = [each["match"]["right"] for expressions in rules for each in expressions if "match" in each]
    except (ValueError, LookupError, TypeError) as error:
        raise CannotLook("The packet filter does not say what it limits, in words that are known.") from error
    return frozenset(port for right in matches for port in _ports(right))


def _ports(right: Any) -> Iterator[int]:
    """Yield the ports of one comparison: a number, a set of them, or spans of them."""
    if isinstance(right, int):
        yield right
    elif isinstance(right, dict) and isinstance(right.get("set"), list):
        for each in right["set"]:
            yield from _ports(each)
    elif isinstance(right, dict) and isinstance(span := right.get("range"), list) and len(span) == 2:
        yield from range(int(span[0]), int(span[1]) + 1)


def judge(facts: Limits) -> Iterator[Diagnosis]:
    """Say what one node could do to the others."""
    if not facts.listened:
        yield fine("The broker listens to this host alone.")
    elif not facts.has_nft:
        sentence = (
            "Nothing limits what one node sends to the broker, so that it can slow all others down: no nft is here."
        )
        yield advice(sentence, "Install nftables, then: systemctl restart fleetmend-broker")
    elif facts.limited is None:
        sentence = "What one node may send to the broker is not limited: the rules are not loaded."
        yield missing(sentence, f"systemctl start {broker.LIMITS_SERVICE}; journalctl -eu {broker.LIMITS_SERVICE}")
    elif left := sorted(facts.listened - facts.limited):
        ports = ", ".join(map(str, left))
        sentence = f"What one node may send to the broker's port {ports} is not limited."
        remedy = f"Name it in {broker.LIMITS} behind `tcp dport`, then: systemctl reload {broker.LIMITS_SERVICE}"
        yield missing(sentence, remedy)
    else:
        yield fine("What one address may send to the broker is limited.")


CHECK = Check("broker_limits", "What one node may send to the broker.", BROKER, read, judge, needs_live=True)
