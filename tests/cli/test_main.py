"""The command as a whole: its help, its exit codes, what it says when nobody answers, and that no traceback escapes."""

from __future__ import annotations

import http.server
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from cli.exit_codes import MEANINGS, ExitCode
from cli.main import COMMANDS, fleetmend, run
from tests.cli.conftest import ServedCell, environment, run_cli

READING = (("status",), ("nodes",), ("node", "n1"), ("incidents",), ("incident", "inc-000001"))
ACTING = (("cordon", "n1"), ("uncordon", "n1"), ("pause",), ("resume",), ("approve", "i"), ("abort", "i"))


def test_help_lists_every_command_and_every_exit_code() -> None:
    result = run_cli("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE), name
    for code, meaning in MEANINGS.items():
        assert f"{code:>3}  {meaning}" in result.stdout


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_help_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys; from cli.main import run; code = run(['--help']); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), timeout=60, check=True
    )
    loaded = set(result.stderr.split())
    assert "click" in loaded
    assert not loaded & {"rich", "aiohttp", "msgspec", "agent", "controller", "pydantic", "cryptography", "asyncio"}


def test_help_takes_less_than_0_3_s_of_a_core() -> None:
    """Its own time, which does not grow with what else the machine does."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_cli("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) <= 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_each_command_says(name: str) -> None:
    command = fleetmend.get_command(click.Context(fleetmend), name)
    assert command is not None
    table = COMMANDS[name][1]
    spoken = command.get_short_help_str(limit=200)
    assert spoken.startswith(table.removesuffix("...")), (table, spoken)


@pytest.mark.parametrize("arguments", [("nonsense",), ("node",), ("drill",), ("judge",), ("nodes", "--jsn")])
def test_a_wrong_command_line_is_2_and_says_how_it_is_right(arguments: tuple[str, ...]) -> None:
    result = run_cli(*arguments)
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert "Usage:" in result.stderr and "Error:" in result.stderr


@pytest.mark.parametrize("arguments", [*READING, *ACTING, ("drill", "xid79", "--node", "n1")])
def test_without_a_controller_it_is_69_and_one_sentence(arguments: tuple[str, ...]) -> None:
    result = run_cli(*arguments, "--url", "http://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (ExitCode.UNREACHABLE, "")
    assert result.stderr.count("\n") == 1
    assert "http://127.0.0.1:1 (connection refused)" in result.stderr and "`fleetmend up`" in result.stderr


@pytest.mark.parametrize("url", ["localhost:8642", "ftp://x", "http://", "http://x:99999", "http://["])
def test_a_wrong_address_is_78(url: str) -> None:
    for result in (run_cli("nodes", "--url", url), run_cli("nodes", FLEETMEND_URL=url)):
        assert (result.returncode, result.stdout) == (ExitCode.CONFIG, "")
        assert "right is e.g. http://127.0.0.1:8642" in result.stderr


class _Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"<html>not found</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a web server that is no controller, or one of another release."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", _Stranger))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_web_server_is_not_taken_for_a_controller(stranger: str) -> None:
    result = run_cli("nodes", "--url", stranger)
    assert (result.returncode, result.stdout) == (ExitCode.UNREACHABLE, "")
    assert "is no fleetmend controller" in result.stderr


class _Newer(_Stranger):
    """A controller of another minor release, whose answers have another shape."""

    status, content = 200, b'{"fleet": []}'

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Fleetmend-Version", "0.99.1")
        self.end_headers()
        self.wfile.write(self.content)


class _Older(_Newer):
    status, content = 404, b'{"error": "there is no such address", "hint": ""}'


@pytest.mark.parametrize(
    ("stranger", "code", "begins"),
    [
        (_Newer, ExitCode.UNREACHABLE, "fleetmend: the answer cannot be read. "),
        (_Older, ExitCode.NO, "fleetmend: there is no such address. "),
    ],
    indirect=["stranger"],
)
def test_a_controller_of_another_release_is_named_where_it_is_not_understood(
    stranger: str, code: ExitCode, begins: str
) -> None:
    result = run_cli("nodes", "--url", stranger)
    ours = version("fleetmend")
    said = f"The controller is fleetmend 0.99.1 and this command is {ours}: use the command of 0.99.1 for this\n"
    assert (result.returncode, result.stdout, result.stderr) == (code, "", begins + said)


def test_the_address_may_stand_before_or_after_the_command_or_in_the_environment(served: ServedCell) -> None:
    answers = [
        run_cli("--url", served.url, "nodes", "--json"),
        run_cli("nodes", "--json", "--url", served.url),
        run_cli("nodes", "--json", FLEETMEND_URL=served.url),
        run_cli("nodes", "--json", "--url", served.url, FLEETMEND_URL="http://127.0.0.1:1"),
    ]
    assert [answer.returncode for answer in answers] == [0, 0, 0, 0]
    assert len({answer.stdout for answer in answers}) == 1


def test_ctrl_c_is_130_and_leaves_no_traceback(served: ServedCell) -> None:
    served.cell.nodes.deaf.add("n1")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "drill", "xid79", "--node", "n1", "--wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(FLEETMEND_URL=served.url, PYTHONUNBUFFERED="1"),
    )
    _until(lambda: _drilled(served))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (ExitCode.INTERRUPTED, "", "\n")


def _drilled(served: ServedCell) -> bool:
    log = served.do(served.cell.front.timeline(node="n1"))
    return any(type(entry.event).__name__ == "DrillStarted" for entry in log)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_reader_that_goes_away_is_no_error(served: ServedCell) -> None:
    served.do(served.cell.add_nodes(*(f"m{number}" for number in range(800))))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "nodes", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(FLEETMEND_URL=served.url),
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=20) == 0


def test_what_nobody_expected_is_70_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "nodes", ("cli.exit_codes:nothing_here", ""))
    monkeypatch.delenv("FLEETMEND_DEBUG", raising=False)
    assert run(["nodes"]) == ExitCode.INTERNAL
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "AttributeError" in said.err
    monkeypatch.setenv("FLEETMEND_DEBUG", "1")
    assert run(["nodes"]) == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "code"), [(("checks",), 74), (("check", "--only", "host.memory"), 3)])
def test_an_output_that_is_full_is_a_sentence(arguments: tuple[str, ...], code: int) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cli.main", *arguments]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60, check=False
        )
    assert result.returncode == code
    assert result.stderr in ("", "fleetmend: standard output cannot be written: No space left on device\n")


def test_a_closed_output_is_no_error() -> None:
    script = f"exec {sys.executable} -m cli.main check --only host.memory >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], env=environment(), timeout=60, check=False).returncode in (0, 1, 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_the_shells_own(shell: str) -> None:
    result = run_cli("completion", shell)
    assert result.returncode == 0 and "_FLEETMEND_COMPLETE" in result.stdout


def complete(words: str, **variables: str) -> list[str]:
    """Return what the shell is offered after these words."""
    count = len(words.split(" ")) - 1
    result = run_cli(_FLEETMEND_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count), **variables)
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_completion_knows_commands_nodes_incidents_and_faults(served: ServedCell) -> None:
    assert complete("fleetmend inc") == ["incidents", "incident"]
    assert complete("fleetmend node n1", FLEETMEND_URL=served.url) == ["n1", "n10"]
    assert complete("fleetmend drill gpu-o") == ["gpu-off-bus"]
    assert complete("fleetmend node n", FLEETMEND_URL="http://127.0.0.1:1") == []


def test_the_environment_of_the_tests_names_no_controller() -> None:
    assert not [name for name in environment() if name.startswith("FLEETMEND_")]
    assert os.environ.keys() >= {"PATH"}
