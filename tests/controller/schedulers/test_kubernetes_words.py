"""What others say of a Kubernetes node: known words become findings, unknown ones are not guessed at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.finding import Action, Finding, Verdict
from controller.playbooks import load_directory
from controller.playbooks.files import KNOWN_CHECKS
from controller.policy.rules import FAMILIES
from controller.schedulers.kubernetes_words import CHECK, MARKS, MAX_BECAUSE, SPEAKERS, Condition, said
from tests.support.checkout import ROOT

KINDS = [(speaker, kind) for speaker in SPEAKERS for kind in sorted(speaker.failed | speaker.degraded)]
TEXTS = st.text(max_size=20)
CONDITIONS = st.builds(
    Condition, st.sampled_from([kind for _, kind in KINDS]) | TEXTS, st.sampled_from(["True", "False"]) | TEXTS, TEXTS
)
MARKED = st.tuples(st.sampled_from(sorted(MARKS)) | TEXTS, st.sampled_from(["PASS", "ERR", "true"]) | TEXTS)


def verdicts(
    *conditions: Condition, labels: dict[str, str] | None = None, taints: dict[str, str] | None = None
) -> dict[str, str]:
    return {each.code: each.verdict for each in said(conditions, labels or {}, (taints or {}).items())}


def test_a_healthy_node_of_everybody_has_no_findings() -> None:
    fine = [Condition(kind, "True" if speaker.wrong == "False" else "False") for speaker, kind in KINDS]
    assert said([*fine, Condition("Ready", "True")], {"autopilot.ibm.com/gpuhealth": "PASS"}) == ()


def test_a_condition_is_told_with_who_says_it_and_why() -> None:
    deadlock = Condition("KernelDeadlock", "True", "DockerHung", "task docker:7 blocked for more than 300 seconds.")
    because = (
        "node-problem-detector says KernelDeadlock=True: DockerHung, task docker:7 blocked for more than 300 seconds."
    )
    assert said([deadlock], {}) == (
        Finding(CHECK, "KernelDeadlock", "KernelDeadlock", Verdict.FAILED, Action.NONE, because),
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((Condition("FrequentKubeletRestart", "True"),), {"FrequentKubeletRestart": "degraded"}),
        ((Condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error"),), {"AcceleratedHardwareReady": "failed"}),
        ((Condition("AcceleratedHardwareReady", "True"),), {}),
        (
            (Condition("GpuMemWatch", "True"), Condition("XIDErrors", "True")),
            {"GpuMemWatch": "failed", "XIDErrors": "degraded"},
        ),
        ((Condition("KernelDeadlock", "Unknown"),), {"KernelDeadlock": "unknown"}),
        ((Condition("KernelDeadlock", "maybe"),), {"KernelDeadlock": "unknown"}),
    ],
)
def test_a_status_is_read_as_its_speaker_means_it(conditions: tuple[Condition, ...], expected: dict[str, str]) -> None:
    assert verdicts(*conditions) == expected


@pytest.mark.parametrize("kind", ["Ready", "fleetmend.io/Healthy", "SomethingOfTheSite", ""])
def test_what_is_not_listed_is_not_guessed_at_and_our_own_word_is_no_second_witness(kind: str) -> None:
    assert said([Condition(kind, "True"), Condition(kind, "False"), Condition(kind, "Unknown")], {kind: "ERR"}) == ()


@pytest.mark.parametrize(
    ("value", "expected"), [("ERR", "failed"), ("EVICT", "failed"), ("WARN", "degraded"), ("new", "unknown")]
)
def test_labels_and_taints_are_read_by_their_values(value: str, expected: str) -> None:
    key = "autopilot.ibm.com/gpuhealth"
    assert verdicts(labels={key: value}) == {key: expected}
    assert verdicts(taints={key: value}) == {key: expected}


def test_the_worst_word_counts_where_a_label_and_a_taint_say_two_things() -> None:
    key = "autopilot.ibm.com/gpuhealth"
    assert verdicts(labels={key: "WARN"}, taints={key: "EVICT"}) == {key: "failed"}
    assert verdicts(labels={key: "EVICT"}, taints={key: "WARN"}) == {key: "failed"}


def test_every_word_has_one_speaker_and_a_source_and_a_playbook_may_answer_it() -> None:
    assert len(KINDS) == len({kind for _, kind in KINDS})
    assert all(speaker.source for speaker in SPEAKERS)
    assert all(mark.source for mark in MARKS.values())
    assert not any(speaker.failed & speaker.degraded for speaker in SPEAKERS)
    assert CHECK in KNOWN_CHECKS


def test_the_how_to_page_names_every_word_and_its_playbook_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "listen-to-other-detectors.md").read_text()
    rows = {name: row for row in page.splitlines() if row.startswith("|") for name in re.findall(r"`([^`]+)`", row)}
    assert {kind for _, kind in KINDS} | set(MARKS) <= rows.keys()
    for speaker in SPEAKERS:
        assert all(rows[kind].endswith("| failed |") for kind in speaker.failed)
        assert all(rows[kind].endswith("| degraded |") for kind in speaker.degraded)
    (tmp_path / "kernel_deadlock.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])
    (book,) = load_directory(tmp_path)
    assert book.answer(said([Condition("KernelDeadlock", "True")], {})[0])


def test_words_of_others_are_never_put_down_to_a_failing_domain() -> None:
    assert CHECK.partition(".")[0] not in FAMILIES


@given(st.lists(CONDITIONS), st.dictionaries(TEXTS, TEXTS), st.lists(MARKED))
def test_whatever_stands_on_a_node_each_word_becomes_one_finding_that_is_not_ok(
    conditions: list[Condition], labels: dict[str, str], taints: list[tuple[str, str]]
) -> None:
    found = said(conditions, labels, taints)
    assert len({each.key for each in found}) == len(found)
    for finding in found:
        assert finding.verdict is not Verdict.OK
        assert finding.action is Action.NONE
        assert 0 < len(finding.because) <= MAX_BECAUSE
