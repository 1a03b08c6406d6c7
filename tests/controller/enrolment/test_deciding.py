"""Whether a host may have a certificate, case by case."""

from __future__ import annotations

import msgspec
import pytest

from controller.enrolment.deciding import ASK_AGAIN_S, Granted, Held, Turned, Wanted, check_token, decide
from controller.enrolment.tokens import FORGOTTEN_AFTER_S, KIND, EnrolmentToken, new_token, without_old
from controller.policy.enrolling.book import EnrolmentBook, Use

NOW = 1_790_000_000.0
HOUR_S = 3_600.0
NONE_HELD = Held()
FRESH, _ = new_token("gpu-[1-3]", uses=2, replace=False, now=NOW, hours=1.0, made_by="kim")


def book(*uses: Use) -> EnrolmentBook:
    return EnrolmentBook({FRESH.id: list(uses)}, {FRESH.id: FRESH.expires_at})


def answer(
    wanted: Wanted,
    before: EnrolmentBook,
    held: Held = NONE_HELD,
    token: EnrolmentToken = FRESH,
    *,
    after_s: float = 0.0,
) -> Granted:
    return decide(wanted, token, before, held, now=NOW + after_s)


@pytest.mark.parametrize(
    ("node", "changed", "after_s", "status", "because"),
    [
        ("gpu-1", {}, HOUR_S, 401, "has expired"),
        ("gpu-1", {"revoked_at": NOW}, 0.0, 401, "was revoked"),
        ("gpu-4", {}, 0.0, 403, "is not for gpu-4"),
        ("controller", {"nodes": "*"}, 0.0, 422, "the cell's own part"),
        ("broker", {"nodes": "*"}, 0.0, 422, "the cell's own part"),
        ("gpu/+", {"nodes": "*"}, 0.0, 422, "no node's name"),
        ("gpu-1\n", {"nodes": "*"}, 0.0, 422, "no node's name"),
    ],
)
def test_a_token_that_is_of_no_use_to_it(
    node: str, changed: dict[str, object], after_s: float, status: int, because: str
) -> None:
    with pytest.raises(Turned, match=because) as turned:
        check_token(msgspec.structs.replace(FRESH, **changed), node, NOW + after_s)
    assert (turned.value.status, turned.value.token_id) == (status, FRESH.id)


def test_no_token_is_told_of_by_no_id() -> None:
    with pytest.raises(Turned) as turned:
        check_token(None, "gpu-1", NOW)
    assert (turned.value.status, turned.value.token_id) == (401, "")
    assert check_token(FRESH, "gpu-1", NOW + HOUR_S - 1.0) is FRESH


def test_each_use_is_counted_and_none_is_left_over() -> None:
    assert answer(Wanted("gpu-1", "k1"), book()) == Granted(
        f"gpu-1 enrols by token {FRESH.id}, made by kim for gpu-[1-3]: use 1 of 2."
    )
    assert "use 2 of 2" in answer(Wanted("gpu-2", "k2"), book(Use("gpu-1", "k1", NOW))).because
    full = book(Use("gpu-1", "k1", NOW), Use("gpu-2", "k2", NOW))
    with pytest.raises(Turned, match="2 of 2 hosts"):
        answer(Wanted("gpu-3", "k3"), full)
    with pytest.raises(Turned, match="used up, by gpu-1 with another key"):
        answer(Wanted("gpu-1", "k9"), full)


def test_a_host_whose_answer_was_lost_asks_again_and_uses_nothing_more() -> None:
    full = book(Use("gpu-1", "k1", NOW, ["01"]), Use("gpu-2", "k2", NOW))
    held = Held(["01"], {"99"})
    assert answer(Wanted("gpu-1", "k1"), full, held, after_s=ASK_AGAIN_S - 1).again
    with pytest.raises(Turned, match="15 minutes ago"):
        answer(Wanted("gpu-1", "k1"), full, held, after_s=ASK_AGAIN_S)
    with pytest.raises(Turned, match="15 minutes ago"):
        answer(Wanted("gpu-1", "k1"), full, held, after_s=-60.0)


def test_one_that_never_was_given_any_may_ask_as_long_as_the_token_is_good() -> None:
    full = book(Use("gpu-1", "k1", NOW), Use("gpu-2", "k2", NOW))
    assert answer(Wanted("gpu-1", "k1"), full, after_s=3 * ASK_AGAIN_S).again


def test_a_host_that_was_shut_out_does_not_come_back_by_asking_again() -> None:
    with pytest.raises(Turned, match="was revoked"):
        answer(Wanted("gpu-1", "k1"), book(Use("gpu-1", "k1", NOW, ["01", "02"])), Held([], {"02"}))


def test_a_name_with_a_good_certificate_needs_a_token_that_says_so() -> None:
    held = Held(["0A", "0B"])
    with pytest.raises(Turned, match=r"good certificate already \(serial 0A\)") as turned:
        answer(Wanted("gpu-1", "k1"), book(), held)
    assert (turned.value.status, "--replace" in turned.value.hint) == (409, True)
    assert not answer(Wanted("gpu-1", "k1"), book(), held, msgspec.structs.replace(FRESH, replace=True)).again


def test_tokens_that_ended_long_ago_are_forgotten() -> None:
    ends = FRESH.expires_at + FORGOTTEN_AFTER_S
    assert without_old([FRESH], ends - 1.0) == [FRESH]
    assert without_old([FRESH], ends) == []


def test_a_token_of_people_is_none_of_a_host() -> None:
    assert KIND.halves("fmt_00000000_" + "A" * 43) == ("", "")
    assert KIND.halves("fme_00000000_" + "A" * 43)[0] == "00000000"
