"""The loader: exact playbooks out of exact files, every problem of all others at once, and never a traceback."""

from __future__ import annotations

import time
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.finding import Action, Finding, Verdict
from controller.playbooks import (
    PlaybookErrors,
    Problem,
    describe,
    lint,
    load_directory,
    parse,
    render,
    schema,
)
from controller.playbooks.document import MAX_BYTES
from controller.playbooks.paths import flaws
from controller.policy.incident import return_steps
from controller.policy.playbook import HAND_OVER, Answers, Clears, Mode, OnReturn, Playbook, Retry, Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.playbook_walk import every_way, never_taken
from tests.support.shipped import SHIPPED

GOOD = """\
playbook: gpu_lost
summary: A GPU has fallen off the bus.
fault_class: gpu_lost
severity: critical            # info | warning | critical
precedence: 10
mode: ask
confirm: 5s
runbook: docs/how-to/respond/gpu_lost.md
answers:
  - {check: gpu.xid, codes: ["79"], verdicts: [degraded, failed]}
  - {check: gpu.count, actions: [reboot]}
guards: {drain: needed, reversible: true, max_at_once: 2}
steps:
  - cordon: {}
  - drain: {jobs: requeue, limit: 10m}
  - collect: {limit: 1m}
  - reboot: {limit: 0.5h, attempts: 2}
  - verify: {limit: 300}
  - probation: {for: 1h}
  - uncordon: {}
hand_over:
  - ticket: {team: datacentre}
  - page: {severity: critical}
"""


PEOPLE = "hand_over: [{page: {severity: info}}]\n"


def problems(text: str | bytes) -> list[str]:
    """Return what is wrong with a text, without the file's name."""
    with pytest.raises(PlaybookErrors) as caught:
        parse(text.encode() if isinstance(text, str) else text, file="f")
    return [str(problem).removeprefix("f:") for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    """Return the good playbook with one part replaced."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def starts(found: list[str], expected: list[str]) -> list[str]:
    """Return what was found, each cut to the length of what is expected there."""
    return [problem[: len(start)] for problem, start in zip_longest(found, expected, fillvalue="")]


def test_a_good_playbook_is_read_whole() -> None:
    playbook = parse(GOOD.encode(), file="some/where/gpu_lost.yaml")
    expected = Playbook(
        name="gpu_lost",
        summary="A GPU has fallen off the bus.",
        fault_class="gpu_lost",
        severity="critical",
        precedence=10,
        answers=(
            Answers("gpu.xid", frozenset({"79"}), frozenset({Verdict.DEGRADED, Verdict.FAILED})),
            Answers("gpu.count", actions=frozenset({"reboot"})),
        ),
        steps=(
            Step("cordon", Verb.CORDON, 120.0, attempts=3),
            Step("drain", Verb.DRAIN, 600.0, parameters={"jobs": "requeue"}),
            Step("collect", Verb.COLLECT, 60.0, on_failure="reboot"),
            Step("reboot", Verb.REBOOT, 1800.0, attempts=2),
            Step("verify", Verb.VERIFY, 300.0, attempts=3),
            Step("probation", Verb.PROBATION, 3660.0, parameters={"for_s": "3600"}),
            Step("uncordon", Verb.UNCORDON, 120.0, attempts=3),
        ),
        hand_over=(
            Step("ticket", Verb.TICKET, 300.0, attempts=3, parameters={"team": "datacentre"}),
            Step("page", Verb.PAGE, 300.0, attempts=3, parameters={"severity": "critical"}),
        ),
        mode=Mode.ASK,
        confirm_s=5.0,
        max_at_once=2,
        digest=playbook.digest,
        source="gpu_lost.yaml",
        runbook="docs/how-to/respond/gpu_lost.md",
    )
    assert expected == playbook


def test_the_digest_tells_texts_apart() -> None:
    first = parse(GOOD.encode(), file="f")
    assert first.digest == parse(GOOD.encode(), file="g").digest
    assert first.digest != parse((GOOD + "# a word\n").encode(), file="f").digest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1.5h", 5400.0), ('"30s"', 30.0), ("720h", 2592e3)],
)
def test_durations(text: str, seconds: float) -> None:
    playbook = parse(changed("limit: 10m", f"limit: {text}").encode(), file="f")
    assert seconds == playbook.steps[1].limit_s


@pytest.mark.parametrize(
    "text", ["0", "0s", "-1", "10 m", "1d", "1e3", "0x10", "1_000", ".inf", "721h", "soon", "true"]
)
def test_durations_that_are_none(text: str) -> None:
    (problem,) = problems(changed("limit: 10m", f"limit: {text}"))
    assert problem.startswith("15: steps[1].drain.limit: ")
    assert problem.endswith("write a time of more than 0 s and at most 30 days, like 90s, 10m or 2h")


SHAPES = {
    "unknown key": ("mode: ask", "moode: ask", ["6: moode: this key is not known; did you mean `mode`? known here: "]),
    "no key named on": ("mode: ask", "on: ask", ["6: on: this key is not known; "]),
    "twice the same key": ("mode: ask", "severity: info", ["6: severity: given a second time, first in line 4; "]),
    "missing key": (
        "precedence: 10\n",
        "",
        ["1: precedence: this key is missing; write a whole number from 1 to 1000"],
    ),
    "wrong word": ("mode: ask", "mode: on", ["6: mode: 'on' is text; write one of shadow, ask, act"]),
    "wrong number": ("precedence: 10", "precedence: ten", ["5: precedence: 'ten' is text; write a whole number"]),
    "number beyond": ("precedence: 10", "precedence: 0", ["5: precedence: '0' is a number; write a whole number"]),
    "empty value": ("severity: critical ", "severity: ", ["4: severity: it is empty; write one of"]),
    "capitals": ("playbook: gpu_lost", "playbook: GpuLost", ["1: playbook: 'GpuLost' is text; write a name of lower"]),
    "list for text": ("mode: ask", "mode: [ask]", ["6: mode: it is a list; write one of shadow, ask, act"]),
    "yes is no truth": ("reversible: true", "reversible: yes", ["12: guards.reversible: 'yes' is text; write true or"]),
    "number as a code": ('["79"]', "[79]", ["10: answers[0].codes: it is a list; write a list of different codes"]),
    "code twice": ('["79"]', '["79", "79"]', ["10: answers[0].codes: it is a list; write a list of different codes"]),
    "unknown verdict": (
        "verdicts: [degraded, failed]",
        "verdicts: [unknown]",
        ["10: answers[0].verdicts: it is a list; write a list out of degraded and failed"],
    ),
    "unknown check": (
        "check: gpu.count",
        "check: gpu.cuont",
        ["11: answers[1].check: there is no check `gpu.cuont`; did you mean `gpu.count`? known here: agent.presence, "],
    ),
    "unknown verb": ("- cordon:", "- cordn:", ["14: steps[0].cordn: this verb is not known; did you mean `cordon`?"]),
    "bare verb": ("- cordon: {}", "- cordon", ["14: steps[0]: 'cordon' is text; write one verb with its parameters"]),
    "no parameters": ("- cordon: {}", "- cordon:", ["14: steps[0].cordon: it is empty; write a mapping with the keys"]),
    "two verbs": ("- cordon: {}", "- {cordon: {}, collect: {}}", ["14: steps[0]: it has 2 keys; write one verb"]),
    "another verb's key": (
        "reboot: {limit",
        "reboot: {jobs: wait, limit",
        ["17: steps[3].reboot.jobs: this key is not known; known here: attempts, back_off, by, force, l"],
    ),
    "missing parameter": (
        "jobs: requeue, ",
        "",
        ["15: steps[1].drain.jobs: this key is missing; write one of wait, requeue, cancel"],
    ),
    "wrong parameter": (
        "jobs: requeue",
        "jobs: kill",
        ["15: steps[1].drain.jobs: 'kill' is text; write one of wait, "],
    ),
    "limit of a wait": ("{for: 1h}", "{for: 1h, limit: 2h}", ["19: steps[5].probation.limit: this key is not known; "]),
    "jump in the hand-over": (
        "{team: datacentre}",
        "{team: datacentre, on_failure: page}",
        ["22: hand_over[0].ticket.on_failure: this key is not known; "],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_not_right_is_named_with_its_line_and_what_would_be(name: str) -> None:
    old, new, expected = SHAPES[name]
    assert expected == starts(problems(changed(old, new)), expected)


PATHS = {
    "no cordon": (
        "  - cordon: {}\n",
        "",
        ["14: steps[0]: `drain` can be reached without a cordon; ", "16: steps[2]: `reboot` can be reached without a"],
    ),
    "no verify after the reboot": (
        "  - verify: {limit: 300}\n",
        "",
        [
            "19: steps[5]: `uncordon` can be reached without a verify; every path to an uncordon needs a verify that "
            "succeeded after the last repair (I6)"
        ],
    ),
    "verify's failure returns the node": (
        "verify: {limit: 300}",
        "verify: {on_failure: uncordon}",
        ["20: steps[6]: `uncordon` can be reached without a verify; "],
    ),
    "probation's failure returns the node": (
        "probation: {for: 1h}",
        "probation: {for: 1h, on_failure: uncordon}",
        ["20: steps[6]: `uncordon` can be reached without a verify; "],
    ),
    "a reboot with jobs": (
        "drain: {jobs: requeue, limit: 10m}",
        "drain: {jobs: requeue, on_failure: collect}",
        ["17: steps[3]: `reboot` can be reached with jobs on the node; drain before the repair "],
    ),
    "a reboot with jobs on other devices": (
        "drain: {jobs: requeue, limit: 10m}",
        "drain: {jobs: requeue, scope: device}",
        ["17: steps[3]: `reboot` can be reached with jobs on the node; drain before the repair "],
    ),
    "a reboot in service": (
        "- cordon: {}",
        "- cordon: {on_failure: collect}",
        ["17: steps[3]: `reboot` can be reached with", "17: steps[3]: `reboot` can be reached without a cordon; "],
    ),
    "still cordoned at the end": (
        "  - uncordon: {}\n",
        "",
        ["13: steps: a path ends with the node still cordoned; end it with uncordon or hand_over"],
    ),
    "a jump backwards": (
        "verify: {limit: 300}",
        "verify: {on_failure: drain}",
        ["18: steps[4].verify.on_failure: `drain` leads backwards; jumps go forward, here to probation, uncordon, "],
    ),
    "a jump to itself": (
        "verify: {limit: 300}",
        "verify: {on_failure: verify}",
        ["18: steps[4].verify.on_failure: `verify` leads backwards; "],
    ),
    "a jump to nowhere": (
        "verify: {limit: 300}",
        "verify: {on_success: end}",
        ["18: steps[4].verify.on_success: `end` leads to a step that does not exist; "],
    ),
    "one name twice": (
        "probation: {for: 1h}",
        "verify: {}",
        [
            "18: steps[4]: `verify` is the name of 2 steps; give each its own `name`",
            "19: steps[5]: `verify` is the name",
        ],
    ),
    "a step called hand_over": (
        "probation: {for: 1h}",
        "probation: {for: 1h, name: hand_over}",
        ["19: steps[5]: a step is called hand_over; that word is the jump to people"],
    ),
    "nobody is told": (
        "  - ticket: {team: datacentre}\n  - page: {severity: critical}\n",
        "  - wait: {for: 1m}\n",
        [
            "21: hand_over: nobody is told; add a ticket or a page",
            "22: hand_over[0]: `wait` is not for people; only ",
        ],
    ),
    "a cordon for silence": (
        "check: gpu.count, actions: [reboot]",
        "check: agent.presence",
        [
            "14: steps[0]: `cordon` would follow from silence alone; ",
            "17: steps[3]: `reboot` would follow from silence",
        ],
    ),
    "a diagnosis that clears what only a person may": (
        "mode: ask",
        "mode: ask\nclears: person",
        ["21: steps[6]: `uncordon` would return the node, and only a person may; end with hand_over"],
    ),
    "a tier of no benchmarks": (
        "verify: {limit: 300}",
        "verify: {tier: 2}",
        ["18: steps[4].verify.tier: `tier` is about benchmarks, and there are none; leave it out, or say which `be"],
    ),
    "benchmarks beside jobs on other devices": (
        "drain: {jobs: requeue, limit: 10m}\n  - collect: {limit: 1m}\n  - reboot: {limit: 0.5h, attempts: 2}\n"
        "  - verify: {limit: 300}",
        "drain: {jobs: requeue, scope: device}\n  - reset_gpu: {}\n  - verify: {benchmarks: [gemm]}",
        ["17: steps[3]: `verify` would run benchmarks on a node that may have jobs; cordon and drain the node before"],
    ),
    "benchmarks although the drain failed": (
        "drain: {jobs: requeue, limit: 10m}\n  - collect: {limit: 1m}\n  - reboot: {limit: 0.5h, attempts: 2}\n"
        "  - verify: {limit: 300}",
        "drain: {jobs: wait, on_failure: verify}\n  - verify: {benchmarks: [gemm]}",
        ["16: steps[2]: `verify` would run benchmarks on a node that may have jobs; cordon and drain the node before"],
    ),
    "a step that every way goes past": (
        "collect: {limit: 1m}",
        "collect: {on_success: verify, on_failure: verify}",
        [
            "17: steps[3]: nothing leads to `reboot`; let a step before it go on there by on_success or on_failure, or "
            "leave it out"
        ],
    ),
    "steps behind the hand-over, and no return by people that begins with them": (
        "  - verify: {limit: 300}\n  - probation: {for: 1h}\n",
        "  - collect: {name: again, on_success: hand_over, on_failure: hand_over}\n  - wait: {for: 1m}\n",
        ["19: steps[5]: nothing leads to `wait`; let", "20: steps[6]: nothing leads to `uncordon`; let"],
    ),
    "fleetmend's own name": (
        "playbook: gpu_lost",
        "playbook: fleet_silence",
        ["1: playbook: `fleet_silence` is fleetm"],
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_must_not_be(name: str) -> None:
    old, new, expected = PATHS[name]
    assert expected == starts(problems(changed(old, new)), expected)


def test_steps_that_only_a_return_by_people_takes_are_reached() -> None:
    people_only = "reboot: {limit: 0.5h, on_success: hand_over, on_failure: hand_over}"

    playbook = parse(changed("reboot: {limit: 0.5h, attempts: 2}", people_only).encode(), file="f")

    assert [step.name for step in return_steps(playbook)] == ["verify", "probation", "uncordon"]


def test_a_reset_of_one_gpu_needs_no_more_than_that_gpu_drained() -> None:
    start = changed("drain: {jobs: requeue, limit: 10m}", "drain: {jobs: requeue, scope: device}")
    text = start.replace("- reboot: {", "- reset_gpu: {")

    playbook = parse(text.encode(), file="f")

    assert playbook.steps[1].parameters == {"jobs": "requeue", "scope": "device"}
    assert "put the running jobs back into the queue, those of the sick GPU alone" in render(playbook)


def test_benchmarks_of_a_verification_are_read_and_told() -> None:
    text = changed(
        "verify: {limit: 300}",
        "verify: {benchmarks: [gpu_bandwidth, nccl_all_reduce], tier: 2, unmeasured: hand_over}",
    )
    playbook = parse(text.encode(), file="f")
    expected = {"benchmarks": "gpu_bandwidth,nccl_all_reduce", "tier": "2", "unmeasured": "hand_over"}
    assert expected == playbook.steps[4].parameters
    assert (
        "fault is gone, then by the benchmarks gpu_bandwidth, nccl_all_reduce of tier 2; people get it when they "
        "cannot be run" in render(playbook)
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("benchmarks: [nccl]", "18: steps[4].verify.benchmarks: it is a list; write a list out of nccl_all_reduce, "),
        ("benchmarks: []", "18: steps[4].verify.benchmarks: it is a list; write a list out of nccl_all_reduce, "),
        ("benchmarks: [gemm, gemm]", "18: steps[4].verify.benchmarks: it is a list; write a list out of nccl_all_"),
        ("benchmarks: gemm", "18: steps[4].verify.benchmarks: 'gemm' is text; write a list out of nccl_all_reduce, "),
        ("benchmarks: [gemm], tier: 4", "18: steps[4].verify.tier: '4' is a number; write a whole number from 1 to"),
        ("benchmarks: [gemm], unmeasured: pass", "18: steps[4].verify.unmeasured: 'pass' is text; write one of go_on"),
    ],
)
def test_benchmarks_that_are_none(written: str, expected: str) -> None:
    assert [expected] == starts(problems(changed("verify: {limit: 300}", f"verify: {{{written}}}")), [expected])


def test_what_only_a_person_clears_must_not_stay_in_service() -> None:
    start = GOOD[: GOOD.index("steps:")]
    text = f"{start}clears: person\nsteps: [{{ticket: {{team: platform}}}}]\n{PEOPLE}"
    assert problems(text) == [
        "13: clears: the node would stay in service; cordon it: until a person clears this, it stays out"
    ]


def test_a_part_goes_back_only_when_a_repair_of_it_did_not_last() -> None:
    start = GOOD[: GOOD.index("steps:")]
    text = f"{start}on_return: rma\nsteps: [{{ticket: {{team: platform}}}}]\n{PEOPLE}"
    assert problems(text) == [
        "13: on_return: no repair is tried here that could fail to last; leave it out, or add a repair"
    ]


def test_history_and_who_clears_are_read_and_told() -> None:
    assert "people get it, to send the part back" in render(
        parse(changed("mode: ask", "mode: ask\non_return: rma").encode(), file="f")
    )
    corruptions = [playbook for playbook in SHIPPED if playbook.clears is Clears.PERSON]
    assert {playbook.name for playbook in corruptions} == {"gpu_sdc", "bench_storage_wrong"}
    assert all("No diagnosis clears it" in render(playbook) for playbook in corruptions)
    assert {playbook.on_return for playbook in corruptions} == {OnReturn.ESCALATE}


def test_a_playbook_without_a_cordon_must_end_by_verifying_or_telling() -> None:
    start = GOOD[: GOOD.index("steps:")]
    people = "hand_over: [{ticket: {team: platform}}]\n"
    assert [problem.partition(";")[0] for problem in problems(f"{start}steps: [{{wait: {{for: 1m}}}}]\n{people}")] == [
        "13: steps: a path ends and nobody knows whether the fault is over"
    ]
    verified = parse(f"{start}steps: [{{wait: {{for: 1m}}}}, {{verify: {{}}}}]\n{people}".encode(), file="f")
    assert [step.name for step in verified.steps] == ["wait", "verify"]
    told = parse(f"{start}steps: [{{collect: {{on_success: hand_over}}}}]\n{people}".encode(), file="f")
    assert [step.name for step in told.steps] == ["collect"]


YAML = {
    "an anchor": ("mode: ask", "mode: &mode ask", "6: file: anchors and aliases (`&`, `*`) are not allowed; "),
    "an alias": ("mode: ask", "mode: *mode", "6: file: anchors and aliases (`&`, `*`) are not allowed; "),
    "a merge": ("mode: ask", "<<: {mode: ask}", "6: <<: this key is not known; "),
    "a tag": ("mode: ask", "mode: !!str ask", "6: file: a tag (`!`) is not allowed; write the plain value"),
    "a directive": (
        "playbook: gpu_lost",
        "%YAML 1.1\n---\nplaybook: gpu_lost",
        "2: file: a % directive is not allowed; ",
    ),
    "a second document": ("mode: ask", "---\nmode: ask", "6: file: a second document begins here; put one playbook "),
    "a tab": ("  - drain:", "\t- drain:", "15: file: not YAML: "),
    "an open bracket": ("[degraded, failed]}", "[degraded, failed}", "10: file: not YAML: "),
    "an open quote": ('["79"]', '["79]', ""),
    "a control character": ("mode: ask", "mode: a\x00sk", "1: file: not YAML: "),
    "an impossible escape": ("mode: ask", 'mode: "\\UFFFFFFFF"', "1: file: not YAML: "),
    "a complex key": ("mode: ask", "? [mode]\n: ask", "6: file: a key is a list or a mapping; "),
    "deep nesting": ("mode: ask", f"mode: {'[' * 9}{']' * 9}", "6: file: nested more than 8 deep; "),
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_is_refused(name: str) -> None:
    old, new, start = YAML[name]
    found = problems(changed(old, new))
    assert start == found[0][: len(start)]


def test_tabs_are_told() -> None:
    assert problems(changed("  - drain:", "\t- drain:"))[0].endswith("; indent with spaces, never with tabs")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1: file: it is empty; write a playbook, beginning with `playbook: NAME`"),
        (b"# nothing\n", "1: file: it is empty; write a playbook, beginning with `playbook: NAME`"),
        (b"- a\n", "1: file: it is a list; write a mapping with the keys playbook, summary, "),
        (b"a: \xff\n", "1: file: byte 0xff is not UTF-8; save it as UTF-8"),
        (b"a: 1\nb: \xc3(\n", "2: file: byte 0xc3 is not UTF-8; save it as UTF-8"),
        (b" " * (MAX_BYTES + 1), f"1: file: {MAX_BYTES + 1} bytes; a playbook has at most {MAX_BYTES} bytes"),
    ],
)
def test_content_that_is_no_playbook_at_all(content: bytes, expected: str) -> None:
    assert problems(content)[0].startswith(expected)


BOMBS = [
    "[" * 60_000,
    "{" * 60_000,
    "[a, " * 15_000,
    "- " * 30_000,
    "? " * 30_000,
    "a:\n" * 20_000,
    "a: &a [*a]\n" * 5_000,
]


@pytest.mark.parametrize("text", BOMBS, ids=[text[:8].strip() for text in BOMBS])
def test_no_small_file_takes_long(text: str) -> None:
    began = time.process_time()
    assert problems(text)
    assert time.process_time() - began < 10.0


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "gpu_lost.yaml").write_text(changed("mode: ask", "mode: maybe").replace("limit: 1m", "limit: 1x"))
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "other.yaml").write_text(GOOD)
    (tmp_path / "late.yml").write_text(GOOD)
    with pytest.raises(PlaybookErrors) as caught:
        load_directory(tmp_path)
    told = [(Path(problem.file).name, problem.line, problem.key) for problem in caught.value.problems]
    assert told == [
        ("broken.yaml", 2, "file"),
        ("gpu_lost.yaml", 6, "mode"),
        ("gpu_lost.yaml", 16, "steps[2].collect.limit"),
        ("late.yml", 1, "file"),
        ("other.yaml", 1, "playbook"),
    ]
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]


def test_two_playbooks_with_equal_right_to_a_finding(tmp_path: Path) -> None:
    (tmp_path / "gpu_lost.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(changed("playbook: gpu_lost", "playbook: other"))
    wrong = "gpu_lost answers some of this too, at the same precedence 10"
    right = "give one of them another precedence"
    other = str(tmp_path / "other.yaml")
    assert [
        Problem(other, 10, "answers[0]", wrong, right),
        Problem(other, 11, "answers[1]", wrong, right),
    ] == lint([tmp_path])
    (tmp_path / "other.yaml").write_text(
        changed("playbook: gpu_lost", "playbook: other").replace('["79"]', '["74"]').replace("[reboot]", "[none]")
    )
    assert lint([tmp_path]) == []


def test_checks_of_a_site_are_answered_by_name_or_all_together(tmp_path: Path) -> None:
    mine = changed("playbook: gpu_lost", "playbook: mine").replace("check: gpu.count", "check: site.licence")
    (tmp_path / "mine.yaml").write_text(mine.replace('["79"]', '["74"]'))
    (tmp_path / "gpu_lost.yaml").write_text(GOOD.replace("check: gpu.count", "check: site.*"))
    (problem,) = lint([tmp_path])
    assert (problem.key, problem.wrong) == (
        "answers[1]",
        "gpu_lost answers some of this too, at the same precedence 10",
    )
    (tmp_path / "mine.yaml").write_text(mine.replace('["79"]', '["74"]').replace("precedence: 10", "precedence: 9"))
    rules = Rules(load_directory(tmp_path), Budget(nodes=1))
    found = [
        rules.answering(Finding(check, "host", "critical", Verdict.FAILED, Action.REBOOT, "x"))
        for check in ("site.licence", "site.quota", "gpu.count")
    ]
    assert [playbook.name if playbook else "" for playbook in found] == ["mine", "gpu_lost", ""]


def test_no_other_family_is_answered_all_together(tmp_path: Path) -> None:
    (tmp_path / "gpu_lost.yaml").write_text(GOOD.replace("check: gpu.count", "check: gpu.*"))
    (problem,) = lint([tmp_path])
    assert problem.wrong == "there is no check `gpu.*`"


def test_one_name_in_two_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "gpu_lost.yaml").write_text(GOOD)
    (first, *_) = lint([tmp_path / "a", tmp_path / "b"])
    assert f"`gpu_lost` is also the name of {tmp_path}/a/gpu_lost.yaml" == first.wrong


def test_lint_takes_files_and_says_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gpu_lost.yaml").write_text(GOOD)
    assert lint([tmp_path / "gpu_lost.yaml"]) == []
    (missing,) = lint([tmp_path / "none.yaml"])
    assert f"{tmp_path}/none.yaml:1: file: it cannot be read: No such file or directory; name a readable" in str(
        missing
    )


def test_an_empty_directory_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(PlaybookErrors, match=r"it holds no playbook; add files NAME\.yaml"):
        load_directory(tmp_path)


def test_a_directory_is_loaded_in_the_order_of_precedence(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        changed("playbook: gpu_lost", "playbook: a").replace("precedence: 10", "precedence: 20")
    )
    (tmp_path / "b.yaml").write_text(changed("playbook: gpu_lost", "playbook: b"))
    assert [playbook.name for playbook in load_directory(tmp_path)] == ["b", "a"]


def test_render_says_it_all_in_plain_english() -> None:
    assert (
        render(parse(GOOD.encode(), file="f"))
        == """\
gpu_lost: A GPU has fallen off the bus.

  Fault class gpu_lost, severity critical, precedence 10
  Mode ask: it asks a person before its first step
  A finding must have stood for 5 s
  Jobs must be gone before a repair
  Back on the same part soon after a repair: that rung is left out, the next one is taken
  At most 2 nodes are held out by it at once
  Runbook docs/how-to/respond/gpu_lost.md

Answers
  gpu.xid 79 when degraded or failed
  gpu.count, every code, when failed, where reboot is due

Steps
   1. cordon     let no new work onto the node (at most 2 min; 3 attempts)
   2. drain      put the running jobs back into the queue (at most 10 min)
   3. collect    gather evidence for the ticket (at most 1 min; go on even if it fails)
   4. reboot     reboot the node (at most 30 min; 2 attempts)
   5. verify     verify on fresh readings that the fault is gone (at most 5 min; 3 attempts)
   6. probation  watch the idle node for 1 h
   7. uncordon   give the node back to the scheduler (at most 2 min; 3 attempts)
  A step that fails hands over to people, unless it says otherwise.

Hand-over to people
  - open a ticket for the datacentre team
  - page the on-call engineer, severity critical
"""
    )


def test_describe_is_markdown_with_a_row_for_each_step() -> None:
    text = describe(parse(GOOD.encode(), file="f"))
    assert text.startswith("## gpu_lost\n\nA GPU has fallen off the bus.\n")
    assert "| collect | gather evidence for the ticket | 1 min | reboot | reboot |" in text
    assert sum(line.startswith("| ") for line in text.splitlines()) - 1 == 7


def test_the_schema_knows_every_verb_and_every_key() -> None:
    properties = schema()["properties"]
    verbs = {next(iter(each["properties"])) for each in properties["steps"]["items"]["oneOf"]}
    assert {verb.value for verb in Verb} == verbs
    told = {next(iter(each["properties"])) for each in properties["hand_over"]["items"]["oneOf"]}
    assert {"ticket", "page"} == told
    assert schema()["additionalProperties"] is False
    for line in GOOD.splitlines():
        if line[0].isalpha():
            assert line.partition(":")[0] in properties


def lower_words(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(lower_words)))
def test_any_bytes_give_a_playbook_or_reasons(content: bytes) -> None:
    try:
        parse(content, file="f")
    except PlaybookErrors as error:
        assert error.problems
        assert all("\n" not in str(problem) for problem in error.problems)


WORDS = ("null", "on", "1e9", "steps", "cordon", "hand_over", "&a", "*a", "!", "!!int", "---", "...", "- ", "\\x")
PIECES = st.sampled_from([*"{}[]:|>'%#?,0\"\n\t \u2028\ufeff\x85é", *WORDS])


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), PIECES), min_size=1, max_size=5))
def test_any_slip_of_the_pen_gives_a_playbook_or_reasons(slips: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for at, removed, added in slips:
        text = text[:at] + added + text[at + removed :]
    try:
        assert parse(text.encode(), file="f").steps
    except PlaybookErrors as error:
        assert error.problems
        lines = text.count("\n") + 2
        assert all(1 <= problem.line <= lines and "\n" not in str(problem) for problem in error.problems)


VERBS = st.sampled_from([v for v in Verb if v is not Verb.APPROVE])


@st.composite
def playbooks(draw: st.DrawFn) -> Playbook:
    """Draw playbooks with any steps and any jumps forward."""
    verbs = draw(st.lists(VERBS, min_size=1, max_size=7))
    names = [f"s{index}" for index in range(len(verbs))]
    steps = []
    for index, verb in enumerate(verbs):
        later = [HAND_OVER, *names[index + 1 :]]
        success, failure = draw(st.sampled_from(["", *later])), draw(st.sampled_from(later))
        steps.append(Step(names[index], verb, 60.0, on_success=success, on_failure=failure))
    hand_over = (Step("tell", Verb.TICKET, 60.0),)
    answers = (Answers("gpu.xid"),)
    drain_needed = draw(st.booleans())
    return Playbook("p", "s", "c", "info", 1, answers, tuple(steps), hand_over, drain_needed=drain_needed)


@given(playbooks())
def test_the_path_rules_refuse_exactly_what_can_go_wrong(playbook: Playbook) -> None:
    assert (any(every_way(playbook)) or bool(never_taken(playbook))) == bool(flaws(playbook))


@pytest.mark.parametrize("playbook", SHIPPED, ids=lambda playbook: playbook.name)
def test_every_way_through_a_packaged_playbook_is_safe(playbook: Playbook) -> None:
    assert not any(every_way(playbook))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{}", None),
        ("{attempts: 4}", None),
        ("{retry_after: 30s}", Retry(30.0, 2.0, 300.0)),
        ("{retry_after: 10m}", Retry(600.0, 2.0, 600.0)),
        ("{back_off: 1}", Retry(10.0, 1.0, 300.0)),
        ("{retry_after: 5, back_off: 3, retry_at_most: 1m}", Retry(5.0, 3.0, 60.0)),
    ],
)
def test_how_long_attempts_wait_is_data(said: str, expected: Retry | None) -> None:
    read = parse(GOOD.replace("- reboot: {limit: 0.5h, attempts: 2}", f"- reboot: {said}").encode(), file="x.yaml")
    assert next(step.retry for step in read.steps if step.verb is Verb.REBOOT) == expected


def test_a_verification_has_its_own_usual_wait() -> None:
    read = parse(GOOD.replace("- verify: {limit: 300}", "- verify: {back_off: 2}").encode(), file="x.yaml")
    assert next(step.retry for step in read.steps if step.verb is Verb.VERIFY) == Retry(5.0, 2.0, 5.0)


def test_a_longest_wait_below_the_first_is_told() -> None:
    text = GOOD.replace("- reboot: {limit: 0.5h, attempts: 2}", "- reboot: {retry_after: 2m, retry_at_most: 30s}")
    assert problems(text) == [
        "17: steps[3].reboot.retry_at_most: 30 s is less than retry_after; write the longest wait, or leave it out"
    ]


def test_the_wait_is_said_in_words() -> None:
    text = GOOD.replace("attempts: 2}", "attempts: 2, retry_after: 1m, back_off: 3, retry_at_most: 10m}")
    said = "2 attempts with 1 min between, each next 3 times as long, at most 10 min"
    assert said in render(parse(text.encode(), file="x.yaml"))


def test_who_reboots_the_node_is_said() -> None:
    book = parse(GOOD.replace("reboot: {", "reboot: {by: scheduler, ").encode(), file="f")
    assert next(step.parameters for step in book.steps if step.verb is Verb.REBOOT) == {"by": "scheduler"}
    assert "| reboot | reboot the node by the scheduler |" in describe(book)
