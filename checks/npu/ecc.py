"""`npu.ecc`: memory errors of an NPU, and pages of its memory that wait for a restart or are too many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import about, judgeable
from checks.accelerator_memory import OUTCOMES, THRESHOLDS, WINDOW_S, judge_memory
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AscendReading

ID = "npu.ecc"
RETIRED_PAGES = 64
"""Source: our choice, after the 64 retired pages at which NVIDIA replaces a GPU; Huawei states no number."""


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return new errors, and pages that are bad."""
    pages = (finding for device in judgeable(readings[-1]) for finding in _judge_pages(device))
    return (*judge_memory(ID, readings), *pages)


def _judge_pages(device: AcceleratorDevice) -> Iterator[Finding]:
    pages = device.bad_pages
    if pages is None:
        return
    if pages.pending:
        because = f"{pages.pending} bad pages will be isolated at the next restart: reboot when the host is empty"
        yield about(ID, device, "pending", (Verdict.DEGRADED, Action.REBOOT), because, pending=pages.pending)
    if pages.retired is not None and pages.retired >= RETIRED_PAGES:
        because = f"{pages.retired} pages are isolated, the limit is {RETIRED_PAGES}: ask the vendor for a replacement"
        judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
        yield about(ID, device, "retired", judgement, because, retired=pages.retired)


CHECK = LevelCheck(
    id=ID,
    summary="Memory errors of Ascend NPUs, and bad pages of their memory.",
    reading=AscendReading,
    judge=judge,
    outcomes=(
        *OUTCOMES,
        Outcome("pending", Verdict.DEGRADED, Action.REBOOT),
        Outcome("retired", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    window_s=WINDOW_S,
    thresholds={**THRESHOLDS, "retired": f"{RETIRED_PAGES} isolated pages (our choice, NVIDIA's limit)"},
)
