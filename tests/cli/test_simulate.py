"""`fleetmend simulate`: a virtual fleet from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import playbooks
from cli.exit_codes import ExitCode
from tests.cli.conftest import run_cli
from tests.support.documents.running import Walk, words_of

KEYS = [
    "nodes",
    "days",
    "seed",
    "node_days_per_s",
    "incidents",
    "per_class",
    "cordons",
    "false_cordons",
    "decoy_cordons",
    "missed_fault_node_hours",
    "availability",
    "ettr",
]


def test_json_has_what_programs_are_promised() -> None:
    command = ("simulate", "--nodes", "64", "--days", "5", "--seed", "7", "--rate", "30", "--json")
    result = run_cli(*command)
    assert (result.returncode, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert list(told)[: len(KEYS)] == KEYS
    assert (told["nodes"], told["days"], told["seed"]) == (64, 5.0, 7)
    assert list(told["per_class"])[:21] == [f"F{number}" for number in range(1, 22)]
    assert {"truth", "detected", "precision", "recall", "mttd_s", "mttr_s"} < told["per_class"]["F1"].keys()
    assert set(told["ettr"]) == {"128", "1024", "9600"}
    again = json.loads(run_cli(*command).stdout)
    assert {**again, "node_days_per_s": 0} == {**told, "node_days_per_s": 0}


def test_several_seeds_are_shown_with_their_interval() -> None:
    result = run_cli("simulate", "--nodes", "48", "--days", "3", "--rate", "40", "--seeds", "3")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("48 nodes, 3 days, seeds 1 to 3: ")
    assert any(line.startswith("false cordons 0 (0 to 0)") for line in lines)
    assert any(line.startswith("F1 ") and line.endswith("A GPU is lost from the bus (Xid 79).") for line in lines)


def test_json_of_several_seeds_has_each_run_and_what_they_say_together() -> None:
    told = json.loads(
        run_cli("simulate", "--nodes", "32", "--days", "2", "--rate", "40", "--seeds", "2", "--json").stdout
    )
    assert (told["nodes"], told["days"], told["seeds"]) == (32, 2.0, [1, 2])
    assert [list(run)[: len(KEYS)] for run in told["runs"]] == [KEYS, KEYS]
    cordons = told["figures"]["cordons"]
    assert cordons["low"] <= cordons["mean"] <= cordons["high"]
    assert cordons["mean"] == sum(run["cordons"] for run in told["runs"]) / 2


def test_what_fleets_do_without_it_stands_beside_it() -> None:
    """Rebooting on every Xid takes nodes out for programs' own faults; paging leaves a job waiting for a person."""
    told = json.loads(run_cli("simulate", "--nodes", "200", "--days", "10", "--beside", "--json").stdout)
    names = ("fleetmend", "reboot on every Xid", "page a person", "nothing")
    ours, reboots, pages, nothing = (told[name] for name in names)
    assert (ours["false_cordons"], pages["cordons"]) == (0, 0)
    assert reboots["decoy_cordons"] > 0
    assert ours["ettr"]["9600"] > pages["ettr"]["9600"] > nothing["ettr"]["9600"]
    lines = run_cli("simulate", "--nodes", "16", "--days", "1", "--beside").stdout.splitlines()
    assert any(line.split()[:3] == ["figure", "fleetmend", "reboot"] for line in lines)


def test_the_nodes_of_a_file_of_places_are_simulated(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("node,rack,leaf\ngpu[001-040],r1,l1\n", encoding="utf-8")
    result = run_cli("simulate", "--topology", str(tmp_path / "places.csv"), "--days", "1", "--json")
    assert json.loads(result.stdout)["nodes"] == 40


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("--topology", "node,rack\nn1\n", ":2: 1 cells, and there are 2 columns"),
        ("--model", "[classes.F1]\nrate = -1\n[nodes]\nlemons = 2\n", "classes.F1.rate: "),
        ("--config", "state = 1\n", "state"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_mistakes(tmp_path: Path, option: str, content: str, told: str) -> None:
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    result = run_cli("simulate", "--nodes", "8", "--days", "1", option, str(file))
    assert result.returncode == ExitCode.CONFIG
    assert str(file) in result.stderr
    assert told in result.stderr
    assert result.stdout == ""


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    model, places = tmp_path / "model.toml", tmp_path / "places.csv"
    model.write_text(
        "[classes.F1]\nrate = -1\nsigns = ['none']\nmends = {prayer = 1}\npart = 'wing'\n", encoding="utf-8"
    )
    places.write_text("node,rack\nn1\nn2,r1\nn3\n", encoding="utf-8")
    result = run_cli("simulate", "--model", str(model), "--topology", str(places))
    assert (result.returncode, result.stdout) == (ExitCode.CONFIG, "")
    for told in ("F1.rate: ", "F1.signs: ", "F1.mends: ", "F1.part: ", f"{places}:2: ", f"{places}:4: "):
        assert told in result.stderr


def test_the_page_needs_nothing_else_and_has_what_the_terminal_has(tmp_path: Path) -> None:
    page = tmp_path / "simulated.html"
    command = (
        "simulate",
        "--nodes",
        "48",
        "--days",
        "3",
        "--rate",
        "40",
        "--seeds",
        "2",
        "--beside",
        "--html",
        str(page),
    )
    result = run_cli(*command)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"wrote {page}\n"
    text = page.read_text("utf-8")
    for plot in ("jobs", "missed", "found", "repair", "cordons"):
        assert f'id="plot-{plot}"' in text
    for said in (
        "48 nodes, 3 days, seeds 1 to 2",
        "reboot on every Xid",
        "page a person",
        "A GPU is lost from the bus",
    ):
        assert said in text
    assert "src=" not in text and "<link" not in text and "<script" not in text


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = run_cli("simulate", "--nodes", "8", "--days", "1", "--html", str(tmp_path / "none" / "page.html"))
    assert result.returncode == ExitCode.NO_OUTPUT
    assert "cannot be written" in result.stderr


def test_both_mistakes_of_a_model_are_told(tmp_path: Path) -> None:
    file = tmp_path / "model.toml"
    file.write_text("[classes.F1]\nrate = -1\n[nodes]\nlemons = 2\n", encoding="utf-8")
    stderr = run_cli("simulate", "--model", str(file)).stderr
    assert "classes.F1.rate: " in stderr and "nodes.lemons: " in stderr


@pytest.mark.parametrize("wrong", [("--nodes", "0"), ("--days", "0"), ("--rate", "-1"), ("--seeds", "0")])
def test_numbers_that_make_no_fleet_are_refused(wrong: tuple[str, str]) -> None:
    assert run_cli("simulate", *wrong).returncode == ExitCode.USAGE


def test_what_the_page_has_people_change(tmp_path: Path) -> None:
    """In a smaller fleet, with files of a site's own."""
    page = Walk("docs/how-to/try-a-policy-on-history.md", __file__)
    commands = words_of(page.text("fleetmend simulate").replace("--seeds 20", ""))
    site = {name: tmp_path / name for name in ("my-playbooks", "nodes.csv", "model.toml")}
    shutil.copytree(Path(playbooks.__file__).parent, site["my-playbooks"], ignore=shutil.ignore_patterns("*.py", "__*"))
    site["nodes.csv"].write_text("node,rack\nn1,r1\nn2,r1\nn3,r2\n")
    site["model.toml"].write_text(page.text("[classes.F5]"))
    site["/etc/fleetmend/controller.toml"] = tmp_path / "controller.toml"
    site["/etc/fleetmend/controller.toml"].write_text('state = "/nowhere"\n[budget]\nnodes = 3\n')
    assert page.left == []
    assert len(commands) == 5
    for words in commands:
        size = () if "--topology" in words else ("--nodes", "16")
        ended = run_cli(*(str(site.get(word, word)) for word in words), *size, "--days", "1")
        assert (ended.returncode, ended.stderr) == (0, ""), words
        assert "nodes, 1 day" in ended.stdout
