"""What is told of a ticket or a page, when, and how it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.notice_events import NoticeFiled, NoticeHeard
from controller.policy.noticing.closings import WAITS_S
from controller.policy.noticing.due import GROUP_BUNDLE_S, SETTLE_S, Act, Due
from controller.policy.noticing.routing import QUIET_S, DestinationRule, NoticeRules, StormRule
from controller.policy.playbook import Clears, Verb
from controller.policy.rules import Budget, Rules
from tests.support.letterbox import RULES, Letterbox
from tests.support.policy import AGENT_LOST, GPU_LOST, PolicyRun, steps, xid

LOST = replace(GPU_LOST, steps=steps(Verb.CORDON), clears=Clears.PERSON)
"""People have it as soon as the node is out."""

FLAP = replace(GPU_LOST, steps=steps(Verb.WAIT, Verb.TICKET, Verb.PAGE))
"""People are told, and the node stays in service."""


def box_of(book: object = LOST, *, rules: NoticeRules = RULES, nodes: int = 12) -> Letterbox:
    names = [f"n{number}" for number in range(1, nodes + 1)]
    run = PolicyRun(Rules((book, AGENT_LOST), Budget(nodes=20), breakers=(), domains=()))  # type: ignore[arg-type]
    return Letterbox(run.nodes(*names), rules)


def hand_over(box: Letterbox, node: str = "n1") -> str:
    """Have a node break down until people have its ticket and page; return the incident."""
    run = box.run
    run.raise_on(node, xid("79"))
    run.wait(61.0)
    for intent in run.under_way(node):
        if intent.verb == "cordon":
            run.end(intent)
    while (mail := box.mail()) is not None:
        box.step(mail)
    return next(reversed(run.belief.incidents))


def what(dues: list[Due]) -> list[tuple[str, str]]:
    return [(each.act, each.destination) for each in dues]


def test_small_news_are_one_comment_and_pages_hear_of_none() -> None:
    box = box_of()
    incident_id = hand_over(box)
    for upload in ("a", "b", "c"):
        box.run.say(events.EvidenceStored(incident_id, "n1", upload, 1024, "0" * 64, f"https://kept/{upload}"))
    assert box.due() == []
    box.run.wait(RULES.bundle_s)
    (told,) = box.carry_out_all()
    assert (told.act, told.destination) == (Act.TELL, "jira")
    assert told.news.splitlines() == [f"Evidence: https://kept/{each} (1.0 KiB)." for each in "abc"]
    assert box.due() == []


def test_an_incident_that_ends_closes_all_its_notices_with_how_it_ended() -> None:
    box = box_of()
    hand_over(box)
    box.run.say(events.OperatorActed("uncordon", "n1", "kim", "swapped"))
    (uncordon,) = box.run.under_way()
    box.run.end(uncordon)
    closes = [each for each in box.carry_out_all() if each.act is Act.CLOSE]
    assert what(closes) == [("close", "jira"), ("close", "duty"), ("close", "chat")]
    assert "returned to service by kim: swapped" in closes[0].news
    assert box.run.belief.notices.open_threads == {}


def test_what_people_were_left_with_ends_when_nothing_of_it_is_found_for_a_while() -> None:
    box = box_of(FLAP)
    incident_id = hand_over(box)
    assert box.run.belief.incidents[incident_id].outcome == "handed_over"
    box.run.wait(RULES.bundle_s)
    assert what(box.carry_out_all()) == [("tell", "jira")]
    box.run.clear_on("n1", xid("79"))
    box.run.wait(QUIET_S - 1.0)
    assert [each for each in box.due() if each.act is Act.CLOSE] == []
    box.run.wait(1.0)
    assert ("close", "jira") in what(box.carry_out_all())
    assert box.there["jira"] == {}


def test_what_comes_back_meanwhile_joins_the_open_ticket() -> None:
    box = box_of(FLAP)
    hand_over(box)
    box.carry_out_all()
    box.run.clear_on("n1", xid("79"))
    second = hand_over(box)
    assert second == "inc-000002"
    assert [(filed.destination, filed.joined) for filed in box.made] == [
        ("jira", False),
        ("duty", False),
        ("chat", False),
        ("jira", True),
        ("duty", True),
        ("chat", True),
    ]
    told = box.carry_out_all()
    assert {each.destination for each in told if "inc-000002 too." in each.news} == {"jira", "duty", "chat"}


def test_a_ticket_of_a_closed_incident_is_opened_again_once_while_it_is_found() -> None:
    box = box_of(FLAP)
    hand_over(box)
    box.run.wait(60.0)
    box.carry_out_all()
    box.hear(0, "closed")
    box.run.wait(SETTLE_S - 1.0)
    assert [each for each in box.due() if each.destination == "jira"] == []
    box.run.wait(1.0)
    assert [each.news for each in box.carry_out_all() if each.destination == "jira"] == [
        "It was closed here and is still found."
    ]
    box.hear(0, "closed")
    box.run.wait(SETTLE_S)
    assert ("close", "jira") in what(box.carry_out_all())


def close_in_vain(box: Letterbox, wait_s: float) -> None:
    """Have the ticket closed, and verified in vain after so long and not before."""
    box.hear(0, "closed")
    if wait_s:
        box.run.wait(wait_s - 1.0)
        assert box.run.under_way() == []
        box.run.wait(1.0)
    while intents := box.run.under_way():
        box.run.end(intents[0], "failed")
        box.run.wait(700.0)
    box.carry_out_all()


def test_each_further_closing_after_a_failed_verification_waits_longer_and_then_people_decide() -> None:
    box = box_of()
    incident = box.run.belief.incidents[hand_over(box)]
    for wait_s in WAITS_S:
        close_in_vain(box, wait_s)
        assert incident.state == "handed_over"
    returns = [entry.event for entry in box.run.log if isinstance(entry.event, events.IncidentReturning)]
    assert [each.reason.inputs.get("waited_s") for each in returns] == [None, "900", "3600"]
    assert "opened again" in returns[-1].reason.unless

    box.hear(0, "closed")
    told = [each for each in box.carry_out_all() if "A person must decide" in each.news]
    assert [each.destination for each in told] == ["jira", "duty", "chat"]
    for _ in range(3):
        box.hear(0, "closed")
        box.run.wait(100_000.0)
        assert box.carry_out_all() == [] and box.run.under_way() == []

    box.run.say(events.OperatorActed("approve", incident.id, "kim", ""))
    assert [intent.verb for intent in box.run.under_way()] == ["verify"]


@pytest.mark.parametrize("gone_first", [True, False])
def test_who_joins_a_ticket_that_is_gone_gets_one_of_its_own(*, gone_first: bool) -> None:
    box = box_of(FLAP)
    hand_over(box)
    box.carry_out_all()
    box.run.clear_on("n1", xid("79"))
    box.run.raise_on("n1", xid("79"))
    box.run.wait(61.0)
    intent = box.mail()
    assert intent is not None
    second, thread = intent.incident_id, box.run.belief.notices.threads["ticket jira jira-1"]
    gone = NoticeHeard("inc-000001", "ticket", "jira", "jira-1", "gone")
    joins = NoticeFiled(
        *(
            second,
            "ticket",
            "jira",
            "jira-1",
            "",
            thread.subject,
            intent.key,
            f"{second} too.",
            "title",
            "",
            "critical",
        ),
        joined=True,
    )
    for event in (gone, joins) if gone_first else (joins, gone):
        box.run.say(event)
    box.run.end(intent, "done")

    (filed,) = [each for each in box.carry_out_all() if each.act is Act.FILE]

    assert (filed.incident_id, filed.destination) == (second, "jira")
    (mine,) = [each for each in box.run.belief.notices.of(second) if each.kind == "ticket"]
    assert (mine.reference != "jira-1", mine.state, mine.follows) == (True, "open", "jira-1")
    assert box.run.belief.notices.owed == {}


def test_who_opens_a_ticket_again_takes_back_that_it_is_mended() -> None:
    box = box_of()
    hand_over(box)
    close_in_vain(box, 0.0)
    box.hear(0, "closed")
    box.hear(0, "open")
    box.run.wait(10_000.0)
    assert box.run.under_way() == []


def test_an_acknowledged_page_is_told_everywhere_else_and_not_escalated() -> None:
    box = box_of()
    incident_id = hand_over(box)
    box.run.say(events.OperatorActed("acknowledge", incident_id, "kim", ""))
    assert what(box.due())[-2:] == [("acknowledge", "duty"), ("acknowledge", "chat")]
    box.carry_out_all()
    box.run.wait(2_000.0)
    assert ("escalate", "boss") not in what(box.due())


def test_who_acknowledged_a_page_did_so_for_what_was_on_it_then() -> None:
    box = box_of(FLAP)
    first = hand_over(box)
    box.hear(1, "acknowledged")
    box.carry_out_all()
    box.run.clear_on("n1", xid("79"))
    second = hand_over(box)
    box.carry_out_all()
    page = box.run.belief.notices.threads["page duty duty-2"]
    assert (page.heard, page.state, list(page.incidents)) == ("acknowledged", "open", [first, second])

    box.run.wait(899.0)
    assert ("escalate", "boss") not in what(box.due())
    box.run.wait(1.0)

    assert [each.incident_id for each in box.carry_out_all() if each.act is Act.ESCALATE] == [second]
    box.run.wait(4_000.0)
    assert ("escalate", "boss") not in what(box.due())


def test_a_page_that_rang_again_can_be_acknowledged_for_the_incident_that_joined() -> None:
    box = box_of(FLAP)
    hand_over(box)
    box.hear(1, "acknowledged")
    box.run.clear_on("n1", xid("79"))
    hand_over(box)
    box.carry_out_all()
    box.hear(1, "open")
    box.hear(1, "acknowledged")
    assert box.run.belief.notices.threads["page duty duty-2"].state == "acknowledged"
    box.run.wait(2_000.0)
    assert ("escalate", "boss") not in what(box.due())


@pytest.mark.parametrize("verb", ["approve", "abort"])
def test_whoever_decides_acknowledges(verb: str) -> None:
    box = box_of()
    incident_id = hand_over(box)
    box.run.say(events.OperatorActed(verb, incident_id, "kim", ""))
    assert box.run.belief.incidents[incident_id].acknowledged_by == "kim"


def test_a_storm_of_one_place_is_one_page_whatever_broke_and_others_stay_single() -> None:
    rules = NoticeRules(pages=(DestinationRule("duty"),), tickets=(DestinationRule("jira"),), storm=StormRule(2, 300.0))
    box = box_of(rules=rules)
    for node in ("n1", "n2", "n3", "n4"):
        box.run.say(events.NodePlaced(node, {"rack": ["r1"]}))
    for node in ("n1", "n2", "n3", "n4"):
        hand_over(box, node)
    pages = [filed for filed in box.made if filed.destination == "duty"]
    assert [(filed.group, filed.joined) for filed in pages] == [
        ("", False),
        ("", False),
        ("rack=r1", False),
        ("rack=r1", True),
    ]
    assert len(box.there["jira"]) == 4
    box.run.wait(GROUP_BUNDLE_S)
    (told,) = [each for each in box.carry_out_all() if each.destination == "duty"]
    assert told.news == "2 incidents now: 2 × gpu_lost, all of them in rack r1, on n3, n4."
    box.run.wait(400.0)
    hand_over(box, "n5")
    assert (box.made[-1].group, box.made[-1].joined) == ("", False)


def test_an_incident_that_a_domain_takes_over_while_its_page_is_in_flight_has_it_closed() -> None:
    box = box_of(FLAP)
    run = box.run
    run.raise_on("n1", xid("79"))
    run.wait(61.0)
    (ticket,) = run.under_way("n1")
    box.step(ticket)
    (page,) = run.under_way("n1")
    assert page.verb == "page"
    run.say(events.IncidentSuperseded("inc-000001", "inc-000009", events.Reason("A leaf explains it.")))
    for rule in RULES.routed("page", "", "critical"):
        box.file("inc-000001", "page", rule.name, page.key)
    for intent in run.under_way("n1"):
        run.end(intent)
    box.carry_out_all()
    assert run.belief.incidents["inc-000001"].state == "closed"
    assert [each for here in box.there.values() for each in here] == []
    run.wait(4_000.0)
    assert box.due() == []


def test_two_hundred_pages_that_are_open_at_once_are_each_followed_to_their_own_end() -> None:
    rules = NoticeRules(
        pages=(DestinationRule("duty"),), tickets=(DestinationRule("jira"),), storm=StormRule(1_000, 300.0)
    )
    box = box_of(FLAP, rules=rules, nodes=200)
    nodes = [f"n{number}" for number in range(1, 201)]
    for node in nodes:
        hand_over(box, node)
    box.carry_out_all()
    assert len(set(box.there["duty"].values())) == len(box.there["jira"]) == 200
    for node in nodes[:100]:
        box.run.clear_on(node, xid("79"))
    box.run.wait(QUIET_S)
    assert len([each for each in box.carry_out_all() if each.act is Act.CLOSE]) == 200
    assert {subject.split()[0].split("/")[0] for subject in box.there["duty"].values()} == set(nodes[100:])


def test_a_group_that_came_to_rest_takes_no_later_page() -> None:
    rules = NoticeRules(pages=(DestinationRule("duty"),), storm=StormRule(1, 300.0))
    box = box_of(rules=rules)
    for node in ("n1", "n2", "n3"):
        hand_over(box, node)
    box.run.wait(1_000.0)
    hand_over(box, "n4")
    hand_over(box, "n5")
    pages = [filed for filed in box.made if filed.destination == "duty"]
    assert [bool(filed.group) for filed in pages] == [False, True, True, False, True]
    assert len(box.there["duty"]) == 4


def test_routing_takes_the_first_ticket_system_and_every_pager_that_fits() -> None:
    net, every = DestinationRule("net", frozenset({"network"})), DestinationRule("every")
    rules = NoticeRules(
        tickets=(net, every), pages=(DestinationRule("loud", severities=frozenset({"critical"})), every)
    )
    names = [rule.name for rule in rules.routed("ticket", "network", "")]
    assert (names, [r.name for r in rules.routed("ticket", "storage", "")]) == (["net"], ["every"])
    assert [rule.name for rule in rules.routed("page", "", "critical")] == ["loud", "every"]
    assert [rule.name for rule in rules.routed("page", "", "warning")] == ["every"]
