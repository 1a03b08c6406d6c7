"""A real Alertmanager, with a place beside it that gets what its own webhook and PagerDuty clients send."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

from cli.ports import free_port
from tests.support.pagerduty import ROUTING_KEY
from tests.support.parts import missing

LIMIT_S = 20.0
RESOLVE_TIMEOUT_S = 1

CONFIGURATION = """
global:
  resolve_timeout: {resolve_timeout_s}s
route:
  receiver: both
  group_by: [class]
  group_wait: 10ms
  group_interval: 50ms
  repeat_interval: 1h
receivers:
  - name: both
    webhook_configs:
      - url: {inbox}/webhook
    pagerduty_configs:
      - url: {inbox}/v2/enqueue
        routing_key: {routing_key}
        severity: '{{{{ .CommonLabels.severity }}}}'
        description: '{{{{ .CommonAnnotations.summary }}}}'
        class: '{{{{ .CommonLabels.class }}}}'
"""
"""`group_by` puts all of one class into one notification."""


@dataclass(slots=True)
class Inbox:
    """What Alertmanager sent on: path and JSON, in order."""

    url: str = ""
    got: list[tuple[str, Any]] = field(default_factory=list)

    def sent_to(self, path: str) -> list[Any]:
        """Return what was sent to a path."""
        return [body for where, body in list(self.got) if where == path]


@dataclass(slots=True)
class RealAlertmanager:
    """One that runs."""

    port: int
    directory: Path
    inbox: Inbox
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if program is None:
            missing("prometheus-alertmanager")
        options = [
            f"--config.file={self.directory / 'alertmanager.yml'}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        with (self.directory / "alertmanager.log").open("ab") as output:
            self.process = subprocess.Popen([program, *options], stdout=output, stderr=output)
        end = time.monotonic() + LIMIT_S
        while True:
            assert self.process.poll() is None and time.monotonic() < end, "Alertmanager did not come up"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2.0).close()
                return
            time.sleep(0.02)

    def kill(self) -> None:
        """End it by kill -9; its alerts are gone with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str, body: object = None, *, method: str | None = None) -> Any:
        """Return what its API answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=5.0) as answer:  # noqa: S310 - http alone, see above
            text = answer.read()
        return json.loads(text) if text else None

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that it shows with these labels."""
        query = urlencode([("filter", f'{name}="{text}"') for name, text in labels.items()])
        found: list[dict[str, Any]] = self.ask(f"/api/v2/alerts?{query}")
        return found

    def silence(self, matchers: Mapping[str, str], *, by: str, comment: str) -> str:
        """A person silences alerts; return the silence's id."""
        now = time.time()
        silence = {
            "matchers": [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in matchers.items()],
            "startsAt": _iso(now - 1),
            "endsAt": _iso(now + 600),
            "createdBy": by,
            "comment": comment,
        }
        return str(self.ask("/api/v2/silences", silence)["silenceID"])

    def end_silence(self, silence_id: str) -> None:
        """A person ends a silence."""
        self.ask(f"/api/v2/silence/{silence_id}", method="DELETE")


@contextlib.contextmanager
def alertmanager(directory: Path) -> Iterator[RealAlertmanager]:
    """Give one that runs."""
    with _inbox() as inbox:
        configuration = CONFIGURATION.format(
            inbox=inbox.url, routing_key=ROUTING_KEY, resolve_timeout_s=RESOLVE_TIMEOUT_S
        )
        (directory / "alertmanager.yml").write_text(configuration)
        running = RealAlertmanager(free_port(), directory, inbox)
        running.start()
        try:
            yield running
        finally:
            running.kill()


@contextlib.contextmanager
def _inbox() -> Iterator[Inbox]:
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep it, and take it as PagerDuty does."""
            inbox.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            text = b'{"status": "success", "message": "Event processed"}'
            self.send_response(202 if self.path == "/v2/enqueue" else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
