"""The bodies of what hosts ask that want a certificate, and of the answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_NODE = 64
"""Source: X.509's upper bound of a common name (RFC 5280, A.1)."""

MAX_CSR = 8_192
MAX_PROOF = 24_576


class EnrolmentWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host that has a token in `Authorization: Bearer`. `csr`: PEM, for the same name."""

    node: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NODE)]
    csr: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CSR)]


class RenewalWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host that has a good certificate. `proof`: what `controller.enrolment.proof` makes."""

    proof: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROOF)]


class Authorities(msgspec.Struct, frozen=True):
    """The CAs of the cell, in PEM, for whoever knows the fingerprint of one."""

    authorities: str


class Identity(msgspec.Struct, frozen=True):
    """What a host gets.

    Attributes:
        certificate: PEM, with its chain.
        authorities: the CAs that it has to trust, in PEM.
        broker_url: where it reaches the broker, each node of a clustered one.
        trusted_keys: key id → public key of orders, in base64.
    """

    node: str
    certificate: str
    authorities: str
    cell: str
    broker_url: list[str]
    trusted_keys: dict[str, str]
