"""A saga's flow as SVG for a page: from left to right, or for narrow screens from top to bottom.

Guarantees: pure; the same plan and state give the same drawing; a status is told by a class, a sign and a word, so it
can be read without colour; a description in words says what the drawing shows.
Must not: have a style, a script, or a link to anything. `web/static/drawings.css` has the styles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from amends.decide.plan import ParallelNode, Plan, SequenceNode, walk
from amends.decide.state import State
from amends.operate import flow_column, flow_layout
from amends.operate.drawing import SIGNS
from amends.operate.flow_content import Content, Facts
from amends.operate.flow_places import (
    FACT_HEIGHT,
    PAD,
    STACK,
    STATUS_HEIGHT,
    TERMINAL,
    TITLE_HEIGHT,
    UNDO_HEIGHT,
    Box,
    Line,
    Places,
    Terminal,
)
from amends.operate.svg import NORMAL, SMALL, clean, element, fit, number, picture, text
from amends.operate.values import StepLine

CORNER = 8.0
HEAD = 6.0
HUGE = 1.25  # how much wider than its page a flow must be to be scrolled
TOLD_MAX = 60  # nodes in the description


def flow_svg(
    plan: Plan, state: State | None = None, steps: Sequence[StepLine] = (), *, narrow: bool = False, name: str = ""
) -> str:
    """The drawing, as markup for a page.

    state, steps: where a saga that runs it stands, as a SagaView has them. narrow: from top to bottom, for a page of
    under 600 pixels. name: an id for it, where a page has several.
    """
    facts = Facts(state, tuple(steps))
    places = flow_column.lay_out(plan, facts) if narrow else flow_layout.lay_out(plan, facts)
    status = "" if state is None else str(state.status)
    title = f"The flow of {plan.name}" + (f", which is {status}" if status else "")
    size = (places.width, places.height)
    classes = f"flow {'flow-narrow' if narrow else 'flow-wide'}"
    if places.width > HUGE * (flow_column.WIDTH if narrow else flow_layout.WIDTH):
        classes += " flow-huge"  # it is scrolled, and not made smaller
    return picture(classes, name or classes.split()[1], size, (title, _told(plan, facts)), _body(places, status))


def _told(plan: Plan, facts: Facts) -> str:
    """All nodes in words, in flow order."""
    nodes = [node for node in walk(plan.root) if not isinstance(node, (SequenceNode, ParallelNode))]
    told = [facts.of(node).words for node in nodes[:TOLD_MAX]]
    more = [f"and {len(nodes) - TOLD_MAX} more"] if len(nodes) > TOLD_MAX else []
    return ". ".join([*told, *more]) + "."


def _body(places: Places, status: str) -> Iterator[str]:
    for line in places.lines:
        yield _line(line)
    for terminal in places.terminals:
        yield _terminal(terminal, status)
    for box in places.boxes:
        yield _box(box)
    for caption in places.captions:
        yield text(caption.x, caption.y, caption.text, "flow-caption", caption.anchor)


def _box(box: Box) -> str:
    content = box.content
    shapes = []
    if content.kind == "each":
        shapes.append(_rect(box.x + STACK, box.y + STACK, box.width, box.height, "flow-behind"))
    shapes.append(_rect(box.x, box.y, box.width, box.height, "flow-box", 16.0 if _round(content) else 7.0))
    room = box.width - 2 * PAD
    y = box.y + 8 + TITLE_HEIGHT - 6
    shapes.append(text(box.x + PAD, y, fit(content.title, room, NORMAL, bold=True), "flow-name"))
    for fact in content.facts:
        y += FACT_HEIGHT
        shapes.append(text(box.x + PAD, y, fit(fact, room, SMALL), "flow-fact"))
    if content.status:
        said = fit(_said(content.status, content.status, content.note), room, SMALL, bold=True)
        shapes.append(text(box.x + PAD, y + STATUS_HEIGHT, said, "flow-status"))
    groups = [element("g", f"status-{content.status or 'none'}", shapes)]
    if box.undo_at is not None:
        groups.append(_undo(box, box.undo_at))
    classes = f"flow-node kind-{content.kind}" + (" flow-turned" if content.turned else "")
    return element("g", classes, (element("title", "", clean(content.words)), *groups))


def _undo(box: Box, y: float) -> str:
    content = box.content
    said = _said(content.undo, f"undo {content.undo}", content.undo_note)
    inner = text(box.x + PAD, y + UNDO_HEIGHT - 7, fit(said, box.width - 2 * PAD, SMALL, bold=True), "flow-status")
    frame = _rect(box.x, y, box.width, UNDO_HEIGHT, "flow-box")
    return element("g", f"flow-undo status-{content.undo}", (frame, inner))


def _round(content: Content) -> bool:
    return content.kind in ("wait", "sleep", "when", "marker")


def _said(status: str, word: str, note: str) -> str:
    sign = SIGNS.get(status, ("·", "."))[0]
    return f"{sign} {word}, {note}" if note else f"{sign} {word}"


def _rect(x: float, y: float, width: float, height: float, classes: str, radius: float = 7.0) -> str:
    return element("rect", classes, x=x, y=y, width=width, height=height, rx=radius)


def _line(line: Line) -> str:
    parts = [element("path", "flow-way", d=_path(line.points))]
    if line.arrow:
        parts.append(element("path", "flow-head", d=_head(line.points[-2], line.points[-1])))
    return element("g", f"flow-line line-{line.kind}", parts)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Straight lines with round corners."""
    said = [f"M{_at(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        size = min(CORNER, _distance(before, corner) / 2, _distance(corner, after) / 2)
        said.append(f"L{_at(_toward(corner, before, size))}Q{_at(corner)} {_at(_toward(corner, after, size))}")
    said.append(f"L{_at(points[-1])}")
    return "".join(said)


def _head(before: tuple[float, float], end: tuple[float, float]) -> str:
    """An arrow's head at the end of a line."""
    back = _toward(end, before, HEAD)
    across = (end[1] - back[1]) * 0.6, (back[0] - end[0]) * 0.6
    left, right = (back[0] + across[0], back[1] + across[1]), (back[0] - across[0], back[1] - across[1])
    return f"M{_at(left)}L{_at(end)}L{_at(right)}Z"


def _toward(start: tuple[float, float], goal: tuple[float, float], size: float) -> tuple[float, float]:
    length = _distance(start, goal)
    share = size / length if length else 0.0
    return start[0] + (goal[0] - start[0]) * share, start[1] + (goal[1] - start[1]) * share


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])  # lines are upright or level


def _at(point: tuple[float, float]) -> str:
    return f"{number(point[0])},{number(point[1])}"


def _terminal(terminal: Terminal, status: str) -> str:
    radius = TERMINAL / 2
    shapes = [element("circle", "flow-dot", cx=terminal.x + radius, cy=terminal.y, r=radius - 1)]
    if terminal.kind == "end":
        shapes.append(element("circle", "flow-dot-inner", cx=terminal.x + radius, cy=terminal.y, r=radius - 4))
    reached = status in ("completed", "compensated") and (terminal.kind == "end") == (status == "completed")
    return element("g", f"flow-{terminal.kind}" + (f" status-{status}" if reached else ""), shapes)
