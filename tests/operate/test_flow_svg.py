"""A flow as SVG: laid out so that nothing overlaps, whatever the plan; told by words and signs, not by colour alone."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree.ElementTree import Element, fromstring

import pytest
from told import UNDO, Story, after, each, go, items, look, parallel, plan, remote, sequence, step

from amends.decide.plan import (
    Node,
    ParallelNode,
    PivotNode,
    Plan,
    SequenceNode,
    SleepNode,
    WaitNode,
    WhenNode,
    walk,
)
from amends.decide.state import State
from amends.operate import flow_column, flow_layout
from amends.operate.drawing_svg import flow_svg
from amends.operate.flow_content import Facts
from amends.operate.flow_places import Box, Places
from amends.operate.sight import steps_of
from amends.operate.svg import BOLD, NORMAL, fit, width_of
from amends.testing.random_sagas import random_sagas

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("x")</script>&\x00\x1b\ud800]]>'
EVERYTHING = plan(
    look("check"),
    remote("reserve"),
    WhenNode("big", "function big", sequence(step("b"), step("c")), sequence(step("d"))),
    WhenNode("gift", "check", sequence(step("wrap"))),
    parallel(step("e"), sequence(step("f"), SleepNode("nap", seconds=60.0)), parallel(step("g"), step("h"))),
    each(step("erase"), limit=5),
    WaitNode("approval", timeout=30.0),
    PivotNode(),
    after("ship"),
)


def boxes_of(node: Node) -> list[str]:
    """The addresses that must have a box."""
    return [below.address for below in walk(node) if not isinstance(below, (SequenceNode, ParallelNode))]


def layouts(plan: Plan, state: State | None = None) -> list[Places]:
    """Both ways to lay a plan out."""
    facts = Facts(state, () if state is None else steps_of(plan, state))
    return [flow_layout.lay_out(plan, facts), flow_column.lay_out(plan, facts)]


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes, with their undos, share any place."""
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not (beside or one.bottom <= other.y or other.bottom <= one.y)


def check(places: Places, plan: Plan) -> None:
    """What holds for every layout."""
    assert [box.content.address for box in places.boxes] == boxes_of(plan.root)
    assert not [
        (one.content.address, other.content.address)
        for one, other in combinations(places.boxes, 2)
        if overlap(one, other)
    ]
    for box in places.boxes:
        assert 0 <= box.x <= box.x + box.width <= places.width
        assert 0 <= box.y <= box.bottom <= places.height
    for line in places.lines:
        for x, y in line.points:
            assert -0.01 <= x <= places.width + 0.01
            assert -0.01 <= y <= places.height + 0.01
    for caption in places.captions:
        half = width_of(caption.text, 11.0) * {"start": 0.0, "middle": 0.5}[caption.anchor]
        assert caption.x - half >= 0
        assert caption.x - half + width_of(caption.text, 11.0) <= places.width + 0.01


def read(svg: str) -> Element:
    """A drawing as the well-formed XML that it is."""
    return fromstring(svg)  # noqa: S314  # our own


def texts(svg: str) -> list[str]:
    """The texts of a drawing."""
    return [element.text or "" for element in read(svg).iter(f"{SVG}text")]


def node_of(svg: str, name: str) -> Element:
    """The group of a node."""
    groups = [group for group in read(svg).iter(f"{SVG}g") if "flow-node" in group.get("class", "")]
    return next(group for group in groups if any(text.text == name for text in group.iter(f"{SVG}text")))


@pytest.mark.parametrize("number", range(0, 120, 3))
def test_whatever_the_plan_every_node_has_a_box_and_none_overlaps_another(number: int) -> None:
    for saga in random_sagas(number, 3):
        for places in layouts(saga.plan):
            check(places, saga.plan)
        for places in layouts(saga.plan, Story(saga.plan, hold=True).state):
            check(places, saga.plan)


def test_a_saga_that_goes_back_has_room_for_its_undos() -> None:
    told = Story(plan(step("a"), parallel(step("b"), sequence(step("c"), step("d"))), go("charge")))
    told.succeeds("a", "b", "c", "d")
    told.rejects("charge", "declined")
    told.undone("d")

    for places in layouts(told.plan, told.state):
        check(places, told.plan)
        assert [box.content.undo for box in places.boxes] == ["", "running", "running", "compensated", ""]
        assert any(line.kind == "back" for line in places.lines)


def test_a_long_flow_is_wrapped_into_rows_and_a_narrow_one_stays_narrow() -> None:
    long = plan(*(step(f"step_number_{number}") for number in range(30)), go())
    wide, narrow = layouts(long)

    assert wide.width <= flow_layout.WIDTH
    assert len({box.y for box in wide.boxes}) > 3
    assert narrow.width == flow_column.WIDTH


def test_every_kind_of_node_is_drawn_with_what_it_is() -> None:
    for narrow in (False, True):
        said = texts(flow_svg(EVERYTHING, narrow=narrow))

        for word in (
            "readonly",
            "→ shop.reserve",
            "when big(input)",
            "yes",
            "otherwise",
            "sleeps 1 minute",
            "for each of items(input)",
            "5 at a time",
            "for a signal, 30 s at most",
            "the point of no return",
            "no way back",
            "retriable",
        ):
            assert word in said, word


def test_a_branch_that_may_be_left_out_has_a_way_around_it() -> None:
    said = texts(flow_svg(plan(WhenNode("gift", "check", sequence(step("wrap"))), go())))

    assert {"yes", "no"} <= set(said)


def test_a_status_is_a_class_a_sign_and_a_word() -> None:
    told = Story(plan(step("a"), each(step("erase")), go()), answers={"erase": items(3)})
    told.succeeds("a", "erase[0]")
    told.fails("erase[1]", "timeout")
    svg = flow_svg(told.plan, told.state, steps_of(told.plan, told.state))

    assert "✓ succeeded" in [text.text for text in node_of(svg, "a").iter(f"{SVG}text")]
    assert "1 running, 1 succeeded, 1 waiting" in [text.text for text in node_of(svg, "erase").iter(f"{SVG}text")]
    assert 'class="status-succeeded"' in svg
    assert "· pending" in texts(svg)


def test_an_undo_stands_below_its_step_and_the_step_that_turned_the_saga_says_so() -> None:
    told = Story(plan(step("a"), go("charge")))
    told.succeeds("a")
    told.rejects("charge", "declined")
    told.fails("a", "the shelf is locked", phase=UNDO)
    svg = flow_svg(told.plan, told.state, steps_of(told.plan, told.state))

    assert "◷ undo waiting" in texts(svg)
    assert "✗ rejected" in texts(svg)
    assert "flow-turned" in node_of(svg, "charge").get("class", "")
    assert "here the saga turned back: declined" in svg


def test_who_does_not_see_it_is_told_all_of_it() -> None:
    told = Story(plan(step("a"), go("charge")))
    told.succeeds("a")
    root = read(flow_svg(told.plan, told.state, steps_of(told.plan, told.state), name="flow-1"))
    ids = {element.get("id"): element.text for element in root.iter() if element.get("id")}

    assert root.get("role") == "img"
    assert [ids[key] for key in (root.get("aria-labelledby") or "").split()] == [
        "The flow of told, which is running",
        "a, compensatable, succeeded. charge, pivot, running.",
    ]


def test_a_name_is_text_whatever_is_in_it_and_nothing_needs_an_inline_style() -> None:
    svg = flow_svg(plan(step(HOSTILE), WhenNode(HOSTILE + "?", f"function {HOSTILE}", sequence(step("b"))), go()))

    read(svg)
    assert "<script" not in svg
    assert not re.search(r"\sstyle=|<style|\son\w+=|href", svg)


def test_a_text_is_cut_to_the_room_it_has() -> None:
    name = "a_very_long_name_of_a_step_that_nobody_wants_to_read_to_its_end"
    cut = fit(name, 100.0, NORMAL, bold=True)

    assert cut.endswith("…")
    assert width_of(cut, NORMAL) * BOLD <= 100.0
    assert fit("short", 100.0) == "short"
    assert f">{name}, compensatable</title>" in flow_svg(plan(step(name), go()))
    assert fit("漢字漢字漢字漢字", 60.0).startswith("漢")
