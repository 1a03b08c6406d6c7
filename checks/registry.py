"""The explicit list of all checks: a new check is one new file and one line here."""

from __future__ import annotations

from checks.check import Check
from checks.fabric import nvlink, rdma_flap, rdma_port, sxid
from checks.gpu import count, ecc_uncorrected, nvml, recovery_action, row_remap, xid
from checks.host import agent, kernel, kernel_log, memory
from checks.storage import read_only, space

CHECKS: tuple[Check, ...] = (
    xid.CHECK,
    nvml.CHECK,
    count.CHECK,
    recovery_action.CHECK,
    row_remap.CHECK,
    ecc_uncorrected.CHECK,
    sxid.CHECK,
    nvlink.CHECK,
    rdma_port.CHECK,
    rdma_flap.CHECK,
    kernel.CHECK,
    kernel_log.CHECK,
    agent.CHECK,
    memory.CHECK,
    space.CHECK,
    read_only.CHECK,
)
"""Every check, in the order in which documentation shows them."""
