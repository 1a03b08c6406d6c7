"""Speaks to the controller's REST API, and turns every failure into one sentence and an exit code."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from cli.exit_codes import ExitCode
from wire import versions
from wire.loopback import is_loopback

DEFAULT_URL = "http://127.0.0.1:8642"
TIMEOUT_S = 15.0
"""Longer than the controller itself waits for a node's word on a drill."""


class Failed(Exception):
    """Ends the command with one sentence on stderr and this exit code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(Failed):
    """Nobody answers, or nobody who can be believed. `fact`: that alone, without what to do."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}. {remedy}", ExitCode.UNREACHABLE)
        self.fact = fact


def unreachable(url: str, why: str, remedy: str = "") -> Unreachable:
    """Return the failure when nobody answers."""
    usual = "Name yours with --url or FLEETMEND_URL; `fleetmend up` starts a simulated one on this machine."
    return Unreachable(f"no controller answers at {url} ({why})", remedy or usual)


def _not_asked(url: str, error: Exception) -> Unreachable:
    """Return the failure when a controller could not be asked, with what helps where the error tells it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fact = f"the certificate of {url} cannot be believed ({error.verify_message.rstrip('.')})"
        return Unreachable(
            fact, "Name the CA that signed it with --ca-file or FLEETMEND_CA_FILE, and a host that is in it."
        )
    if isinstance(error, http.client.RemoteDisconnected) and urlsplit(url).scheme == "http":
        return unreachable(url, _why(error), "Where it speaks TLS, name it by https:// with --url or FLEETMEND_URL.")
    return unreachable(url, _why(error))


_CODE_OF_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.NO,
    409: ExitCode.REFUSED_NOW,
    413: ExitCode.USAGE,
    415: ExitCode.USAGE,
    422: ExitCode.USAGE,
    429: ExitCode.REFUSED_NOW,
    503: ExitCode.REFUSED_NOW,
}

_UNKNOWN_THERE = frozenset({400, 404, 405, 415, 422})
"""What a controller answers to a request that only another version knows."""


@dataclass(frozen=True, slots=True)
class Client:
    """One controller's API.

    Attributes:
        url: scheme, host and port, and a path where a proxy has one.
        token: says who asks; empty where the controller asks nobody.
        tls: how the controller proves who it is; `None` as this machine's CAs say.
        heard: version that the controller said last, under `versions.HEADER`.
    """

    url: str = DEFAULT_URL
    timeout_s: float = TIMEOUT_S
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    heard: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise Failed(f"{self.url!r} is no controller's address; right is e.g. {DEFAULT_URL}", ExitCode.CONFIG)
        if self.token and urlsplit(self.url).scheme == "http" and not is_loopback(urlsplit(self.url).hostname or ""):
            raise Failed(
                f"a token is not sent to {self.url}: without https anybody on the way reads it", ExitCode.CONFIG
            )

    def get(self, *path: str, **query: str) -> Any:
        """Return what the API has under /api/v1/<path>.

        Raises:
            Failed: unreachable, or the controller said no.
        """
        wanted = {name: value for name, value in query.items() if value}
        return self._ask("GET", path, f"?{urlencode(wanted)}" if wanted else "", None)

    def post(self, *path: str, **body: Any) -> Any:
        """Have something done and return the answer.

        Raises:
            Failed: unreachable, or the controller said no.
        """
        return self._ask("POST", path, "", body)

    @contextlib.contextmanager
    def open(self, *path: str, headers: Mapping[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        """Give the answer to a GET as it comes, from where the controller sends one, too.

        Raises:
            Failed: unreachable, or no.
        """
        target = f"{urlsplit(self.url).path.rstrip('/')}/api/v1/{'/'.join(quote(part, safe='') for part in path)}"
        with self._opened(self._connection(), target, {**self._identity(), **(headers or {})}) as answer:
            if answer.status != http.client.TEMPORARY_REDIRECT:
                yield answer
                return
            elsewhere = urlsplit(answer.headers.get("Location", ""))
        kind = http.client.HTTPSConnection if elsewhere.scheme == "https" else http.client.HTTPConnection
        connection = kind(elsewhere.hostname or "", elsewhere.port, timeout=self.timeout_s)
        with self._opened(connection, f"{elsewhere.path}?{elsewhere.query}", headers or {}) as answer:
            yield answer

    @contextlib.contextmanager
    def _opened(
        self, connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        try:
            connection.request("GET", target, headers=dict(headers))
            answer = connection.getresponse()
            self._hear(answer)
            if answer.status >= 400 and answer.headers.get_content_type() == "application/json":
                raise self._failure(answer.status, json.loads(answer.read(65_536)))
            if answer.status >= 400:
                raise unreachable(self.url, f"HTTP {answer.status} from where the bundle lies")
            yield answer
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise _not_asked(self.url, error) from error
        finally:
            connection.close()

    def _ask(self, method: str, path: tuple[str, ...], query: str, body: object) -> Any:
        status, content = self._exchange(method, "/".join(quote(part, safe="") for part in path) + query, body)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise unreachable(self.url, f"what answers there, with HTTP {status}, is no fleetmend controller") from None
        if status >= 400:
            raise self._failure(status, answer)
        return answer

    def _exchange(self, method: str, target: str, body: object) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            address = f"{urlsplit(self.url).path.rstrip('/')}/api/v1/{target}"
            connection.request(method, address, body=_payload(body), headers={**_headers(body), **self._identity()})
            answer = connection.getresponse()
            self._hear(answer)
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _not_asked(self.url, error) from error
        finally:
            connection.close()

    def _hear(self, answer: http.client.HTTPResponse) -> None:
        self.heard[versions.HEADER] = answer.headers.get(versions.HEADER, "")[:40]

    def _failure(self, status: int, answer: Any) -> Failed:
        if not isinstance(answer, dict) or "error" not in answer:
            return unreachable(self.url, f"what answers there, with HTTP {status}, is no fleetmend controller")
        where = f" ({answer['field']})" if answer.get("field") else ""
        hint = f"; {answer['hint']}" if answer.get("hint") else ""
        other = f". {self.otherness()}" if status in _UNKNOWN_THERE and self.otherness() else ""
        text = f"{answer['error'].rstrip('.')}{where}{hint}{other}"
        return Failed(text, _CODE_OF_STATUS.get(status, ExitCode.INTERNAL))

    def otherness(self) -> str:
        """Return a sentence about the controller's version where it is of another minor release, else nothing."""
        theirs, ours = self.heard.get(versions.HEADER, ""), version("fleetmend")
        if not versions.differ(theirs, ours):
            return ""
        return f"The controller is fleetmend {theirs} and this command is {ours}: use the command of {theirs} for this"

    def _identity(self) -> dict[str, str]:
        """Return the header that says who asks. It is for the controller, and never for where that sends one to."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=self.timeout_s, context=self.tls
            )
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout_s)


def _payload(body: object) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _headers(body: object) -> dict[str, str]:
    if body is None:
        return {"Accept": "application/json"}
    return {"Accept": "application/json", "Content-Type": "application/json", "X-Fleetmend-User": _user()}


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = f"uid {os.getuid()}"
    return name.encode("ascii", "replace").decode()[:64]


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", "") or str(error) or type(error).__name__).lower()


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a `client` as its first argument and the option `--url`, which may also stand before its name."""

    @click.option("--url", metavar="URL", help=f"The controller's address (FLEETMEND_URL; default {DEFAULT_URL}).")
    @click.pass_context
    @wraps(command)
    def with_url(context: click.Context, /, *, url: str | None, **parameters: Any) -> None:
        client = client_of(context, url)
        try:
            command(client, **parameters)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if not client.otherness():
                raise
            raise Failed(f"the answer cannot be read. {client.otherness()}", ExitCode.UNREACHABLE) from error

    return with_url


def client_of(context: click.Context, url: str | None = None) -> Client:
    """Return a client for the address given here, before the command's name, in the environment, or by default.

    Raises:
        Failed: a file with the token or a certificate cannot be used.
    """
    before = context.find_root().params
    file = before.get("token_file") or os.environ.get("FLEETMEND_TOKEN_FILE")
    address = url or before.get("url") or os.environ.get("FLEETMEND_URL") or DEFAULT_URL
    return Client(address, token=token_in(Path(file)) if file else "", tls=_tls(before))


def _tls(before: Mapping[str, Any]) -> ssl.SSLContext | None:
    authority, certificate, key = (
        before.get(name) or os.environ.get(f"FLEETMEND_{name.upper()}")
        for name in ("ca_file", "certificate_file", "key_file")
    )
    if not authority and not certificate:
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        files = ", ".join(filter(None, (authority, certificate, key)))
        raise Failed(f"{files}: cannot be used for TLS: {_why(error)}", ExitCode.CONFIG) from error
    return context


def token_in(file: Path) -> str:
    """Return the token in a file that nobody but its owner can read.

    Raises:
        Failed: it cannot be used.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise Failed(f"{file} can be read by others than its owner: chmod 600 {file}", ExitCode.CONFIG)
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"the token in {file} cannot be read: {_why(error)}", ExitCode.CONFIG) from error
    if not text or not text.isprintable() or " " in text:
        raise Failed(f"{file} has to hold a token and nothing else", ExitCode.CONFIG)
    return text
