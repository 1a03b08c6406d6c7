"""`fabric.rdma_kernel`: what the kernel says of RDMA adapters: firmware, modules, slots, queues.

The lines and their meaning are in checks/rdma_lines.py. Each function of an adapter is a device of its own, as one may
come back and the other not. A driver that brought its adapter back says so, and that a plug is taken as
well: that ends what went before. The rest ends with a reboot, or in silence where nothing is to be mended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from checks.check import LatchedCheck, Outcome, Recovery
from checks.finding import Finding
from checks.gpu_names import normalise_pci
from checks.kernel_log import excerpt
from checks.latched import ADVICE, QUIET_S, repaired, silent
from checks.rdma_lines import LINES, MAY_MATTER, RdmaLine
from checks.readings import KernelRecord

ID = "fabric.rdma_kernel"


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about an RDMA adapter."""
    text = records[-1].text
    for line in LINES if MAY_MATTER.match(text) else ():
        match = line.pattern.match(text)
        if match is not None:
            return tuple(_finding(line, code, match) for code in line.codes)
    return ()


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over: rebooted since, or quiet where nothing has to be repaired."""
    return repaired(finding, recovery) or silent(finding, recovery)


def _finding(line: RdmaLine, code: str, match: re.Match[str]) -> Finding:
    said, found = excerpt(match.string), match.groupdict()
    pci = normalise_pci(found["pci"]) if found.get("pci") else ""
    advice = "" if line.ends else f"; {ADVICE[line.action]}"
    return Finding(
        check=ID,
        device=f"{pci}.{found['function']}" if pci else found.get("device") or "host",
        code=code,
        verdict=line.verdict,
        action=line.action,
        because=f"{line.reason}; the kernel says: {said}{advice}",
        pci=pci,
        evidence={"message": said},
    )


CHECK = LatchedCheck(
    id=ID,
    summary="What the kernel says of RDMA adapters: firmware, modules, slots, queues (mlx5, EFA, bnxt).",
    judge=judge,
    released=released,
    outcomes=tuple(dict.fromkeys(Outcome(code, line.verdict, line.action) for line in LINES for code in line.codes)),
    heals=True,
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs no reboot (our choice)",
        "firmware": "syndromes 0x1 and 0x7 to 0xf of mlx5 (kernel), fatal as in NVSentinel; 0x10 is heat",
    },
)
