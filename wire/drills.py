"""The faults that an order `inject_fault` can name. What each does to a node is the agent's (agent/simulation/)."""

from __future__ import annotations

from typing import Final

FAULTS: Final = (
    "gpu-off-bus",
    "ecc-contained",
    "ecc-uncontained",
    "row-remap-pending",
    "row-remap-failed",
    "recovery-action",
    "gpu-halted",
    "gsp-timeout",
    "nvlink-down",
    "imex-failure",
    "fabric-manager-down",
    "app-fault",
    "nvml-hang",
    "driver-not-loaded",
    "driver-mismatch",
    "rdma-port-down",
    "rdma-port-flapping",
    "rdma-port-missing",
    "disk-full",
    "mount-hang",
    "disk-read-only",
    "memory-uncorrected",
    "hung-task",
    "agent-killed",
    "slow-nvlink",
    "nvls-slow",
    "nvls-off",
    "slow-gpu",
    "slow-nic",
    "wrong-sums",
    "slow-scratch",
    "job-arrives",
)
