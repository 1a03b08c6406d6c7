"""`gpu.retired_pages`: pages of memory that GPUs before Ampere take out of use for good; later ones replace rows."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.readings import GpuDetails, GpuReading, NvmlReading

ID = "gpu.retired_pages"
MAX_PAGES = 63
"""Source: NVIDIA dynamic page retirement: field diagnostics at 63 pages; the table holds 64."""
MAX_DOUBLE_BIT = 15
MAX_DOUBLE_BIT_A_WEEK = 1
"""Source: NVIDIA dynamic page retirement: more than 15 pages for double-bit errors, and still more than one a week."""

FIELDS = ("retired_double_bit", "retirement_pending")


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, *FIELDS)
    details = gpu.details
    if reason := _exhausted(details):
        because = f"{reason}: run field diagnostics, replace the GPU if they fail"
        yield about(ID, gpu, "exhausted", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    if details.retirement_pending:
        because = f"a page of memory waits for a reset to be retired ({_counts(details)} so far)"
        yield about(ID, gpu, "pending", Verdict.DEGRADED, Action.RESET_GPU, because)


def _exhausted(details: GpuDetails) -> str:
    double, last_week = details.retired_double_bit or 0, details.retired_double_bit_last_week or 0
    total = (details.retired_single_bit or 0) + double
    if total >= MAX_PAGES:
        return f"{total} pages of memory are retired, {MAX_PAGES} are the limit"
    if double > MAX_DOUBLE_BIT and last_week > MAX_DOUBLE_BIT_A_WEEK:
        return f"{double} pages are retired for double-bit errors, {last_week} of them within a week"
    return ""


def _counts(details: GpuDetails) -> str:
    return f"{details.retired_double_bit} for double-bit, {details.retired_single_bit} for single-bit errors"


CHECK = LevelCheck(
    id=ID,
    summary="Pages of memory that GPUs before Ampere have retired.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("exhausted", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("pending", Verdict.DEGRADED, Action.RESET_GPU),
    ),
    thresholds={
        "pages": f"{MAX_PAGES} (NVIDIA)",
        "double_bit": f"more than {MAX_DOUBLE_BIT}, with more than {MAX_DOUBLE_BIT_A_WEEK} in the last week (NVIDIA)",
    },
)
