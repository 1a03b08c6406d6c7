"""Opsgenie against a server that takes what its documents say, and does it later."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import Acknowledging, Answer, Filed, Following, Heard, Listening, Notice
from controller.errors import Permanent, Retryable
from controller.pages.opsgenie import Opsgenie, from_section
from controller.sections.pages.opsgenie import OpsgenieSection
from tests.support.http_double import Fault, Got, Said, half, hang, hang_up, nonsense, status
from tests.support.opsgenie import TOKEN, OpsgenieDouble, flaw_of

ALIAS = "main/opsgenie/1654321 gpu_lost"


@pytest.fixture
async def opsgenie() -> AsyncIterator[OpsgenieDouble]:
    async with OpsgenieDouble().served() as served:
        assert isinstance(served, OpsgenieDouble)
        yield served


def of(served: OpsgenieDouble, token: str = TOKEN, timeout_s: float = 10.0) -> Opsgenie:
    return Opsgenie(served.url, token, "main", {"datacentre": "DC hands"}, timeout_s=timeout_s)


def news(notice: Notice, text: str = "The reboot did not help.", key: str = "inc-000007/page/1/news/9") -> Notice:
    return replace(notice, key=key, news=text)


async def test_a_page_is_an_alert_with_all_it_says(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    assert await of(opsgenie).send(notice) == Filed(ALIAS)

    (alert,) = opsgenie.alerts
    assert (alert["message"], alert["priority"]) == ("n2: A GPU has fallen off the bus.", "P1")
    assert alert["responders"] == [{"name": "DC hands", "type": "team"}]
    assert alert["tags"] == ["fleetmend", "critical", "gpu_lost"]
    assert alert["details"]["serial"] == "1654321"
    assert "Xid 79 at 90 °C" in alert["description"] and f"Undo: {notice.url}#undo" in alert["description"]


async def test_the_same_problem_is_one_alert(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).send(notice)
    again = await of(opsgenie).send(replace(notice, key="inc-000008/page/1", incident_id="inc-000008"))

    assert (again.found, len(opsgenie.asked("POST")), opsgenie.alerts[0]["count"]) == (True, 1, 1)


async def test_what_comes_back_after_it_was_closed_is_another_alert(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).send(notice)
    opsgenie.person("close", ALIAS, "Kim")
    await of(opsgenie).send(notice)

    assert [alert["status"] for alert in opsgenie.alerts] == ["closed", "open"]


async def test_an_update_is_one_note(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).send(notice)
    for _ in range(2):
        await of(opsgenie).update(ALIAS, news(notice))
    await of(opsgenie).update(ALIAS, news(notice, "Another GPU is lost.", "inc-000007/page/1/news/10"))

    assert opsgenie.alerts[0]["notes"] == [
        "The reboot did not help. [inc-000007/page/1/news/9]",
        "Another GPU is lost. [inc-000007/page/1/news/10]",
    ]


async def test_an_update_of_what_was_closed_is_a_new_alert(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).send(notice)
    opsgenie.person("close", ALIAS, "Kim")
    await of(opsgenie).update(ALIAS, news(notice))

    assert [alert["status"] for alert in opsgenie.alerts] == ["closed", "open"]
    assert opsgenie.alerts[1]["description"].startswith("News: The reboot did not help.")


async def test_it_is_acknowledged_and_closed_once(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).send(notice)
    for _ in range(2):
        await of(opsgenie).acknowledge(ALIAS, news(notice, "Kim has it."))
    for _ in range(2):
        await of(opsgenie).close(ALIAS, news(notice, "It is back in service."))

    assert [alert["status"] for alert in opsgenie.alerts] == ["closed"]
    assert [got.path.rpartition("/")[2] for got in opsgenie.asked("POST")] == ["alerts", "acknowledge", "close"]
    assert opsgenie.asked("POST")[-1].body["note"] == "It is back in service."


async def test_an_alert_that_was_deleted_is_not_closed(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    await of(opsgenie).close(ALIAS, news(notice))
    assert opsgenie.asked("POST") == []


async def test_it_says_who_has_it(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    assert await of(opsgenie).look([ALIAS]) == {ALIAS: Answer(Heard.GONE)}
    await of(opsgenie).send(notice)
    assert await of(opsgenie).look([ALIAS]) == {ALIAS: Answer(Heard.OPEN)}
    opsgenie.person("acknowledge", ALIAS, "kim@acme.example")
    assert await of(opsgenie).look([ALIAS]) == {ALIAS: Answer(Heard.ACKNOWLEDGED, "kim@acme.example")}
    opsgenie.person("close", ALIAS, "sam@acme.example")
    assert await of(opsgenie).look([ALIAS]) == {ALIAS: Answer(Heard.CLOSED, "sam@acme.example")}


async def test_what_was_taken_and_is_not_done_yet_is_looked_for_again(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    opsgenie.delays = True
    with pytest.raises(Retryable, match="has not done what it took yet"):
        await of(opsgenie).send(notice)
    opsgenie.process()

    assert (await of(opsgenie).send(notice)).found is True
    assert opsgenie.alerts[0]["count"] == 1


async def test_a_202_that_does_nothing_is_no_page(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    opsgenie.deaf = True

    with pytest.raises(Permanent, match="took a request and did not do it: Integration is disabled"):
        await of(opsgenie).send(notice)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
async def test_what_passes_is_retryable(opsgenie: OpsgenieDouble, notice: Notice, code: int) -> None:
    opsgenie.faults.append(status(code, {"Retry-After": "17"}))
    with pytest.raises(Retryable, match=f"answered {code}"):
        await of(opsgenie).send(notice)
    await of(opsgenie).send(notice)

    assert len(opsgenie.alerts) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 409, 410, 422])
async def test_what_does_not_pass_is_permanent(opsgenie: OpsgenieDouble, notice: Notice, code: int) -> None:
    opsgenie.faults.append(status(code))
    with pytest.raises(Permanent, match=f"answered {code}"):
        await of(opsgenie).send(notice)


async def test_no_error_tells_the_key(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    with pytest.raises(Permanent, match="answered 401") as raised:
        await of(opsgenie, "wrong-key-0123").send(notice)
    assert "wrong-key-0123" not in str(raised.value)


@pytest.mark.parametrize("fault", [hang, hang_up, half])
@pytest.mark.parametrize("asked_before", [0, 1, 2])
async def test_no_whole_answer_is_asked_again_and_is_one_alert(
    opsgenie: OpsgenieDouble, notice: Notice, fault: Fault, asked_before: int
) -> None:
    usual = opsgenie.answer

    def answer(got: Got) -> Said:
        if len(opsgenie.got) == asked_before + 1:
            opsgenie.late_faults.append(fault)
        said: Said = usual(got)
        return said

    opsgenie.answer = answer
    with contextlib.suppress(Retryable):  # a question whose connection broke is asked again by aiohttp itself
        await of(opsgenie, timeout_s=0.3 if fault is hang else 10.0).send(notice)
    await of(opsgenie).send(notice)

    assert [alert["count"] for alert in opsgenie.alerts] == [1]


async def test_another_answer_than_opsgenies_is_said(opsgenie: OpsgenieDouble, notice: Notice) -> None:
    opsgenie.faults.append(nonsense)
    with pytest.raises(Permanent, match="something else than expected"):
        await of(opsgenie).send(notice)


TEXT = st.text(max_size=20_000)


@given(
    title=TEXT,
    body=TEXT,
    node=st.text(max_size=600),
    fault_class=st.text(max_size=600),
    facts=st.dictionaries(st.text(min_size=1, max_size=20), TEXT, max_size=12),
)
def test_every_notice_is_an_alert_that_opsgenie_takes(
    title: str, body: str, node: str, fault_class: str, facts: dict[str, str]
) -> None:
    adapter = Opsgenie("https://api.opsgenie.com", TOKEN, "main")
    notice = Notice("k", "page", "inc-1", node, "", fault_class, "critical", title, body, 1e9, facts=facts)

    assert flaw_of(adapter._alert_for(notice, ALIAS)) == ""


def test_people_are_led_to_the_alert() -> None:
    assert Opsgenie("https://api.eu.opsgenie.com", TOKEN, "main")._page_of("id-1") == (
        "https://app.eu.opsgenie.com/alert/detail/id-1/details"
    )
    assert Opsgenie("https://opsgenie.proxy.example", TOKEN, "main")._page_of("id-1") == ""


def test_the_adapter_has_what_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o400)
    section = OpsgenieSection(kind="opsgenie", token_file=path, url="https://api.eu.opsgenie.com/", name="eu")
    adapter = from_section(section, "main")

    assert (adapter.url, adapter.token, adapter.name) == ("https://api.eu.opsgenie.com", TOKEN, "eu")
    assert all(isinstance(adapter, each) for each in (Following, Listening, Acknowledging))
