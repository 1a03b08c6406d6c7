"""`broker_rules`: whether Mosquitto's configuration holds every user to what is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import BROKER, Check, Diagnosis, fine, missing, unsafe
from cli.doctor.patient import Patient
from cli.setting_up import broker

QUEUE = 1_000_000
"""Messages that wait for a controller that is away; Mosquitto's own 1,000 lose the rest. Source:
systemd/fleetmend-broker.conf."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What mosquitto.conf says; of a key that is there twice the last counts."""

    file: str
    said: dict[str, str]


def read(patient: Patient) -> Rules:
    """Return the configuration.

    Raises:
        OSError: it cannot be read.
    """
    text = patient.place.at(broker.CONFIGURATION).read_text("utf-8", "replace")
    return Rules(broker.CONFIGURATION, parse(text))


def parse(text: str) -> dict[str, str]:
    """Return the keys of a mosquitto.conf. Source: mosquitto.conf(5)."""
    pairs = (line.strip().partition(" ") for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {key: value.strip() for key, _, value in pairs}


def judge(rules: Rules) -> Iterator[Diagnosis]:
    """Say what stands open, and what would be lost."""
    wrong = list(_wrong(rules))
    yield from wrong or [fine(f"{rules.file} knows every user and holds each to what is theirs.")]


def _wrong(rules: Rules) -> Iterator[Diagnosis]:
    said, file = rules.said, rules.file
    if said.get("allow_anonymous") == "true":
        yield unsafe(f"{file} lets in whoever gives no name.", "Set allow_anonymous false.")
    if "acl_file" not in said:
        sentence = f"{file} names no acl_file: every node may speak as every other, and give orders."
        yield unsafe(sentence, f"Set acl_file {broker.RULES}; `fleetmend setup controller --with-broker` writes it.")
    if said.get("use_username_as_clientid") != "true":
        sentence = f"{file} lets a user take another's client id, and so push the other out."
        yield unsafe(sentence, "Set use_username_as_clientid true below the listener.")
    queue = said.get("max_queued_messages", "1000")
    if not queue.isdecimal() or 0 < int(queue) < QUEUE:
        sentence = f"{file} keeps too few messages for a controller that is away: what is more is dropped."
        yield missing(sentence, f"Set max_queued_messages {QUEUE}.")
    if said.get("persistence") != "true":
        yield missing(f"{file} keeps nothing over a restart of the broker.", "Set persistence true.")


CHECK = Check("broker_rules", "What the broker lets its users do.", BROKER, read, judge)
