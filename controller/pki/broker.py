"""What a Mosquitto is told so that it speaks to those alone whom the authority knows, and to each as itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire.topics import ROOT, Channel

CONTROLLER: Final = "controller"
"""The one user who reads and writes everything of ours."""

NODE_WRITES: Final = (Channel.EVENT, Channel.STATUS, Channel.PRESENCE)
NODE_READS: Final = (Channel.ORDER, Channel.ACK)
TLS_PORT: Final = 8883
"""Source: IANA, secure-mqtt."""


def access_rules(cell: str) -> str:
    """Return the ACL file: the controller everything of ours, each node its own branch, nobody else anything."""
    branch = f"{ROOT}/{cell}/node/%u"
    return "\n".join(
        [
            f"user {CONTROLLER}",
            f"topic readwrite {ROOT}/#",
            "",
            *(f"pattern write {branch}/{channel}" for channel in NODE_WRITES),
            *(f"pattern read {branch}/{channel}" for channel in NODE_READS),
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class TlsListener:
    """Where the broker listens with TLS, and by which files.

    Attributes:
        folder: holds its `certificate.pem`, `key.pem` and `acl`.
        trust: holds `ca.pem` and `crl.pem`: the authority's own folder, or a copy of these two.
        address: to listen on, every one when empty.
    """

    folder: Path
    trust: Path
    port: int = TLS_PORT
    address: str = ""

    def configuration(self) -> str:
        """Return the part of mosquitto.conf.

        A user is who the certificate says (its common name), and a client id belongs to a user: nobody pushes another
        out or takes its session. Without `crlfile` a revoked certificate would be as good as before.
        """
        return f"""\
listener {" ".join(filter(None, (str(self.port), self.address)))}
certfile {self.folder}/certificate.pem
keyfile {self.folder}/key.pem
cafile {self.trust}/ca.pem
crlfile {self.trust}/crl.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {self.folder}/acl
"""
