"""The vendors' fault tables, condensed to what judging needs.

`xid.json` holds the GPU driver's Xid codes, `nvlink5.json` the decode rows of Xid 144 to 150, `sxid.json` the NVSwitch
codes, `ascend_faults.json` the fault levels of Huawei's Ascend NPUs. They are data and not code, so that a newer
driver's table is a new file and no new logic. `bench_limits.json` is read by `checks.bench_limits`, `dcgm_errors.json`
(DCGM's numbers of errors, their severities and categories) by the benchmark `dcgm`.

Source: NVIDIA Xid catalogue (docs.nvidia.com/deploy/xid-errors), `nverror.h` of open-gpu-kernel-modules 595.45.04,
NVIDIA Fabric Manager user guide (NVSwitch error groups). `severity` and `kind` of an Xid are derived, not NVIDIA's.
Ascend: `faultCode.json` and `faultCustomization.json` of Huawei's device plugin (MindCluster, 2025); of a code that
stands at two levels the more severe one is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec


class XidEntry(msgspec.Struct, frozen=True):
    """One Xid code.

    Attributes:
        kind: who is usually to blame: `app`, `engine`, `driver`, `hardware...`, `power_thermal`, `info`, `unused`.
        severity: `info`, `warning`, `error`, `critical`, `fatal`; `unknown` for codes that current GPUs do not use.
        action: the catalogue's immediate action, under its own name.
        investigate: the catalogue's next step after that, in NVIDIA's words, empty for none.
        recovery_action_since: driver branch from which the driver says itself what this code needs (Xid 154 and NVML
            field 230), empty where it never does.
    """

    code: int
    name: str
    kind: str
    severity: str
    action: str
    investigate: str = ""
    recovery_action_since: str = ""


class SxidEntry(msgspec.Struct, frozen=True):
    """One NVSwitch code. `group`: `always_fatal`, `potentially_fatal`, `non_fatal`, or `unlisted` in the guide."""

    code: int
    name: str
    group: str
    action: str


class Nvlink5Row(msgspec.Struct, frozen=True):
    """One row of the NVLink 5 decode table.

    Attributes:
        units: the names under which drivers print the unit.
        v1_mask, v1_value: pattern of the word IntrInfo on drivers before R575; `v2_...` from R575 on.
        error_status: the second word: one bit in Xid 144 to 148, a value in 149 and 150.
        promoted_by_v1_bit, promoted_by_v2_bit: bit of IntrInfo that makes the row fatal, with a GPU reset.
    """

    xid: int
    units: tuple[str, ...]
    v1_mask: int
    v1_value: int
    v2_mask: int
    v2_value: int
    error_status: int
    action: str
    investigate: str
    severity: str
    promoted_by_v1_bit: int | None = None
    promoted_by_v2_bit: int | None = None


class AscendFault(msgspec.Struct, frozen=True):
    """One fault code of an NPU: eight hexadecimal digits, upper case. `level` is what Huawei does about it."""

    code: str
    level: str


class AscendFrequency(msgspec.Struct, frozen=True):
    """Codes that are of another level once they came so many times within a window."""

    codes: frozenset[str]
    window_s: float
    times: int
    level: str


class AscendTable(msgspec.Struct, frozen=True):
    """The file of Ascend's faults."""

    faults: tuple[AscendFault, ...]
    frequency: tuple[AscendFrequency, ...]


@cache
def xid_catalogue() -> Mapping[int, XidEntry]:
    """Return every known Xid code."""
    return {entry.code: entry for entry in msgspec.json.decode(_read("xid.json"), type=list[XidEntry])}


@cache
def sxid_catalogue() -> Mapping[int, SxidEntry]:
    """Return every known NVSwitch code."""
    return {entry.code: entry for entry in msgspec.json.decode(_read("sxid.json"), type=list[SxidEntry])}


@cache
def nvlink5_rows() -> tuple[Nvlink5Row, ...]:
    """Return the decode rows in the table's order."""
    return msgspec.json.decode(_read("nvlink5.json"), type=tuple[Nvlink5Row, ...])


@cache
def ascend_faults() -> Mapping[str, str]:
    """Return the level of every known fault code of an NPU."""
    return {fault.code: fault.level for fault in _ascend_table().faults}


def ascend_frequency() -> tuple[AscendFrequency, ...]:
    """Return the rules for faults that come again and again."""
    return _ascend_table().frequency


@cache
def _ascend_table() -> AscendTable:
    return msgspec.json.decode(_read("ascend_faults.json"), type=AscendTable)


def _read(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
