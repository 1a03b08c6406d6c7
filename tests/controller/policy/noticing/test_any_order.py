"""The rules of tickets and pages under anything that can happen, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import event, given, settings
from hypothesis import strategies as st

from controller import events
from controller.policy.noticing.book import TICKET
from controller.policy.noticing.due import has_ended
from controller.policy.rules import Budget, Rules
from tests.controller.policy.test_invariants import NODES, Act, acts, end_some
from tests.support.letterbox import RULES, Letterbox
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

Move = Callable[[Letterbox], object]
OUTCOMES = st.sampled_from(["done", "done", "done", "retry", "permanent", "refused"])


def end_or_send(box: Letterbox, which: int, outcome: str) -> object:
    """Let one step under way end; a ticket or a page is filed, or not taken."""
    mail = box.mail(which)
    if mail is None:
        return end_some(box.run, which, outcome)
    box.step(mail, outcome if outcome in {"done", "retry", "permanent"} else "done")
    return None


def carry_out_some(box: Letterbox, which: int, outcome: str) -> object:
    now = box.due()
    if now:
        box.carry_out(now[which % len(now)], outcome)
    return None


def acknowledge(box: Letterbox, which: int) -> object:
    open_ids = list(box.run.belief.open_incidents)
    if not open_ids:
        return None
    return box.run.say(events.OperatorActed("acknowledge", open_ids[which % len(open_ids)], "kim", ""))


def break_down(box: Letterbox, name: str, code: str) -> object:
    """Something breaks for good: every step for it fails until people have it."""
    box.run.raise_on(name, xid(code))
    for _ in range(12):
        steps = [intent for intent in box.run.under_way(name) if intent.verb not in {"ticket", "page"}]
        for intent in steps:
            end_some(box.run, box.run.under_way().index(intent), "done" if intent.verb == "cordon" else "failed")
        box.run.wait(700.0 if steps else 0.0)
    return None


def is_plain(act: Act) -> Move:
    return lambda box: act(box.run)


moves: st.SearchStrategy[Move] = st.one_of(
    acts.map(is_plain),
    st.builds(
        lambda name, code: lambda box: break_down(box, name, code),
        st.sampled_from(NODES),
        st.sampled_from(["79", "48"]),
    ),
    st.builds(
        lambda which, outcome: lambda box: end_or_send(box, which, outcome),
        st.integers(0, 9),
        st.sampled_from(["done", "done", "failed", "failed", "retry", "permanent"]),
    ),
    st.builds(lambda which, outcome: lambda box: carry_out_some(box, which, outcome), st.integers(0, 9), OUTCOMES),
    st.builds(
        lambda which, state: lambda box: box.hear(which, state),
        st.integers(0, 9),
        st.sampled_from(["acknowledged", "closed", "open", "gone"]),
    ),
    st.builds(lambda which: lambda box: acknowledge(box, which), st.integers(0, 9)),
)


def settle(box: Letterbox) -> None:
    """Let everything that is under way or due come to its end, over a day."""
    for _ in range(12):
        while (mail := box.mail()) is not None:
            box.step(mail)
        box.carry_out_all()
        box.run.wait(7_200.0)


@settings(max_examples=300, deadline=None)
@given(history=st.lists(moves, min_size=12, max_size=40))
def test_whatever_happens_each_notice_is_one_and_comes_to_its_end(history: list[Move]) -> None:
    run = PolicyRun(Rules((GPU_LOST, GPU_MEMORY, AGENT_LOST), Budget(nodes=5))).nodes(*NODES)
    box = Letterbox(run)
    for move in history:
        move(box)
        run.now += 0.01
        _one_open_ticket_a_subject(box)
    settle(box)
    for kind in {type(entry.event).__name__ for entry in run.log}:
        event(kind)
    _one_open_ticket_a_subject(box)
    assert box.due() == []
    book = run.belief.notices
    for name in book.open_threads:
        thread = book.threads[name]
        assert not has_ended(run.belief, RULES, thread, run.now), thread
        assert not thread.is_over or thread.watched, "a notice of incidents that are over has ended"
    for thread in book.threads.values():
        assert bool(thread.ended_at) != (thread.id in book.open_threads)


def _one_open_ticket_a_subject(box: Letterbox) -> None:
    book = box.run.belief.notices
    threads = [book.threads[each] for each in book.open_threads]
    believed = Counter((t.kind, t.destination, t.subject) for t in threads)
    assert max(believed.values(), default=1) == 1
    for destination, here in box.there.items():
        if destination in {rule.name for rule in RULES.tickets}:
            assert max(Counter(here.values()).values(), default=1) == 1, here
    assert all(t.kind != TICKET or not t.group for t in threads)
