"""How lines become findings: their numbers, their form, the names of GPUs, and what is remembered between lines."""

from __future__ import annotations

import json

from checks.finding import Action, Finding, Verdict
from checks.gpu_names import MAX_GPUS, GpuNames, learn, normalise_pci
from checks.judge import LatchedJudge, LineJudge, identify, judge_lines
from checks.readings import KernelRecord

OFF_THE_BUS = b"NVRM: Xid (PCI:0000:91:00): 79, pid=1, name=a, GPU has fallen off the bus."
PLAIN = b"NVRM: GPU 0000:91:00.0: GPU has fallen off the bus."
UUID = "GPU-0f3c9f2e-6d0a-4c55-9d65-0123456789ab"


def finding(device: str, pci: str, serial: str = "") -> Finding:
    return Finding("gpu.xid", device, "79", Verdict.FAILED, Action.REBOOT, "it fell", pci=pci, serial=serial)


def test_a_judged_line_is_exactly_these_fields() -> None:
    (judged,) = LineJudge().feed(OFF_THE_BUS)
    assert json.loads(judged.as_json()) == {
        "line": 1,
        "check": "gpu.xid",
        "device": "0000:91:00",
        "pci": "0000:91:00",
        "code": "79",
        "verdict": "failed",
        "action": "reboot",
        "because": "Xid 79 (GPU has fallen off the bus); drain and reboot the host",
    }


def test_lines_that_mean_nothing_are_counted() -> None:
    assert [judged.line for judged in judge_lines([b"", b"hello", b" indented", OFF_THE_BUS])] == [4]


def test_userspace_is_believed_on_demand_only() -> None:
    forged = b"12,1,2,-;" + OFF_THE_BUS
    assert list(judge_lines([forged])) == []
    assert [judged.code for judged in judge_lines([forged], accept_userspace=True)] == ["79"]


def test_a_forged_line_cannot_hide_a_real_one() -> None:
    lines = [b"12,1,1000000,-;" + OFF_THE_BUS, b"4,2,1000001,-;" + PLAIN]
    assert [judged.line for judged in judge_lines(lines)] == [2]


def test_a_forged_line_cannot_name_a_gpu() -> None:
    lines = [f"12,1,1,-;NVRM: GPU at PCI:0000:91:00: {UUID}".encode(), b"4,2,2,-;" + OFF_THE_BUS]
    assert [judged.device for judged in judge_lines(lines)] == ["0000:91:00"]


def test_lines_of_another_time_are_another_event() -> None:
    assert len(list(judge_lines([b"[ 100.0] " + OFF_THE_BUS, b"[ 104.0] " + PLAIN]))) == 1
    assert len(list(judge_lines([b"[ 100.0] " + OFF_THE_BUS, b"[ 106.0] " + PLAIN]))) == 2


def test_lines_of_another_gpu_are_another_event() -> None:
    assert len(list(judge_lines([OFF_THE_BUS, PLAIN.replace(b"91", b"92")]))) == 2


def test_a_latched_judge_keeps_evidence_and_serial() -> None:
    judge = LatchedJudge()
    judge.feed(KernelRecord(1.0, f"NVRM: GPU at PCI:0000:91:00: {UUID}"))
    judge.feed(KernelRecord(1.0, "NVRM: GPU Board Serial Number: 1653723052734"))
    (found,) = judge.feed(KernelRecord(1.0, OFF_THE_BUS.decode()))
    assert (found.device, found.pci, found.serial) == (UUID, "0000:91:00", "1653723052734")
    catalogued = {"investigate": "CONTACT_SUPPORT", "recovery_action_since": "R565"}
    assert found.evidence == {"message": "GPU has fallen off the bus", "pid": "1", "process": "a", **catalogued}


def test_an_address_becomes_a_uuid() -> None:
    known = identify(finding("0000:91:00", "0000:91:00"), {"0000:91:00": UUID}, {UUID: "42"})
    assert finding(UUID, "0000:91:00", "42") == known


def test_a_serial_may_be_filed_under_the_address() -> None:
    assert identify(finding(UUID, "0000:91:00"), {}, {"0000:91:00": "42"}).serial == "42"


def test_what_is_known_already_stays() -> None:
    told = finding("GPU-b", "0000:91:00", "7")
    assert told is identify(told, {"0000:91:00": UUID}, {"GPU-b": "42", UUID: "43"})


def test_a_finding_without_an_address_stays() -> None:
    told = finding("host", "")
    assert told is identify(told, {"": UUID}, {})


def test_addresses_have_one_form() -> None:
    forms = ("0000:3B:00", "0000:3b:00.0", "00000000:3B:00.0")
    assert {"0000:3b:00"} == {normalise_pci(form) for form in forms}
    assert normalise_pci("00010000:3B:00.0") == "00010000:3b:00"


def test_names_are_bounded() -> None:
    names = GpuNames()
    for number in range(2 * MAX_GPUS):
        names = learn(names, KernelRecord(0.0, f"NVRM: GPU at PCI:{number:04x}:00:00: {UUID}"))
    assert len(names.uuid_by_pci) == MAX_GPUS


def test_the_serial_line_that_names_its_gpu() -> None:
    names = learn(GpuNames(), KernelRecord(0.0, "NVRM: GPU 0000:91:00.0: GPU serial number is 1653723052734."))
    assert names.serial_by_pci == {"0000:91:00": "1653723052734"}
