"""What a controller makes of messages of newer agents: nothing lost, nothing guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchResult
from checks.finding import Action, Finding, Verdict
from wire import messages, newer
from wire.topics import Address, Channel

WHERE = Address("main", "n1", Channel.EVENT)
FINDING = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "GPU-0 is off the bus.")
RESULT = BenchResult(
    Benchmark.GEMM, Outcome.FAIL, "Two sums differ.", faults=(BenchFault("wrong_result", "GPU 3 is wrong."),)
)
DOES_NOT_KNOW = "(Its agent is newer than this controller, which does not know its word {})"


def sent(body: messages.Body, change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    document = json.loads(messages.encode(messages.Envelope(messages.VERSION, "n1", "boot-1", 3, 7.0, body)))
    change(document)
    return json.dumps(document).encode()


def raised(**changed: str) -> bytes:
    return sent(messages.FindingRaised(FINDING, 5.0), lambda document: document["body"]["finding"].update(changed))


def test_what_is_known_is_read_as_ever() -> None:
    payload = sent(messages.FindingRaised(FINDING, 5.0))
    assert newer.read(payload, WHERE) == messages.decode(payload, WHERE)


def test_fields_that_are_not_known_are_left_out_at_every_depth() -> None:
    def grow(document: dict[str, Any]) -> None:
        for each in (document, document["body"], document["body"]["finding"]):
            each["grown"] = {"in": ["a", "later", "version"]}

    assert newer.read(sent(messages.FindingRaised(FINDING, 5.0), grow), WHERE).body == messages.FindingRaised(
        FINDING, 5.0
    )


@pytest.mark.parametrize(
    ("field", "word", "least"), [("verdict", "doomed", Verdict.UNKNOWN), ("action", "swap_tray", Action.NONE)]
)
def test_a_word_that_is_not_known_promises_and_demands_nothing_and_people_read_it(
    field: str, word: str, least: str
) -> None:
    body = newer.read(raised(**{field: word}), WHERE).body
    assert isinstance(body, messages.FindingRaised)
    assert getattr(body.finding, field) == least
    assert body.finding.because == f"GPU-0 is off the bus. {DOES_NOT_KNOW.format(repr(word))[:-1]}.)"
    assert body.finding.key == FINDING.key


def test_every_closed_set_has_a_stand_in_or_makes_the_event_one_that_is_kept_unread() -> None:
    def grow(document: dict[str, Any]) -> None:
        document["body"]["result"]["outcome"] = "odd"
        document["body"]["result"]["faults"][0]["severity"] = "dire"

    ended = messages.BenchEnded("lease-1", RESULT, 1.0, 2.0)
    body = newer.read(sent(ended, grow), WHERE).body
    assert isinstance(body, messages.BenchEnded)
    assert (body.result.outcome, body.result.faults[0].severity) == (Outcome.ERROR, Outcome.ERROR)
    assert "'odd'" in body.result.because
    assert "'dire'" in body.result.faults[0].because

    unread = newer.read(sent(ended, lambda document: document["body"]["result"].update(benchmark="fft")), WHERE).body
    assert isinstance(unread, messages.Unknown)
    assert (unread.kind, json.loads(unread.text)["result"]["benchmark"]) == ("bench.ended", "fft")


def test_a_level_with_one_strange_word_is_a_level() -> None:
    status = messages.Status(messages.NodeFacts(), [FINDING, FINDING], {}, 0, 1.0, 2.0)
    payload = sent(status, lambda document: document["body"]["findings"][1].update(verdict="doomed"))
    body = newer.read(payload, WHERE).body
    assert isinstance(body, messages.Status)
    assert [each.verdict for each in body.findings] == [Verdict.FAILED, Verdict.UNKNOWN]
    assert body.findings[0] == FINDING


def test_a_kind_that_is_not_known_is_kept_to_the_letter_with_all_that_surrounds_it() -> None:
    payload = sent(messages.Presence("online", 1.0), lambda document: document["body"].update(type="x" * 99, more=[1]))
    envelope = newer.read(payload, WHERE)
    assert isinstance(envelope.body, messages.Unknown)
    assert (envelope.seq, envelope.boot_id, envelope.sent_at) == (3, "boot-1", 7.0)
    assert envelope.body.kind == "x" * messages.MAX_KIND
    assert json.loads(messages.encode(envelope))["body"] == json.loads(payload)["body"]


def test_an_agent_refuses_such_a_kind_and_says_so() -> None:
    payload = sent(messages.Stored("boot-1", [1]), lambda document: document["body"].update(type="forecast"))
    with pytest.raises(messages.Refused, match=r"^newer: this version does not know the kind 'forecast': update it$"):
        messages.decode(payload, WHERE)


@pytest.mark.parametrize(
    ("payload", "because"),
    [
        (sent(messages.Presence("online", 1.0), lambda document: document.update(version=3)), "version: "),
        (sent(messages.Presence("online", 1.0), lambda document: document.update(node="n2")), "forged: "),
        (sent(messages.Presence("online", 1.0), lambda document: document["body"].update(state=3)), "malformed: "),
        (sent(messages.Presence("online", 1.0), lambda document: document["body"].pop("type")), "malformed: "),
        (
            sent(messages.Presence("online", 1.0), lambda document: document.update(seq="x", body={"type": "x"})),
            "newer: ",
        ),
        (raised(verdict="doomed", action="swap_tray")[:-3], "malformed: "),
        (b"[" * 100_000, "malformed: "),
        (b" " * (messages.MAX_BYTES + 1), "oversized: "),
    ],
)
def test_what_is_no_message_is_refused_as_ever(payload: bytes, because: str) -> None:
    with pytest.raises(messages.Refused, match=f"^{because}"):
        newer.read(payload, WHERE)


def test_a_forged_sender_is_not_let_in_by_a_strange_word() -> None:
    payload = sent(messages.FindingRaised(FINDING, 5.0), lambda d: (d.update(node="n2"), d["body"].update(type="new")))
    with pytest.raises(messages.Refused):
        newer.read(payload, WHERE)


def test_every_closed_set_of_a_body_is_thought_of() -> None:
    """A new one is given a stand-in in LEAST, or is known here to make its event one that is kept unread."""
    without = {kind for kind in _closed_sets(msgspec.inspect.type_info(messages.Body)) if kind not in newer.LEAST}
    assert without == {Benchmark}


def _closed_sets(shape: object) -> set[type]:
    match shape:
        case msgspec.inspect.EnumType(cls=words):
            return {words}
        case msgspec.inspect.UnionType(types=types):
            return set[type]().union(*map(_closed_sets, types))
        case msgspec.inspect.StructType() | msgspec.inspect.DataclassType():
            return set[type]().union(*(_closed_sets(each.type) for each in shape.fields))
        case msgspec.inspect.DictType():
            return _closed_sets(shape.value_type)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return _closed_sets(shape.item_type)
        case _:
            return set()
