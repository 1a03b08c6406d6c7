"""Notices for tickets, as an incident makes them."""

from __future__ import annotations

from typing import Any

from controller.adapters import Notice, PastIncident, RmaBundle

CELL = "main"

RMA = RmaBundle(
    because="row remapping failed again on the same GPU",
    part="GPU 1654321",
    node="n2",
    node_serial="SN-0002",
    device="GPU-3",
    pci="0000:3b:00.0",
    model="NVIDIA H100",
    description="H100 SXM5 80GB, slot 3",
    fault_class="gpu_lost",
    versions={"driver": "570.86.15", "kernel": "6.8.0", "agent": "0.1.0"},
    incidents=[
        PastIncident(
            "inc-000003",
            "n2",
            "GPU-3",
            "gpu_lost",
            "2026-01-02T03:04:05Z",
            "2026-01-02T04:04:05Z",
            "returned",
            "Xid 79",
            ["reboot on 2026-01-02T03:30:00Z: done, verified"],
        )
    ],
    evidence={"gpu.xid 79": "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234\nGPU has fallen off the bus."},
    bundles=["https://fleetmend.example/evidence/b1?part=3&x=a(b)"],
)


def ticket_notice(number: int = 7, **changed: Any) -> Notice:
    """Return what an incident of this number sends; incidents of other numbers have subjects of their own."""
    said: dict[str, Any] = {
        "key": f"inc-{number:06}/ticket/1",
        "kind": "ticket",
        "incident_id": f"inc-{number:06}",
        "node": "n2",
        "device": "GPU-3",
        "fault_class": "gpu_lost",
        "severity": "critical",
        "title": "n2: A GPU has fallen off the bus.",
        "body": "What: Xid 79 on GPU-3 at 90 °C.\nNext: n2 stays out of service.",
        "at": 1_700_000_000.5,
        "team": "datacentre",
        "url": f"http://127.0.0.1:8642/incidents/inc-{number:06}",
        "facts": {"serial": "1654321", "slot": "3", "port": "swp7", "cable": "C-118"},
        "subject": f"GPU 165432{number} gpu_lost",
        "links": {"approve": "http://127.0.0.1:8642/approve/1", "runbook": "https://wiki.example/gpu(lost)"},
        "rma": RMA,
    }
    return Notice(**{**said, **changed})


def news(number: int = 7, count: int = 1, text: str = "The reboot did not help.", **changed: Any) -> Notice:
    """Return an update of that incident's ticket."""
    return ticket_notice(number, key=f"inc-{number:06}/update/{count}", news=text, rma=None, **changed)
