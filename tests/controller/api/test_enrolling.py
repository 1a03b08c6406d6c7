"""Hosts get certificates over HTTP: once for each use of a token, and whoever has no right to one gets none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from controller.api.enrolling import FAILURES_AT_ONCE, RENEWALS_AT_ONCE
from controller.api.guards import MAX_BODY_BYTES
from controller.api.problems import Problem
from controller.enrolment.deciding import ASK_AGAIN_S
from controller.enrolment.refusals import MOST_BY_THEMSELVES
from controller.enrolment.tokens import KIND
from controller.enrolment_events import CertificateIssued, EnrolmentGranted, EnrolmentRefused
from controller.pki import certificates
from controller.pki.authority import Authority
from controller.pki.certificates import Kind
from controller.store.snapshot import restore
from tests.support.enrolling import (
    BROKER,
    DESCRIBED,
    KEYS,
    Host,
    Office,
    certificate_in,
    is_described,
    office,
)
from tests.support.open_cell import OpenCell
from tests.support.openapi import conforms
from tests.support.tokens import bearer

DAY_S = 86_400.0


@pytest.fixture
async def at(cell: OpenCell, tmp_path: Path) -> AsyncIterator[Office]:
    """A cell that enrols hosts."""
    async with office(cell, tmp_path) as opened:
        yield opened


def refused(events: list[Any]) -> list[EnrolmentRefused]:
    return [each for each in events if isinstance(each, EnrolmentRefused)]


async def test_a_host_with_a_token_gets_all_that_an_agent_needs(at: Office) -> None:
    host, token = Host.new("gpu-1"), at.token()
    status, given = await at.ask(host, token)
    assert status == 200
    certificate = certificate_in(given)
    described = certificates.describe(certificate)
    assert (described.common_name, described.kind) == ("gpu-1", Kind.AGENT)
    assert certificates.public_bytes(certificate) == certificates.public_bytes(host.key)
    assert described.expires_at.timestamp() == pytest.approx(at.cell.clock.now + 30 * DAY_S, abs=1.0)
    assert given["authorities"].encode() == at.authority.bundle()
    assert (given["node"], given["cell"], given["broker_url"], given["trusted_keys"]) == (
        "gpu-1",
        "main",
        [BROKER],
        KEYS,
    )
    granted, issued = await at.told()
    assert isinstance(granted, EnrolmentGranted) and isinstance(issued, CertificateIssued)
    assert (granted.node, granted.address, granted.again) == ("gpu-1", "127.0.0.1", False)
    assert "made by kim for gpu-1: use 1 of 1" in granted.because
    assert (issued.serial, issued.key, issued.token_id) == (described.serial, granted.key, granted.token_id)


async def test_a_token_is_in_no_entry_of_the_log_nor_in_its_file(at: Office) -> None:
    token = at.token()
    await at.ask(Host.new("gpu-2"), token)
    await at.ask(Host.new("gpu-1"), token)
    secret = token.rpartition("_")[2]
    assert len(await at.told()) == 3
    assert secret not in str(await at.told()) + at.tokens.read_text()


async def test_one_use_is_one_host_however_many_ask_at_once(at: Office) -> None:
    hosts, token = [Host.new(f"gpu-{number}") for number in range(1, 21)], at.token("gpu-*", uses=3)
    answers = await asyncio.gather(*(at.ask(host, token) for host in hosts))
    assert sorted(status for status, _ in answers) == [200] * 3 + [403] * 17
    assert len([each for each in await at.told() if isinstance(each, EnrolmentGranted)]) == 3
    assert len(at.authority.issued()) == 3


async def test_one_host_that_asks_many_times_at_once_is_one_use(at: Office) -> None:
    host, token = Host.new("gpu-1"), at.token("gpu-*", uses=2)
    answers = await asyncio.gather(*(at.ask(host, token) for _ in range(8)))
    assert {status for status, _ in answers} == {200}
    assert (await at.ask(Host.new("gpu-2"), token))[0] == 200
    assert (await at.ask(Host.new("gpu-3"), token))[0] == 403


async def test_whose_answer_was_lost_asks_again_for_some_minutes(at: Office) -> None:
    host, token = Host.new("gpu-1"), at.token()
    assert (await at.ask(host, token))[0] == 200
    at.cell.clock.now += ASK_AGAIN_S - 1
    assert (await at.ask(host, token))[0] == 200
    at.cell.clock.now += 2
    status, answer = await at.ask(host, token)
    assert (status, "15 minutes ago" in answer["error"], "--replace" in answer["hint"]) == (403, True, True)


async def test_uses_are_known_after_a_restart_and_by_whoever_leads_next(at: Office) -> None:
    await at.ask(Host.new("gpu-1"), at.token())
    believed, _ = restore(at.cell.cell.log)
    assert believed.enrolments == at.cell.cell.belief.enrolments
    ((use,),) = believed.enrolments.uses.values()
    assert (use.node, len(use.serials)) == ("gpu-1", 1)


async def test_what_becomes_of_a_token_whose_authority_could_not_sign(at: Office) -> None:
    host, token, records = Host.new("gpu-1"), at.token(), at.authority.folder / "issued"
    records.write_text("no folder")
    status, answer = await at.ask(host, token)
    assert (status, "authority cannot be used now" in answer["error"]) == (503, True)
    records.unlink()
    at.cell.clock.now += 2 * ASK_AGAIN_S
    assert (await at.ask(host, token))[0] == 200
    assert (await at.ask(Host.new("gpu-1"), token))[0] == 403


REUSED = "used up, by gpu-1 with another key"


@pytest.mark.parametrize(
    ("wrong", "status", "because"),
    [
        ("none", 401, "no enrolment token"),
        ("guessed", 401, "no enrolment token"),
        ("of a person", 401, "no enrolment token"),
        ("half of it", 401, "no enrolment token"),
        ("expired", 401, "has expired"),
        ("revoked", 401, "was revoked"),
        ("for another node", 403, "is not for gpu-1"),
        ("reused", 403, REUSED),
    ],
)
async def test_tokens_that_open_nothing(at: Office, wrong: str, status: int, because: str) -> None:
    good = at.token()
    if wrong == "reused":
        await at.ask(Host.new("gpu-1"), good)
    if wrong == "revoked":
        with KIND.changing(at.tokens) as tokens:
            tokens[:] = [msgspec.structs.replace(each, revoked_at=1.0) for each in tokens]
    if wrong == "expired":
        at.cell.clock.now += 2 * DAY_S
    token = {
        "none": "",
        "guessed": good[:13] + "A" * 43,
        "of a person": f"fmt{good[3:]}",
        "half of it": good[:-1],
        "for another node": at.token("gpu-2"),
    }.get(wrong, good)
    got, answer = await at.ask(Host.new("gpu-1"), token)
    assert (got, because in answer["error"]) == (status, True), answer
    told = refused(await at.told())[-1]
    assert (told.what, told.claimed, told.address) == ("enrol", "gpu-1", "127.0.0.1")
    assert because in told.because
    assert [each.name for each in at.authority.issued()] == (["gpu-1"] if wrong == "reused" else [])


@pytest.mark.parametrize("node", ["controller", "broker"])
async def test_no_node_gets_the_name_of_the_cells_own_parts(at: Office, node: str) -> None:
    status, answer = await at.ask(Host.new(node), at.token("*"))
    assert (status, "own part" in answer["error"]) == (422, True)
    assert at.authority.issued() == []


async def test_a_request_for_another_name_or_signed_by_nobody_is_refused(at: Office) -> None:
    host, token = Host.new("gpu-1"), at.token("*", uses=100)
    status, answer = await at.ask(host, token, csr=host.request("gpu-2"))
    assert (status, answer["error"]) == (403, "the request is for gpu-2, and not for gpu-1")
    broken = _with_broken_signature(host)
    status, answer = await at.ask(host, token, csr=broken)
    assert (status, "not signed by its own key" in answer["error"]) == (422, True)
    for text in ("x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "\0"):
        assert (await at.ask(host, token, csr=text))[0] == 422
    assert len(refused(await at.told())) == 5
    assert (at.authority.issued(), at.cell.cell.belief.enrolments.uses) == ([], {})


def _with_broken_signature(host: Host) -> str:
    """Return a request whose signature is of another one."""
    request = x509.load_pem_x509_csr(host.request().encode())
    other = x509.load_pem_x509_csr(host.request("gpu-2").encode())
    der = request.public_bytes(Encoding.DER)
    if len(request.signature) != len(other.signature):
        return _with_broken_signature(host)
    forged = der.replace(request.signature, other.signature)
    return x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode()


async def test_a_huge_body_and_what_is_no_json_are_refused_and_told_of(at: Office) -> None:
    headers = {"Content-Type": "application/json", **bearer(at.token())}
    for body, status in ((b"{" + b" " * MAX_BODY_BYTES, 413), (b"{", 400), (b"[" * 50_000, 400), (b"{}", 400)):
        async with at.http.post("/api/v1/enrol", data=body, headers=headers) as answer:
            assert answer.status == status and await is_described(answer)
    async with at.http.post("/api/v1/enrol", data=b"{}") as answer:
        assert answer.status == 415 and await is_described(answer)
    long = {"node": "x" * 65, "csr": "y"}
    assert (await at.post("", long, **bearer(at.token())))[0] == 422
    assert len(refused(await at.told())) == 6


async def test_a_thousand_guesses_find_nothing_fill_nothing_and_keep_no_host_out(at: Office) -> None:
    host, good = Host.new("gpu-1"), at.token()
    csr = host.request()
    statuses = []
    for _ in range(1_000):
        body = {"node": "gpu-1", "csr": csr}
        guess = KIND.mint().text
        statuses.append((await at.post("", body, **bearer(guess)))[0])
    assert statuses[:FAILURES_AT_ONCE] == [401] * FAILURES_AT_ONCE
    assert statuses.count(429) > 900
    assert set(statuses) == {401, 429}
    assert len(refused(await at.told())) == MOST_BY_THEMSELVES
    assert (await at.ask(host, good))[0] == 200
    at.minute.set()
    async with asyncio.timeout(30.0):
        while sum(each.attempts for each in refused(await at.told())) < 1_000:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    assert sum(each.attempts for each in refused(await at.told())) == 1_000


async def test_a_name_that_is_taken_is_given_away_by_a_token_that_says_so_alone(at: Office) -> None:
    _, before = await at.enrolled("gpu-1")
    status, answer = await at.ask(Host.new("gpu-1"), at.token())
    assert (status, "good certificate already" in answer["error"]) == (409, True)
    _, after = await at.enrolled("gpu-1", replace=True)
    gone, kept = (certificates.describe(each).serial for each in (before, after))
    assert at.authority.revoked() == {gone}
    issued = [each for each in await at.told() if isinstance(each, CertificateIssued)][-1]
    assert (issued.serial, issued.replaces) == (kept, [gone])


async def test_a_name_whose_certificate_expired_or_was_revoked_is_free(at: Office) -> None:
    await at.enrolled("gpu-1")
    at.cell.clock.now += 31 * DAY_S
    await at.enrolled("gpu-1")
    at.authority.revoke("gpu-1", now=at.now())
    await at.enrolled("gpu-1")


async def test_a_host_that_was_shut_out_is_not_let_in_by_the_token_it_came_with(at: Office) -> None:
    host, token = Host.new("gpu-1"), at.token()
    await at.ask(host, token)
    at.authority.revoke("gpu-1", now=at.now())
    status, answer = await at.ask(host, token)
    assert (status, "was revoked" in answer["error"]) == (403, True)


async def test_a_certificate_is_renewed_by_its_key(at: Office) -> None:
    host, before = await at.enrolled("gpu-1")
    at.cell.clock.now += 20 * DAY_S
    status, given = await at.renew(host.proof(before, now=at.cell.clock.now))
    assert status == 200, given
    after = certificate_in(given)
    assert certificates.public_bytes(after) == certificates.public_bytes(before)
    assert after.not_valid_after_utc > before.not_valid_after_utc
    issued = [each for each in await at.told() if isinstance(each, CertificateIssued)][-1]
    serial = certificates.describe(before).serial
    assert (issued.token_id, issued.because) == ("", f"gpu-1 renews by its certificate {serial}.")


@pytest.mark.parametrize(
    ("wrong", "status", "because"),
    [
        ("revoked", 403, "was revoked"),
        ("expired", 403, "expired at"),
        ("another name", 403, "the request is for gpu-2"),
        ("another key", 401, "not signed by the key"),
        ("another authority", 401, "not one that this controller's authority"),
        ("the authority itself", 401, "not one that this controller's authority"),
        ("a controller", 401, "not one that this controller's authority"),
        ("another cell", 401, "another cell"),
        ("old", 401, "clock"),
        ("nothing", 401, "no use"),
    ],
)
async def test_renewals_that_are_refused(at: Office, tmp_path: Path, wrong: str, status: int, because: str) -> None:
    host, certificate = await at.enrolled("gpu-1")
    name, cell, made_at = "", "main", at.cell.clock.now
    match wrong:
        case "revoked":
            at.authority.revoke("gpu-1", now=at.now())
        case "expired":
            at.cell.clock.now += 30 * DAY_S
            made_at = at.cell.clock.now
        case "another name":
            name = "gpu-2"
        case "another key":
            host = Host.new("gpu-1")
        case "another authority":
            theirs = Authority.found(tmp_path / "theirs", now=at.now())
            certificate = _signed(theirs, host, Kind.AGENT, at)
        case "the authority itself":
            host = Host("gpu-1", certificates.key_from_pem((at.authority.folder / "ca-key.pem").read_bytes()))
            (certificate,) = certificates.from_pem(at.authority.bundle())
        case "a controller":
            host = Host.new("controller")
            certificate = _signed(at.authority, host, Kind.CONTROLLER, at)
        case "another cell":
            cell = "other"
        case "old":
            made_at -= 3_600.0
    text = "x.y.z" if wrong == "nothing" else host.proof(certificate, name=name, cell=cell, now=made_at)
    given = len(at.authority.issued())
    got, answer = await at.renew(text)
    assert (got, because in answer["error"]) == (status, True), answer
    told = refused(await at.told())[-1]
    assert (told.what, because in told.because) == ("renew", True)
    assert len(at.authority.issued()) == given


def _signed(authority: Authority, host: Host, kind: Kind, at: Office) -> x509.Certificate:
    chain = authority.sign(host.request().encode(), common_name=host.node, kind=kind, days=30, now=at.now())
    return certificates.from_pem(chain)[0]


async def test_a_node_does_not_renew_without_end(at: Office) -> None:
    host, certificate = await at.enrolled("gpu-1")
    statuses = [
        (await at.renew(host.proof(certificate, now=at.cell.clock.now)))[0] for _ in range(RENEWALS_AT_ONCE + 2)
    ]
    assert statuses == [200] * RENEWALS_AT_ONCE + [429] * 2


async def test_a_controller_that_stands_by_says_where_to_go(at: Office) -> None:
    at.cell.front.leads, at.cell.front.leader_url = lambda: False, lambda: "https://b.example:8642"
    for status, answer in (await at.ask(Host.new("gpu-1"), at.token()), await at.renew("x")):
        assert (status, answer["hint"]) == (503, "the leader answers at https://b.example:8642")
    assert await at.told() == []


async def test_whoever_asks_is_given_the_authorities(at: Office) -> None:
    async with at.http.get("/api/v1/enrol/authorities") as answer:
        content = await answer.json()
    assert conforms(content, {"$ref": "#/components/schemas/Authorities"}, DESCRIBED)
    assert content["authorities"].encode() == at.authority.bundle()


async def test_the_audit_has_every_attempt(at: Office) -> None:
    await at.ask(Host.new("gpu-2"), at.token())
    await at.enrolled("gpu-1")
    async with at.http.get("/api/v1/audit?what=enrolments") as answer:
        rows = (await answer.json())["entries"]
    assert [row["entry"]["kind"] for row in rows] == ["certificate.issued", "enrolment.granted", "enrolment.refused"]
    assert "is not for gpu-2" in rows[-1]["entry"]["because"]
    async with at.http.get("/audit?what=enrolments") as page:
        assert "Refused to enrol: gpu-2 from 127.0.0.1" in await page.text()


async def test_without_an_authority_it_says_so(at: Office) -> None:
    (at.authority.folder / "ca-key.pem").unlink()
    status, answer = await at.ask(Host.new("gpu-1"), at.token())
    assert (status, "ca-key.pem is not there" in answer["error"]) == (503, True)


async def test_a_controller_that_enrols_nobody_has_no_such_address(http: aiohttp.ClientSession) -> None:
    async with http.post("/api/v1/enrol", json={}) as answer:
        assert answer.status in {404, 405}


async def test_nobody_enrols_from_afar_without_tls(at: Office) -> None:
    request = make_mocked_request("POST", "/api/v1/enrol").clone(remote="192.0.2.7")
    assert at.cell.enrolling is not None
    for ask in (at.cell.enrolling.enrol, at.cell.enrolling.renew):
        with pytest.raises(Problem, match="over TLS alone"):
            await ask(request)
    assert [(each.address, each.because) for each in refused(await at.told())] == [
        ("192.0.2.7", "hosts enrol over TLS alone")
    ] * 2
