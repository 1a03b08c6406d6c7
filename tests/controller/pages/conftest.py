from __future__ import annotations

import pytest

from controller.adapters import Notice


@pytest.fixture
def notice() -> Notice:
    return Notice(
        key="inc-000007/page/1",
        kind="page",
        incident_id="inc-000007",
        node="n2",
        device="GPU-3",
        fault_class="gpu_lost",
        severity="critical",
        title="n2: A GPU has fallen off the bus.",
        body="\n".join(
            [
                "What: The driver reported Xid 79 on GPU-3.",
                "Where: rack r12, leaf l3, node n2 (serial 4711), pci 0000:3b:00, GPU-3",
                "Seen: gpu.xid 79 on GPU-3: Xid 79 at 90 °C.",
                "Seen: gpu.count lost on GPU-3: 7 of 8 GPUs answer.",
                "Impact: 1 job runs on n2: 4711.",
                "Done: taken out of service, drained (no job left), rebooted (did not work).",
                "Next: n2 stays out of service.",
                "You can: acknowledge (you look after it); undo (n2 is given back at once)",
                "Runbook: docs/how-to/respond/gpu_lost.md",
                "More: https://fleetmend.example/incidents/inc-000007",
            ]
        ),
        at=1_700_000_000.5,
        team="datacentre",
        url="https://fleetmend.example/incidents/inc-000007",
        facts={"serial": "1654321", "rack": "r12"},
        subject="1654321 gpu_lost",
        links={
            "incident": "https://fleetmend.example/incidents/inc-000007",
            "acknowledge": "https://fleetmend.example/incidents/inc-000007#acknowledge",
            "undo": "https://fleetmend.example/incidents/inc-000007#undo",
        },
    )
