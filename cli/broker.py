"""A Mosquitto of our own: found, configured, started as a child, and stopped.

For a cell on one machine. The broker listens on the loopback only, knows every user by password, and holds each node to
its own branch of the topics. Source of its persistence and queue settings: our measurements of Mosquitto 2.0.11
(docs/adr), by which its defaults lose what they acknowledged and keep 1,000 messages a session.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.ports import LOOPBACK, free_port, why_taken
from controller.pki.broker import CONTROLLER, access_rules
from wire.messages import MAX_BYTES
from wire.topics import NAME

__all__ = [
    "CONTROLLER",
    "BrokerError",
    "Mosquitto",
    "access_rules",
    "configuration",
    "find_mosquitto",
    "password_hash",
    "private_prefix",
]

START_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 10.0
PINGREQ: Final = b"\xc0\x00"
"""Source: MQTT 5.0, 3.12; the first packet must be a CONNECT (3.1)."""

PORT_TRIES: Final = 3
HASH_ITERATIONS: Final = 101
"""What mosquitto_passwd uses. Few are enough: our passwords are random, 32 bytes, and guessed by nobody."""

SALT_BYTES: Final = 12
HASH_BYTES: Final = 64
"""Source: mosquitto 2.0, src/password_mosq.h: PBKDF2 with SHA-512, salt 12 bytes, written `$7$iterations$salt$hash`."""

RELOAD_AGAIN_S: Final = 0.5
"""Mosquitto forgets a SIGHUP that comes while it still reads for the one before (it clears its flag afterwards), so
each change is told a second time. Seen with 2.0.11: the user of the second of two changes stayed unknown for good."""


class BrokerError(Exception):
    """The broker cannot be used; the text is one sentence that says why and what to do."""


def find_mosquitto(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the broker's program.

    Looked for in this order: `FLEETMEND_MOSQUITTO`, `PATH`, `/usr/sbin`, `/usr/local/sbin`, and the place where
    `scripts/ensure-mosquitto` unpacks the distribution's package (`private_prefix`).

    Raises:
        BrokerError: there is none.
    """
    named = environment.get("FLEETMEND_MOSQUITTO", "")
    if named:
        if not os.access(named, os.X_OK):
            raise BrokerError(f"FLEETMEND_MOSQUITTO names {named}, which is not a program that can be run.")
        return Path(named)
    prefix = private_prefix(environment)
    places = (environment.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", f"{prefix}/usr/sbin", f"{prefix}/sbin")
    found = shutil.which("mosquitto", path=os.pathsep.join(place for place in places if place))
    if found is None:
        raise BrokerError(
            "No Mosquitto was found: install the package `mosquitto`, or run scripts/ensure-mosquitto, "
            "or name the program in FLEETMEND_MOSQUITTO, or use a running broker by --broker URL."
        )
    return Path(found)


def private_prefix(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where a Mosquitto that was unpacked without root lies: its program in `usr/sbin` below."""
    data = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "fleetmend" / "mosquitto"


def password_hash(password: str, *, salt: bytes) -> str:
    """Return the password as Mosquitto's password file holds it."""
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ITERATIONS, HASH_BYTES)
    return f"$7${HASH_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def configuration(directory: Path, port: int) -> str:
    """Return mosquitto.conf.

    The queue of a client is bounded, so that a controller that stays away for long cannot fill the memory; what the
    broker refuses then stays in the outbox of its node. It holds what the broker has kept of 100,000 nodes, a level and
    a presence each: a controller that starts cold is given all of it at once, and hears nothing of what has no room.
    As root, Mosquitto would
    become the user `mosquitto`, who cannot read a directory of ours.

    A client id belongs to a user: whoever chose that of another would push the other out and take its session.
    """
    return f"""\
user {pwd.getpwuid(os.geteuid()).pw_name}
listener {port} {LOOPBACK}
use_username_as_clientid true
allow_anonymous false
password_file {directory}/passwords
acl_file {directory}/acl

persistence true
persistence_location {directory}/data/
autosave_interval 1
autosave_on_changes false
persistent_client_expiration 7d

max_inflight_messages 1000
max_queued_messages 1000000
max_queued_bytes 1073741824
message_size_limit {MAX_BYTES}
set_tcp_nodelay true

log_dest file {directory}/mosquitto.log
log_type error
log_type warning
log_type notice
connection_messages true
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""


class Mosquitto:
    """One broker with its files in one directory.

    Attributes:
        port: of its listener; fixed by the first start, so that clients find it again after a restart.
        process: the child, `None` before the first start.
    """

    def __init__(self, directory: Path, *, port: int = 0, cell: str = "main") -> None:
        """Prepare; nothing is written or started yet. Port 0 chooses a free one at the first start."""
        self.directory, self.port, self.cell = directory.absolute(), port, cell
        self.process: asyncio.subprocess.Process | None = None
        self._passwords: dict[str, str] | None = None
        self._lock: int | None = None
        self._ready: asyncio.subprocess.Process | None = None
        self._has_news = False

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.directory / "mosquitto.log"

    def credentials(self, node: str) -> tuple[str, str]:
        """Return the user name and password of a node (or of `CONTROLLER`), made on first use and the same ever after.

        Raises:
            ValueError: not a valid name.
        """
        if not NAME.fullmatch(node):
            raise ValueError(f"{node!r} is not a name of letters, digits, '.', '_' and '-'")
        passwords = self._load()
        if node not in passwords:
            passwords[node] = secrets.token_urlsafe(32)
            self._save()
        return node, passwords[node]

    def forget(self, node: str) -> None:
        """Take a node's credentials away; it cannot connect again."""
        if self._load().pop(node, None) is not None:
            self._save()

    def alive(self) -> bool:
        """Return whether it runs now."""
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            BrokerError: there is no Mosquitto, it does not start, or another process uses the directory or the port.
        """
        if self.alive():
            return
        program = find_mosquitto()
        self._take_directory()
        await self._end_leftover()
        tries = 1 if self.port else PORT_TRIES
        for left in reversed(range(tries)):
            port = self.port or free_port()
            _check_free(port)
            self._has_news = False
            self._write_files(port)
            await self._spawn(program)
            if await self._answers(port):
                self.port, self._ready = port, self.process
                self._tell_news()
                return
            if not left:
                raise BrokerError(f"Mosquitto ({program}) did not start on port {port}: {self._last_words()}")

    async def stop(self) -> None:
        """Ask it to end, wait, and end it by force when it does not."""
        await self._end_process()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _end_process(self) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def _take_directory(self) -> None:
        if self._lock is not None:
            return
        _prepare(self.directory)
        lock = os.open(self.directory / "broker.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise BrokerError(
                f"Another running fleetmend uses {self.directory}: stop it, or name another folder with --state."
            ) from error
        self._lock = lock

    def _load(self) -> dict[str, str]:
        if self._passwords is None:
            self._passwords = self._read_credentials()
        return self._passwords

    def _read_credentials(self) -> dict[str, str]:
        path = self.directory / "credentials.json"
        try:
            kept = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"{path} cannot be read ({error}): restore it, or delete it for new passwords."
            ) from error
        if not isinstance(kept, dict) or not all(isinstance(password, str) for password in kept.values()):
            raise BrokerError(f"{path} is not an object of name → password: restore it, or delete it for new ones.")
        return kept

    def _save(self) -> None:
        """Keep the credentials, and tell a running broker to read its files again."""
        _prepare(self.directory)
        _write_private(self.directory / "credentials.json", json.dumps(self._load(), indent=1))
        if self._lock is not None:
            self._write_passwords()
            self._has_news = True
            self._tell_news()

    def _tell_news(self) -> None:
        """Have the broker read its files again, which it does whenever it next looks; not before it is ready for that,
        since the signal would end it."""
        ready = self._ready
        if self._has_news and ready is not None and ready is self.process:
            self._has_news = False
            _reload(ready)
            asyncio.get_running_loop().call_later(RELOAD_AGAIN_S, _reload, ready)

    def _write_passwords(self) -> None:
        lines = (
            f"{user}:{password_hash(password, salt=secrets.token_bytes(SALT_BYTES))}\n"
            for user, password in sorted(self._load().items())
        )
        _write_private(self.directory / "passwords", "".join(lines))

    def _write_files(self, port: int) -> None:
        _prepare(self.directory)
        _prepare(self.directory / "data")
        self._write_passwords()
        _write_private(self.directory / "acl", access_rules(self.cell))
        _write_private(self.directory / "mosquitto.conf", configuration(self.directory, port))

    async def _spawn(self, program: Path) -> None:
        """Start it in a session of its own, so that Ctrl-C ends it after the agents, not before."""
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                program,
                "-c",
                self.directory / "mosquitto.conf",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _write_private(self.directory / "mosquitto.pid", str(self.process.pid))

    async def _answers(self, port: int) -> bool:
        """Return whether it answers in time; one that does not is ended.

        The kernel takes connections for it before it is ready for signals, and a SIGHUP would end it then. So it has to
        throw out a client that begins with anything but a CONNECT, which it does once it works.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_LIMIT_S):
                while self.alive():
                    if await _is_thrown_out(port):
                        return self.alive()
                    await asyncio.sleep(0.02)
        await self._end_process()
        return False

    async def _end_leftover(self) -> None:
        """End the broker of an earlier run that was killed: two on one database would destroy it."""
        pid = _leftover(self.directory)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        for _ in range(round(STOP_LIMIT_S / 0.05)):
            if _leftover(self.directory) is None:
                return
            await asyncio.sleep(0.05)
        raise BrokerError(f"A Mosquitto of an earlier run (process {pid}) does not end: end it and start again.")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return " / ".join(self.log.read_text(errors="replace").splitlines()[-3:]) or "it said nothing"
        return "it said nothing"


def _reload(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGHUP)


async def _is_thrown_out(port: int) -> bool:
    """Return whether a broker takes a connection and ends it, as a PINGREQ is no beginning."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(PINGREQ)
        return await reader.read() == b""
    except ConnectionError:
        return True
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _check_free(port: int) -> None:
    if because := why_taken(port):
        raise BrokerError(f"Port {port} for the broker cannot be used: {because}.")


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)


def _write_private(path: Path, text: str) -> None:
    """Replace the file in one step; nobody else can read it at any moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


def _leftover(directory: Path) -> int | None:
    """Return the process id of a running broker that was started on this directory."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((directory / "mosquitto.pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if str(directory / "mosquitto.conf").encode() in arguments:
            return pid
    return None
