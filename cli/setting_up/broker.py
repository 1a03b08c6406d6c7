"""What the host of the broker is to have: Mosquitto's configuration, its users, and who of them may say what."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cli.broker import SALT_BYTES, access_rules, password_hash
from cli.place import Place
from cli.setting_up import shipped, units
from cli.setting_up.plan import File, Folder, Plan
from wire.url import PORT, TLS_PORT

SERVICE: Final = "fleetmend-broker"
LIMITS_SERVICE: Final = "fleetmend-broker-limits"
"""Loads the limits; the broker's own unit asks for it."""
FOLDER: Final = "/etc/fleetmend/broker"
USERS: Final = f"{FOLDER}/passwords"
RULES: Final = f"{FOLDER}/acl"
CONFIGURATION: Final = f"{FOLDER}/mosquitto.conf"
LIMITS: Final = f"{FOLDER}/limits.nft"
LIMITED: Final = f"{{ {PORT}, {TLS_PORT} }}"
"""Ports, as the limits that come with fleetmend name them."""

FOR_THE_GROUP: Final = 0o640
HASH: Final = "$7$"
"""Of PBKDF2 with SHA-512. Source: mosquitto 2.0, src/password_mosq.h."""


def base_plan(place: Place) -> Plan:
    """Return its unit, that of its limits, and what they need."""
    services = (f"{SERVICE}.service", f"{LIMITS_SERVICE}.service")
    return Plan((Folder("/etc/fleetmend", 0o755),), units.files(place, services, ()))


def owned_folders() -> tuple[Folder, ...]:
    """Return the folders that its own group reads."""
    return (Folder(FOLDER, 0o750, group=SERVICE),)


@dataclass(frozen=True, slots=True)
class Listener:
    """Where it listens: port and address, and the certificate it shows there; without one it speaks no TLS."""

    address: str = ""
    port: int = 0
    certificate_file: str = ""
    key_file: str = ""

    @property
    def opened(self) -> int:
        """The port, if need be the usual one."""
        return self.port or (TLS_PORT if self.certificate_file else PORT)

    def lines(self) -> str:
        """Return the lines of mosquitto.conf."""
        files = {"certfile": self.certificate_file, "keyfile": self.key_file}
        opened = f"listener {self.opened} {self.address}".rstrip()
        return "\n".join([opened, *(f"{key} {path}" for key, path in files.items() if path)])


def configuration(listener: Listener) -> str:
    """Return mosquitto.conf with this listener."""
    return shipped.text("fleetmend-broker.conf").replace(f"listener {PORT}", listener.lines(), 1)


def limits(listener: Listener) -> str:
    """Return the rules of what one address may send to this listener, and to the usual ones."""
    ports = ", ".join(str(port) for port in sorted({PORT, TLS_PORT, listener.opened}))
    return shipped.text("fleetmend-broker.nft").replace(LIMITED, f"{{ {ports} }}", 1)


def plan(cell: str, users: Mapping[str, str], before: str, *, listener: Listener) -> Plan:
    """Return its files.

    Args:
        users: name → password of those who are to be known; others that `before` knows stay.
        before: the file of users as it is.
    """
    return Plan(
        (),
        (
            File(CONFIGURATION, configuration(listener)),
            File(RULES, access_rules(cell), mode=FOR_THE_GROUP, group=SERVICE),
            File(LIMITS, limits(listener), stays=True),
            users_file(users, before),
        ),
    )


def readable(key_file: str) -> Plan:
    """Return the private key as its group can read it; one outside of the broker's own folder is others' to open."""
    if not key_file.startswith(f"{FOLDER}/"):
        return Plan()
    return Plan((), (File(key_file, "", mode=FOR_THE_GROUP, group=SERVICE, is_secret=True, stays=True),))


def users_file(users: Mapping[str, str], before: str) -> File:
    """Return the file of users in which these have these passwords and all others are as before."""
    kept = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    for user, password in users.items():
        if not is_password(password, kept.get(user, "")):
            kept[user] = password_hash(password, salt=secrets.token_bytes(SALT_BYTES))
    return _as_file(kept)


def without(user: str, before: str) -> File:
    """Return the file of users without this one."""
    kept = dict(line.split(":", 1) for line in before.splitlines() if ":" in line)
    kept.pop(user, None)
    return _as_file(kept)


def _as_file(kept: Mapping[str, str]) -> File:
    lines = "".join(f"{user}:{hashed}\n" for user, hashed in kept.items())
    return File(USERS, lines, mode=FOR_THE_GROUP, group=SERVICE, is_secret=True)


def is_password(password: str, hashed: str) -> bool:
    """Return whether a line of the file of users is of this password; one of another kind of hash is of none."""
    parts = hashed.split("$")
    if not hashed.startswith(HASH) or len(parts) != 5:
        return False
    try:
        salt = base64.b64decode(parts[3], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(password_hash(password, salt=salt), hashed)
