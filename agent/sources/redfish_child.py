"""The process that asks a BMC over HTTPS, so that the agent itself never does: `python -m agent.sources.redfish_child`.

Each line on standard input is a path, answered with one line of JSON: `status` and `document`, or `failure`. It lives
for one reading, and the standard library is all that it imports: nothing of HTTP stays in the agent's memory. It looks
at nothing in a document and follows nothing; the password leaves it towards the certified BMC alone.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from wire.files import SecretError, check_secret

MAX_BYTES: Final = 1 << 20
"""Of one document. Source: our choice; a hundred log entries take some 100 KiB, a chassis with all its fans less."""

SILENCE_S: Final = 20.0
"""How long the BMC may say nothing. Source: our choice; a busy BMC takes seconds for a document. The agent limits the
whole question."""

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

Answer = dict[str, Any]


class Failure(Exception):
    """The BMC cannot be asked; the text says what is right."""


class Bmc:
    """One BMC, over one connection that is made anew when the BMC closed it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Connect to nothing yet."""
        self._options = options
        self._address = urlsplit(options.url)
        self._connection: http.client.HTTPSConnection | None = None

    def answer(self, path: str) -> Answer:
        """Return the status and document of a path, or why there is none."""
        where = f"{self._options.url}{path}"
        try:
            status, body = self._get(path)
        except Failure as failure:
            return {"failure": str(failure)}
        except ssl.SSLCertVerificationError as error:
            right = "name the CA of the BMC's certificate in ca_file, or the certificate's SHA-256 in fingerprint"
            return {"failure": f"{where}: its certificate is not trusted: {error.verify_message}: {right}"}
        except (OSError, http.client.HTTPException, ValueError) as error:
            right = "url has to be the address of this host's BMC, and its web server has to run"
            return {"failure": f"{where} cannot be asked: {_cause(error)}: {right}"}
        return _document(status, body)

    def _get(self, path: str) -> tuple[int, bytes]:
        is_fresh = self._connection is None
        try:
            return self._exchange(path)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._drop()
            if is_fresh:
                raise
            return self._exchange(path)

    def _exchange(self, path: str) -> tuple[int, bytes]:
        self._connection = self._connection or self._connected()
        try:
            self._connection.request("GET", path, headers=self._headers())
            response = self._connection.getresponse()
            body = response.read(MAX_BYTES + 1)
        except BaseException:
            self._drop()
            raise
        if response.will_close or len(body) > MAX_BYTES:
            # What is left of a document would be taken for the next answer.
            self._drop()
        return response.status, body

    def _connected(self) -> http.client.HTTPSConnection:
        context = _context(self._options)
        host, port = self._address.hostname or "", self._address.port
        connection = http.client.HTTPSConnection(host, port, timeout=SILENCE_S, context=context)
        connection.connect()
        # It would connect anew by itself, and give the password to whom nobody looked at.
        connection.auto_open = 0
        self._refuse_another(connection)
        return connection

    def _refuse_another(self, connection: http.client.HTTPSConnection) -> None:
        wanted = self._options.fingerprint
        if not wanted:
            return
        found = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(found, wanted):
            connection.close()
            raise Failure(
                f"{self._options.url}: its certificate has the SHA-256 {found}, and fingerprint says {wanted}: "
                "find out who answers there, and give the new one only if the BMC's certificate was changed"
            )

    def _headers(self) -> dict[str, str]:
        path = self._options.password_file
        try:
            check_secret(path)
            password = path.read_bytes().strip()
        except SecretError as error:
            raise Failure(f"password_file: {error}") from error
        except OSError as error:
            raise Failure(f"cannot read password_file {path}: {error.strerror}") from error
        account = base64.b64encode(self._options.user.encode() + b":" + password).decode()
        return {
            "Authorization": f"Basic {account}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "OData-Version": "4.0",
        }

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _context(options: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Failure(f"ca_file {options.ca_file} holds no certificates in PEM: {_cause(error)}") from error
    if options.fingerprint or not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _document(status: int, body: bytes) -> Answer:
    if len(body) > MAX_BYTES:
        return {"status": status, "flaw": f"is longer than {MAX_BYTES >> 10} KiB"}
    try:
        document = json.loads(body)
        json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return {"status": status, "flaw": f"is no JSON: {str(error)[:200]}"}
    return {"status": status, "document": document}


def _cause(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def serve(questions: IO[bytes], answers: IO[bytes], bmc: Bmc) -> None:
    """Answer each question until there are no more."""
    for question in questions:
        answers.write(json.dumps(bmc.answer(question.decode("ascii", "replace").strip())).encode() + b"\n")
        answers.flush()


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Return what the agent gave (RedfishAccess.command)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--ca-file")
    parser.add_argument("--fingerprint", default="")
    parser.add_argument("--no-verify", dest="verify", action="store_false")
    return parser.parse_args(arguments)


def main() -> None:
    """Serve the agent that started this process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer, Bmc(options_of(sys.argv[1:])))


if __name__ == "__main__":
    main()
