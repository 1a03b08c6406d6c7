"""The host's clock: a real chronyd that controls no clock, hosts without a daemon, and any text at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.time import BOOTED, TimeSource, parse_timedate, parse_tracking
from checks.readings import TimeReading
from tests.support.eventually import eventually
from tests.support.parts import missing
from tests.support.surroundings import SOON, deadline, surroundings_at, write_program

TRACKING = (
    "A9FEA97B,169.254.169.123,4,1732701234.123456789,-0.000012345,0.000004321,0.000021000,"
    "-7.123,0.002,0.045,0.000412345,0.000211111,64.2,Normal\n"
)
"""In the form of chrony 4.3."""


@pytest.fixture
def chrony(tmp_path: Path) -> Iterator[Path]:
    """Give a folder of programs whose `chronyc` asks a chronyd of our own, which keeps its hands off the clock."""
    daemon, client = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("chronyc")
    if daemon is None or client is None:
        missing("chrony")
    socket = tmp_path / "run/chronyd.sock"
    socket.parent.mkdir(mode=0o700)
    (tmp_path / "chrony.conf").write_text(
        f"local stratum 8\nport 0\ncmdport 0\nbindcmdaddress {socket}\npidfile {tmp_path}/chronyd.pid\n"
    )
    command = [daemon, "-x", "-d", "-u", os.environ.get("USER") or "root", "-f", str(tmp_path / "chrony.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asyncio.run(eventually("chronyd listens", socket.exists))
    yield write_program(tmp_path / "bin", "chronyc", f'exec {client} -h {socket} "$@"').parent
    process.terminate()
    process.wait(timeout=10)


async def test_a_real_chronyd_is_asked(tmp_path: Path, chrony: Path) -> None:
    reading = await TimeSource(surroundings_at(tmp_path, tools=chrony), SOON).read()
    assert (reading.daemon, reading.failure, reading.synchronised, reading.stratum) == ("chrony", "", True, 8)
    assert abs(reading.offset_s or 0.0) < 1.0


async def test_a_daemon_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / BOOTED).mkdir(parents=True)
    tools = write_program(tmp_path / "bin", "chronyc", "echo '506 Cannot talk to daemon'; exit 1").parent
    reading = await TimeSource(surroundings_at(tmp_path, tools=tools), SOON).read()
    assert (reading.daemon, reading.failure) == ("chrony", "506 Cannot talk to daemon")


async def test_a_container_that_has_the_package_alone_says_nothing(tmp_path: Path) -> None:
    tools = write_program(tmp_path / "bin", "chronyc", "echo '506 Cannot talk to daemon'; exit 1").parent
    reading = await TimeSource(surroundings_at(tmp_path, tools=tools), SOON).read()
    assert (reading.daemon, reading.failure) == ("", "")


async def test_a_daemon_that_hangs_is_a_failure(tmp_path: Path) -> None:
    tools = write_program(tmp_path / "bin", "chronyc", "exec sleep 60").parent
    reading = await TimeSource(surroundings_at(tmp_path, tools=tools), deadline(0.1)).read()
    assert "no answer within 0.1 s" in reading.failure


async def test_a_host_without_a_daemon_says_nothing(tmp_path: Path) -> None:
    empty = await TimeSource(surroundings_at(tmp_path, tools=tmp_path), SOON).read()
    tools = write_program(tmp_path / "bin", "timedatectl", "echo should not be asked").parent
    container = await TimeSource(surroundings_at(tmp_path, tools=tools), SOON).read()
    assert empty == container == TimeReading(5.0)


async def test_systemd_is_asked_where_there_is_no_chrony(tmp_path: Path) -> None:
    (tmp_path / BOOTED).mkdir(parents=True)
    tools = write_program(tmp_path / "bin", "timedatectl", "echo NTP=yes; echo NTPSynchronized=no").parent
    reading = await TimeSource(surroundings_at(tmp_path, tools=tools), SOON).read()
    assert reading == TimeReading(5.0, "systemd", synchronised=False)


def test_a_line_is_read() -> None:
    assert parse_tracking(TRACKING, 1.0) == TimeReading(1.0, "chrony", True, -0.000012345, 4)
    lost = parse_tracking(TRACKING.replace("Normal", "Not synchronised"), 1.0)
    assert (lost.synchronised, lost.offset_s) == (False, None)


def test_a_host_that_is_told_to_keep_no_time_has_no_daemon() -> None:
    assert parse_timedate("NTP=no\nNTPSynchronized=no\n", 1.0) == TimeReading(1.0)


@given(st.text(max_size=200))
def test_any_text_is_a_reading_or_a_failure(text: str) -> None:
    for reading in (parse_tracking(text, 1.0), parse_timedate(text, 1.0)):
        assert not reading.daemon or reading.failure or reading.synchronised is not None
        assert reading.failure.isprintable()
