"""PagerDuty against a server that holds every event to the published contract of its Events API v2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import Acknowledging, Answer, Filed, Following, Heard, Listening, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpRefusal
from controller.pages.pagerduty import PagerDuty, PagerDutyEvents, event_of, from_section
from controller.sections.pages.pagerduty import PagerDutySection
from controller.settings import SettingsError
from tests.support.http_double import Fault, half, hang, hang_up, nonsense, status
from tests.support.pagerduty import ROUTING_KEY, TOKEN, PagerDutyDouble, flaw_of

KEY = "main/pagerduty/1654321 gpu_lost"


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyDouble]:
    async with PagerDutyDouble().served() as served:
        assert isinstance(served, PagerDutyDouble)
        yield served


def blind(served: PagerDutyDouble, timeout_s: float = 10.0) -> PagerDutyEvents:
    return PagerDutyEvents(served.url, ROUTING_KEY, "main", timeout_s=timeout_s)


def seeing(served: PagerDutyDouble, token: str = TOKEN) -> PagerDuty:
    return PagerDuty(blind(served), served.url, token)


def news(notice: Notice, text: str = "The reboot did not help.") -> Notice:
    return replace(notice, key=f"{notice.key}/news", news=text)


async def test_a_page_is_triggered_and_found(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    assert await seeing(pagerduty).send(notice) == Filed(KEY, "https://acme.pagerduty.com/incidents/P1")

    (event,) = pagerduty.events
    assert event["payload"]["summary"] == "n2: A GPU has fallen off the bus."
    assert (event["payload"]["severity"], event["payload"]["source"]) == ("critical", "n2")
    assert event["payload"]["timestamp"] == "2023-11-14T22:13:20.500Z"
    assert event["payload"]["custom_details"]["serial"] == "1654321"
    assert "Xid 79 at 90 °C" in event["payload"]["custom_details"]["text"]
    assert {"href": f"{notice.url}#undo", "text": "Undo"} in event["links"]


async def test_the_same_problem_is_one_incident(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    await seeing(pagerduty).send(notice)
    again = await seeing(pagerduty).send(replace(notice, key="inc-000008/page/1", incident_id="inc-000008"))

    assert (again.found, len(pagerduty.events), len(pagerduty.incidents)) == (True, 1, 1)


async def test_two_destinations_of_one_account_have_a_page_each(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    await seeing(pagerduty).send(notice)
    second = PagerDuty(replace(blind(pagerduty), name="boss"), pagerduty.url, TOKEN, "boss")

    assert (await second.send(notice)).found is False
    assert len(pagerduty.incidents) == 2


async def test_an_update_calls_nobody_again(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    adapter = seeing(pagerduty)
    await adapter.send(notice)
    pagerduty.person("acknowledge", KEY, "Kim")
    await adapter.update(KEY, news(notice))

    assert [each["status"] for each in pagerduty.incidents] == ["acknowledged"]
    assert pagerduty.events[1]["payload"]["custom_details"]["text"].startswith("News: The reboot did not help.")


async def test_an_update_of_what_was_resolved_triggers_it_anew(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    adapter = seeing(pagerduty)
    await adapter.send(notice)
    pagerduty.person("resolve", KEY, "Kim")
    await adapter.update(KEY, news(notice))

    assert [each["status"] for each in pagerduty.incidents] == ["resolved", "triggered"]


async def test_it_is_acknowledged_and_resolved_once(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    adapter = seeing(pagerduty)
    await adapter.send(notice)
    for _ in range(2):
        await adapter.acknowledge(KEY, news(notice, "Kim has it."))
    assert [each["status"] for each in pagerduty.incidents] == ["acknowledged"]
    for _ in range(2):
        await adapter.close(KEY, news(notice, "It is back in service."))

    assert [each["status"] for each in pagerduty.incidents] == ["resolved"]
    assert [event["event_action"] for event in pagerduty.events] == ["trigger", "acknowledge", "resolve"]


async def test_it_says_who_has_it(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    adapter = seeing(pagerduty)
    assert await adapter.look([KEY]) == {KEY: Answer(Heard.GONE)}
    await adapter.send(notice)
    assert await adapter.look([KEY]) == {KEY: Answer(Heard.OPEN)}
    pagerduty.person("acknowledge", KEY, "Kim")
    assert await adapter.look([KEY]) == {KEY: Answer(Heard.ACKNOWLEDGED, "Kim")}
    pagerduty.person("resolve", KEY, "Sam")
    assert await adapter.look([KEY]) == {KEY: Answer(Heard.CLOSED, "Sam")}


async def test_what_was_taken_and_is_not_there_yet_is_looked_for_again(
    pagerduty: PagerDutyDouble, notice: Notice
) -> None:
    pagerduty.delays = True
    with pytest.raises(Retryable, match="has no incident for it yet"):
        await seeing(pagerduty).send(notice)
    pagerduty.process()

    assert (await seeing(pagerduty).send(notice)).found is True
    assert len(pagerduty.events) == 1


async def test_a_202_that_does_nothing_is_no_page(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    pagerduty.deaf = True

    for _ in range(2):
        with pytest.raises(Retryable, match="an event rule or a maintenance window"):
            await seeing(pagerduty).send(notice)


async def test_a_resolution_that_does_nothing_is_none(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    await seeing(pagerduty).send(notice)
    pagerduty.deaf = True

    with pytest.raises(Retryable, match="its incident is open still"):
        await seeing(pagerduty).close(KEY, news(notice))


async def test_without_a_token_what_was_taken_is_believed(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    adapter = blind(pagerduty)
    assert await adapter.send(notice) == Filed(KEY)
    await adapter.close(KEY, news(notice))

    assert [event["event_action"] for event in pagerduty.events] == ["trigger", "resolve"]
    both: list[Any] = [adapter, seeing(pagerduty)]
    assert all(isinstance(each, kind) for each in both for kind in (Following, Acknowledging))
    assert [isinstance(each, Listening) for each in both] == [False, True]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
async def test_what_passes_is_retryable(pagerduty: PagerDutyDouble, notice: Notice, code: int) -> None:
    pagerduty.faults.append(status(code, {"Retry-After": "17"}))
    with pytest.raises(Retryable, match=f"answered {code}") as raised:
        await blind(pagerduty).send(notice)

    assert raised.value.after_s == 17.0
    await blind(pagerduty).send(notice)
    assert len(pagerduty.incidents) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 422])
async def test_what_does_not_pass_is_permanent(pagerduty: PagerDutyDouble, notice: Notice, code: int) -> None:
    pagerduty.faults.append(status(code))
    with pytest.raises(HttpRefusal, match=f"answered {code}") as raised:
        await blind(pagerduty).send(notice)

    assert raised.value.status == code and ROUTING_KEY not in str(raised.value)


async def test_a_wrong_token_is_said_before_anybody_is_paged(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    with pytest.raises(Permanent, match="answered 401") as raised:
        await seeing(pagerduty, "wrong-token").send(notice)

    assert pagerduty.events == [] and "wrong-token" not in str(raised.value)


@pytest.mark.parametrize("fault", [hang, hang_up, half])
@pytest.mark.parametrize("late", [False, True])
async def test_no_whole_answer_is_sent_again_and_is_one_page(
    pagerduty: PagerDutyDouble, notice: Notice, fault: Fault, late: bool
) -> None:
    (pagerduty.late_faults if late else pagerduty.faults).append(fault)
    with pytest.raises(Retryable):
        await blind(pagerduty, 0.3 if fault is hang else 10.0).send(notice)
    await blind(pagerduty).send(notice)

    assert len(pagerduty.incidents) == 1


async def test_another_answer_than_pagerdutys_is_no_page(pagerduty: PagerDutyDouble, notice: Notice) -> None:
    pagerduty.faults += [nonsense, nonsense]
    with pytest.raises(Permanent, match="something else than expected"):
        await blind(pagerduty).send(notice)
    with pytest.raises(Permanent, match="something else than expected"):
        await seeing(pagerduty).look([KEY])


TEXT = st.text(max_size=3_000)


@given(
    title=TEXT,
    body=TEXT,
    told=TEXT,
    node=TEXT,
    subject=TEXT,
    facts=st.dictionaries(st.text(min_size=1, max_size=20), TEXT, max_size=10),
    severity=st.sampled_from(["critical", "warning", "info", "", "unheard-of"]),
    action=st.sampled_from(["trigger", "acknowledge", "resolve"]),
)
def test_every_notice_is_an_event_that_pagerduty_takes(
    title: str,
    body: str,
    told: str,
    node: str,
    subject: str,
    facts: dict[str, str],
    severity: str,
    action: str,
) -> None:
    notice = Notice(
        "k", "page", "inc-1", node, "", "gpu_lost", severity, title, body, 1e9, facts=facts, news=told, subject=subject
    )

    assert flaw_of(event_of(notice, action, "main/pagerduty/x", ROUTING_KEY)) == ""


def test_the_contract_refuses_what_pagerduty_would() -> None:
    good = {"routing_key": ROUTING_KEY, "event_action": "trigger"}
    assert flaw_of(good) == ""
    assert flaw_of(good | {"event_action": "explode"})
    assert flaw_of(good | {"payload": {"summary": "x", "severity": "high", "source": "n1"}})
    assert flaw_of(good | {"payload": {"summary": "x" * 1025, "severity": "info", "source": "n1"}})
    huge = {"summary": "x", "severity": "info", "source": "n1", "custom_details": {"x": "y" * 600_000}}
    assert "bytes" in flaw_of(good | {"payload": huge})


def test_secrets_come_from_files_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "routing-key"
    section = PagerDutySection(kind="pagerduty", routing_key_file=path)
    with pytest.raises(SettingsError, match=r"routing_key_file: .*routing-key cannot be read: No such file"):
        from_section(section, "main")
    path.write_text(f"{ROUTING_KEY}\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by others than its owner"):
        from_section(section, "main")
    path.chmod(0o600)
    adapter = from_section(section, "main")
    assert isinstance(adapter, PagerDutyEvents) and adapter.routing_key == ROUTING_KEY
    both = PagerDutySection(kind="pagerduty", routing_key_file=path, token_file=path, name="boss")
    assert from_section(both, "main").name == "boss"
