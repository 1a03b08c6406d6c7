"""Alertmanager: the real one, and members of its cluster that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters import Answer, Following, Heard, Listening, Notice
from controller.errors import Permanent, Retryable
from controller.pages.alert_labels import labels_in, labels_of, reference_of
from controller.pages.alertmanager import Alertmanager, from_section
from controller.pages.pagerduty import event_of
from controller.sections.pages.alertmanager import AlertmanagerSection
from tests.support.alertmanager import RealAlertmanager, alertmanager
from tests.support.eventually import eventually
from tests.support.http_double import Answering, Fault, Got, Said, half, hang, hang_up, nonsense, status
from tests.support.pagerduty import ROUTING_KEY, flaw_of

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAlertmanager]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as running:
        yield running


@pytest.fixture
def ours(notice: Notice, request: pytest.FixtureRequest) -> Notice:
    """A page of an incident that no other test has."""
    name = request.node.name.replace("[", "-").replace("]", "")
    return replace(notice, incident_id=f"inc-{name}", fault_class=f"class_{name}", at=time.time() - 5.0)


def of(*urls: str, clock: Any = time.time, stays_s: float = DAY_S) -> Alertmanager:
    return Alertmanager(urls, "main", stays_s=stays_s, clock=clock, timeout_s=5.0)


def shown(real: RealAlertmanager, notice: Notice) -> list[dict[str, Any]]:
    return real.alerts(incident=notice.incident_id, cell="main")


def ends_at(alert: dict[str, Any]) -> float:
    return datetime.fromisoformat(alert["endsAt"]).timestamp()


async def test_a_page_fires_and_people_find_it(real: RealAlertmanager, ours: Notice) -> None:
    filed = await of(real.url).send(ours)

    (alert,) = shown(real, ours)
    assert alert["labels"] == {
        "alertname": f"fleetmend_{ours.fault_class}",
        "cell": "main",
        "class": ours.fault_class,
        "incident": ours.incident_id,
        "node": "n2",
        "severity": "critical",
        "team": "datacentre",
    }
    assert alert["annotations"]["summary"] == "n2: A GPU has fallen off the bus."
    assert "Xid 79 at 90 °C" in alert["annotations"]["description"]
    assert alert["annotations"]["undo"] == f"{ours.url}#undo"
    assert alert["generatorURL"] == ours.url
    assert filed.reference == reference_of(alert["labels"])
    assert filed.url.startswith(f"{real.url}/#/alerts?filter=%7Bincident%3D")
    await eventually("the webhook has it", lambda: bool(sent(real, ours)))
    assert sent(real, ours)[0]["alerts"][0]["annotations"] == alert["annotations"]


def sent(real: RealAlertmanager, notice: Notice) -> list[Any]:
    bodies = real.inbox.sent_to("/webhook")
    return [body for body in bodies if body["commonLabels"].get("class") == notice.fault_class]


async def test_the_same_page_is_one_alert_and_its_end_is_told_once(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    first, second = await adapter.send(ours), await adapter.send(ours)
    assert first.reference == second.reference
    await eventually("it was told", lambda: bool(sent(real, ours)))
    for _ in range(2):
        await adapter.close(first.reference, replace(ours, news="It is back in service."))
    assert shown(real, ours) == []
    await eventually("its end was told", lambda: sent(real, ours)[-1]["status"] == "resolved")

    assert [body["status"] for body in sent(real, ours)] == ["firing", "resolved"]


async def test_what_a_cell_left_open_before_it_began_anew_is_another_alert(
    real: RealAlertmanager, ours: Notice
) -> None:
    """Whose state was deleted counts incidents from one again; the alerts of its earlier life stand for up to a day."""
    await of(real.url).send(replace(ours, node="n7"))
    adapter = of(real.url)
    reference = (await adapter.send(ours)).reference
    await adapter.close(reference, ours)

    assert [alert["labels"]["node"] for alert in shown(real, ours)] == ["n7"]
    assert await adapter.look([reference]) == {reference: Answer(Heard.CLOSED)}


async def test_pages_of_one_class_are_grouped_there(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    for number in range(5):
        await adapter.send(replace(ours, incident_id=f"{ours.incident_id}-{number}", node=f"n{number}"))
    await eventually("one group has all", lambda: any(len(body["alerts"]) == 5 for body in sent(real, ours)))

    assert {body["groupLabels"]["class"] for body in sent(real, ours)} == {ours.fault_class}


async def test_a_silence_by_a_person_is_their_word(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    reference = (await adapter.send(ours)).reference
    assert await adapter.look([reference]) == {reference: Answer(Heard.OPEN)}
    silence = real.silence({"incident": ours.incident_id}, by="Kim", comment="I have it")
    await looks(adapter, reference, Answer(Heard.ACKNOWLEDGED, "Kim", "I have it"))
    real.end_silence(silence)
    await looks(adapter, reference, Answer(Heard.OPEN))


async def looks(adapter: Alertmanager, reference: str, answer: Answer) -> None:
    for _ in range(300):
        if (await adapter.look([reference]))[reference] == answer:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{await adapter.look([reference])}, not {answer}")


async def test_what_is_looked_at_stays_and_what_is_not_ends(real: RealAlertmanager, ours: Notice) -> None:
    """Both would have ended after 1.2 s, and by `resolve_timeout` after 1 s if no end were sent with them."""
    adapter, forgotten = of(real.url, stays_s=1.2), replace(ours, incident_id=f"{ours.incident_id}-forgotten")
    reference = (await adapter.send(ours)).reference
    await adapter.send(forgotten)
    end = time.monotonic() + 10.0
    while shown(real, forgotten):
        assert time.monotonic() < end
        assert await adapter.look([reference]) == {reference: Answer(Heard.OPEN)}
        await asyncio.sleep(0.05)

    assert len(shown(real, ours)) == 1
    await eventually("the end of the other was told", lambda: "resolved" in told(real, forgotten))
    assert set(told(real, ours)) == {"firing"}


def told(real: RealAlertmanager, notice: Notice) -> list[str]:
    alerts = [alert for body in sent(real, notice) for alert in body["alerts"]]
    return [alert["status"] for alert in alerts if alert["labels"]["incident"] == notice.incident_id]


async def test_an_alert_is_sent_again_when_half_of_its_time_is_over(real: RealAlertmanager, ours: Notice) -> None:
    began = time.time()
    now = [began]
    adapter = of(real.url, clock=lambda: now[0])
    reference = (await adapter.send(ours)).reference
    for passed_s, expected in ((0.4 * DAY_S, DAY_S), (0.6 * DAY_S, 1.6 * DAY_S)):
        now[0] = began + passed_s
        await adapter.look([reference])
        assert ends_at(shown(real, ours)[0]) == pytest.approx(began + expected, abs=0.01)


async def test_a_controller_that_started_anew_keeps_alive_what_it_finds(real: RealAlertmanager, ours: Notice) -> None:
    reference = (await of(real.url).send(ours)).reference
    before = shown(real, ours)[0]
    later = time.time() + 0.6 * DAY_S
    await of(real.url, clock=lambda: later).look([reference])

    (after,) = shown(real, ours)
    assert (after["annotations"], after["startsAt"]) == (before["annotations"], before["startsAt"])
    assert ends_at(after) == pytest.approx(later + DAY_S, abs=0.01)


async def test_a_controller_that_started_anew_ends_what_another_began(real: RealAlertmanager, ours: Notice) -> None:
    reference = (await of(real.url).send(ours)).reference
    await of(real.url).close(reference, replace(ours, at=time.time()))

    assert shown(real, ours) == []


async def test_an_alertmanager_that_lost_its_alerts_gets_them_again(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    reference = (await adapter.send(ours)).reference
    text = shown(real, ours)[0]["annotations"]
    real.kill()
    with pytest.raises(Retryable, match=r"Alertmanager 127\.0\.0\.1 cannot be reached"):
        await adapter.look([reference])
    real.start()
    assert shown(real, ours) == []
    assert await adapter.look([reference]) == {reference: Answer(Heard.OPEN)}
    assert shown(real, ours)[0]["annotations"] == text

    real.kill()
    real.start()
    await of(real.url).look([reference])
    (rebuilt,) = shown(real, ours)
    assert rebuilt["annotations"] == {"summary": f"n2: {ours.fault_class}; {ours.incident_id} has all of it."}


async def test_an_update_changes_what_it_says_and_calls_nobody(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    reference = (await adapter.send(ours)).reference
    await eventually("it was told", lambda: bool(sent(real, ours)))
    worse = replace(ours, severity="warning", team="other", incident_id="inc-of-another", news="A reboot did not help.")
    await adapter.update(reference, worse)

    (alert,) = shown(real, ours)
    assert alert["annotations"]["description"].startswith("News: A reboot did not help.")
    assert alert["labels"]["severity"] == "critical"
    assert len(sent(real, ours)) == 1


async def test_a_look_that_was_under_way_wakes_nothing_that_was_closed(real: RealAlertmanager, ours: Notice) -> None:
    adapter = of(real.url)
    reference = (await adapter.send(ours)).reference
    await asyncio.gather(adapter.close(reference, ours), adapter.look([reference]))

    assert await adapter.look([reference]) == {reference: Answer(Heard.CLOSED)}
    assert shown(real, ours) == []


async def test_its_own_pagerduty_client_sends_what_ours_sends(real: RealAlertmanager, ours: Notice) -> None:
    """The same page on both ways: what Alertmanager sends is held to the contract too, so that it is no wish."""
    await of(real.url).send(ours)

    def theirs() -> list[Any]:
        events = real.inbox.sent_to("/v2/enqueue")
        return [event for event in events if event["payload"].get("class") == ours.fault_class]

    await eventually("PagerDuty has it", lambda: bool(theirs()))
    event, own = theirs()[0], event_of(ours, "trigger", "main/pagerduty/x", ROUTING_KEY)
    assert flaw_of(event) == flaw_of(own) == ""
    payload, own_payload = event["payload"], own["payload"]
    assert isinstance(own_payload, dict)
    assert set(event) - set(own) <= {"images"} and set(payload) <= set(own_payload)
    same = ("summary", "severity", "class")
    assert [payload[name] for name in same] == [own_payload[name] for name in same]
    assert (event["event_action"], event["routing_key"]) == (own["event_action"], own["routing_key"])


HOSTILE = st.text(st.characters(codec="utf-8"), max_size=300)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_any_labels_are_found_again_in_their_reference(node: str, fault: str, incident: str, cell: str) -> None:
    notice = Notice("k", "page", incident, node, "", fault, "critical", "t", "b", 1.0, team='a\\b"c,d}')
    labels = labels_of(notice, cell=cell)

    assert labels_in(reference_of(labels)) == labels


@given(HOSTILE)
def test_what_is_no_reference_has_no_labels(text: str) -> None:
    assert isinstance(labels_in(text), dict)
    assert labels_in(f"x{text}") == {}


async def test_any_text_is_taken(real: RealAlertmanager, ours: Notice) -> None:
    odd = 'quo"te \\ back {slash} \u202e turned \x00\x1b[31m, "a"="b" 中文 \udce9'
    hostile = replace(
        ours, node=odd, team=odd, title=odd, body=f"What: {odd}\nMore: {odd}", fault_class=odd, facts={"x": odd}
    )
    adapter = of(real.url)
    reference = (await adapter.send(hostile)).reference
    assert await adapter.look([reference]) == {reference: Answer(Heard.OPEN)}
    await adapter.close(reference, hostile)

    assert shown(real, ours) == []


# --- members that fail -----------------------------------------------------------------------------------------------


@dataclass
class Member(Answering):
    """Alertmanager's API as far as faults need it."""

    answer: Any = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    deaf: bool = False

    def __post_init__(self) -> None:
        self.answer = self._answer

    def _answer(self, got: Got) -> Said:
        if got.method == "GET":
            return Said(200, self.alerts)
        if not self.deaf:
            self.alerts = [{**alert, "status": {"state": "active", "silencedBy": []}} for alert in got.body]
        return Said(200, b"")


@pytest.fixture
async def members() -> AsyncIterator[tuple[Member, Member]]:
    async with Member().served() as first, Member().served() as second:
        assert isinstance(first, Member) and isinstance(second, Member)
        yield first, second


def of_both(members: tuple[Member, Member], timeout_s: float = 10.0) -> Alertmanager:
    return replace(of(members[0].url, members[1].url), timeout_s=timeout_s)


async def test_every_member_gets_it_and_one_is_enough(members: tuple[Member, Member], notice: Notice) -> None:
    members[0].faults.append(status(503))
    await of_both(members).send(notice)

    assert (members[0].alerts, len(members[1].alerts)) == ([], 1)


async def test_a_member_that_missed_it_gets_it_at_the_next_look(members: tuple[Member, Member], notice: Notice) -> None:
    adapter = of_both(members)
    members[0].faults.append(hang_up)
    reference = (await adapter.send(notice)).reference
    await adapter.look([reference])

    assert len(members[0].alerts) == len(members[1].alerts) == 1


async def test_a_member_that_missed_the_end_is_told_at_the_next_look(
    members: tuple[Member, Member], notice: Notice
) -> None:
    adapter = of_both(members)
    reference = (await adapter.send(notice)).reference
    members[0].faults.append(status(503))
    await adapter.close(reference, notice)
    assert [ends_at(member.alerts[0]) < time.time() for member in members] == [False, True]
    await adapter.look([])

    assert [ends_at(member.alerts[0]) < time.time() for member in members] == [True, True]
    count = len(members[0].got)
    await adapter.look([])
    assert len(members[0].got) == count


@pytest.mark.parametrize("fault", [status(429), status(500), status(503), hang, hang_up])
async def test_no_member_is_worth_another_try(members: tuple[Member, Member], notice: Notice, fault: Fault) -> None:
    for member in members:
        member.faults.append(fault)
    with pytest.raises(Retryable):
        await of_both(members, 0.3 if fault is hang else 10.0).send(notice)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 422])
async def test_what_every_member_refuses_is_permanent(
    members: tuple[Member, Member], notice: Notice, code: int
) -> None:
    for member in members:
        member.faults.append(status(code, text="bad matcher"))
    with pytest.raises(Permanent, match=f"answered {code}"):
        await of_both(members).send(notice)


async def test_a_200_that_does_nothing_is_no_page(members: tuple[Member, Member], notice: Notice) -> None:
    members[0].deaf = members[1].deaf = True
    with pytest.raises(Retryable, match="took the alert and nothing came of it"):
        await of_both(members).send(notice)


async def test_a_200_that_resolves_nothing_is_no_end(members: tuple[Member, Member], notice: Notice) -> None:
    adapter = of_both(members)
    reference = (await adapter.send(notice)).reference
    members[0].deaf = members[1].deaf = True
    with pytest.raises(Retryable, match="nothing came of it"):
        await adapter.close(reference, notice)


@pytest.mark.parametrize("fault", [nonsense, half])
async def test_another_answer_than_alertmanagers_is_no_page(
    members: tuple[Member, Member], notice: Notice, fault: Fault
) -> None:
    def spoil(got: Got) -> Said:
        if got.method == "GET":
            for member in members:
                member.late_faults.append(fault)
        return Said(200, b"")

    members[0].answer = members[1].answer = spoil
    with pytest.raises((Permanent, Retryable)):
        await of_both(members).send(notice)


async def test_what_is_no_reference_of_ours_is_gone(members: tuple[Member, Member], notice: Notice) -> None:
    adapter = of_both(members)
    assert await adapter.look(["OPS-17"]) == {"OPS-17": Answer(Heard.GONE)}
    with pytest.raises(Permanent, match="'OPS-17' is no reference of an alert"):
        await adapter.update("OPS-17", notice)


def test_the_adapter_has_what_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    section = AlertmanagerSection(
        kind="alertmanager", urls=["https://a:9093/", "https://b:9093"], user="fleetmend", password_file=path
    )
    adapter = from_section(section, "main")

    assert adapter.urls == ("https://a:9093", "https://b:9093")
    assert adapter.headers == {"Authorization": "Basic ZmxlZXRtZW5kOnMzY3JldA=="}
    kinds: list[Any] = [Following, Listening]
    assert all(isinstance(adapter, kind) for kind in kinds)
    bearer = from_section(AlertmanagerSection(kind="alertmanager", urls=["http://a"], token_file=path), "main")
    assert bearer.headers == {"Authorization": "Bearer s3cret"}


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ({"urls": []}, "at least 1 item"),
        ({"urls": ["a:9093"]}, "must be https://host"),
        ({"urls": ["https://u:p@a"]}, "secrets come from files"),
        ({"urls": ["https://a/?token=x"]}, "secrets come from files"),
        ({"urls": ["https://a", "https://a/"]}, "each address once"),
        ({"urls": ["https://a"], "user": "x"}, "need each other"),
        ({"urls": ["https://a"], "stays_s": 5}, "greater than or equal to 60"),
    ],
)
def test_what_cannot_be_used_is_said(given_: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AlertmanagerSection.model_validate({"kind": "alertmanager", **given_})
