"""`plain_text`: whether passwords and findings go over a network that others can listen to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.diagnosis import ALL, Check, Diagnosis, Role, fine, unsafe
from cli.doctor.patient import FILES, Patient
from cli.setting_up import broker
from wire.loopback import is_loopback
from wire.url import addresses_of


@dataclass(frozen=True, slots=True)
class Way:
    """How somebody is connected. `addresses`: those that are reached without TLS beyond this machine."""

    file: str
    addresses: tuple[str, ...]
    has_password: bool
    listens: bool = False


def read(patient: Patient) -> list[Way]:
    """Return every way to the broker."""
    ways = [_of(patient, role) for role in patient.daemons]
    configuration = patient.place.at(broker.CONFIGURATION)
    if Role.BROKER in patient.roles and configuration.exists():
        ways.append(Way(broker.CONFIGURATION, open_listeners(configuration.read_text("utf-8", "replace")), True, True))
    return ways


def _of(patient: Patient, role: Role) -> Way:
    try:
        addresses = addresses_of(patient.broker_urls(role))
    except ValueError:
        addresses = ()
    plain = tuple(str(each) for each in addresses if not each.tls and not is_loopback(each.host))
    return Way(FILES[role], plain, bool(patient.broker(role).get("password_file")))


def open_listeners(configuration: str) -> tuple[str, ...]:
    """Return the listeners of a mosquitto.conf that others reach without TLS.

    Source: mosquitto.conf(5): `listener port [address]`, and what follows belongs to it.
    """
    found, current, is_secret = [], "", False
    for line in [*configuration.splitlines(), "listener"]:
        words = line.split()
        if words[:1] == ["listener"]:
            if current and not is_secret:
                found.append(current)
            is_here = len(words) > 2 and is_loopback(words[2])
            current, is_secret = ("" if is_here else " ".join(words[1:])), False
        elif words[:1] == ["certfile"]:
            is_secret = True
    return tuple(found)


def judge(facts: list[Way]) -> Iterator[Diagnosis]:
    """Say what others can listen to."""
    wrong = [way for way in facts if way.addresses]
    for way in wrong:
        where = ", ".join(way.addresses)
        if way.listens:
            yield unsafe(
                f"The broker takes passwords without TLS from other machines (listener {where}).",
                f"Give that listener certfile, keyfile and cafile in {way.file}, or an address of this machine alone.",
            )
            continue
        what = "The password and everything that is said go" if way.has_password else "Everything that is said goes"
        yield unsafe(
            f"{what} over the network in plain text, to the broker at {where}.",
            f"Use mqtts:// and ca_file in [broker] of {way.file}; the broker needs a certificate for it.",
        )
    if facts and not wrong:
        yield fine("Nothing goes to the broker in plain text over a network.")


CHECK = Check("plain_text", "Passwords in plain text on the network.", ALL, read, judge)
