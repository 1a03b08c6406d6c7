"""From a line of kernel log to a record, and whether to believe it.

The same fault reaches us as a record of /dev/kmsg, as any output of `dmesg`, or as any `journalctl -k -o short...`.
Each line tells its own form, so a file may mix them. Every check that reads the kernel log anchors its patterns at the
start of the message: a line that merely quotes a fault is no fault.
"""

from __future__ import annotations

import re
from dataclasses import replace

from checks.readings import KernelRecord

MAX_LINE_BYTES = 8192
"""What is longer is cut. Source: kernel/printk, CONSOLE_EXT_LOG_MAX, the size of one record with its escapes."""

FACILITIES = ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
"""Names by number, as `dmesg -x` prints them. Source: util-linux, sys-utils/dmesg.c, `facility_names`."""

SEVERITIES = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
"""Names by number. Source: util-linux, sys-utils/dmesg.c, `level_names`."""

_KMSG = re.compile(rb"(\d{1,9}),(\d{1,20}),(\d{1,20}),[^;]{0,200};(.*)", re.DOTALL)
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_RAW = re.compile(r"<(\d{1,4})>(.*)", re.DOTALL | re.ASCII)
_DECODED = re.compile(rf"({'|'.join(FACILITIES)})\s*:({'|'.join(SEVERITIES)})\s*: (.*)", re.DOTALL)
_SECONDS = re.compile(
    r"\[\s{0,12}(\d{1,12}(?:\.\d{1,9})?)(?: <[\s\d.]{1,20}>)?\](?:\[\s{0,8}[TC]\d{1,10}\])? ?(.*)", re.DOTALL | re.ASCII
)
_DATE = re.compile(
    r"(?:\[[^\[\]]{0,40}\d\d:\d\d[^\[\]]{0,40}\]|\[\s{0,8}\+\d{1,12}\.\d{1,9}\]"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{1,9}[+-]\d\d:?\d\d) ?(.*)",
    re.DOTALL | re.ASCII,
)
_MONOTONIC_JOURNAL = re.compile(r"[^\s:]{1,255} kernel: ?(.*)", re.DOTALL)
_JOURNAL = re.compile(
    r"(?:[^\W\d_]{3,5}\.? {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
    r"|[^\W\d_]{2,5} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? \S{1,10}"
    r"|\d{9,12}\.\d{1,9})"
    r" (?:[^\s:]{1,255} )?(?P<identifier>\S{1,128}?):(?: (?P<text>.*)|$)",
    re.DOTALL,
)


def parse_line(raw: bytes) -> KernelRecord | None:
    """Return the record that one line holds, `None` for an empty line and for one that continues another.

    Any bytes at all are accepted. Only the first line of `raw` counts, so what one read of /dev/kmsg returns can be
    given whole. A line in none of the known forms is a message by itself.
    """
    line = raw[:MAX_LINE_BYTES].partition(b"\n")[0].rstrip(b"\r")
    if not line.strip() or continues(line):
        return None
    if kmsg := _KMSG.fullmatch(line):
        return _from_kmsg(kmsg)
    text = line.decode("utf-8", "replace")
    if raw_form := _RAW.fullmatch(text):
        facility, severity = _priority(int(raw_form[1]))
        return replace(_from_dmesg(raw_form[2]), facility=facility, severity=severity)
    if decoded := _DECODED.fullmatch(text):
        facility, severity = FACILITIES.index(decoded[1]), SEVERITIES.index(decoded[2])
        return replace(_from_dmesg(decoded[3]), facility=facility, severity=severity)
    if journal := _JOURNAL.fullmatch(text):
        return _from_journal(journal["identifier"], journal["text"] or "")
    return _from_dmesg(text)


def continues(raw: bytes) -> bool:
    """Return whether the line goes on with the record before it.

    /dev/kmsg, `dmesg` and `journalctl` all indent the further lines of a record.
    """
    return raw[:1] in (b" ", b"\t")


def continuation(previous: KernelRecord, raw: bytes) -> KernelRecord | None:
    """Return an indented line as a record that is as trustworthy as the one it continues.

    After a record of /dev/kmsg there is none: its further lines are properties, its message's own lines are escaped.
    """
    if previous.sequence is not None or not continues(raw):
        return None
    text = raw[:MAX_LINE_BYTES].partition(b"\n")[0].strip().decode("utf-8", "replace")
    return replace(previous, text=text) if text else None


def believed(record: KernelRecord, *, accept_userspace: bool) -> bool:
    """Return whether checks may judge the record.

    Any container with /dev/kmsg can write a line that looks like the driver's, but the kernel files it under facility
    1 or higher: 0 is the kernel's own. A form that does not tell the facility (plain `dmesg`) is believed.

    Source: kernel/printk/printk.c, `devkmsg_write`: "do not allow to log as the kernel".
    """
    return accept_userspace or record.facility in (None, 0)


def excerpt(text: str, limit: int = 160) -> str:
    """Return the text on one line, printable, and not longer than `limit` characters."""
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def soon_after(earlier: KernelRecord, later: KernelRecord, *, within_s: float) -> bool:
    """Return whether two records can belong to one event; records without a stamp count as of the same moment."""
    if not earlier.at_s or not later.at_s:
        return True
    return 0.0 <= later.at_s - earlier.at_s <= within_s


def _priority(number: int) -> tuple[int, int]:
    """Return facility and severity. Source: RFC 5424, section 6.2.1."""
    return number >> 3, number & 7


def _from_kmsg(match: re.Match[bytes]) -> KernelRecord:
    text = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), match[4]).decode("utf-8", "replace")
    facility, severity = _priority(int(match[1]))
    return KernelRecord(int(match[3]) / 1e6, text, facility, severity, int(match[2]))


def _from_dmesg(text: str) -> KernelRecord:
    if seconds := _SECONDS.fullmatch(text):
        journal = _MONOTONIC_JOURNAL.fullmatch(seconds[2])
        return KernelRecord(float(seconds[1]), journal[1] if journal else seconds[2], 0 if journal else None)
    if date := _DATE.fullmatch(text):
        return KernelRecord(0.0, date[1])
    return KernelRecord(0.0, text)


def _from_journal(identifier: str, text: str) -> KernelRecord:
    """Only the identifier `kernel` is the kernel; what a process logs is what a process can write to /dev/kmsg."""
    if identifier != "kernel":
        return KernelRecord(0.0, text, facility=1)
    if seconds := _SECONDS.fullmatch(text):
        return KernelRecord(float(seconds[1]), seconds[2], facility=0)
    return KernelRecord(0.0, text, facility=0)
