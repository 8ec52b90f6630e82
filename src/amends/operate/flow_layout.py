"""A flow laid out from left to right, in rows where it is long.

Every node is measured first: its width, and what it takes above and below the way that leads through it. Then it is
placed. Branches stand one below the other; the ways to them and from them are theirs alone.

Guarantees: pure; no two boxes overlap, and everything is within the drawing.
Must not: cut a flow anywhere but between the nodes of its own list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    PivotNode,
    Plan,
    SequenceNode,
    StepNode,
    WhenNode,
)
from amends.operate.flow_content import Content, Facts
from amends.operate.flow_places import (
    CAPTION_WIDTH,
    MARGIN,
    NO_WAY_BACK,
    STACK,
    TERMINAL,
    UNDO_HEIGHT,
    Box,
    Caption,
    Places,
    Terminal,
    below,
    height_of,
    width_needed,
)
from amends.operate.svg import SMALL, width_of

GAP = 30.0
BRANCH_GAP = 16.0
FORK, JOIN = 34.0, 30.0
BYPASS = 12.0  # what a branch without nodes takes above and below
ROW_GAP = 30.0
TURN = 16.0  # how far a way to the next row stands out
WIDTH = 844.0


@dataclass(frozen=True)
class Block:
    """A measured node. up, down: what it takes above and below its way. word: of a branch, when it is taken."""

    node: Node
    width: float
    up: float
    down: float
    content: Content | None = None
    parts: tuple[Block, ...] = ()
    word: str = ""


def lay_out(plan: Plan, facts: Facts, width: float = WIDTH) -> Places:
    """The layout of a flow. width: where a row ends, if it can."""
    places = Places()
    blocks = [_measured(node, facts) for node in plan.root.nodes]
    inner = width - 2 * MARGIN - 2 * TURN
    rows = list(_rows(blocks, inner))
    widest = max((_row_width(row) for row in rows), default=0.0) + 2 * (TERMINAL + GAP)
    places.width = widest + 2 * MARGIN + 2 * TURN
    left, right = MARGIN + TURN, MARGIN + TURN + widest
    y = MARGIN
    end: tuple[float, float] | None = None
    for index, row in enumerate(rows):
        rail = y + max((block.up for block in row), default=TERMINAL)
        x = left
        if end is None:
            places.terminals.append(Terminal(x, rail, "start"))
            x += TERMINAL
            if row:
                places.way((x, rail), (x + GAP, rail), arrow=not _forks(row[0].node))
                x += GAP
        else:
            middle = y - ROW_GAP / 2
            corner = (right + TURN, end[1]), (right + TURN, middle), (left - TURN, middle), (left - TURN, rail)
            places.way(end, *corner, (x, rail), arrow=not (row and _forks(row[0].node)))
        x = _sequence(places, row, x, rail)
        y = rail + max((block.down for block in row), default=TERMINAL)
        end = (x, rail)
        if index == len(rows) - 1:
            places.way(end, (x + GAP, rail), arrow=True)
            places.terminals.append(Terminal(x + GAP, rail, "end"))
        else:
            y += ROW_GAP
    places.height = y + MARGIN
    return places


def _rows(blocks: Sequence[Block], width: float) -> Iterator[list[Block]]:
    """The blocks in rows that are no wider, unless one block is."""
    row: list[Block] = []
    taken = 2 * (TERMINAL + GAP)
    for block in blocks:
        if row and taken + GAP + block.width > width:
            yield row
            row, taken = [], 2 * (TERMINAL + GAP)
        taken += block.width + (GAP if row else 0.0)
        row.append(block)
    yield row


def _row_width(row: Sequence[Block]) -> float:
    return sum(block.width for block in row) + GAP * max(len(row) - 1, 0)


def _measured(node: Node, facts: Facts, word: str = "") -> Block:
    match node:
        case SequenceNode(nodes):
            parts = tuple(_measured(child, facts) for child in nodes)
            if not parts:
                return Block(node, 0.0, BYPASS, BYPASS, word=word)
            up, down = max(part.up for part in parts), max(part.down for part in parts)
            return Block(node, _row_width(parts), up, down, None, parts, word)
        case ParallelNode(branches):
            return _branches(node, tuple(_measured(branch, facts) for branch in branches), None, word)
        case WhenNode(_, _, then, otherwise):
            no = SequenceNode(()) if otherwise is None else otherwise
            arms = (_measured(then, facts, "yes"), _measured(no, facts, "no" if otherwise is None else "otherwise"))
            return _branches(node, arms, facts.of(node), word)
        case PivotNode():
            content = facts.of(node)
            half = height_of(content) / 2
            return Block(node, width_needed(content) + CAPTION_WIDTH, half, half, content, (), word)
        case _:
            return _leaf(node, facts.of(node), word)


def _leaf(node: Node, content: Content, word: str) -> Block:
    half = height_of(content) / 2
    stack = STACK if isinstance(node, EachNode) else 0.0
    more = CAPTION_WIDTH if isinstance(node, StepNode) and content.kind == "pivot" else 0.0
    return Block(node, width_needed(content) + stack + more, half, half + stack + below(content), content, (), word)


def _branches(node: Node, arms: tuple[Block, ...], content: Content | None, word: str) -> Block:
    """Arms one below the other, behind a box where there is a condition."""
    tall = sum(arm.up + arm.down for arm in arms) + BRANCH_GAP * max(len(arms) - 1, 0)
    width = max((arm.width for arm in arms), default=0.0) + _fork(arms) + JOIN
    up = down = max(tall / 2, BYPASS)
    if content is not None:
        half = height_of(content) / 2
        up, down = max(up, half), max(down, half + below(content))
        width += width_needed(content)
    return Block(node, width, up, down, content, arms, word)


def _fork(arms: Sequence[Block]) -> float:
    words = max((width_of(arm.word, SMALL) for arm in arms), default=0.0)
    return FORK + words + (8.0 if words else 0.0)


# Placing


def _place(places: Places, block: Block, x: float, rail: float) -> Box | None:
    """Draw a block whose way begins there; gives its box, if it has just one."""
    match block.node:
        case SequenceNode():
            _sequence(places, block.parts, x, rail)
            return None
        case ParallelNode():
            _arms(places, block, x, rail)
            return None
        case WhenNode():
            if block.content is not None:
                box = _box(places, block.content, x, rail)
                _arms(places, block, x + box.width, rail)
            return None
        case _:
            return _single(places, block, x, rail)


def _single(places: Places, block: Block, x: float, rail: float) -> Box | None:
    if block.content is None:
        return None
    box = _box(places, block.content, x, rail)
    end = x + block.width
    if block.content.kind in ("pivot", "marker"):
        middle = x + box.width + CAPTION_WIDTH / 2
        places.way((middle, rail - block.up + 16), (middle, rail + block.up), kind="pivot")
        places.captions.append(Caption(middle, rail - block.up + 10, NO_WAY_BACK, "middle"))
        places.way((x + box.width, rail), (end, rail))
    elif end > x + box.width:
        places.way((x + box.width, rail), (end, rail))
    return box


def _box(places: Places, content: Content, x: float, rail: float) -> Box:
    return places.box(x, rail - height_of(content) / 2, width_needed(content), content)


def _sequence(places: Places, blocks: Sequence[Block], x: float, rail: float) -> float:
    """Draw blocks one behind the other; gives where they end."""
    before: Box | None = None
    for index, block in enumerate(blocks):
        if index:
            places.way((x, rail), (x + GAP, rail), arrow=not _forks(block.node))
            x += GAP
        box = _place(places, block, x, rail)
        if before is not None and box is not None:
            _way_back(places, before, box)
        before = box
        x += block.width
    return x


def _forks(node: Node) -> bool:
    """Whether the way into it divides at once; then the arrows stand before its branches."""
    if isinstance(node, SequenceNode):
        return bool(node.nodes) and _forks(node.nodes[0])
    return isinstance(node, ParallelNode)


def _way_back(places: Places, to: Box, start: Box) -> None:
    """The way back from a box to the undo of the one before it."""
    if to.undo_at is None:
        return
    y = to.undo_at + UNDO_HEIGHT / 2
    end = (to.x + to.width, y)
    if start.undo_at is not None:
        middle = (to.x + to.width + start.x) / 2
        there = start.undo_at + UNDO_HEIGHT / 2
        places.way((start.x, there), (middle, there), (middle, y), end, kind="back", arrow=True)
    elif start.content.turned:
        x, middle = start.x + start.width / 3, (to.x + to.width + start.x) / 2
        low = max(y, start.y + start.height + 6)
        corners = (x, start.y + start.height), (x, low), (middle, low), (middle, y)
        places.way(*corners, end, kind="back", arrow=True)


def _arms(places: Places, block: Block, x: float, rail: float) -> None:
    """Draw branches: the ways to them, them, and the ways from them."""
    arms = block.parts
    fork = _fork(arms)
    inner = max((arm.width for arm in arms), default=0.0)
    start, end = x + FORK / 2, x + fork + inner + JOIN / 2
    tall = sum(arm.up + arm.down for arm in arms) + BRANCH_GAP * max(len(arms) - 1, 0)
    y = rail - tall / 2
    for arm in arms:
        way = y + arm.up
        empty = not arm.parts and arm.content is None
        places.way((x, rail), (start, rail), (start, way), (x + fork, way), arrow=not (empty or _forks(arm.node)))
        if arm.word:
            places.captions.append(Caption(start + 5, way - 5, arm.word))
        _place(places, arm, x + fork, way)
        places.way((x + fork + arm.width, way), (end, way), (end, rail), (end + JOIN / 2, rail))
        y = way + arm.down + BRANCH_GAP
