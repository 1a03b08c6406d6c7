from __future__ import annotations

import pytest

from controller.adapters import Notice


@pytest.fixture
def notice() -> Notice:
    return Notice(
        key="inc-000007/ticket/1",
        kind="ticket",
        incident_id="inc-000007",
        node="n2",
        device="GPU-3",
        fault_class="gpu_lost",
        severity="critical",
        title="n2: A GPU has fallen off the bus.",
        body="What: Xid 79 on GPU-3 at 90 °C.\nNext: n2 stays out of service.",
        at=1_700_000_000.5,
        team="datacentre",
        url="http://127.0.0.1:8642/incidents/inc-000007",
        facts={"serial": "1654321"},
    )
