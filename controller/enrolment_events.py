"""What can happen when hosts enrol: a token used, a certificate given, an attempt refused. Of events.py's union.

No event holds a token: the id of one is no secret, and opens nothing.
"""

from __future__ import annotations

import msgspec


class EnrolmentGranted(msgspec.Struct, frozen=True, tag="enrolment.granted"):
    """A host may have a certificate: one use of a token is gone. The certificate itself comes after this.

    Attributes:
        token_id: of the token.
        key: SHA-256 of the public key that it is for, in hexadecimal digits.
        address: where the host asked from.
        token_ends_at: when the token expires; what it was used for need not be known after that.
        again: the answer to the same host was lost, and this is no further use.
        because: the sentence.
    """

    node: str
    token_id: str
    key: str
    address: str
    token_ends_at: float
    because: str
    again: bool = False


class CertificateIssued(msgspec.Struct, frozen=True, tag="certificate.issued"):
    """A host was given a certificate.

    Attributes:
        serial: in hexadecimal digits.
        key: SHA-256 of its public key, in hexadecimal digits.
        token_id: of the token it enrolled by, empty for a renewal.
        replaces: serials of certificates of this name that were revoked for it.
    """

    node: str
    serial: str
    key: str
    address: str
    expires_at: float
    because: str
    token_id: str = ""
    replaces: list[str] = []


class EnrolmentRefused(msgspec.Struct, frozen=True, tag="enrolment.refused"):
    """Somebody asked for a certificate and got none.

    Attributes:
        what: `enrol` or `renew`.
        claimed: the node that they said they are, as far as it could be read: nothing shows that they are it.
        address: where they asked from.
        token_id: of the token, empty where none of ours was shown.
        attempts: for how many this stands. Who asks too often is told of by one entry a minute.
    """

    what: str
    claimed: str
    address: str
    because: str
    token_id: str = ""
    attempts: int = 1


EnrolmentEvent = EnrolmentGranted | CertificateIssued | EnrolmentRefused
