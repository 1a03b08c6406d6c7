"""The report's pictures: what is drawn adds up, and every kind of mark has a colour of its own."""

from __future__ import annotations

import pytest

from controller.policy.reporting.incidents import PARTS
from controller.policy.reporting.losses import LOST_KINDS
from controller.policy.reporting.states import STATES
from controller.web.report_plots import LEFT, RIGHT, ROW, TALL, Plot, plots
from controller.web.report_view import STATIC, report_view
from tests.support.policy import GPU_LOST
from tests.support.told_log import HOUR, ToldLog, with_class


@pytest.fixture
def log() -> ToldLog:
    """One node that was mended, one that is still out."""
    log = ToldLog().node("n1", "n2", "n3")
    log.repaired("n1", HOUR)
    log.step(log.fault("n2", 2 * HOUR, playbook=with_class(GPU_LOST, "other")), "n2", "cordon", 2 * HOUR, 2 * HOUR)
    return log


def drawn(log: ToldLog, days: float = 10.0) -> dict[str, Plot]:
    """Return the pictures by name."""
    return {plot.name: plot for plot in plots(log.report(days * 24 * HOUR))}


def test_what_is_out_is_drawn_in_proportion(log: ToldLog) -> None:
    """A third is out from 2 h on, in slices of 4 h. n1 is out for 890 s of the 12 node-hours of the first slice."""
    marks = [mark for mark in drawn(log)["over-time"].marks if mark.look == "state-held_out"]
    assert len(marks) == 60 and {mark.look for mark in drawn(log)["over-time"].marks} == {"state-held_out", "scale"}
    assert marks[1].height == TALL - ROW and marks[1].y + marks[1].height == TALL
    assert marks[0].height == pytest.approx((TALL - ROW) * (2 + 890 / 3600) / 4, abs=0.01)
    assert marks[1].said.endswith(": held out 33.33 %")


def test_the_longest_bar_fills_the_room_and_the_others_are_in_proportion(log: ToldLog) -> None:
    """n2 is out for 10 d - 2 h, n1 was out for 890 s."""
    first, second = drawn(log)["lost"].marks
    assert first.width == RIGHT - LEFT and "other" in first.said
    assert second.width == pytest.approx((RIGHT - LEFT) * 890 / (238 * HOUR), abs=0.01)


def test_an_interval_holds_its_mean(log: ToldLog) -> None:
    scale, interval, mean = drawn(log)["fixes"].marks
    assert scale.x == LEFT and interval.x < mean.x < interval.x + interval.width
    assert mean.said == "reboot for gpu lost: 75.00 %, 90 % between 22.85 % and 99.85 %"


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    assert plots(ToldLog().report(HOUR)) == plots(ToldLog().node("n1").report(HOUR)) == ()


def test_every_kind_of_mark_has_a_colour() -> None:
    looks = [f"state-{state}" for state in STATES]
    looks += [*(f"lost-{kind}" for kind in LOST_KINDS), *(f"part-{part}" for part in PARTS)]
    rules = (STATIC / "report.css").read_text()
    assert [look for look in looks if f"rect.{look} " not in rules and f"rect.{look}," not in rules] == []


def test_a_page_shows_the_worst_nodes_and_says_how_many_are_left_out() -> None:
    log = ToldLog().node(*(f"n{number:02}" for number in range(50)))
    log.step(log.fault("n33", HOUR), "n33", "cordon", HOUR, HOUR)
    view = report_view(log.report(10 * HOUR))
    (nodes,) = [table for table in view.tables if table.name == "nodes"]
    assert (len(nodes.rows), nodes.rows[0][0], view.left_out) == (20, "n33", 30)
