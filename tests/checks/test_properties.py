"""What holds for every input: foreign bytes never stop the reader, and `unknown` never becomes `ok`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.check import LevelCheck
from checks.counters import growth, since_reset
from checks.errors import CannotJudge
from checks.evaluator import judge
from checks.filesystems import must_answer
from checks.finding import Action, Verdict
from checks.judge import LatchedJudge, LineJudge, judge_lines
from checks.kernel_log import MAX_LINE_BYTES, continuation, parse_line
from checks.readings import (
    AcceleratorDevice,
    AcceleratorReading,
    DiskSmart,
    ExpectedMount,
    FilesystemReading,
    GpfsReading,
    GpuReading,
    HostReading,
    KernelRecord,
    LustreReading,
    LustreTarget,
    MountsReading,
    NfsMount,
    NfsReading,
    NvmlReading,
    PlatformReading,
    RdmaPort,
    RdmaReading,
    SmartReading,
)
from checks.readings.accelerator import (
    BadPages,
    EccCount,
    Fault,
    Health,
    Link,
    PcieLink,
    Temperature,
    Throttle,
)
from checks.readings.disks import Array, Disk, DisksReading, NvmeController
from checks.readings.host import HugePagePool, Pressure, WaitingProcess
from checks.readings.platform import MemoryModule, PciDevice
from checks.registry import CHECKS
from tests.support.check_cases import all_cases

CAPTURED = sorted({line for case in all_cases() for line in case.lines})
PREFIXES = (
    b"",
    b"[1.5] ",
    b"<4>",
    b"4,1,2,-;",
    b"kern  :warn  : ",
    b"Nov 22 18:29:55 host kernel: ",
    b"[Fri Aug 30 1:02:03] ",
)

mutilated = st.builds(
    lambda prefix, line, cut, junk: prefix + line[:cut] + junk + line[cut:],
    st.sampled_from(PREFIXES),
    st.sampled_from(CAPTURED),
    st.integers(0, 200),
    st.binary(max_size=8),
)
lines = st.one_of(st.binary(max_size=300), mutilated)
RECORDS = [record for line in CAPTURED if (record := parse_line(line)) is not None]
MEANINGFUL = sorted({record.text for record in RECORDS if LatchedJudge().feed(record)})
LEVEL_CHECKS = [check for check in CHECKS if isinstance(check, LevelCheck)]


@settings(max_examples=300, deadline=None)
@given(lines)
def test_any_bytes_are_a_record_or_none(raw: bytes) -> None:
    record = parse_line(raw)
    assert record is None or (len(record.text) <= MAX_LINE_BYTES and record.at_s >= 0.0)
    continuation(KernelRecord(0.0, "before"), raw)


@settings(max_examples=200, deadline=None)
@given(st.lists(lines, max_size=12))
def test_any_lines_are_judged(raws: list[bytes]) -> None:
    judge = LineJudge()
    for number, raw in enumerate(raws, 1):
        for judged in judge.feed(raw):
            assert number == judged.line
            assert judged.because.isprintable()
            assert json.loads(judged.as_json()) == asdict(judged)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MEANINGFUL), st.integers(1, 23), st.integers(0, 7))
def test_only_the_kernels_facility_is_ever_judged(text: str, facility: int, severity: int) -> None:
    message = text.encode().replace(b"\n", rb"\x0a")
    assert list(judge_lines([b"%d,1,2,-;%s" % (facility << 3 | severity, message)])) == []
    assert list(judge_lines([b"%d,1,2,-;%s" % (severity, message)])) != []


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 999_999_999), st.text(max_size=60))
def test_every_xid_code_is_kept(code: int, message: str) -> None:
    findings = LatchedJudge().feed(KernelRecord(0.0, f"NVRM: Xid (PCI:0000:3b:00): {code}, {message}"))
    assert [finding.code for finding in findings] == [str(code)]


@given(
    st.sampled_from(["library_not_found", "driver_not_loaded", "version_mismatch", "timeout", "stuck", "error", "x"])
)
def test_nvml_that_does_not_answer_leaves_no_check_over_it_ok(failure: str) -> None:
    reading = NvmlReading(0.0, failure=failure, missed_deadlines=3, known_gpus={"GPU-0": "0000:3b:00"})
    for check in LEVEL_CHECKS:
        if check.reading is NvmlReading:
            assert verdicts(check, reading) & {Verdict.UNKNOWN, Verdict.DEGRADED, Verdict.FAILED}


@pytest.mark.parametrize(
    ("check_id", "field"),
    [
        ("gpu.recovery_action", "recovery_action"),
        ("gpu.row_remap", "remap_pending"),
        ("gpu.row_remap", "remap_failed"),
        ("gpu.ecc_uncorrected", "ecc_uncorrected_volatile"),
        ("gpu.ecc_uncorrected", "sram_uncorrected_volatile"),
        ("gpu.ecc_corrected", "ecc_corrected_volatile"),
        ("gpu.retired_pages", "retired_double_bit"),
        ("gpu.repair", "unrepairable_memory"),
        ("fabric.nvlink", "nvlink"),
    ],
)
@given(st.text(min_size=1, max_size=40))
def test_a_field_that_cannot_be_read_is_unknown(check_id: str, field: str, error: str) -> None:
    gpu = GpuReading(0, "GPU-0", "0000:3b:00", errors={field: error})
    (check,) = [check for check in LEVEL_CHECKS if check.id == check_id]
    assert {Verdict.UNKNOWN} == verdicts(check, NvmlReading(0.0, (gpu,)))


counts = st.one_of(st.none(), st.integers(0, 300))
ports = st.builds(
    RdmaPort,
    name=st.sampled_from(["mlx5_0/1", "mlx5_1/1", "efa_0/1"]),
    link_layer=st.sampled_from(["InfiniBand", "Ethernet", "Unknown", ""]),
    state=st.one_of(st.none(), st.integers(0, 9)),
    phys_state=st.one_of(st.none(), st.integers(0, 9)),
    rate_gbit_per_s=st.one_of(st.none(), st.floats(0, 800)),
    link_downed=counts,
    lanes=st.one_of(st.none(), st.integers(0, 12)),
    sm_lid=st.one_of(st.none(), st.integers(0, 0xFFFF)),
    operstate=st.sampled_from(["", "up", "down", "lowerlayerdown", "unknown"]),
    carrier_changes=counts,
    carrier_downs=counts,
)
rdma_windows = st.lists(
    st.builds(
        RdmaReading,
        at_s=st.floats(0, 1e6),
        ports=st.lists(ports, max_size=3).map(tuple),
        known_ports=st.dictionaries(st.sampled_from(["mlx5_0/1", "efa_0/1", "gone/1"]), st.floats(0, 800)),
    ),
    min_size=1,
    max_size=6,
).map(lambda readings: sorted(readings, key=lambda reading: reading.at_s))


@settings(max_examples=200, deadline=None)
@given(rdma_windows)
def test_any_ports_are_judged(readings: list[RdmaReading]) -> None:
    for check in LEVEL_CHECKS:
        if check.reading is RdmaReading:
            assert Verdict.OK not in {finding.verdict for finding in check.judge(readings)}


totals = st.one_of(st.none(), st.integers(0, 2**40))
sizes = st.one_of(st.none(), st.integers(0, 2**50))
percents = st.one_of(st.none(), st.floats(0, 100))
hosts = st.builds(
    HostReading,
    at_s=st.floats(0, 2000),
    memory_total_bytes=sizes,
    memory_available_bytes=sizes,
    committed_bytes=sizes,
    commit_limit_bytes=sizes,
    overcommit_mode=st.sampled_from([None, 0, 1, 2, 9]),
    huge_pages=st.lists(st.builds(HugePagePool, st.integers(1, 2**30), sizes, expected=sizes), max_size=2).map(tuple),
    zombies_of_parent=st.integers(0, 2000),
    waiting=st.lists(
        st.builds(
            WaitingProcess,
            st.integers(1, 3),
            st.sampled_from(["nvidia-smi", "rsync"]),
            st.integers(0, 1),
            switches=st.one_of(st.none(), st.integers(0, 2)),
            waits_in=st.sampled_from(["", "nfs_wait", "os_acquire_mutex"]),
            is_kernel_thread=st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
    tasks=sizes,
    tasks_max=sizes,
    files_open=sizes,
    files_max=sizes,
    pressure=st.lists(st.builds(Pressure, st.sampled_from(["cpu", "memory", "io"]), *([percents] * 4)), max_size=3).map(
        tuple
    ),
    taint=sizes,
    taint_at_first=sizes,
)
host_windows = st.lists(hosts, min_size=1, max_size=5).map(lambda each: sorted(each, key=lambda host: host.at_s))


@settings(max_examples=200, deadline=None)
@given(host_windows)
def test_any_host_is_judged(readings: list[HostReading]) -> None:
    for check in LEVEL_CHECKS:
        if check.reading is HostReading:
            assert Verdict.OK not in {finding.verdict for finding in check.judge(readings)}


kinds_of_errors = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(["RxErr", "DLP", "UnsupReq"]), st.integers(1, 5000), max_size=2)
)
lanes = st.one_of(st.none(), st.integers(1, 32))
addresses = st.sampled_from(["0000:3a:01.0", "0000:3b:00.0", "0000:18:00.0"])
platforms = st.builds(
    PlatformReading,
    at_s=st.floats(0, 2000),
    modules=st.lists(
        st.builds(MemoryModule, st.sampled_from(["mc0", "mc0/dimm1"]), st.sampled_from(["", "A1"]), totals, totals),
        max_size=2,
    ).map(tuple),
    devices=st.lists(
        st.builds(
            PciDevice,
            addresses,
            st.sampled_from(["gpu", "network", "nvme", "port"]),
            st.one_of(st.just(""), addresses),
            *([kinds_of_errors] * 3),
            totals,
            *([lanes] * 3),
        ),
        max_size=3,
    ).map(tuple),
    throttles=totals,
    governors=st.dictionaries(st.sampled_from(["performance", "powersave"]), st.integers(1, 192)),
    clocksource=st.sampled_from(["", "tsc", "hpet"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(platforms, min_size=1, max_size=4).map(lambda each: sorted(each, key=lambda reading: reading.at_s)))
def test_any_platform_is_judged(readings: list[PlatformReading]) -> None:
    for check in LEVEL_CHECKS:
        if check.reading is PlatformReading:
            assert Verdict.OK not in {finding.verdict for finding in check.judge(readings)}


@given(host_windows)
def test_what_cannot_be_read_of_a_host_is_no_fault(readings: list[HostReading]) -> None:
    blind = HostReading(readings[-1].at_s)
    for check in LEVEL_CHECKS:
        if check.reading is HostReading:
            assert {finding.verdict for finding in check.judge([*readings, blind])} <= {Verdict.UNKNOWN}


words = st.sampled_from(["", "OK", "Alarm", "Critical", "UP", "DOWN", "D", "down", "up", "NO_ERRORS", "what"])
levels = st.one_of(st.none(), st.floats(-50, 200))
links = st.builds(Link, st.sampled_from(["HCCS", "RoCE", "XGMI"]), words, words, totals, totals, health=words)
throttles = st.builds(Throttle, st.sampled_from(["ppt", "prochot"]), st.one_of(st.none(), st.booleans()), totals)
devices = st.builds(
    AcceleratorDevice,
    vendor=st.just("any"),
    name=st.sampled_from(["npu0", "npu1"]),
    uuid=st.sampled_from(["", "0", "1"]),
    pci=st.sampled_from(["", "0000:c1:00"]),
    health=st.one_of(st.none(), st.builds(Health, words, st.lists(st.builds(Fault, st.text(max_size=8))).map(tuple))),
    ecc=st.lists(st.builds(EccCount, st.sampled_from(["HBM", "UMC"]), totals, totals, totals), max_size=3).map(tuple),
    bad_pages=st.one_of(st.none(), st.builds(BadPages, totals, totals, totals, totals)),
    links=st.lists(
        st.builds(Link, st.sampled_from(["HCCS", "RoCE", "XGMI"]), words, words, totals, totals, health=words),
        max_size=3,
    ).map(tuple),
    throttles=st.lists(
        st.builds(Throttle, st.sampled_from(["ppt", "prochot"]), st.one_of(st.none(), st.booleans()), totals),
        max_size=2,
    ).map(tuple),
    throttle_clock=totals,
    temperatures=st.lists(st.builds(Temperature, words, st.floats(-50, 200), levels, levels), max_size=3).map(tuple),
    pcie=st.one_of(st.none(), st.builds(PcieLink, totals, totals, totals, levels, levels, totals)),
    errors=st.dictionaries(st.sampled_from(["health", "ecc", "links", "temperatures", "bad_pages"]), st.text()),
)
ACCELERATORS = [(check, check.reading) for check in LEVEL_CHECKS if issubclass(check.reading, AcceleratorReading)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(devices, max_size=3).map(tuple), min_size=1, max_size=4))
def test_any_devices_are_judged(windows: list[tuple[AcceleratorDevice, ...]]) -> None:
    for check, kind in ACCELERATORS:
        known = {"0": "0000:c1:00", "npu0": ""}
        readings = [kind(float(at), devices=seen, known=known) for at, seen in enumerate(windows)]
        findings = judge(check, readings)
        assert Verdict.OK not in {finding.verdict for finding in findings}
        assert {Action.NONE} >= {finding.action for finding in findings if finding.verdict is Verdict.UNKNOWN}
        assert all(any(outcome.covers(finding) for outcome in check.outcomes) for finding in findings)


@given(st.text(min_size=1, max_size=40))
def test_a_tool_that_does_not_answer_leaves_no_check_over_its_devices_ok(failure: str) -> None:
    for check, kind in ACCELERATORS:
        assert {Verdict.UNKNOWN} == verdicts(check, kind(0.0, present=("0000:c1:00",), failure=failure))


filesystems = st.builds(
    FilesystemReading,
    mount=st.sampled_from(["/", "/home", "/scratch", "/dev/shm"]),
    device=st.sampled_from(["/dev/sda1", "storage:/home", "//files/share", "tmpfs", ""]),
    kind=st.sampled_from(["ext4", "nfs4", "lustre", "cifs", "tmpfs", "fuse.portal", ""]),
    read_only=st.booleans(),
    total_bytes=counts,
    free_bytes=counts,
    unreadable=st.one_of(st.just(""), st.sampled_from(["timeout", "stuck", "Stale file handle"]), st.text(max_size=20)),
)
mounts_readings = st.builds(
    MountsReading,
    at_s=st.floats(0, 1e6),
    filesystems=st.lists(filesystems, max_size=4).map(tuple),
    expected=st.lists(
        st.builds(ExpectedMount, mount=st.sampled_from(["/home", "/data"]), in_fstab=st.booleans()), max_size=2
    ).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(mounts_readings)
def test_any_mounts_are_judged_and_none_that_cannot_be_asked_is_ok(reading: MountsReading) -> None:
    said = {check.id: verdicts(check, reading) for check in LEVEL_CHECKS if check.reading is MountsReading}
    assert all(Verdict.OK not in verdicts for verdicts in said.values())
    if any(must_answer(each) and each.unreadable for each in reading.filesystems):
        assert said["storage.hang"] & {Verdict.UNKNOWN, Verdict.FAILED}


nfs_mounts = st.builds(
    NfsMount,
    mount=st.sampled_from(["/home", "/data"]),
    device=st.sampled_from(["storage:/home", "storage:/data", ""]),
    operations=st.integers(0, 300),
    transmissions=st.integers(0, 300),
    timeouts=st.integers(0, 3),
    connections=counts,
)
lustre_targets = st.builds(
    LustreTarget,
    name=st.sampled_from(["fs-OST0000", "fs-MDT0000", "MGC10.0.0.1@o2ib"]),
    state=st.sampled_from(["FULL", "IDLE", "DISCONN", "EVICTED", "of tomorrow", ""]),
    active=st.sampled_from([True, False, None]),
)
clients = st.one_of(
    st.builds(NfsReading, at_s=st.floats(0, 1e6), mounts=st.lists(nfs_mounts, max_size=3).map(tuple)),
    st.builds(
        LustreReading,
        at_s=st.floats(0, 1e6),
        present=st.booleans(),
        health=st.sampled_from(["healthy", "NOT HEALTHY", ""]),
        targets=st.lists(lustre_targets, max_size=4).map(tuple),
    ),
    st.builds(
        GpfsReading,
        at_s=st.floats(0, 1e6),
        present=st.booleans(),
        was_active=st.booleans(),
        state=st.one_of(st.sampled_from(["active", "down", "arbitrating"]), st.text(max_size=8)),
    ),
)


@settings(max_examples=200, deadline=None)
@given(clients, clients)
def test_any_client_of_a_file_server_is_judged_and_what_it_does_not_tell_is_not_ok(first: Any, second: Any) -> None:
    readings = [first, second] if type(first) is type(second) else [second]
    (check,) = [check for check in LEVEL_CHECKS if check.reading is type(second)]
    said = {finding.verdict for finding in check.judge(readings)}
    assert Verdict.OK not in said
    if isinstance(second, LustreReading) and second.present and second.health != "healthy":
        assert said & {Verdict.UNKNOWN, Verdict.FAILED}
    if isinstance(second, GpfsReading) and second.was_active and second.state != "active":
        assert said & {Verdict.UNKNOWN, Verdict.FAILED}


@given(st.lists(st.one_of(st.none(), st.integers(0, 1000)), max_size=20))
def test_counters_never_shrink(values: list[int | None]) -> None:
    known = [value for value in values if value is not None]
    assert growth(values) >= (known[-1] - known[0] if known else 0)
    since = since_reset(values)
    assert sorted(since) == since
    assert since == known[len(known) - len(since) :]


def verdicts(check: LevelCheck, reading: Any) -> set[Verdict]:
    """Return what the check says of one reading; to be unable to judge is to say `unknown`."""
    try:
        return {finding.verdict for finding in check.judge([reading])}
    except CannotJudge:
        return {Verdict.UNKNOWN}


serials = st.sampled_from(["", "S1", "S2"])
controllers = st.builds(
    NvmeController,
    name=st.sampled_from(["nvme0", "nvme1"]),
    state=st.one_of(st.sampled_from(["live", "dead", "resetting", "connecting", ""]), st.text(max_size=5)),
    transport=st.sampled_from(["pcie", "tcp", "rdma", ""]),
    serial=serials,
)
some = st.one_of(st.none(), st.integers(0, 3))
disks_windows = st.lists(
    st.builds(
        DisksReading,
        at_s=st.floats(0, 600),
        controllers=st.lists(controllers, max_size=2).map(tuple),
        disks=st.lists(st.builds(Disk, st.just("sda"), some, some, some), max_size=1).map(tuple),
        arrays=st.lists(st.builds(Array, st.just("md0"), state=st.text(max_size=8), missing=some), max_size=1).map(
            tuple
        ),
        known_controllers=st.dictionaries(serials, st.sampled_from(["nvme0", "nvme1"])),
    ),
    min_size=1,
    max_size=6,
).map(lambda readings: sorted(readings, key=lambda reading: reading.at_s))


@settings(max_examples=200, deadline=None)
@given(disks_windows)
def test_any_disks_are_judged(readings: list[DisksReading]) -> None:
    for check in LEVEL_CHECKS:
        if check.reading is DisksReading:
            assert Verdict.OK not in {finding.verdict for finding in check.judge(readings)}


smarts = st.builds(
    DiskSmart,
    name=st.sampled_from(["nvme0", "sda"]),
    serial=st.sampled_from(["", "S1"]),
    critical_warning=st.one_of(st.none(), st.integers(0, 255)),
    spare_percent=counts,
    spare_threshold_percent=counts,
    used_percent=counts,
    media_errors=counts,
    temperature_celsius=counts,
    limit_celsius=counts,
    warning_minutes=counts,
    passed=st.one_of(st.none(), st.booleans()),
    reallocated=counts,
    pending=counts,
    uncorrectable=counts,
    unreadable=st.sampled_from(["", "timeout"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(smarts, max_size=3).map(tuple), min_size=1, max_size=5), st.sampled_from([(), ("nvme1",)]))
def test_any_health_of_disks_is_judged(windows: list[tuple[DiskSmart, ...]], denied: tuple[str, ...]) -> None:
    readings = [SmartReading(float(at), disks=seen, denied=denied) for at, seen in enumerate(windows)]
    for check in LEVEL_CHECKS:
        if check.reading is SmartReading:
            findings = judge(check, readings)
            assert Verdict.OK not in {finding.verdict for finding in findings}
            assert all(any(outcome.covers(finding) for outcome in check.outcomes) for finding in findings)
            silent = {disk.name for disk in readings[-1].disks if disk.unreadable} | set(denied)
            assert bool(silent) == any(finding.verdict is Verdict.UNKNOWN for finding in findings)
