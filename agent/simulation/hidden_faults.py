"""Drills of what no counter, no log and no reading shows: only an active benchmark finds these faults.

A job that arrives stands here as well. It is no fault, and nothing but the benchmarks' gate minds it.
"""

from __future__ import annotations

from typing import Final

from agent.simulation.drill_fault import DrillFault, Effect, Target

SEAM: Final = "what the machine's benchmarks measure"

SLOW_LINK, SLOW_MULTICAST, SLOW_COMPUTE, SLOW_MEMORY, HALF_RATE, SLOW_DISK = 0.6, 0.5, 0.8, 0.6, 0.5, 0.2
"""What is left, as a share of the healthy bandwidth or speed. Source: our choice, each below what the limits and peers
allow, and none so low that a job would fail instead of being slow."""

JOB_BYTES: Final = 60 << 30
JOB_S: Final = 3_600.0
"""What a job takes of each GPU, and for how long. Source: our choice."""

HIDDEN_FAULTS: Final[tuple[DrillFault, ...]] = (
    DrillFault(
        name="slow-nvlink",
        aliases=("nvlink-slow",),
        title="slow NVLink",
        what_happens="The NVLinks of a GPU carry less than they should, though each of them is up and counts no error.",
        fault_class="F6",
        seam=SEAM,
        expected="Found by the all-reduce, with and without NVLS, and by the peer copies of one GPU: cordon, drain, "
        "reset the GPU, and return the node when the benchmark passes.",
        target=Target.GPU,
        reset_fixes=0.50,
        reboot_fixes=0.60,
        effect=Effect(part={"link_share": SLOW_LINK}),
    ),
    DrillFault(
        name="nvls-slow",
        aliases=("multicast-broken",),
        title="NVLink multicast broken",
        what_happens="The NVSwitches' multicast (NVLS) works, and is slower than a ring over the same links.",
        fault_class="F6",
        seam=SEAM,
        expected="Found by the all-reduce: low as NCCL chooses the way, normal with NVLS switched off. Cordon, drain, "
        "reboot, and return the node when the benchmark passes; the links are well, so that no GPU is replaced for it.",
        target=Target.HOST,
        reboot_fixes=0.60,
        service="nvidia-fabricmanager",
        effect=Effect(part={"multicast_share": SLOW_MULTICAST}),
    ),
    DrillFault(
        name="nvls-off",
        aliases=("multicast-off",),
        title="NVLink multicast silently off",
        what_happens="NCCL cannot set up the NVSwitches' multicast (NVLS), says nothing, and takes a ring.",
        fault_class="F6",
        seam=SEAM,
        expected="Found by the all-reduce, which is the same with and without NVLS: cordon, drain, reboot. A matter of "
        "the Fabric Manager and its settings, and of no GPU.",
        target=Target.HOST,
        reboot_fixes=0.60,
        service="nvidia-fabricmanager",
        effect=Effect(part={"multicast_share": 0.0}),
    ),
    DrillFault(
        name="slow-gpu",
        aliases=("gpu-slow", "weak-gpu"),
        title="slow GPU",
        what_happens="A GPU multiplies matrices and reads its own memory more slowly than its peers, at full clocks.",
        fault_class="F2",
        seam=SEAM,
        expected="Found by the copies in its own memory, and by the matrices beside those of its peers: cordon, "
        "drain, reset the GPU, reboot, else hand it to a person.",
        target=Target.GPU,
        reset_fixes=0.20,
        reboot_fixes=0.32,
        effect=Effect(part={"compute_share": SLOW_COMPUTE, "memory_share": SLOW_MEMORY}),
    ),
    DrillFault(
        name="slow-nic",
        aliases=("half-rate", "nic-slow"),
        title="network adapter at half rate",
        what_happens="An adapter says that its port runs at the full rate, and carries half of it.",
        fault_class="F9",
        seam=SEAM,
        expected="Found by the adapter's own test, and in a group of nodes by its rail: cordon, drain, a ticket to the "
        "network team.",
        target=Target.PORT,
        reboot_fixes=0.40,
        effect=Effect(part={"share": HALF_RATE}),
    ),
    DrillFault(
        name="wrong-sums",
        aliases=("sdc", "silent-corruption"),
        title="silent data corruption",
        what_happens="A GPU computes wrong results, and says nothing of it.",
        fault_class="F16",
        seam=SEAM,
        expected="Found by the sums of the all-reduce and by the result of the matrices: cordon, drain, hand it to a "
        "person; no reset and no reboot mends it, and a diagnosis that passes proves nothing.",
        target=Target.GPU,
        effect=Effect(part={"computes_wrong": True}),
    ),
    DrillFault(
        name="slow-scratch",
        aliases=("disk-slow",),
        title="slow scratch disk",
        what_happens="The scratch file system reads at a fifth of its speed; its disk says that it is well.",
        fault_class="F15",
        seam=SEAM,
        expected="Found by reading a scratch file, beside the node's peers: a ticket to the storage team, and no more.",
        target=Target.HOST,
        reboot_fixes=0.85,
        effect=Effect(part={"scratch_share": SLOW_DISK}),
    ),
    DrillFault(
        name="job-arrives",
        aliases=("job",),
        title="a job arrives (decoy)",
        what_happens="A job starts on every GPU of the node, and ends after an hour of the simulation.",
        fault_class="none: a job is what the node is for",
        seam="NVML",
        expected="No benchmark begins on the node, and one that runs is ended at once and counts as skipped: no "
        "incident, no cordon.",
        target=Target.HOST,
        reboot_fixes=1.0,
        effect=Effect(part={"job_bytes": JOB_BYTES}),
        lasts_s=JOB_S,
    ),
)
"""Source of classes and probabilities: the fault model's tables 2.1 and 2.2. A service's restart is that of F15."""
