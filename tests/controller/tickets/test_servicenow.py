"""What is ServiceNow's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from controller.errors import Permanent
from controller.tickets.marks import mark_of
from tests.support.servicenow import GROUP, ServiceNowDouble
from tests.support.ticket_double import running
from tests.support.ticket_notices import CELL, news, ticket_notice


@pytest.fixture
async def servicenow() -> AsyncIterator[ServiceNowDouble]:
    double = ServiceNowDouble()
    async with running(double):
        yield double


async def test_a_ticket_has_all_that_its_notice_says(servicenow: ServiceNowDouble, tmp_path: Path) -> None:
    filed = await servicenow.desk(tmp_path).send(ticket_notice())

    (record,) = servicenow.state.values()
    assert filed.reference == "INC0000001"
    assert unquote(filed.url) == f"{servicenow.url}/nav_to.do?uri=incident.do?sys_id={1:032x}"
    assert record["short_description"] == "n2: A GPU has fallen off the bus."
    assert (record["impact"], record["urgency"], record["assignment_group"]) == ("1", "1", GROUP)
    assert (record["u_serial"], record["category"]) == ("1654321", "hardware")
    assert record["correlation_id"] == mark_of(ticket_notice(), CELL).text
    assert "Cable: C-118" in record["description"].splitlines()


async def test_a_long_text_is_cut_and_says_so(servicenow: ServiceNowDouble, tmp_path: Path) -> None:
    body = "\n".join(f"line {number} " + "x" * 80 for number in range(200))
    await servicenow.desk(tmp_path).send(ticket_notice(body=body))

    (record,) = servicenow.state.values()
    assert len(record["description"]) <= 4000
    assert record["description"].splitlines()[0].startswith("line 0 ")
    assert "more lines did not fit here; the incident's page has them." in record["description"].splitlines()[-1]


async def test_a_state_that_wants_a_code_gets_it(servicenow: ServiceNowDouble, tmp_path: Path) -> None:
    tickets = servicenow.desk(tmp_path, close_code="Replaced")
    filed = await tickets.send(ticket_notice())
    await tickets.close(filed.reference, news(text="Verified; n2 is back."))

    (record,) = servicenow.state.values()
    assert (record["state"], record["close_code"]) == ("6", "Replaced")
    assert record["close_notes"].startswith("Verified; n2 is back.")


async def test_a_code_that_is_missing_is_said_in_its_words(servicenow: ServiceNowDouble, tmp_path: Path) -> None:
    tickets = servicenow.desk(tmp_path, close_code="")
    filed = await tickets.send(ticket_notice())

    with pytest.raises(Permanent, match="The following fields are mandatory: Resolution code"):
        await tickets.close(filed.reference, news())


async def test_one_that_is_closed_for_good_says_so(servicenow: ServiceNowDouble, tmp_path: Path) -> None:
    tickets = servicenow.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    servicenow.close_as_technician(filed.reference, "Swapped.")

    with pytest.raises(Permanent, match=f"lack a right for changes of {filed.reference}.*ACL Exception"):
        await tickets.update(filed.reference, news())


async def test_a_condition_that_is_passed_over_finds_no_ticket_of_others(
    servicenow: ServiceNowDouble, tmp_path: Path
) -> None:
    """ServiceNow returns everything where it does not know a condition."""
    tickets = servicenow.desk(tmp_path)
    await tickets.send(ticket_notice(1))

    with pytest.raises(Permanent, match="a reference must have no '\\^'"):
        await tickets.look(["INC1^ORactive=true"])
    assert await tickets.tracker.read("INC9") is None
