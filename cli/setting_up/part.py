"""A daemon that connects to the broker, and how: what agents and controllers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.broker_trial import Visitor
from cli.place import CREDENTIALS, HANDED
from cli.setting_up.host import Host
from cli.setting_up.plan import File, Folder


@dataclass(frozen=True, slots=True)
class Access:
    """How the broker is reached.

    Attributes:
        username: empty where a certificate says who comes.
        password: of that user; `None` to keep the one that is there.
    """

    url: str | tuple[str, ...]
    username: str = ""
    password: str | None = field(default=None, repr=False)
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    def visitor(self, kept: str) -> Visitor:
        """Return who comes to the broker; `kept` is the password that stays where none is given."""
        password = kept if self.password is None else self.password
        return Visitor(self.username, password, self.ca_file, self.certificate_file, self.key_file)


@dataclass(frozen=True, slots=True)
class Part:
    """One daemon.

    Attributes:
        service: its unit, without the suffix.
        user: whom it runs as.
        file: its settings.
        folder: of its own user, for secrets where systemd cannot hand out folders of credentials.
    """

    service: str
    user: str
    file: str
    folder: str

    def password_path(self, host: Host) -> str:
        """Return where its password lies."""
        return f"{CREDENTIALS}/{self.service}/broker" if host.hands_credentials else f"{self.folder}/broker.password"

    def table(self, access: Access, host: Host) -> dict[str, Any]:
        """Return the table [broker] of its settings."""
        handed = f"{HANDED.format(service=self.service)}broker" if host.hands_credentials else self.password_path(host)
        given: Mapping[str, Any] = {
            "url": access.url,
            "username": access.username,
            "password_file": handed if access.username else "",
            "ca_file": access.ca_file,
            "certificate_file": access.certificate_file,
            "key_file": access.key_file,
        }
        return {key: value for key, value in given.items() if value}

    def secrets(self, access: Access, host: Host) -> tuple[File, ...]:
        """Return the file with the password, none where it is to stay as it is."""
        if access.password is None or not access.username:
            return ()
        path, text = self.password_path(host), f"{access.password}\n"
        if host.hands_credentials:
            return (File(path, text, mode=0o600, is_secret=True),)
        return (File(path, text, mode=0o400, owner=self.user, group=self.user, is_secret=True),)

    def own_folders(self, host: Host) -> tuple[Folder, ...]:
        """Return its user's folder, where it needs one; the user must be there before."""
        return () if host.hands_credentials else (Folder(self.folder, 0o700, self.user, self.user),)

    def credential_folders(self, host: Host, *others: str) -> tuple[Folder, ...]:
        """Return the folders of credentials of its service and of others."""
        if not host.hands_credentials:
            return ()
        services = (self.service, *others)
        return (Folder(CREDENTIALS, 0o700), *(Folder(f"{CREDENTIALS}/{each}", 0o700) for each in services))
