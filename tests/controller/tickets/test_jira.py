"""What is Jira's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.adapters import Answer, Filed, Heard
from controller.errors import Permanent, Retryable
from controller.tickets.jira import INDEXED_AFTER_S
from controller.tickets.marks import mark_of
from tests.support.jira import JiraDouble
from tests.support.ticket_double import DROPPED, running
from tests.support.ticket_notices import CELL, news, ticket_notice


@pytest.fixture(params=[True, False], ids=["cloud", "data_center"])
async def jira(request: pytest.FixtureRequest) -> AsyncIterator[JiraDouble]:
    double = JiraDouble(is_cloud=request.param)
    async with running(double):
        yield double


async def test_a_ticket_has_all_that_its_notice_says(jira: JiraDouble, tmp_path: Path) -> None:
    filed = await jira.desk(tmp_path).send(ticket_notice())

    fields, mark = jira.state["DC-1"].fields, mark_of(ticket_notice(), CELL)
    assert filed == Filed("DC-1", f"{jira.url}/browse/DC-1")
    assert fields["summary"] == "n2: A GPU has fallen off the bus."
    assert (fields["priority"], fields["components"]) == ({"name": "Highest"}, [{"name": "GPU"}])
    assert (fields["customfield_10042"], fields["labels"]) == ("1654321", ["fleetmend", mark.subject, mark.text])
    for said in ("Xid 79 on GPU-3 at 90 °C.", "swp7", "C-118", "SN-0002", "GPU has fallen off the bus."):
        assert said in str(fields["description"])


async def test_another_team_has_the_usual_project(jira: JiraDouble, tmp_path: Path) -> None:
    assert (await jira.desk(tmp_path).send(ticket_notice(team="network"))).reference == "FLEET-1"


async def test_a_transition_is_named_by_where_it_leads_too(jira: JiraDouble, tmp_path: Path) -> None:
    tickets = jira.desk(tmp_path, close="resolve ISSUE", reopen="to do")
    filed = await tickets.send(ticket_notice())
    await tickets.close(filed.reference, news())
    await tickets.update(filed.reference, news(count=2))

    assert jira.state["DC-1"].status == "To Do"


async def test_a_transition_that_there_is_not_is_said_with_those_that_there_are(
    jira: JiraDouble, tmp_path: Path
) -> None:
    tickets = jira.desk(tmp_path, close="Finish")
    filed = await tickets.send(ticket_notice())

    with pytest.raises(
        Permanent,
        match=r"DC-1 is 'To Do' and has no transition 'Finish' as close says; there are: 'Start' \(to 'In Progress'\), "
        r"'Resolve issue' \(to 'Done'\)",
    ):
        await tickets.close(filed.reference, news())


async def test_what_jira_refuses_is_said_in_its_words(jira: JiraDouble, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"answered 400 .*valid project is required"):
        await jira.desk(tmp_path, projects={"datacentre": "GONE"}).send(ticket_notice())
    with pytest.raises(Permanent, match=r"customfield_1' cannot be set\. It is not on the appropriate screen"):
        await jira.desk(tmp_path, fields={"slot": "customfield_1"}).send(ticket_notice())


async def test_one_that_was_moved_to_another_project_is_followed(jira: JiraDouble, tmp_path: Path) -> None:
    tickets = jira.desk(tmp_path)
    await tickets.send(ticket_notice())
    jira.state["FLEET-9"] = jira.state.pop("DC-1")
    jira.moved["DC-1"] = "FLEET-9"

    assert await tickets.look(["DC-1"]) == {"DC-1": Answer(Heard.OPEN)}
    await tickets.update("DC-1", news())
    assert len(jira.comments("FLEET-9")) == 1


async def test_a_create_that_nobody_answered_for_is_looked_for_when_the_index_knows(
    jira: JiraDouble, tmp_path: Path
) -> None:
    jira.fail(DROPPED, "POST", "/issue")

    with pytest.raises(Retryable, match="did not answer") as raised:
        await jira.desk(tmp_path).send(ticket_notice())

    assert raised.value.after_s == INDEXED_AFTER_S


async def test_a_technician_who_said_nothing_is_heard_too(jira: JiraDouble, tmp_path: Path) -> None:
    tickets = jira.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    await tickets.update(filed.reference, news())
    jira.close_as_technician(filed.reference, "Swapped it.")
    jira.state[filed.reference].comments.pop()

    assert await tickets.look(["DC-1"]) == {"DC-1": Answer(Heard.CLOSED, "Terry Technician", "Done")}
