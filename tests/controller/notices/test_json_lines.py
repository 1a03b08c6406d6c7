from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters import Filed, Notice
from controller.errors import Permanent
from controller.notices.json_lines import JsonLinesNotifier


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def again(notice: Notice) -> Notice:
    return replace(notice, key="inc-000007/ticket/2")


async def test_a_notice_is_one_line_with_all_it_says(path: Path, notice: Notice) -> None:
    reference = await JsonLinesNotifier(path).send(notice)

    assert reference == Filed(f"{path}:1")
    assert lines(path) == [{"event": "filed", **asdict(notice)}]


async def test_what_is_new_and_the_end_are_lines_that_name_the_first(path: Path, notice: Notice) -> None:
    filed = await JsonLinesNotifier(path).send(notice)
    news, end = (replace(notice, key=f"k/{n}", news=n) for n in ("A GPU was swapped.", "Returned."))
    for _ in range(2):
        await JsonLinesNotifier(path).update(filed.reference, news)
        await JsonLinesNotifier(path).close(filed.reference, end)

    assert [(line["event"], line.get("reference"), line["news"]) for line in lines(path)] == [
        ("filed", None, ""),
        ("updated", f"{path}:1", "A GPU was swapped."),
        ("closed", f"{path}:1", "Returned."),
    ]


async def test_the_same_key_makes_no_second_line(path: Path, notice: Notice) -> None:
    notifier = JsonLinesNotifier(path)
    references = [await notifier.send(each) for each in (notice, again(notice), notice, again(notice))]

    assert [each.reference for each in references] == [f"{path}:1", f"{path}:2", f"{path}:1", f"{path}:2"]
    assert [line["key"] for line in lines(path)] == ["inc-000007/ticket/1", "inc-000007/ticket/2"]


async def test_the_same_key_makes_no_second_line_after_a_restart(path: Path, notice: Notice) -> None:
    await JsonLinesNotifier(path).send(again(notice))
    await JsonLinesNotifier(path).send(notice)

    assert await JsonLinesNotifier(path).send(notice) == Filed(f"{path}:2")
    assert len(lines(path)) == 2


async def test_the_same_key_twice_at_once_is_one_line(path: Path, notice: Notice) -> None:
    notifier = JsonLinesNotifier(path)
    await asyncio.gather(*(notifier.send(notice) for _ in range(20)))

    assert len(lines(path)) == 1


async def test_a_line_that_a_crash_cut_short_is_ended_and_its_notice_comes_again(path: Path, notice: Notice) -> None:
    await JsonLinesNotifier(path).send(again(notice))
    whole = content_of(path)
    put(path, whole + json.dumps(asdict(notice)).encode()[:70])

    assert await JsonLinesNotifier(path).send(notice) == Filed(f"{path}:3")

    first, cut, last = content_of(path).splitlines(keepends=True)
    assert first == whole
    assert cut == json.dumps(asdict(notice)).encode()[:70] + b"\n"
    assert json.loads(last) == {"event": "filed", **asdict(notice)}


async def test_a_line_that_lacks_its_end_alone_is_kept(path: Path, notice: Notice) -> None:
    await JsonLinesNotifier(path).send(notice)
    put(path, content_of(path).removesuffix(b"\n"))

    assert await JsonLinesNotifier(path).send(notice) == Filed(f"{path}:1")
    assert await JsonLinesNotifier(path).send(again(notice)) == Filed(f"{path}:2")
    assert len(lines(path)) == 2


@pytest.mark.parametrize(
    "foreign", [b"not JSON\n", b"[1]\n", b'{"key": 7}\n', b"\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"]
)
async def test_lines_of_others_are_left_alone(path: Path, notice: Notice, foreign: bytes) -> None:
    put(path, foreign)

    assert await JsonLinesNotifier(path).send(notice) == Filed(f"{path}:2")
    assert content_of(path).startswith(foreign)


async def test_text_that_is_no_unicode_does_not_stop_a_notice(path: Path, notice: Notice) -> None:
    await JsonLinesNotifier(path).send(replace(notice, body="half a character: \udce9, two\nlines\u2028three"))

    assert [line["body"] for line in json_lines_by_newline(path)] == ["half a character: ?, two\nlines\u2028three"]


def json_lines_by_newline(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


async def test_a_directory_that_is_not_there_is_said(tmp_path: Path, notice: Notice) -> None:
    with pytest.raises(Permanent, match=r"tickets\.jsonl cannot be written: No such file or directory"):
        await JsonLinesNotifier(tmp_path / "gone" / "tickets.jsonl").send(notice)


@pytest.mark.parametrize("place", ["/", "/dev/full"])
async def test_what_is_no_file_is_said(notice: Notice, place: str) -> None:
    with pytest.raises(Permanent, match=f"{place} must be a regular file"):
        await JsonLinesNotifier(Path(place)).send(notice)


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from controller.adapters import Notice
from controller.errors import Retryable
from controller.notices.json_lines import JsonLinesNotifier

async def send():
    notifier = JsonLinesNotifier(Path(sys.argv[1]))
    notice = Notice("inc/page/1", "page", "inc", "n1", "", "f", "s", "t", "body " * 500, 1.0)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        await notifier.send(notice)
    except Retryable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print((await notifier.send(notice)).reference)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(send())
"""


def test_a_disk_that_fills_in_the_middle_of_a_line_is_survived(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=30, check=False
    )

    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == (f"{path} cannot be written: File too large", f"{path}:2"), done.stderr
    cut, whole = content_of(path).splitlines()
    assert len(cut) == 100
    assert json.loads(whole)["key"] == "inc/page/1"


SENDER = """
import asyncio, sys
from pathlib import Path
from controller.adapters import Notice
from controller.notices.json_lines import JsonLinesNotifier

async def send():
    notifier = JsonLinesNotifier(Path(sys.argv[1]))
    for number in range(100000):
        notice = Notice(f"inc/page/{number}", "page", "inc", "n1", "", "f", "s", "t", "body " * 500, 1.0)
        await notifier.send(notice)
        print(number, flush=True)

asyncio.run(send())
"""


def kill_while_sending(path: Path) -> int:
    """Return the number of the last notice that a killed process had been told to be there."""
    with subprocess.Popen([sys.executable, "-c", SENDER, str(path)], stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        for line in sender.stdout:
            if int(line) == 25:
                sender.send_signal(signal.SIGKILL)
                break
        rest = sender.stdout.read().split()
    return int(rest[-1]) if rest else 25


async def test_what_was_sent_before_a_kill_is_there(path: Path, notice: Notice) -> None:
    last = kill_while_sending(path)

    await JsonLinesNotifier(path).send(notice)

    keys = {line["key"] for line in lines(path)}
    assert {f"inc/page/{number}" for number in range(last + 1)} <= keys
    assert notice.key in keys
