"""A flow laid out from top to bottom, for narrow screens: one node below the other, branches indented.

Guarantees: pure; no two boxes overlap; as wide as was asked for, unless branches are nested very deep.
Must not: leave a node out.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.decide.plan import Node, ParallelNode, PivotNode, Plan, SequenceNode, StepNode, WhenNode
from amends.operate.flow_content import Content, Facts
from amends.operate.flow_places import (
    MARGIN,
    NO_WAY_BACK,
    STACK,
    TERMINAL,
    UNDO_HEIGHT,
    Box,
    Caption,
    Places,
    Terminal,
    height_of,
)

WIDTH = 340.0
INDENT = 22.0
TRUNK = 7.0  # where the way is, from the left of a level
ARM = 20.0  # from the way to a box
GAP = 14.0
WORD_HEIGHT = 18.0
BOX_MIN = 170.0


class _Column:
    def __init__(self, facts: Facts, width: float) -> None:
        self.places = Places()
        self.y = MARGIN
        self._facts = facts
        self._width = width

    def nodes(self, nodes: Sequence[Node], x: float) -> None:
        """Nodes one after the other, along one way."""
        before: Box | None = None
        for node in nodes:
            box = self._node(node, x)
            if before is not None and box is not None:
                self._way_back(before, box)
            before = box

    def _node(self, node: Node, x: float) -> Box | None:
        match node:
            case SequenceNode(nodes):
                self.nodes(nodes, x)
                return None
            case ParallelNode(branches):
                self._group(x, [("together", branches[:1])] + [("and", (branch,)) for branch in branches[1:]])
                return None
            case WhenNode(_, _, then, otherwise):
                self._box(self._facts.of(node), x)
                arms = [("yes", (then,))] + ([] if otherwise is None else [("otherwise", (otherwise,))])
                self._group(x, arms)
                return None
            case _:
                box = self._box(self._facts.of(node), x)
                if isinstance(node, PivotNode) or (isinstance(node, StepNode) and box.content.kind == "pivot"):
                    self._no_way_back(x)
                return box

    def _group(self, x: float, arms: Sequence[tuple[str, tuple[Node, ...]]]) -> None:
        """Branches, each under its word, along ways of their own."""
        for word, nodes in arms:
            top = self.y + WORD_HEIGHT / 2
            self.places.captions.append(Caption(x + TRUNK + INDENT + 4, top + 4, word))
            self.places.way((x + TRUNK, top), (x + TRUNK + INDENT, top), kind="trunk")
            self.y += WORD_HEIGHT
            start = self.y
            self.nodes(nodes, x + INDENT)
            if self.y > start:
                self.places.way((x + TRUNK + INDENT, top), (x + TRUNK + INDENT, self.y - GAP), kind="trunk")

    def _box(self, content: Content, x: float) -> Box:
        left = x + TRUNK + ARM
        width = max(self._width - MARGIN - left - STACK, BOX_MIN)
        box = self.places.box(left, self.y, width, content)
        middle = self.y + height_of(content) / 2
        self.places.way((x + TRUNK, middle), (left, middle), arrow=True)
        self.places.width = max(self.places.width, left + width + STACK + MARGIN)
        self.y = box.bottom + (STACK if content.kind == "each" else 0.0) + GAP
        return box

    def _no_way_back(self, x: float) -> None:
        left, right = x + TRUNK + ARM, self._width - MARGIN
        self.places.captions.append(Caption((left + right) / 2, self.y + 4, NO_WAY_BACK, "middle"))
        self.places.way((x, self.y + 8), (right, self.y + 8), kind="pivot")
        self.y += 8 + GAP

    def _way_back(self, to: Box, start: Box) -> None:
        """From a box to the undo of the one above it."""
        if to.undo_at is None or (start.undo_at is None and not start.content.turned):
            return
        x = to.x + to.width - 14
        self.places.way((x, start.y), (x, to.undo_at + UNDO_HEIGHT), kind="back", arrow=True)


def lay_out(plan: Plan, facts: Facts, width: float = WIDTH) -> Places:
    """The layout of a flow."""
    column = _Column(facts, width)
    places = column.places
    top = column.y + TERMINAL / 2
    places.terminals.append(Terminal(MARGIN + TRUNK - TERMINAL / 2, top, "start"))
    column.y += TERMINAL + GAP
    column.nodes(plan.root.nodes, MARGIN)
    bottom = column.y + TERMINAL / 2
    places.way((MARGIN + TRUNK, top + TERMINAL / 2), (MARGIN + TRUNK, bottom - TERMINAL / 2), kind="trunk")
    places.terminals.append(Terminal(MARGIN + TRUNK - TERMINAL / 2, bottom, "end"))
    places.height = bottom + TERMINAL / 2 + MARGIN
    places.width = max(places.width, width)
    return places
