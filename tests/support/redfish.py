"""A BMC for tests: an HTTPS server with a certificate and an account, over documents in the form of DMTF's schemas."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.sources.redfish_access import RedfishAccess

USER, PASSWORD = "fleetmend", "a secret of the BMC: ü"
HANG = object()
"""In place of a document: the BMC takes the question and never answers."""
HALF = object()
"""In place of a document: the answer breaks off in the middle of its body."""
DROPPED = object()
"""In place of a document: the connection ends without an answer."""
SESSIONS = "/redfish/v1/SessionService/Sessions"
RESET = "/redfish/v1/Systems/Self/Actions/ComputerSystem.Reset"


def link(path: str) -> dict[str, str]:
    """Return a reference to a resource."""
    return {"@odata.id": path}


def collection(*members: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a collection of references, or of whole members."""
    listed = [link(member) if isinstance(member, str) else member for member in members]
    return {"Members@odata.count": len(listed), "Members": listed}


def entry(number: int, message: str, severity: str = "Critical", **more: Any) -> dict[str, Any]:
    """Return an entry of a log."""
    path = f"{LOG}/{number}"
    return {"@odata.id": path, "Id": str(number), "EntryType": "SEL", "Message": message, "Severity": severity, **more}


WELL = {"State": "Enabled", "Health": "OK"}
ROOT, CHASSIS, SYSTEM = "/redfish/v1/", "/redfish/v1/Chassis/Self", "/redfish/v1/Systems/Self"
LOG = f"{SYSTEM}/LogServices/SEL/Entries"
SUPPLIES = f"{CHASSIS}/PowerSubsystem/PowerSupplies"
FANS = f"{CHASSIS}/ThermalSubsystem/Fans"


def _top() -> dict[str, Any]:
    system = {"@odata.id": SYSTEM, "Id": "Self", "Name": "Server", "Status": WELL}
    links = {"Processors": link(f"{SYSTEM}/Processors"), "LogServices": link(f"{SYSTEM}/LogServices")}
    services = collection(f"{SYSTEM}/LogServices/SEL", f"{SYSTEM}/LogServices/Dump")
    processor = {"@odata.id": f"{SYSTEM}/Processors/GPU_0", "Id": "GPU_0", "Name": "GPU 0", "Status": WELL}
    return {
        ROOT: {"Chassis": link("/redfish/v1/Chassis"), "Systems": link("/redfish/v1/Systems")},
        "/redfish/v1/Chassis": collection(CHASSIS),
        "/redfish/v1/Systems": collection(SYSTEM),
        SYSTEM: system | links,
        f"{SYSTEM}/Processors": collection(f"{SYSTEM}/Processors/GPU_0"),
        f"{SYSTEM}/Processors/GPU_0": processor,
        f"{SYSTEM}/LogServices": services,
        f"{SYSTEM}/LogServices/SEL": {"Id": "SEL", "LogEntryType": "SEL", "Entries": link(LOG)},
        f"{SYSTEM}/LogServices/Dump": {"Id": "Dump", "Entries": link("/redfish/v1/none")},
        LOG: collection(),
    }


def older_tree() -> dict[str, Any]:
    """Return a host in order, in the older schemas: Power 1.5 and Thermal 1.6, one document for all parts."""
    chassis = {"Id": "Self", "Power": link(f"{CHASSIS}/Power"), "Thermal": link(f"{CHASSIS}/Thermal")}
    supplies = [
        {
            "@odata.id": f"{CHASSIS}/Power#/PowerSupplies/{number}",
            "MemberId": str(number),
            "Name": f"PSU{number + 1}",
            "SerialNumber": f"PS-00{number + 1}",
            "Status": WELL,
        }
        for number in range(2)
    ]
    redundancy = {"MemberId": "0", "Name": "PSU Redundancy", "Mode": "N+m", "Status": WELL}
    volts = {"MemberId": "0", "Name": "P12V", "ReadingVolts": 12.1, "Status": WELL}
    fan = {"MemberId": "0", "Name": "Fan1", "Reading": 5400, "ReadingUnits": "RPM", "Status": WELL}
    empty = {"MemberId": "1", "Name": "Fan2", "Reading": None, "ReadingUnits": "RPM", "Status": {"State": "Absent"}}
    inlet = {"MemberId": "0", "Name": "Inlet", "ReadingCelsius": 23, "Status": WELL}
    return _top() | {
        CHASSIS: chassis,
        f"{CHASSIS}/Power": {"PowerSupplies": supplies, "Redundancy": [redundancy], "Voltages": [volts]},
        f"{CHASSIS}/Thermal": {"Fans": [fan, empty], "Temperatures": [inlet]},
    }


def newer_tree() -> dict[str, Any]:
    """Return a host in order, in the newer schemas: PowerSubsystem and ThermalSubsystem, one document for each part."""
    subsystems = {name: link(f"{CHASSIS}/{name}") for name in ("PowerSubsystem", "ThermalSubsystem")}
    supply = {"@odata.id": f"{SUPPLIES}/0", "Id": "0", "Name": "PSU1", "SerialNumber": "PS-001", "Status": WELL}
    fan = {"@odata.id": f"{FANS}/1", "Id": "1", "Name": "Fan1", "SpeedPercent": {"Reading": 40, "SpeedRPM": 5400}}
    return _top() | {
        CHASSIS: {"Id": "Self"} | subsystems,
        f"{CHASSIS}/PowerSubsystem": {"PowerSupplies": link(SUPPLIES)},
        f"{CHASSIS}/ThermalSubsystem": {"Fans": link(FANS)},
        SUPPLIES: collection(f"{SUPPLIES}/0"),
        f"{SUPPLIES}/0": supply | {"LineInputStatus": "Normal"},
        FANS: collection(f"{FANS}/1"),
        f"{FANS}/1": fan | {"Status": WELL},
    }


@dataclass
class Bmc:
    """A running BMC.

    Attributes:
        documents: path, with its query, → what it answers: an object, bytes as they are, an HTTP status, or HANG.
            `POST <path>` and `DELETE <path>` → what is answered to these, or a function that gives that for a body.
        asked: every path, in order.
        done: the body of everything that was asked to be done, in order.
        tokens: of sessions that are open; basic authentication is refused once `POST` to SESSIONS is answered.
        closes: whether it ends the connection after each answer.
    """

    folder: Path
    documents: dict[str, Any]
    port: int = 0
    fingerprint: str = ""
    asked: list[str] = field(default_factory=list)
    done: list[Any] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    closes: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def access(self, **changed: Any) -> RedfishAccess:
        """Return how it is reached, by its own CA unless that is changed."""
        password = self.folder / "bmc.password"
        password.touch(mode=0o600)
        password.write_text(f"{PASSWORD}\n")
        url, ca_file = f"https://127.0.0.1:{self.port}", self.folder / "cert.pem"
        return replace(RedfishAccess(url, USER, password, ca_file), **changed)


@contextmanager
def running_bmc(folder: Path, documents: dict[str, Any]) -> Iterator[Bmc]:
    """Give a BMC that answers on the loopback, and end it."""
    folder.mkdir(parents=True, exist_ok=True)
    bmc = Bmc(folder, documents)
    bmc.fingerprint = write_certificate(folder)
    server = _Server(("127.0.0.1", 0), _handler(bmc))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    bmc.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bmc
    finally:
        bmc.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def write_certificate(folder: Path) -> str:
    """Write `cert.pem`, signed by itself for the loopback, and `key.pem`; return the certificate's SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    form = PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that trusts no certificate ends the connection, which is what tests want to see."""


def _handler(bmc: Bmc) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"bmc": bmc})


WANTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    bmc: Bmc
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.bmc.asked.append(self.path)
        self._answer(self.bmc.documents.get(self.path, 404))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == SESSIONS and SESSIONS in self.bmc.documents:
            self._log_in(body)
            return
        if not self._is_known():
            self._answer(401)
            return
        self.bmc.done.append(body)
        answer = self.bmc.documents.get(f"POST {self.path}", 404)
        self._answer(answer(body) if callable(answer) else answer)

    def do_DELETE(self) -> None:
        self.bmc.tokens.discard(self.headers.get("X-Auth-Token", ""))
        self._answer(204)

    def _log_in(self, body: dict[str, str]) -> None:
        if body != {"UserName": USER, "Password": PASSWORD}:
            self._answer(401)
            return
        self.bmc.tokens.add("token-1")
        self.send_response(201)
        self.send_header("X-Auth-Token", "token-1")
        self.send_header("Location", f"https://127.0.0.1:{self.bmc.port}{SESSIONS}/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _is_known(self) -> bool:
        if SESSIONS in self.bmc.documents:
            return self.headers.get("X-Auth-Token") in self.bmc.tokens
        return self.headers.get("Authorization") == WANTED

    def _answer(self, answer: Any) -> None:
        if self.path != ROOT and self.command == "GET" and not self._is_known():
            answer = 401
        if answer is HANG:
            self.bmc.released.wait()
        if answer in (HANG, DROPPED):
            self.close_connection = True
            return
        body = b"{" if answer is HALF else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        status = answer if isinstance(answer, int) else 200
        body = b"" if status == 204 else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + 100 * (answer is HALF)))
        if self.bmc.closes:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or answer is HALF

    def log_message(self, *_: object) -> None:
        """Say nothing."""
