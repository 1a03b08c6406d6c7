"""A real Roundup: its classic tracker in SQLite, on the loopback, with a user for fleetmend and a technician."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.ports import free_port
from tests.support.plain_http import asked, until_answering

USER, PASSWORD = "fleetmend", "fleet-pw"
TECHNICIAN, TECHNICIAN_PASSWORD = "terry", "terry-pw"

# Each request is a password's check, which is to take long elsewhere.
SETTINGS = {
    "#web = NO DEFAULT": "web = {url}/",
    "#domain = NO DEFAULT": "domain = localhost",
    "#host = NO DEFAULT": "host = localhost",
    "password_pbkdf2_default_rounds = 250000": "password_pbkdf2_default_rounds = 1000",
}

INITIALISE = """
import sys
from roundup import instance, password
tracker = instance.open(sys.argv[1])
tracker.init(password.Password("admin-pw", config=tracker.config))
db = tracker.open("admin")
for name, secret in zip(sys.argv[2::2], sys.argv[3::2]):
    db.user.create(
        username=name, password=password.Password(secret, config=db.config), address=name + "@localhost", roles="User"
    )
db.keyword.create(name="datacentre")
db.commit()
db.close()
"""


@dataclass(frozen=True, slots=True)
class RunningRoundup:
    """Where it answers, and what a technician does there."""

    url: str

    def ask(self, method: str, path: str, body: object = None, *, version: str = "") -> Any:
        """Return what the technician's request is answered with."""
        account = base64.b64encode(f"{TECHNICIAN}:{TECHNICIAN_PASSWORD}".encode()).decode()
        host = self.url.rsplit("/", 1)[0]
        headers = {
            "Authorization": f"Basic {account}",
            "Content-Type": "application/json",
            "X-Requested-With": "tests",
            "Origin": host,
            "Referer": f"{self.url}/",
            "If-Match": version,
        }
        data = None if body is None else json.dumps(body).encode()
        return json.loads(asked(method, f"{self.url}/rest/data{path}", data, headers))["data"]

    def change(self, number: str, **changed: object) -> None:
        """Have the technician change an issue."""
        version = self.ask("GET", f"/issue/{number}")["@etag"]
        self.ask("PUT", f"/issue/{number}", changed, version=version)

    def say(self, number: str, text: str, **changed: object) -> None:
        """Have the technician add a message and change the issue in one."""
        (me,) = self.ask("GET", f"/user?username:={TECHNICIAN}")["collection"]
        message = self.ask("POST", "/msg", {"content": text, "author": me["id"]})["id"]
        there = [each["id"] for each in self.ask("GET", f"/issue/{number}?@verbose=1")["attributes"]["messages"]]
        self.change(number, messages=[*there, message], **changed)

    def text(self, message: str) -> str:
        """Return what a message says."""
        return str(self.ask("GET", f"/msg/{message}?@verbose=3")["attributes"]["content"])

    def issue(self, number: str) -> dict[str, Any]:
        """Return an issue's properties."""
        found: dict[str, Any] = self.ask("GET", f"/issue/{number}?@verbose=2")["attributes"]
        return found


@contextlib.contextmanager
def running_roundup(folder: Path) -> Iterator[RunningRoundup]:
    """Give a tracker without issues, and end it. Who is root has to say so: Roundup would not run else."""
    port, programs = free_port(), Path(sys.executable).parent
    url = f"http://127.0.0.1:{port}/fleet"
    _make(folder / "tracker", programs, url)
    user = ["-u", "root"] if os.geteuid() == 0 else []
    server: list[str | Path] = [sys.executable, programs / "roundup-server", "-n", "127.0.0.1", "-p", str(port), *user]
    with (folder / "log").open("wb") as log:
        surroundings = {**os.environ, "SENDMAILDEBUG": str(folder / "mail")}
        command = [*server, f"fleet={folder / 'tracker'}"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=surroundings)
    try:
        until_answering(f"{url}/", process)
        yield RunningRoundup(url)
    finally:
        process.kill()
        process.wait()


def _make(home: Path, programs: Path, url: str) -> None:
    install: list[str | Path] = [sys.executable, programs / "roundup-admin", "-i", home, "install", "classic", "sqlite"]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    file = home / "config.ini"
    text = file.read_text("utf-8")
    for old, new in SETTINGS.items():
        assert old in text, old
        text = text.replace(old, new.format(url=url))
    file.write_text(text, "utf-8")
    users = [USER, PASSWORD, TECHNICIAN, TECHNICIAN_PASSWORD]
    done = subprocess.run([sys.executable, "-c", INITIALISE, home, *users], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
