"""A flow's drawing and its Mermaid chart: every kind of node, with and without a saga's statuses."""

from __future__ import annotations

import re

from told import Story, after, each, go, items, look, parallel, plan, remote, sequence, step

from amends.decide.plan import Node, PivotNode, Plan, SequenceNode, SleepNode, StepNode, WaitNode, WhenNode
from amends.operate.cli.flow import texts
from amends.operate.drawing import ASCII, LINES, Drawn, draw, lasting
from amends.operate.mermaid import mermaid

EVERYTHING = plan(
    look("check"),
    step("a"),
    WhenNode("big", "function big", sequence(step("b"), step("c")), sequence(step("d"))),
    parallel(step("e"), sequence(step("f"), SleepNode("nap", seconds=60.0))),
    each(step("erase"), limit=5),
    WaitNode("approval", timeout=30.0),
    PivotNode(),
    after("g"),
    deadline=3600.0,
)


def drawn(lines: tuple[Drawn, ...]) -> list[str]:
    """The drawing as text."""
    return [re.sub(" {2,}", "  ", text.plain.lstrip("├└─│ ")) for text in texts(lines, LINES)]


def test_every_kind_of_node_is_drawn_once_and_in_flow_order() -> None:
    lines = [text.plain for text in texts(draw(EVERYTHING), LINES)]

    assert lines == [
        "told             deadline 1 hour",
        "├─ check         readonly",
        "├─ a             compensatable",
        "├─ big           when big(input)",
        "│  ├─ yes",
        "│  │  ├─ b       compensatable",
        "│  │  └─ c       compensatable",
        "│  └─ otherwise",
        "│     └─ d       compensatable",
        "├─ parallel",
        "│  ├─ e          compensatable",
        "│  └─ sequence",
        "│     ├─ f       compensatable",
        "│     └─ nap     sleep 1 minute",
        "├─ erase         for each of items(input), 5 at a time",
        "├─ approval      signal, 30 s at most",
        "├─ pivot         the point of no return",
        "└─ g             retriable",
    ]


def test_a_step_that_a_service_does_names_its_command() -> None:
    flow = plan(remote("reserve"), each(remote("pack"), limit=5), PivotNode(), after("ship", work="command:dock/ship"))

    assert [text.plain for text in texts(draw(flow), LINES)] == [
        "told",
        "├─ reserve  compensatable → shop.reserve",
        "├─ pack     for each of items(input), 5 at a time → shop.pack",
        "├─ pivot    the point of no return",
        "└─ ship     retriable → dock.ship",
    ]
    assert draw(flow, strokes=ASCII)[1].kind == "compensatable -> shop.reserve"
    assert '["reserve ↩ → shop.reserve"]' in mermaid(flow)
    assert '[["for each: pack ↩ → shop.pack"]]' in mermaid(flow)
    assert '["ship → dock.ship"]' in mermaid(flow)


def test_a_saga_is_drawn_with_its_statuses_and_what_is_known() -> None:
    told = Story(plan(step("a"), each(step("erase")), go()), answers={"erase": items(3)})
    told.succeeds("a", "erase[0]")
    told.fails("erase[1]", "timeout")

    assert drawn(draw(told.plan, told.state)) == [
        "told  ▶ running",
        "a  compensatable  ✓ succeeded",
        "erase  for each of items(input), 20 at a time  ▶ running  1 running, 1 succeeded, 1 waiting",
        "go  pivot  · pending",
    ]


def test_a_saga_that_went_back_is_drawn_with_its_undos() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")
    told.rejects("b", "sold out")
    told.undo_rejects("a", "no shelf")

    assert drawn(draw(told.plan, told.state))[1:] == [
        "a  compensatable  ! stuck  no shelf",
        "b  compensatable  ✗ rejected  sold out",
    ]


def test_a_terminal_without_the_signs_gets_plain_ones() -> None:
    told = Story(plan(step("a"), parallel(step("b"), step("c"))))

    lines = [text.plain for text in texts(draw(told.plan, told.state, ASCII), ASCII)]

    assert all(line.isascii() for line in lines), lines
    assert lines[1].startswith("|- a")


def edges(chart: str) -> set[tuple[str, str]]:
    """The arrows of a chart, by the labels of their ends."""
    labels = dict(re.findall(r'^ +(n\d+)[\[({/]+"(.*?)"', chart, re.MULTILINE))
    arrows = re.findall(r"^ +(n\d+) -->(?:\|.*?\|)? (n\d+)$", chart, re.MULTILINE)
    return {(labels[start], labels[end]) for start, end in arrows}


def test_a_chart_joins_what_runs_after_each_other() -> None:
    small = Plan("told", SequenceNode((step("a"), parallel(step("b"), sequence(step("c"), step("d"))), after("e"))))

    assert edges(mermaid(small)) == {
        ("told", "a ↩"),
        ("a ↩", "b ↩"),
        ("a ↩", "c ↩"),
        ("c ↩", "d ↩"),
        ("b ↩", "e"),
        ("d ↩", "e"),
        ("e", "completed"),
    }


def test_a_branch_that_is_not_taken_leads_past_it() -> None:
    nodes: tuple[Node, ...] = (WhenNode("big", "function big", sequence(step("b"))), step("c"))

    chart = mermaid(Plan("told", SequenceNode(nodes)))

    assert ("big: big(input)", "c ↩") in edges(chart)
    assert '-->|"no"|' in chart
    assert '-->|"yes"|' in chart


def test_a_chart_of_a_saga_colours_what_is_known() -> None:
    told = Story(plan(step("a"), step("b")))
    told.succeeds("a")

    chart = mermaid(told.plan, told.state)

    assert "class n2 succeeded" in chart
    assert "class n3 running" in chart


def test_whatever_a_name_holds_is_written_out_in_a_chart() -> None:
    odd = Plan('"; click x', SequenceNode((StepNode("a<b>#", compensated=True),)))

    chart = mermaid(odd)

    assert '#34;#59; click x"' in chart
    assert "a#60;b#62;#35; ↩" in chart


def test_a_duration_is_told_in_the_largest_unit_that_divides_it() -> None:
    told = [lasting(seconds) for seconds in (0.5, 60, 90, 3_600, 5_400, 86_400, 30 * 86_400)]

    assert told == ["0.5 s", "1 minute", "90 s", "1 hour", "90 minutes", "1 day", "30 days"]
