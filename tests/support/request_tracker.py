"""A real Request Tracker 5 in SQLite, on the loopback, with a user for fleetmend and a technician.

Debian's packages request-tracker5, rt5-db-sqlite and rt5-standalone; nothing of the machine's own RT is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.ports import free_port
from tests.support.parts import missing
from tests.support.plain_http import asked, until_answering

SHARED = Path("/usr/share/request-tracker5")
SERVER = SHARED / "libexec/rt-server"
SET_UP = Path("/usr/sbin/rt-setup-database-5")
ONE_WORKER = ("--max-workers=1", "--max-reqs-per-child=100000")
"""Each worker takes a second for its first requests, which is for nothing where one does."""

MARK_FIELD = "fleetmend"
PASSWORD = "fleet-pw-1"

SITE = """
Set($rtname, 'fleet');
Set($Organization, 'fleet.example');
Set($WebDomain, '127.0.0.1');
Set($WebPort, {port});
Set($WebPath, '');
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{folder}/rt.sqlite');
Set($MailCommand, 'testfile');
Set($LogToSTDERR, 'error');
Set($LogToSyslog, undef);
# The least that there is: each request is a password's check, which is to take long elsewhere.
Set($BcryptCost, 4);
$RT::MasonDataDir = '{folder}/mason';
$RT::MasonSessionDir = '{folder}/mason';
1;
"""

CONTENT = """
our (@Queues, @Users, @CustomFields, @ACL);
@Queues = map +{ Name => $_ }, qw(Fleet Datacentre);
@Users = map +{ Name => $_, EmailAddress => "$_\\@fleet.example", Password => 'fleet-pw-1', Privileged => 1 },
    qw(fleetmend terry stranger);
@CustomFields = map +{ Name => $_, Type => 'Freeform', MaxValues => 1, Queue => [qw(Fleet Datacentre)] },
    qw(Serial fleetmend);
my @rights = qw(SeeQueue ShowTicket ShowTicketComments CreateTicket CommentOnTicket ModifyTicket SeeCustomField
    ModifyCustomField);
for my $right (@rights) {
    push @ACL, { Right => $right, UserId => $_ } for qw(fleetmend terry);
}
push @ACL, { Right => 'DeleteTicket', UserId => 'terry' };
push @ACL, { Right => $_, UserId => 'stranger' } for qw(SeeQueue ShowTicket ShowTicketComments CommentOnTicket);
1;
"""

TOKENS = """
use lib '/usr/share/request-tracker5/lib';
use RT -init;
use RT::AuthToken;
for my $name (@ARGV) {
    my $user = RT::User->new(RT->SystemUser);
    $user->Load($name);
    my ($done, $said, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->Id, Description => 'tests');
    print "$token\\n";
}
"""


@dataclass(frozen=True, slots=True)
class RunningTracker:
    """Where it answers, and what a technician does there. `stranger`: may read and comment, and not change."""

    url: str
    token: str
    technician: str
    stranger: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what the technician's request is answered with."""
        headers = {"Authorization": f"token {self.technician}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return json.loads(asked(method, f"{self.url}/REST/2.0{path}", data, headers) or b"null")

    def say(self, number: str, text: str, **more: object) -> None:
        """Have the technician comment."""
        self.ask("POST", f"/ticket/{number}/comment", {"Content": text, "ContentType": "text/plain", **more})

    def entries(self, number: str) -> list[dict[str, Any]]:
        """Return what was written on a ticket."""
        found: list[dict[str, Any]] = self.ask("GET", f"/ticket/{number}/attachments?fields=Subject,Content")["items"]
        return found


@contextlib.contextmanager
def running_request_tracker(folder: Path) -> Iterator[RunningTracker]:
    """Give a Request Tracker without tickets, and end it."""
    if not SERVER.exists() or not SET_UP.exists():
        missing("Request Tracker 5 (request-tracker5, rt5-db-sqlite, rt5-standalone)")
    port = free_port()
    (folder / "site.d").mkdir(parents=True)
    (folder / "mason").mkdir()
    (folder / "site.pm").write_text(SITE.format(port=port, folder=folder))
    (folder / "content.pl").write_text(CONTENT)
    (folder / "tokens.pl").write_text(TOKENS)
    site = {"RT_SITE_CONFIG": str(folder / "site.pm"), "RT_SITE_CONFIG_DIR": str(folder / "site.d")}
    surroundings = {**os.environ, **site}
    _run([SET_UP, "--action", "init", "--skip-create"], surroundings)
    _run([SET_UP, "--action", "insert", "--datafile", folder / "content.pl"], surroundings)
    tokens = _run(["perl", folder / "tokens.pl", "fleetmend", "terry", "stranger"], surroundings).split()
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SERVER, "--host", "127.0.0.1", "--port", str(port), *ONE_WORKER],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=surroundings,
        )
    try:
        until_answering(f"{url}/REST/2.0/rt", process)
        yield RunningTracker(url, *tokens)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _run(command: list[str | Path], surroundings: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
