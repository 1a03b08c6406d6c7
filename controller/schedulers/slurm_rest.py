"""Slurm by slurmrestd, from v0.0.40 (23.11) on; by its programs for what that cannot do.

slurmrestd puts no job back into the queue and reboots no node. It can end a job, but asked so by somebody who may not,
slurmctld 24.11.5 was seen to hang for everybody. So jobs and reboots stay with the programs. What is older than v0.0.40
cannot change nodes: then the programs do everything, and the log says so once.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import structlog

from controller.errors import Permanent, Retryable
from controller.schedulers.slurm_failures import RETRY_AFTER_S, failure, understood
from controller.schedulers.slurm_json import JsonReader
from controller.schedulers.slurm_programs import MAX_OUTPUT_BYTES, SlurmPrograms
from controller.schedulers.slurm_view import SlurmJob, SlurmNode, SlurmReservation

log = structlog.get_logger()

LEAST_VERSION = 40
"""v0.0.40 is the first that is still served and tried here. Source: 24.11 offers 40, 41 and 42."""

_CHANGES_NODES = re.compile(r"/slurm/(?P<name>v0\.0\.(?P<number>[0-9]{1,4}))/node/\{node_name\}")

AUTHENTICATION = 1007
"""`Protocol authentication error`: what 24.11 answers, by 511, for a token that it cannot read. Source: seen there."""

TOKEN_RETRY_S = 30.0
PASSING_STATUS = frozenset({408, 425, 429, 502, 503, 504})

MAX_TOKEN_BYTES = 65_536


READER = JsonReader(by="slurmrestd")


class _Problem(msgspec.Struct, frozen=True):
    description: str = ""
    error: str = ""
    error_number: int = 0


class _Refusal(msgspec.Struct, frozen=True):
    errors: list[_Problem] = []


class _OpenApi(msgspec.Struct, frozen=True):
    paths: dict[str, dict[str, msgspec.Raw]]


@dataclass(slots=True)
class SlurmRest:
    """slurmrestd, and the programs for what it cannot do.

    Attributes:
        url: http://host:port, https://host:port, or unix:///path.
        deadline_s: limit for each single request.
        token_file: a JWT; read for each request, so that whoever renews it need not tell.
        version: as slurmrestd has it in its paths; empty when it is too old, `None` before it was asked.
    """

    url: str
    programs: SlurmPrograms
    deadline_s: float = 15.0
    token_file: Path | None = None
    ca_file: Path | None = None
    clock: Callable[[], float] = time.time
    version: str | None = None

    async def nodes(self, *only: str) -> list[SlurmNode]:
        """Return one node, or all."""
        if not await self._usable():
            return await self.programs.nodes(*only)
        document = await self._get(f"node/{quote(only[0], safe='')}" if only else "nodes/")
        return understood(lambda: READER.parse_nodes(document))

    async def jobs(self, node: str = "") -> list[SlurmJob]:
        """Return the jobs that occupy nodes, of all nodes: slurmrestd has no filter."""
        if not await self._usable():
            return await self.programs.jobs(node)
        document = await self._get("jobs/")
        return understood(lambda: READER.parse_jobs(document))

    async def reservations(self) -> list[SlurmReservation]:
        """Return every reservation that is not over."""
        if not await self._usable():
            return await self.programs.reservations()
        document = await self._get("reservations/")
        return understood(lambda: READER.parse_reservations(document))

    async def drain_node(self, node: str, reason: str) -> None:
        """Set a node to drain."""
        if await self._usable():
            await self._update(node, {"state": ["DRAIN"], "reason": reason})
        else:
            await self.programs.drain_node(node, reason)

    async def resume_node(self, node: str) -> None:
        """Resume a node; a blank for its reason, because an empty one is taken for none given."""
        if await self._usable():
            await self._update(node, {"state": ["RESUME"], "reason": " "})
        else:
            await self.programs.resume_node(node)

    async def reboot_node(self, node: str, reason: str) -> None:
        """Have slurmd reboot the node, by scontrol."""
        await self.programs.reboot_node(node, reason)

    async def requeue_job(self, job: str, *, held: bool) -> str:
        """Put a job back into the queue, by scontrol."""
        return await self.programs.requeue_job(job, held=held)

    async def cancel_job(self, job: str) -> None:
        """End a job, by scancel."""
        await self.programs.cancel_job(job)

    async def _usable(self) -> bool:
        if self.version is None:
            document = await self._exchange("GET", "/openapi/v3")
            self.version = newest_version(document)
            if self.version:
                log.info("slurm.recognized", form="rest", version=self.version)
            else:
                because = f"slurmrestd serves nothing from v0.0.{LEAST_VERSION} on, so it cannot change nodes"
                log.warning("slurm.rest_unusable", url=self.url, because=f"{because}: Slurm's programs are used")
        return bool(self.version)

    async def _get(self, what: str) -> str:
        return await self._exchange("GET", f"/slurm/{self.version}/{what}")

    async def _update(self, node: str, change: Mapping[str, Any]) -> None:
        await self._exchange("POST", f"/slurm/{self.version}/node/{quote(node, safe='')}", msgspec.json.encode(change))

    async def _exchange(self, method: str, path: str, body: bytes | None = None) -> str:
        """Return what slurmrestd answered.

        Raises:
            Retryable: it cannot be reached, breaks off, or is busy; or the token is over.
            Permanent: it refuses.
        """
        said = f"slurmrestd: {method} {path}"
        try:
            async with self._session() as session:
                base = "http://localhost" if self._is_unix else self.url.rstrip("/")
                async with session.request(
                    method, base + path, data=body, headers=self._headers(), allow_redirects=False
                ) as answer:
                    content = await _bounded(answer, said)
                    if answer.status != 200:
                        raise self._refusal(f"{said} answered {answer.status}", answer.status, content)
                    return content.decode(errors="replace")
        except aiohttp.InvalidURL as error:
            raise Permanent(f"{said}: rest_url is not one: {self.url}") from error
        except aiohttp.ClientSSLError as error:
            raise Permanent(f"{said}: TLS: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            because = str(error) or f"no answer within {self.deadline_s:g} s"
            raise Retryable(f"{said}: {because}", after_s=RETRY_AFTER_S) from error

    def _session(self) -> aiohttp.ClientSession:
        limit = aiohttp.ClientTimeout(total=self.deadline_s)
        if self._is_unix:
            return aiohttp.ClientSession(connector=aiohttp.UnixConnector(urlsplit(self.url).path), timeout=limit)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_trusting(self.ca_file)), timeout=limit)

    @property
    def _is_unix(self) -> bool:
        return urlsplit(self.url).scheme == "unix"

    def _headers(self) -> dict[str, str]:
        """Return who asks. 22.05 refuses a token without its user's name beside it."""
        headers = {"Content-Type": "application/json"}
        if self.token_file is None:
            return headers
        token = self._token()
        name = claims(token).get("sun")
        named = {"X-SLURM-USER-NAME": name} if isinstance(name, str) and name.isprintable() else {}
        return headers | named | {"X-SLURM-USER-TOKEN": token}

    def _token(self) -> str:
        assert self.token_file is not None
        try:
            with self.token_file.open("rb") as file:
                text = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Retryable(f"the token in {self.token_file} cannot be read: {error}", after_s=TOKEN_RETRY_S) from error
        token = text.removeprefix("SLURM_JWT=")
        if not token or not token.isprintable() or " " in token:
            raise Retryable(f"{self.token_file} does not hold one token", after_s=TOKEN_RETRY_S)
        return token

    def _refusal(self, said: str, status: int, content: bytes) -> Retryable | Permanent:
        problems = _problems(content)
        words = "; ".join(f"{p.description}: {p.error}" for p in problems) or content[:200].decode(errors="replace")
        sentence = f"{said}: {words}"
        if status in {401, 511} or any(problem.error_number == AUTHENTICATION for problem in problems):
            return self._not_known(sentence)
        if status in PASSING_STATUS or (status >= 500 and not problems):
            return Retryable(sentence, after_s=RETRY_AFTER_S)
        return failure(sentence, words)

    def _not_known(self, sentence: str) -> Retryable | Permanent:
        if self.token_file is None:
            return Permanent(f"{sentence}: set rest_token_file, or have slurmrestd trust its socket (rest_auth/local)")
        expires_at = claims(self._token()).get("exp")
        if isinstance(expires_at, int | float) and expires_at <= self.clock():
            late = f"the token in {self.token_file} was good until {self.clock() - expires_at:.0f} s ago"
            return Retryable(f"{sentence}: {late}: whoever renews it is late", after_s=TOKEN_RETRY_S)
        return Permanent(
            f"{sentence}: the token in {self.token_file} is none of this cluster's; `scontrol token` makes one"
        )


def newest_version(document: str) -> str:
    """Return the newest version by which nodes can be changed, as OpenAPI lists the paths; empty when there is none.

    Raises:
        Permanent: it is no such document.
    """
    try:
        paths = msgspec.json.decode(document, type=_OpenApi).paths
    except (msgspec.DecodeError, RecursionError) as error:
        raise Permanent(f"slurmrestd: /openapi/v3 is not an OpenAPI document: {error}") from error
    found = [
        match for path, methods in paths.items() if "post" in methods and (match := _CHANGES_NODES.fullmatch(path))
    ]
    newest = max(found, key=lambda match: int(match["number"]), default=None)
    return newest["name"] if newest is not None and int(newest["number"]) >= LEAST_VERSION else ""


def claims(token: str) -> dict[str, Any]:
    """Return what a JWT says of itself, unproven; nothing when it is none. Source: RFC 7519."""
    parts = token.split(".")
    try:
        content = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)) if len(parts) == 3 else b"{}"
        said: Any = msgspec.json.decode(content)
    except (binascii.Error, msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _problems(content: bytes) -> list[_Problem]:
    try:
        return msgspec.json.decode(content, type=_Refusal).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


async def _bounded(answer: aiohttp.ClientResponse, said: str) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_OUTPUT_BYTES:
            raise Permanent(f"{said}: the answer is larger than {MAX_OUTPUT_BYTES >> 20} MiB")
    return bytes(body)


def _trusting(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise Permanent(f"{ca_file} holds no certificate authority: {error}") from error
