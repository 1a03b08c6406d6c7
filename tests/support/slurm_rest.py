"""A real slurmrestd in front of a cluster of tests.support.slurm, with tokens of the cluster's own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from cli.ports import free_ports
from tests.support.slurm import SlurmCluster, slurm_version

MISSING = shutil.which("slurmrestd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None

needs_slurmrestd = pytest.mark.skipif(
    (MISSING and os.environ.get("CI") != "true") or os.geteuid() != 0,
    reason="slurmrestd is missing (apt-get install slurmrestd slurm-wlm-jwt-plugin), or this is not root: it runs as "
    "another user than Slurm's",
)

STRANGER = pwd.getpwnam("nobody")


def with_tokens(directory: Path) -> dict[str, str]:
    """Return what slurm.conf needs so that the cluster knows tokens, whose key is made here."""
    key = directory / "jwt.key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    return {"AuthAltTypes": "auth/jwt", "AuthAltParameters": f"jwt_key={key}"}


@dataclass(slots=True)
class SlurmRestd:
    """slurmrestd on a free port of the loopback and on a Unix socket.

    Attributes:
        cluster: its settings must have `with_tokens`.
    """

    cluster: SlurmCluster
    url: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _open: Path = Path()

    def __enter__(self) -> Self:
        self._open = opened(self.cluster)
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        plugins = "slurmctld" if slurm_version() >= (23, 2) else "openapi/v0.0.38"
        command = ("slurmrestd", "-f", str(self._open / "slurm.conf"), "-a", "rest_auth/jwt", "-s", plugins)
        (self._open / "sockets").mkdir()
        os.chown(self._open / "sockets", STRANGER.pw_uid, STRANGER.pw_gid)
        with (self.cluster.directory / "log" / "slurmrestd.out").open("ab") as output:
            self._process = subprocess.Popen(
                [*AS_STRANGER, *command, f"127.0.0.1:{port}", self.unix_url.replace("unix://", "unix:")],
                env={**os.environ, **self.cluster.env(), "SLURM_JWT": "daemon"},
                stdout=output,
                stderr=output,
            )
        self.cluster.until("slurmrestd listens", lambda: _listens(port))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._open, ignore_errors=True)

    @property
    def unix_url(self) -> str:
        """The same by a Unix socket."""
        return f"unix://{self._open}/sockets/rest"

    def token(self, user: str = "root", lifespan_s: int = 1800) -> str:
        """Return a token of the cluster's."""
        return self.cluster.run("scontrol", "token", f"username={user}", f"lifespan={lifespan_s}").split("=", 1)[1]


AS_STRANGER = (
    *("setpriv", f"--reuid={STRANGER.pw_uid}", f"--regid={STRANGER.pw_gid}", "--clear-groups", "--pdeathsig", "KILL"),
)


def opened(cluster: SlurmCluster) -> Path:
    """Return a folder with the cluster's configuration that every user can read, and let all reach its munged."""
    cluster.sockets.chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix="fleetmend-slurm-"))
    folder.chmod(0o755)
    for file in cluster.conf.parent.iterdir():
        shutil.copy(file, folder / file.name)
    return folder


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
