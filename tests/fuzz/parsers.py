"""Parsers that need more than bytes: a file, a signature, a cell around them. Each becomes a function of bytes.

Some of what is called here is private on purpose: what is fuzzed is the parser, without the process or the socket that
stands before it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from agent import boots
from agent.bench import roll_call
from agent.bench.watch import watch_of
from agent.bundles import plan
from agent.replay import replay
from agent.sources import amd_smi
from agent.sources import redfish_documents as bmc_documents
from agent.sources.files import Contents
from agent.sources.files import parse as parse_files
from agent.sources.redfish_child import _document
from agent.sources.redfish_walk import Walk
from checks.errors import CannotObserve
from checks.judge import judge_lines
from checks.readings import SiteReading
from checks.recording import read as read_recording
from checks.site import judge as judge_site
from cli.report_log import LogAsked, report_of_log
from controller.access.oidc import Attempt, Provider
from controller.access.sessions import SessionKey, Sessions
from controller.access.tokens import TokenBook
from controller.api.problems import Problem
from controller.api.routes import ROUTES
from controller.api.serving import body_of
from controller.cell import MAX_BATCH, Cell
from controller.events import Logged
from controller.intake import Intake
from controller.notices.http import Reply, wait_s
from controller.policy.reporting.asked import Prices
from controller.policy.rules import Budget, Rules
from controller.power import bmcs
from controller.power.bmcs import Bmc
from controller.power.redfish_evidence import gather
from controller.receipts import Receipts
from controller.schedulers import command
from controller.schedulers.commands import Ended
from controller.schedulers.kubernetes_access import config_of
from controller.schedulers.kubernetes_hold import schedule_of, state_of
from controller.schedulers.kubernetes_objects import KubeNode, KubePod
from controller.schedulers.kubernetes_pods import Drain, PodPolicies, moves, pod_of
from controller.sections.oidc import OidcSection
from controller.store.audit_lines import LinesAudit
from controller.store.log import Receipt
from controller.store.taken import Taken
from controller.topology.netbox import NetBox, _page_of
from wire import messages, newer, topics
from wire.grants import PURPOSE, verify_token
from wire.messages import SignedOrder
from wire.packets import publish_at
from wire.signatures import verify
from wire.transport import Received

T = TypeVar("T")
Parse = Callable[[bytes], object]

NOW: Final = 1_764_000_000.0
KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC: Final = KEY.public_key().public_bytes_raw()
PATH: Final = Path("given")


def text(parse: Callable[[str], object]) -> Parse:
    """Give it the text as what other programs print is decoded: what is not UTF-8 has a mark."""
    return lambda data: parse(data.decode("utf-8", "replace"))


def strict(parse: Callable[[str], object]) -> Parse:
    """Give it the text where its reader refuses what is not UTF-8 before."""
    return lambda data: parse(data.decode("utf-8", "ignore"))


def header(parse: Callable[[str], object]) -> Parse:
    """Give it the text as headers and queries of HTTP come."""
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def words(parse: Callable[..., object], count: int) -> Parse:
    """Give it so many texts, one from each line."""
    return lambda data: parse(*(data.decode("utf-8", "replace").split("\n") + [""] * count)[:count])


def in_file(load: Callable[[Path], object], *, mode: int = 0o600) -> Parse:
    """Give it a file in memory that holds the bytes."""

    def parse(data: bytes) -> object:
        path = _scratch_file()
        path.write_bytes(data)
        path.chmod(mode)
        return load(path)

    return parse


def _scratch_file() -> Path:
    folder = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"fleetmend-fuzz-{os.getpid()}.toml"


def state(load: Callable[[Mapping[str, Any]], object]) -> Parse:
    """Give it a state as the agent's outbox keeps one: JSON, an object."""

    return lambda data: load(_object(data))


def _object(data: bytes) -> dict[str, Any]:
    """Return the object that JSON holds, an empty one where somebody before the parser refuses it."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _decoded(data: bytes, kind: type[T]) -> T | None:
    """Return what JSON holds, nothing where somebody before the parser refuses it."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# --- wire ------------------------------------------------------------------------------------------------------------


def message(data: bytes) -> object:
    """Decode a message of a node, as agents do and as controllers do, who understand newer ones."""
    address = topics.Address("main", "gpu-1", topics.Channel.EVENT)
    return newer.read(data, address), messages.decode(data, address)


def signed_order(data: bytes) -> object:
    """Verify an order of which everything is foreign."""
    signed = _decoded(data, SignedOrder)
    return signed and verify(signed, trusted={"gpu-1": PUBLIC})


def order_of_a_trusted_key(data: bytes) -> object:
    """Verify an order whose bytes are foreign and whose signature is good, as from a newer controller."""
    payload = data.decode("utf-8", "replace")
    return verify(SignedOrder("k", payload, b64encode(KEY.sign(payload.encode())).decode()), trusted={"k": PUBLIC})


def grant_token(data: bytes) -> object:
    """Verify a token of a grant, as it came."""
    return verify_token(data.decode("utf-8", "surrogateescape"), keys=[KEY.public_key()], now=NOW)


def grant_claims(data: bytes) -> object:
    """Verify a token that this controller signed over foreign bytes."""
    signature = KEY.sign(PURPOSE + data)
    token = f"{urlsafe_b64encode(data).decode()}.{urlsafe_b64encode(signature).decode()}"
    return verify_token(token, keys=[KEY.public_key()], now=NOW)


def packets(data: bytes) -> object:
    """Read one packet after the other."""
    at = 0
    while at < len(data) and (found := publish_at(data, at, has_properties=bool(data[0] & 1))) is not None:
        at = found.ends_at
    return at


# --- agent -----------------------------------------------------------------------------------------------------------


def kernel_log(data: bytes) -> Iterator[object]:
    """Judge lines of a kernel log to findings, also what a process may have written."""
    return judge_lines(data.split(b"\n"), accept_userspace=True)


def recording(data: bytes) -> Iterator[object]:
    """Judge a recording of readings to findings by every check."""
    head, taken = read_recording(data.split(b"\n"), name="given")
    return replay(head, taken)


def site_answer(data: bytes) -> object:
    """Judge what a program of the site printed, with its exit code from the first byte."""
    printed = data.decode("utf-8", "replace")
    return judge_site("site.disks", [SiteReading(5.0, data[0] % 5 if data else 0, printed, printed[:200])])


def grep_of_files(data: bytes) -> object:
    """Take apart what grep printed of two files, and read both as numbers."""
    read = Contents(parse_files(data.decode("utf-8", "replace"), frozenset({"/sys/a", "/sys/b"})))
    return [(read.line(Path(name)), read.number(Path(name))) for name in ("/sys/a", "/sys/b")]


def amd_gpus(data: bytes) -> object:
    """Read all of what amd-smi prints."""
    return [
        (
            amd_smi.parse_ecc(row),
            amd_smi.parse_temperatures(row, row),
            amd_smi.parse_throttles(row),
            amd_smi.parse_throttle_clock(row),
            amd_smi.parse_pcie(row, row),
            amd_smi.parse_power(row),
            amd_smi.parse_bad_pages(row, row),
            amd_smi.parse_links(row, row),
            amd_smi.parse_pci(row),
        )
        for row in amd_smi.rows(data.decode("utf-8", "replace")).values()
    ]


def bmc_of_a_node(data: bytes) -> object:
    """Walk a BMC that answers every question of the agent with the same document."""
    answer = _document(200, data).get("document")
    if not isinstance(answer, dict):
        raise CannotObserve("it is no object")

    async def get(_path: str) -> bmc_documents.Document:
        return answer

    walk = Walk(get)
    asyncio.run(walk.run())
    return walk.sensors


# --- controller ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Talk:
    document: dict[str, Any]
    bmc: Bmc = field(default_factory=lambda: Bmc("https://bmc"))

    async def get(self, _path: str) -> Mapping[str, Any]:
        return self.document


def bmc_evidence(data: bytes) -> object:
    """Gather evidence from a BMC that answers every question of the controller with the same document."""
    system = _object(data)
    return asyncio.run(gather(_Talk(system), system))  # type: ignore[arg-type]  # as much of a conversation as is used


class _NoDisk:
    """A log that keeps nothing but the numbers of messages."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], Taken] = {}

    def recall_taken(self) -> dict[tuple[str, str], Taken]:
        return self.taken

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        for entry in entries:
            msgspec.json.encode(entry.event)
        for receipt in receipts:
            self.taken.setdefault((receipt.node, receipt.boot_id), Taken()).add(receipt.seq)


class _NoBroker:
    connected = True

    def tell(self, topic: str, payload: bytes) -> None:
        del topic, payload


def intake(data: bytes) -> object:
    """Take a message in on its own channel, believe it and decide; whatever it says, the cell goes on.

    The errors by which a message is refused are the intake's own business and stay there.
    """
    log: Any = _NoDisk()
    cell = Cell(log, Rules((), Budget(nodes=1)), clock=lambda: NOW)
    door = Intake(cell, _NoBroker(), Receipts.recall(log), "main", 60.0, lambda: NOW)  # type: ignore[arg-type]
    asyncio.run(_taken_in(door, data))
    return cell.belief


async def _taken_in(door: Intake, data: bytes) -> None:
    for channel in (topics.Channel.EVENT, topics.Channel.STATUS, topics.Channel.PRESENCE):
        topic = topics.Address("main", "gpu-1", channel).topic
        await door.take(Received(topic, data, False, lambda: None))
    await door.cell._think(door.cell._inbox.take(MAX_BATCH))


def answer(kind: Any) -> Parse:
    """Read the body of another system's answer as this type."""
    return lambda data: Reply(200, {}, data, True, "the other side").read(kind)


def retry_after(data: bytes) -> object:
    """Read how long an answer asks to wait, from the headers that say so."""
    lines = [*data.decode("utf-8", "surrogateescape").split("\n"), "", ""]
    return wait_s({"Retry-After": lines[0]} if lines[0] else {"X-RateLimit-Reset": lines[1]}, now=NOW)


def hook(kind: Any) -> Parse:
    """Read what a scheduler's hook printed."""

    def parse(data: bytes) -> object:
        ended = Ended("hook observe", 0, data, "")
        found = command._decoded(ended, data, kind)
        if isinstance(found, command.HookNodes):
            return [command._schedule(ended, name, raw) for name, raw in found.nodes.items()]
        return found

    return parse


def netbox(data: bytes) -> object:
    """Place the devices of a page of NetBox by every field."""
    fields = {"rack": "rack", "pool": "role", "leaf": "custom_fields.leaf", "row": "tags.row", "site": "site"}
    page = _page_of(data, "https://netbox")
    return NetBox("https://netbox", "", "", fields)._map(page["results"])


def audited_export(data: bytes) -> object:
    """Verify an audited export; what is wrong with it is its answer."""
    audit = LinesAudit({"k": PUBLIC})
    audit.read(data.splitlines(keepends=True), "given")
    audit.audit.finish()
    return audit.audit.flaws


_SECRET: Final = OctKey.import_key(bytes(range(32)))
_SIGNER: Final = OKPKey.import_key(
    {
        "kty": "OKP",
        "crv": "Ed25519",
        "d": urlsafe_b64encode(KEY.private_bytes_raw()).decode().rstrip("="),
        "x": urlsafe_b64encode(PUBLIC).decode().rstrip("="),
    }
)
_OIDC: Final = Provider(
    OidcSection(issuer="https://login.example", client_id="us", roles={"operator": ["sre"]}),  # type: ignore[dict-item]
    "https://here/login/back",
    "",
    None,  # type: ignore[arg-type]  # nobody is asked
)


def oidc_claims(data: bytes) -> object:
    """Read whom the claims of an ID token are about."""
    return _OIDC.person_of(_object(data))


def oidc_token(data: bytes) -> object:
    """Check an ID token, the first line, against a provider's keys, the others."""
    token, _, keys = data.partition(b"\n")
    return _OIDC._checked(token.decode("latin-1"), _object(keys), Attempt("s", "v", "n"))


def oidc_signed(data: bytes) -> object:
    """Check an ID token that the provider signed over foreign claims."""
    token = jwt.encode({"alg": "Ed25519"}, _object(data), _SIGNER, algorithms=["Ed25519"])
    return _OIDC._checked(token, {"keys": [_SIGNER.as_dict(private=False)]}, Attempt("s", "v", "n"))


class _FixedKey(SessionKey):
    def now(self) -> OctKey:
        """Return a key that is in no file."""
        return _SECRET


def _sessions() -> Sessions:
    return Sessions(_FixedKey(PATH), TokenBook(PATH, lambda: NOW), lambda: NOW, 60.0, True)


def session_cookie(data: bytes) -> object:
    """Read a cookie as it came."""
    return _sessions().person(data.decode("utf-8", "surrogateescape"))


def session_parts(data: bytes) -> object:
    """Read a cookie of which each part is foreign and well wrapped: header and claims, a line each."""
    head, _, claims = data.partition(b"\n")
    wrapped = (urlsafe_b64encode(part).decode().rstrip("=") for part in (head, claims, b"signature"))
    return _sessions().person(".".join(wrapped))


def session_claims(data: bytes) -> object:
    """Read a cookie that this controller, or a later version of it, signed over foreign claims."""
    claims = _object(data)
    return _sessions().person(jwt.encode({"alg": "HS256"}, claims, _SECRET))


# --- files and objects that need a word more -------------------------------------------------------------------------


def boots_kept(kept: Mapping[str, Any]) -> object:
    """Read what the agent keeps of its last start."""
    journal: Any = SimpleNamespace(load=lambda _key: dict(kept), save=lambda _key, _value: None)
    return boots.previous_boot_id(journal)


def bundle_plan(path: Path) -> object:
    """Read the plan of a bundle."""
    return plan._read(path, plan.Plan)


class Said(Exception):
    """Problems that are returned, as one that is raised."""


def bmcs_file(path: Path) -> object:
    """Read the file of BMCs."""
    found, problems = bmcs.read_file(path)
    if problems:
        raise Said("\n".join(problems))
    return found


def report_of_a_file(path: Path) -> object:
    """Make a report of an exported log."""
    return report_of_log(LogAsked(path, "", "", False, Prices()))


def packed(data: bytes) -> bytes:
    """Return a piece of a snapshot as it is stored."""
    return zlib.compress(data, 1)


NO_SNAPSHOT: Final = (ValueError, KeyError, zlib.error, msgspec.MsgspecError, RecursionError)
"""By which the controller takes an older snapshot, or folds the whole log (controller/store/snapshot.py)."""


def kubernetes_pod(data: bytes) -> object:
    """Read a pod, and decide what a drain does with it."""
    pod = _decoded(data, KubePod)
    found = pod and pod_of(pod, PodPolicies(device_annotation="a"))
    return found and moves([found], Drain("requeue", 5.0, NOW, 60.0), PodPolicies())


def kubernetes_node(data: bytes) -> object:
    """Read a node, and whose hold it is under."""
    node = _decoded(data, KubeNode)
    return node and schedule_of(state_of(node, taint="fleetmend.io/hold"), ())


def kubeconfig(path: Path) -> object:
    """Read a kubeconfig."""
    return config_of(path, "", "account")


def roll_call_answer(data: bytes) -> object:
    """Read what rank 0, another node, answers to a roll call."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:4096] + b"\n")
        found = roll_call._told(ours, b"", watch_of(5.0))
        if found is not None:
            roll_call._refuse(found, ("gpu-1", "gpu-2"))
        return found


def api_bodies(data: bytes) -> object:
    """Read the body of a request as each route that takes one does; the last refusal is what counts."""
    refusals = []
    for shape in dict.fromkeys(route.body for route in ROUTES if route.body is not None):
        request: Any = _Request(data)
        try:
            return asyncio.run(body_of(request, shape))
        except Problem as problem:
            refusals.append(problem)
    raise refusals[-1]


@dataclass(slots=True)
class _Request:
    data: bytes
    content_type: str = "application/json"

    async def read(self) -> bytes:
        return self.data
