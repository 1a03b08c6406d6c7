"""A log keeps nobody from working: full, read by nobody, or not there at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from wire.logs import AT_ONCE, Log

LINE = json.dumps({"event": "x" * 1000})


def test_every_line_is_written(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = Log(file.fileno())
        log.msg("one")
        log.msg("two" + "x" * 3 * AT_ONCE)
    assert (tmp_path / "log").read_text() == "one\ntwo" + "x" * 3 * AT_ONCE + "\n"


def test_a_disk_that_is_full_loses_lines_and_no_more() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        log = Log(full.fileno())
        log.msg("one")
        log.msg("two")
    assert log.lost == 2


def test_a_reader_that_hangs_is_not_waited_for_and_told_what_it_missed() -> None:
    reading, writing = os.pipe()
    log = Log(writing)
    while not log.lost:
        log.msg(LINE)
    log.msg(LINE)
    lost, held = log.lost, os.read(reading, 1 << 20)
    log.msg("back")
    said = (held + os.read(reading, 1 << 20)).decode().splitlines()
    assert said[-2:] == [json.dumps({"event": "log.lost", "level": "error", "lines": lost}), "back"]
    assert all(line in (LINE, "") or LINE.startswith(line) for line in said[:-2])
    assert log.lost == 0
    os.close(reading)
    log.msg("gone")
    assert log.lost == 1
    os.close(writing)


def test_a_process_without_standard_error_logs_nowhere_and_into_no_other_file(tmp_path: Path) -> None:
    script = (
        "import structlog\nfrom pathlib import Path\nfrom wire.logs import configure_logging\nconfigure_logging()\n"
        f"with Path({str(tmp_path / 'data')!r}).open('wb'):\n    structlog.get_logger().error('x.failed')\n"
    )
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert (tmp_path / "data").read_bytes() == b""


def test_the_level_changes_while_the_process_goes_on() -> None:
    script = (
        "import structlog\nfrom wire.logs import configure_logging, set_level\nlog = structlog.get_logger()\n"
        "configure_logging()\n"
        "for level in ('warning', 'debug'):\n"
        "    set_level(level)\n"
        "    for kind in ('debug', 'info', 'warning', 'error'):\n"
        "        getattr(log, kind)('x.done', at=level)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], timeout=60, check=True, capture_output=True, text=True).stderr
    told = [(line["at"], line["level"]) for line in map(json.loads, said.splitlines())]
    everything = [("debug", level) for level in ("debug", "info", "warning", "error")]
    assert told == [("warning", "warning"), ("warning", "error"), *everything]
