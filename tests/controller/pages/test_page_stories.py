"""Pages of a whole cell: by the real Alertmanager and to PagerDuty at once, from the fault to the return."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.adapters import Answer, Heard, Notifier
from controller.pages.alertmanager import Alertmanager
from controller.pages.pagerduty import PagerDuty, PagerDutyEvents
from controller.policy.noticing.routing import DestinationRule
from controller.policy.playbook import Clears, Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.alertmanager import RealAlertmanager, alertmanager
from tests.support.http_double import status
from tests.support.noticing import Mailbox, destinations_with
from tests.support.open_cell import gpu_lost_playbook, off_the_bus, open_cell
from tests.support.pagerduty import ROUTING_KEY, TOKEN, PagerDutyDouble

HANDS = replace(
    gpu_lost_playbook(), steps=(Step("cordon", Verb.CORDON, 60.0, attempts=3),), clears=Clears.PERSON, digest="hands"
)
"""People get it as soon as the node is out, and only they end it."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAlertmanager]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as running:
        yield running


async def test_a_fault_is_paged_acknowledged_and_resolved_on_both_ways(real: RealAlertmanager, tmp_path: Path) -> None:
    async with PagerDutyDouble().served() as served:
        assert isinstance(served, PagerDutyDouble)
        served.faults.append(status(429, {"Retry-After": "1"}))
        events = PagerDutyEvents(served.url, ROUTING_KEY, "main")
        jira = Mailbox("jira")
        pagers: list[Notifier] = [Alertmanager((real.url,), "main"), PagerDuty(events, served.url, TOKEN)]
        destinations = destinations_with(
            [(jira, DestinationRule("jira"))], [(pager, DestinationRule(pager.name)) for pager in pagers]
        )
        rules = Rules((HANDS,), Budget(nodes=9), breakers=(), domains=())
        async with (
            open_cell(tmp_path, rules, destinations=destinations) as cell,
            aiohttp.ClientSession(cell.url) as http,
        ):

            async def notices() -> dict[str, Any]:
                async with http.get("/api/v1/incidents/inc-000001") as answer:
                    incident = await answer.json()
                return {each["destination"]: each for each in incident["notices"]}

            await cell.add_nodes("n1", "n2", "n3", "n4")
            await cell.nodes.find("n1", replace(off_the_bus("GPU-1"), serial="serial-1"))
            await cell.until("n1", "handed_over")
            await cell.until_true(lambda: len(real.alerts()) == 1)
            assert served.incidents == []
            cell.clock.now += 10.0
            await cell.until_true(lambda: len(served.incidents) == 1)
            (alert,), (incident,) = real.alerts(), served.incidents
            assert alert["annotations"]["summary"] == incident["title"]
            assert "Impact: " in alert["annotations"]["description"]

            silence = real.silence({"incident": "inc-000001"}, by="Kim", comment="I have it")
            await cell.until_true(lambda: incident["status"] == "acknowledged")
            found = await notices()
            assert (found["alertmanager"]["state"], found["pagerduty"]["state"]) == ("acknowledged", "acknowledged")
            real.end_silence(silence)

            await cell.nodes.clear("n1")
            jira.stands["JIRA-1"] = Answer(Heard.CLOSED, "ann", "GPU swapped")
            await cell.until_true(lambda: real.alerts() == [] and incident["status"] == "resolved")

    assert [event["event_action"] for event in served.events if event["event_action"] == "trigger"] == ["trigger"]
    assert len(served.incidents) == 1
