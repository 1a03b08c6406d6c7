"""Where hosts get certificates: open to everybody, and of use to whoever has a token or a good certificate alone.

Every attempt comes into the event log, with its reason and without the token. Who fails often from one address is told
to come again later; a host with a good token is heard even then, for many may be behind one address.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from controller.access.limits import Limits, network_of
from controller.api import enrol_shapes as shapes
from controller.api.operation import Operation, Shows
from controller.api.problems import Problem
from controller.api.serving import body_of, json_response, problem_of
from controller.enrolment.deciding import Turned
from controller.enrolment.desk import Asking, EnrolmentDesk, Identity
from wire.loopback import is_loopback

ENROL: Final = "/api/v1/enrol"
RENEW: Final = f"{ENROL}/renew"
AUTHORITIES: Final = f"{ENROL}/authorities"

FAILURES_PER_S: Final = 0.2
FAILURES_AT_ONCE: Final = 20
"""Of one address. Source: our choice; a person who mistypes does not come near it."""

RENEWALS_PER_S: Final = 1 / 600
RENEWALS_AT_ONCE: Final = 10
"""Of one node. Source: our choice; it renews three times in a month, and each leaves a record."""


OPERATIONS: Final = (
    Operation(
        method="GET",
        path=AUTHORITIES,
        name="enrol_authorities",
        summary="The cell's certificate authorities.",
        about="For everybody. Believe them by a fingerprint that you know from elsewhere.",
        answer=shapes.Authorities,
        refusals=(503,),
        shows=Shows.NOTHING,
    ),
    Operation(
        method="POST",
        path=ENROL,
        name="enrol",
        summary="A host's first certificate, and all that its agent needs.",
        about=(
            "For a host with an enrolment token, over TLS. From one address "
            f"{FAILURES_AT_ONCE} attempts may fail at once, then one in {1 / FAILURES_PER_S:g} s."
        ),
        answer=shapes.Identity,
        body=shapes.EnrolmentWanted,
        refusals=(409, 422),
        shows=Shows.ENROLMENT_TOKEN,
    ),
    Operation(
        method="POST",
        path=RENEW,
        name="enrol_renew",
        summary="A host's next certificate.",
        about=(
            "For a host with a good certificate, which the proof shows, over TLS. One node may renew "
            f"{RENEWALS_AT_ONCE} times at once, then once in {1 / RENEWALS_PER_S:g} s; failures count as at {ENROL}."
        ),
        answer=shapes.Identity,
        body=shapes.RenewalWanted,
        refusals=(401, 422),
        shows=Shows.NOTHING,
    ),
)
"""What the API's description says of these addresses."""


def _failures() -> Limits:
    return Limits(FAILURES_PER_S, FAILURES_AT_ONCE, time.monotonic)


def _renewals() -> Limits:
    return Limits(RENEWALS_PER_S, RENEWALS_AT_ONCE, time.monotonic)


@dataclass(frozen=True, slots=True)
class Enrolling:
    """Answers hosts.

    Attributes:
        check_leading: raises NotLeading on a controller that stands by.
    """

    desk: EnrolmentDesk
    check_leading: Callable[[], None]
    failures: Limits = field(default_factory=_failures)
    renewals: Limits = field(default_factory=_renewals)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Answer at these addresses."""
        router.add_get(AUTHORITIES, self.authorities)
        router.add_post(ENROL, self.enrol)
        router.add_post(RENEW, self.renew)

    async def authorities(self, _request: web.Request) -> web.StreamResponse:
        """Give the CAs: no secret, and believed by nobody who does not know a fingerprint."""
        return json_response(shapes.Authorities(await self.desk.authorities()))

    async def enrol(self, request: web.Request) -> web.StreamResponse:
        """Give a host with a token its certificate."""
        return await self._answer(request, "enrol", self._enrol)

    async def renew(self, request: web.Request) -> web.StreamResponse:
        """Give a host with a good certificate its next one."""
        return await self._answer(request, "renew", self._renew)

    async def _enrol(self, request: web.Request) -> Identity:
        said = await body_of(request, shapes.EnrolmentWanted)
        asking = Asking(said.node, said.csr.encode(), request.remote or "")
        return await self.desk.enrol(asking, _token_of(request))

    async def _renew(self, request: web.Request) -> Identity:
        said = await body_of(request, shapes.RenewalWanted)
        return await self.desk.renew(said.proof, request.remote or "", self.renewals.take)

    async def _answer(
        self, request: web.Request, what: str, act: Callable[[web.Request], Awaitable[Identity]]
    ) -> web.StreamResponse:
        self.check_leading()
        try:
            _check_private(request)
            return json_response(_shape(await act(request)))
        except Turned as turned:
            self._count(request, turned)
            raise
        except (Problem, web.HTTPException) as error:
            problem = problem_of(error)
            await self.desk.note(what, Asking("", b"", request.remote or ""), problem.error)
            self._count(request, problem)
            raise problem from error

    def _count(self, request: web.Request, problem: Problem) -> None:
        """Count a failure that is not ours.

        Raises:
            Problem: 429, it was one too many of this address.
        """
        if problem.status not in {429, 503}:
            self.failures.take(network_of(request.remote or ""))


def _check_private(request: web.Request) -> None:
    """Return if nobody on the way can read what is shown."""
    if not request.secure and not is_loopback(request.remote or ""):
        raise Problem(403, "hosts enrol over TLS alone", "https://, with http.certificate_file on the controller")


def _token_of(request: web.Request) -> str:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _shape(given: Identity) -> shapes.Identity:
    return shapes.Identity(
        given.node, given.certificate, given.authorities, given.cell, given.broker_url, given.trusted_keys
    )
