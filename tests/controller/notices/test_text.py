"""What a page says: that it can be acted on, and that nothing in it can be turned against who reads it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.finding import Action, Finding, Verdict
from controller import events
from controller.adapters import Notice
from controller.notices.around import Around, around
from controller.notices.lengths import MAX_CHAT, MAX_FULL, chat, full, links_of, news, summary
from controller.notices.text import MAX_LINE, MAX_TITLE, notice_for
from controller.notices.wording import HIDDEN, cut, lines_within, one_line, without_secrets
from controller.policy.incident import Incident
from controller.policy.playbook import Mode, Playbook
from controller.policy.rules import Budget, Rules
from tests.support.policy import PolicyRun
from tests.support.shipped import SHIPPED
from wire.messages import NodeFacts

AT = 1_769_825_400.0
"""2026-01-31 02:10 UTC."""

URL = "https://fleetmend.example/incidents/inc-000001"
LOST = Finding(
    "gpu.xid",
    "GPU-3",
    "79",
    Verdict.FAILED,
    Action.REBOOT,
    "Xid 79: GPU-3 has fallen off the bus.",
    pci="0000:3b:00",
    serial="1654321",
    evidence={"message": "NVRM: Xid ...", "temperature_celsius": "61", "slot": "5"},
)
FACTS = NodeFacts(serial="S-4711", gpu_model="NVIDIA H100", devices={"GPU-3": "gpu NVIDIA H100 serial 1654321"})


@cache
def book(name: str = "gpu_lost") -> Playbook:
    return next(each for each in SHIPPED if each.name == name)


def new_run(playbook: Playbook) -> PolicyRun:
    run = PolicyRun(Rules((playbook,), Budget(nodes=2), breakers=(), domains=()), now=AT)
    places = {"site": ["fra1"], "rack": ["r12"], "leaf": ["leaf-3"], "rail": ["7"]}
    run.say(
        events.NodeSeen("n2", "boot-1", FACTS),
        events.NodePlaced("n2", places),
        events.PresenceChanged("n2", "online", "so"),
        events.ScheduleObserved("n2", True, "", "", ["4711", "4712"], AT),
    )
    run.raise_on("n2", LOST)
    return run


def until(run: PolicyRun, verb: str) -> Incident:
    """Let steps end until one of this verb is under way; repairs do not help."""
    for _ in range(20):
        intent = run.incident().intent
        assert intent is not None
        if intent.verb == verb:
            return run.incident()
        if intent.verb in {"reboot", "power_cycle"}:
            run.end(intent, "failed", f"The {intent.verb} did not help.")
        elif intent.verb == "collect":
            run.order_ended(intent)
        else:
            run.end(intent)
    raise AssertionError(f"no {verb}")


def notice_of(run: PolicyRun) -> Notice:
    incident = run.incident()
    assert incident.intent is not None
    known = around(run.belief, incident)
    return notice_for(incident, incident.intent, at=run.now, page_url="https://fleetmend.example", known=known)


def intended(verb: str) -> events.StepIntended:
    """Return the intent of a step by itself."""
    run = new_run(book())
    incident = until(run, verb)
    assert incident.intent is not None
    return incident.intent


def line(notice: Notice, label: str) -> str:
    return next((each for each in notice.body.splitlines() if each.startswith(f"{label}: ")), "")


def test_a_page_can_be_acted_on() -> None:
    run = new_run(book())
    until(run, "page")
    notice = notice_of(run)

    assert notice.title == "n2: A GPU has fallen off the bus."
    assert notice.body.splitlines() == [
        "What: A GPU has fallen off the bus. Handed to people: The power_cycle did not help.",
        "Where: site fra1, rack r12, leaf leaf-3, node n2 (serial S-4711), pci 0000:3b:00, slot 5, "
        "GPU-3 (gpu NVIDIA H100 serial 1654321)",
        "Seen: gpu.xid 79 on GPU-3: Xid 79: GPU-3 has fallen off the bus. [temperature_celsius 61]",
        "Impact: 2 jobs run on n2: 4711, 4712.",
        "Done: taken out of service, drained (no job left), evidence collected, rebooted (did not work), "
        "switched off and on (did not work). Last failure: The power_cycle did not help.",
        "Next: n2 stays out of service. When it is mended, `fleetmend approve inc-000001` verifies and returns it; "
        "`fleetmend uncordon n2` returns it at once.",
        "You can: acknowledge (you look after it, nobody else is called); approve (n2 is verified and returned); "
        "undo (n2 is given back at once, unverified)",
        "Runbook: https://fleetmend.example/docs/how-to/respond/gpu_lost.md",
        f"More: {URL}",
    ]
    assert notice.facts == {
        "pci": "0000:3b:00",
        "slot": "5",
        "serial": "1654321",
        "site": "fra1",
        "rack": "r12",
        "leaf": "leaf-3",
        "node_serial": "S-4711",
        "model": "NVIDIA H100",
        "jobs": "4711, 4712",
        "playbook": "gpu_lost",
    }


def test_the_document_shows_such_a_page() -> None:
    run = new_run(book())
    until(run, "page")
    notice = notice_of(run)
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "paging.md").read_text()

    assert text.split("```text\n")[1].split("```")[0] == f"{notice.title}\n\n{notice.body}\n"


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("drain", "Next: drain ends by 02:20 UTC at the latest, then collect, reboot, verify, probation, uncordon."),
        ("reboot", "Next: reboot ends by 02:40 UTC at the latest, then verify, probation, uncordon."),
    ],
)
def test_it_says_what_comes_next_and_by_when(verb: str, said: str) -> None:
    run = new_run(book())
    until(run, verb)

    assert line(notice_of(run), "Next") == said


def test_a_moment_of_another_day_has_its_date() -> None:
    run = new_run(book())
    until(run, "drain")
    run.now += 86_400.0

    assert "ends by 2026-01-31 02:20 UTC" in line(notice_of(run), "Next")


def test_a_plan_that_asks_says_what_a_yes_does() -> None:
    run = new_run(replace(book(), mode=Mode.ASK))
    incident = run.incident()
    assert incident.intent is None
    page = intended("page")
    notice = notice_for(incident, page, at=AT, page_url="https://fleetmend.example")

    assert line(notice, "Next") == "Next: Waits for a person's approval."
    assert "approve (the plan goes on); stop (nothing more is done by itself)" in line(notice, "You can")


def test_its_links_are_the_incidents_page_and_what_can_be_done_there() -> None:
    run = new_run(book())
    until(run, "drain")
    notice = notice_of(run)

    assert links_of(notice) == {
        "Incident": URL,
        "Acknowledge": f"{URL}#acknowledge",
        "Stop": f"{URL}#stop",
        "Undo": f"{URL}#undo",
        "Runbook": "https://fleetmend.example/docs/how-to/respond/gpu_lost.md",
    }


@pytest.mark.parametrize(
    ("runbook", "said"),
    [
        ("https://wiki.example/gpu-lost", "https://wiki.example/gpu-lost"),
        ("docs/of-ours/gpu-lost.md", "docs/of-ours/gpu-lost.md"),
    ],
)
def test_a_runbook_of_a_sites_own_is_said_as_its_playbook_does(runbook: str, said: str) -> None:
    run = new_run(replace(book(), runbook=runbook))
    until(run, "drain")
    notice = notice_of(run)

    assert line(notice, "Runbook") == f"Runbook: {said}"
    assert notice.links.get("runbook", "") == (said if said.startswith("https://") else "")


def repaired(verb: str) -> PolicyRun:
    """Return a run in which all worked until a step of this verb is under way."""
    run = new_run(book())
    while (intent := run.incident().intent) is not None and intent.verb != verb:
        if intent.verb == "collect":
            run.order_ended(intent)
        else:
            run.end(intent)
    return run


def test_a_verification_that_did_not_pass_is_not_said_to_have_verified() -> None:
    run = repaired("verify")
    while (intent := run.incident().intent) is None or intent.verb == "verify":
        if intent is not None:
            run.end(intent, "failed", "Still found on fresh readings.")
        run.wait(60.0)

    assert intent.verb == "ticket"
    assert "rebooted (done), verified ×3 (did not pass). Last failure: Still found" in line(notice_of(run), "Done")


def test_a_verification_that_passed_is_said_to_have() -> None:
    run = repaired("probation")
    assert "rebooted (done, verified), verified." in line(notice_of(run), "Done")
    (watch,) = run.under_way()
    run.end(watch, "failed", "It fell off the bus again.")

    assert "rebooted (done, verified), verified, watched idle" in line(notice_of(run), "Done")


def test_only_the_newest_findings_are_told_and_the_others_counted() -> None:
    run = new_run(book())
    for number in range(6):
        run.raise_on("n2", replace(LOST, device=f"GPU-{number + 10}", code="167", because=f"Finding {number}."))
    seen = [each for each in notice_of(run).body.splitlines() if each.startswith("Seen: ")]

    assert len(run.incident().condemned_by) == 7
    assert "Finding 5." in seen[0] and seen[-1] == "Seen: 3 more on the incident's page"


def test_a_port_and_its_cable_are_named() -> None:
    cable = Finding(
        "fabric.cable",
        "mlx5_4/1",
        "dark",
        Verdict.FAILED,
        Action.CHECK_CABLING,
        "no light",
        serial="MT2132VS",
        evidence={"part": "MCP4Y10-N002", "port_guid": "0002c903"},
    )
    run = new_run(book())
    incident = run.incident()
    incident.condemned_by = {cable.key: cable}
    assert incident.intent is not None
    notice = notice_for(incident, incident.intent, at=AT, page_url="http://x")

    assert notice.facts | {"port": "mlx5_4/1", "cable": "MT2132VS", "part": "MCP4Y10-N002"} == notice.facts
    assert "port mlx5_4/1, cable MT2132VS" in line(notice, "Where")


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Around(jobs=("1",)), "Impact: 1 job runs on n2: 1."),
        (Around(jobs=tuple("123456789")), "Impact: 9 jobs run on n2: 1, 2, 3, 4, 5 and 4 more."),
        (
            Around(jobs_unknown="Slurm does not answer."),
            "Impact: Nobody can tell which jobs run on n2: Slurm does not answer.",
        ),
        (Around(), "Impact: No job runs on n2."),
    ],
)
def test_it_says_whom_it_hurts(known: Around, said: str) -> None:
    incident = new_run(book()).incident()
    assert incident.intent is not None

    assert line(notice_for(incident, incident.intent, at=AT, page_url="http://x", known=known), "Impact") == said


# --- whatever others wrote -------------------------------------------------------------------------------------------

TEXT = st.text(max_size=2_000)
LABELS = ("What", "Where", "Seen", "Impact", "Done", "Next", "You can", "Runbook", "More")


@given(because=TEXT, device=TEXT, code=TEXT, value=TEXT, serial=TEXT, place=TEXT, job=TEXT, failure=TEXT, summary_=TEXT)
def test_words_of_others_stay_in_their_line(
    because: str,
    device: str,
    code: str,
    value: str,
    serial: str,
    place: str,
    job: str,
    failure: str,
    summary_: str,
) -> None:
    incident = new_run(replace(book(), summary=summary_)).incident()
    finding = Finding(
        "gpu.xid", device, code, Verdict.FAILED, Action.REBOOT, because, serial=serial, evidence={"value": value}
    )
    incident.condemned_by, incident.last_failure, incident.because = {finding.key: finding}, failure, because
    assert incident.intent is not None
    known = Around(NodeFacts(serial=serial), {"rack": (place,)}, jobs=(job,))
    notice = notice_for(incident, incident.intent, at=AT, page_url="https://fleetmend.example", known=known)

    labels = [each.split(":")[0] for each in notice.body.split("\n")]
    assert labels == [label for label in LABELS if label in labels]
    assert {"Where", "Seen", "Impact", "Done", "Next", "More"} <= set(labels)
    assert all(len(each) <= MAX_LINE + 12 and each.isprintable() for each in notice.body.split("\n"))
    assert len(notice.title) <= MAX_TITLE and notice.title.isprintable()
    assert all(text.isprintable() and len(text) <= 500 for text in notice.facts.values())
    again = notice_for(incident, incident.intent, at=AT, page_url="https://fleetmend.example", known=known)
    assert notice == again


@given(st.text(max_size=20_000), st.text(max_size=5_000), st.integers(1, 400))
def test_every_length_is_kept(body: str, told: str, limit: int) -> None:
    notice = Notice("k", "page", "inc-1", "n1", "", "f", "critical", body, body, AT, url=URL, news=told)

    assert len(summary(notice, limit)) <= limit and "\n" not in summary(notice, limit)
    for text, most in ((full(notice), MAX_FULL), (chat(notice), MAX_CHAT), (news(notice), MAX_CHAT)):
        assert len(text) <= most and text.replace("\n", "").isprintable()
    assert URL in chat(notice) and URL in news(notice)


@given(st.text(max_size=300), st.integers(0, 200))
def test_a_line_is_one_line(text: str, limit: int) -> None:
    line_ = one_line(text, limit)
    assert len(line_) <= limit and (line_.isprintable() or not line_)
    assert one_line(line_, limit) == line_
    assert len(cut(text, limit)) <= limit


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=100), max_size=40), st.integers(60, 1_000))
def test_what_is_left_out_is_counted(lines: list[str], limit: int) -> None:
    text = lines_within(lines, limit)
    assert len(text) <= limit
    if text != "\n".join(lines):
        kept = text.count("\n")
        assert text.endswith(f"({len(lines) - kept} more lines on the incident's page)")


SECRET = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40)


@given(SECRET)
def test_what_looks_like_a_secret_is_not_told(secret: str) -> None:
    for text in (
        f"https://admin:{secret}@host/x",
        f"mount failed: password={secret}, trying again",
        f'{{"token": "{secret}"}}',
        f"curl -H 'Authorization: Bearer {secret}'",
        f"GET https://s3/x?X-Amz-Signature={secret}&X-Amz-Credential={secret}",
        f"api_key : {secret}",
        f"Authorization: Token {secret} Accept: */*",
        f'"authorization":"{secret}"',
    ):
        assert secret not in without_secrets(text) and HIDDEN in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "The driver reported Xid 79: GPU-3 has fallen off the bus.",
        "What: n2 holds no token of the lease.",
        "https://fleetmend.example/incidents/inc-000001#acknowledge",
        "the tokens per second fell from 100 to 50",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
