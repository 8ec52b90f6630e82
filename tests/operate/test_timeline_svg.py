"""A timeline as SVG: every attempt and wait of a history is a bar, time runs to the right, nothing is without limit."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from xml.etree.ElementTree import Element, fromstring

import pytest
from told import Story, go, plan, remote, step

from amends.decide.plan import Plan, SleepNode, WaitNode
from amends.operate.sight import steps_of
from amends.operate.timeline_bars import BARS_MAX, ROWS_MAX, Bar, Course, course, span_words
from amends.operate.timeline_scale import BREAKS_MAX, TICKS_MAX, Scale
from amends.operate.timeline_svg import NARROW_WIDTH, timeline_svg
from amends.operate.values import Line, SagaLine, SagaView

SVG = "{http://www.w3.org/2000/svg}"
PLAN = plan(step("a"), remote("b"), SleepNode("nap", 5.0), WaitNode("approval"), go())


def line(at: float, event: str, step: str = "", phase: str = "", text: str = "", **rest: object) -> Line:
    """A line of a history."""
    return Line(at, event, text or f"{event} {step}".strip(), step=step, phase=phase, **rest)  # type: ignore[arg-type]


def view(plan: Plan, *history: Line, status: str = "running") -> SagaView:
    """A saga with this history."""
    state = Story(plan, hold=True).state
    head = SagaLine("order-7", plan.name, status, history[0].at, history[-1].at, None, None, "", "", "", "")
    return SagaView(head, plan, state, b"{}", None, steps_of(plan, state), history, (), (), (), (), 0)


def read(svg: str) -> Element:
    """A drawing as the well-formed XML that it is."""
    return fromstring(svg)  # noqa: S314  # our own


def bars(told: Course, address: str) -> list[tuple[str, str, float, float | None]]:
    """The bars of a row, without their words."""
    (row,) = [row for row in told.rows if row.address == address]
    return [(bar.kind, bar.outcome, bar.start, bar.end) for bar in row.bars]


def test_attempts_and_the_pauses_between_them_are_bars() -> None:
    told = course(
        PLAN,
        [
            line(0, "started"),
            line(0, "issued", "a", "action"),
            line(2, "failed", "a", "action", until=5.0, outcome="unresolved"),
            line(5, "issued", "a", "action"),
            line(6, "failed", "a", "action", until=9.0, outcome="failed"),
            line(9, "issued", "a", "action"),
            line(10, "succeeded", "a", "action"),
            line(10, "sent", "b", "action", until=40.0),
        ],
    )

    assert bars(told, "a") == [
        ("attempt", "unresolved", 0, 2),
        ("pause", "waiting", 2, 5),
        ("attempt", "failed", 5, 6),
        ("pause", "waiting", 6, 9),
        ("attempt", "succeeded", 9, 10),
    ]
    assert bars(told, "b") == [("attempt", "running", 10, None)]


def test_an_undo_is_a_bar_of_its_own_and_what_is_stuck_waits_for_a_person() -> None:
    told = course(
        PLAN,
        [
            line(0, "started"),
            line(0, "issued", "a", "action"),
            line(1, "succeeded", "a", "action"),
            line(1, "turned_back", text="goes back"),
            line(1, "issued", "a", "undo"),
            line(3, "stuck", "a", "undo"),
            line(3, "parked"),
            line(60, "operated", "a", actor="ada", text="ada: retry a, because: mended"),
            line(60, "retried", "a", "undo"),
            line(60, "resumed_back"),
            line(60, "issued", "a", "undo"),
            line(61, "undone", "a", "undo"),
            line(61, "compensated"),
        ],
    )

    assert bars(told, "a") == [
        ("attempt", "succeeded", 0, 1),
        ("attempt", "stuck", 1, 3),
        ("held", "stuck", 3, 60),
        ("attempt", "compensated", 60, 61),
    ]
    assert [span.end for span in told.rest] == [60]
    assert [(mark.at, mark.who) for mark in told.people] == [(60, "ada")]
    assert [mark.kind for mark in told.marks] == ["turned", "compensated"]
    assert told.ended


def test_a_sleep_and_a_wait_are_bars_until_what_ends_them() -> None:
    told = course(
        PLAN,
        [
            line(0, "started"),
            line(0, "waiting", "nap", until=5.0),
            line(5, "succeeded", "nap"),
            line(5, "waiting", "approval"),
            line(9, "rejected", "approval", "action"),
        ],
    )

    assert bars(told, "nap") == [("sleep", "succeeded", 0, 5)]
    assert bars(told, "approval") == [("wait", "rejected", 5, 9)]


def test_an_attempt_that_was_lost_with_its_worker_is_one_and_the_takeover_is_marked() -> None:
    told = course(
        PLAN,
        [
            line(0, "started"),
            line(0, "issued", "a", "action"),
            line(30, "adopted"),
            line(30, "failed", "a", "action", outcome="lost", until=30.0),
            line(30, "issued", "a", "action"),
        ],
    )

    assert bars(told, "a")[0] == ("attempt", "lost", 0, 30)
    assert [mark.kind for mark in told.marks] == ["adopted"]


def test_too_many_rows_are_cut_with_those_that_tell_something_kept_and_the_rest_counted() -> None:
    history = [line(0, "started")]
    for number in range(ROWS_MAX + 180):
        history += [
            line(number, "issued", f"s{number}", "action"),
            line(number + 1, "succeeded", f"s{number}", "action"),
        ]
    history[-1] = line(999, "rejected", f"s{ROWS_MAX + 179}", "action")
    told = course(PLAN, history)

    assert (len(told.rows), told.more) == (ROWS_MAX, 180)
    assert told.rows[-1].address == f"s{ROWS_MAX + 179}"
    assert "and 180 more steps, which went as they should" in timeline_svg(view(PLAN, *history), 999)


def test_too_many_bars_of_a_row_become_one_that_says_how_many() -> None:
    history = [line(0, "started")]
    for number in range(200):
        at = float(number * 10)
        history += [line(at, "issued", "a", "action"), line(at + 1, "failed", "a", "action", until=at + 10)]
    (row,) = course(PLAN, history).rows

    assert len(row.bars) == BARS_MAX
    assert row.bars[0].kind == "many"
    assert "earlier attempts" in row.bars[0].told


# The scale


@pytest.mark.parametrize("seed", range(25))
def test_a_later_instant_never_stands_left_of_an_earlier_one_and_all_is_within_the_scale(seed: int) -> None:
    chance = Random(seed)
    instants = sorted(chance.choice([1, 100, 1e5, 1e8]) * chance.random() for _ in range(chance.randint(1, 60)))
    scale = Scale(instants, 100.0, 1000.0)
    places = [scale.x(at) for at in instants]

    assert all(one <= other + 1e-3 for one, other in pairwise(places))
    assert all(100 - 1e-3 <= x <= 1000 + 1e-3 for x in places)
    assert abs(scale.pieces[-1].right - 1000.0) < 1e-3
    assert len(scale.breaks) <= BREAKS_MAX
    assert len(scale.ticks()) <= TICKS_MAX + BREAKS_MAX + 1


def test_a_night_in_which_nothing_happens_is_a_short_break() -> None:
    scale = Scale([0.0, 1.0, 2.0, 30_000.0, 30_001.0], 0.0, 1000.0)

    (night,) = scale.breaks
    assert (night.start, night.end) == (2.0, 30_000.0)
    assert scale.x(2.0) - scale.x(0.0) > 600
    assert scale.ticks()[0].text == "0"
    assert "8 h 20 min" in [tick.text for tick in scale.ticks()]


def test_a_long_attempt_is_no_break_unless_nothing_else_could_be_seen_beside_it() -> None:
    instants = [0.0, 1.0, 2.0, 42.0, 43.0]

    assert Scale(instants, 0.0, 1000.0).breaks
    assert not Scale(instants, 0.0, 1000.0, [(2.0, 42.0)]).breaks
    assert Scale(instants, 0.0, 1000.0, [(2.0, 41.0), (3.0, 42.0)]).breaks
    assert Scale([*instants, 1e6], 0.0, 1000.0, [(43.0, float("inf"))]).breaks


def test_everything_at_one_instant_is_a_scale_too() -> None:
    scale = Scale([5.0, 5.0], 0.0, 100.0)

    assert scale.x(5.0) == 0.0
    assert scale.x(99.0) == 100.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (0.9999, "1 s"),
        (1.25, "1.2 s"),
        (59.99, "1 min"),
        (61.0, "1 min 1 s"),
        (3600.0, "1 h"),
        (7260.0, "2 h 1 min"),
        (90_000.0, "1 d 1 h"),
        (864_000.0, "10 d"),
    ],
)
def test_a_span_of_time_is_told_in_two_units_at_most(seconds: float, words: str) -> None:
    assert span_words(seconds) == words


# The drawing

NIGHT = (
    line(0, "started"),
    line(0, "issued", "a", "action"),
    line(0.4, "succeeded", "a", "action"),
    line(0.5, "sent", "b", "action", until=30.0),
    line(0.9, "stuck", "b", "action", text="b is stuck: the bank refuses", reason="the bank refuses"),
    line(0.9, "parked"),
    line(30_000, "operated", "b", actor="ada", text="ada: retry b, because: renewed"),
    line(30_000, "retried", "b", "action"),
    line(30_000, "resumed"),
    line(30_000.1, "sent", "b", "action", until=30_030.0),
)


@pytest.mark.parametrize("narrow", [False, True])
def test_who_acted_and_what_waited_is_in_the_drawing(narrow: bool) -> None:
    drawn = read(timeline_svg(view(PLAN, *NIGHT), 30_001.0, narrow=narrow, name="t1"))
    said = [text.text for text in drawn.iter(f"{SVG}text")]
    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    hatched = [rect for rect in drawn.iter(f"{SVG}rect") if rect.get("fill") == "url(#t1-hatch)"]

    assert {"a", "b", "ada", "parked", "!", "▶"} <= set(said)
    assert "ada: retry b, because: renewed" in titles
    assert "parked for 8 h 20 min" in titles
    assert len(hatched) == 2
    assert drawn.find(f"{SVG}desc") is not None
    assert "b: 2 attempts, running" in (drawn.findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize("narrow", [False, True])
def test_nothing_stands_outside_the_drawing(narrow: bool) -> None:
    drawn = read(timeline_svg(view(PLAN, *NIGHT), 400_000.0, narrow=narrow))
    width, height = (float(value) for value in drawn.get("viewBox", "").split()[2:])

    assert width == NARROW_WIDTH if narrow else width > NARROW_WIDTH
    for rect in drawn.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x", 0)) <= float(rect.get("x", 0)) + float(rect.get("width", 0)) <= width
        assert float(rect.get("y", 0)) + float(rect.get("height", 0)) <= height
    for text in drawn.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", 0)) <= width
        assert 0 < float(text.get("y", 0)) <= height


def test_what_a_service_wrote_is_text_and_nothing_needs_an_inline_style() -> None:
    hostile = '<script>"&\x00'
    history = (
        line(0, "started"),
        line(0, "issued", hostile, "action", text=hostile),
        line(1, "operated", actor=hostile),
    )
    drawn = timeline_svg(view(PLAN, *history), 2.0)

    read(drawn)
    assert "<script" not in drawn
    assert not re.search(r"\sstyle=|<style|\son\w+=|href", drawn)


def test_a_bar_says_in_words_what_it_is() -> None:
    bar = course(PLAN, NIGHT).rows[1].bars[1]

    assert bar == Bar("held", 0.9, 30_000, "stuck", False, "b waits for a person, for 8 h 20 min: the bank refuses")
