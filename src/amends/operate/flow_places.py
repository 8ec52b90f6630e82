"""Where things are in a drawing of a flow: boxes, lines and captions, in the drawing's own units.

Guarantees: values only; how big a box must be follows from its words.
Must not: know how anything looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from amends.operate.flow_content import Content
from amends.operate.svg import NORMAL, SMALL, width_of

PAD = 12.0
TITLE_HEIGHT, FACT_HEIGHT, STATUS_HEIGHT = 20.0, 15.0, 17.0
UNDO_GAP, UNDO_HEIGHT = 8.0, 22.0
BOX_WIDTH_MIN, BOX_WIDTH_MAX = 96.0, 250.0
STACK = 6.0  # how far the box of a list shows a second one behind it
MARGIN = 14.0
TERMINAL = 14.0  # the width of the beginning, and of the end
NO_WAY_BACK = "no way back"
CAPTION_WIDTH = width_of(NO_WAY_BACK, SMALL) + 8

Point = tuple[float, float]


class Box(NamedTuple):
    """A node. height: without its undo, which is a smaller box below it; undo_at: where that begins."""

    x: float
    y: float
    width: float
    height: float
    content: Content
    undo_at: float | None = None

    @property
    def bottom(self) -> float:
        """Where all of it ends."""
        return self.y + self.height if self.undo_at is None else self.undo_at + UNDO_HEIGHT


class Line(NamedTuple):
    """A way from node to node, corner by corner. kind: on, back, turn, pivot or trunk. arrow: at its end."""

    points: tuple[Point, ...]
    kind: str = "on"
    arrow: bool = False


class Caption(NamedTuple):
    """A word beside a line. anchor: which end of it x is: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


class Terminal(NamedTuple):
    """Where the flow begins, or ends."""

    x: float
    y: float
    kind: str


@dataclass
class Places:
    """A whole layout, as it is being made."""

    width: float = 0.0
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    terminals: list[Terminal] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, content: Content) -> Box:
        """A box with its upper left corner there."""
        height = height_of(content)
        made = Box(x, y, width, height, content, y + height + UNDO_GAP if content.undo else None)
        self.boxes.append(made)
        return made

    def way(self, *points: Point, kind: str = "on", arrow: bool = False) -> None:
        """A line; points that repeat are left out."""
        distinct = tuple(point for index, point in enumerate(points) if not index or point != points[index - 1])
        if len(distinct) > 1:
            self.lines.append(Line(distinct, kind, arrow))


def width_needed(content: Content) -> float:
    """How wide the box of a node must be for its words."""
    shown = [width_of(content.title, NORMAL, bold=True), *(width_of(fact, SMALL) for fact in content.facts)]
    if content.status:
        shown.append(width_of(status_words(content.status, content.note), SMALL, bold=True))
    if content.undo:
        shown.append(width_of(status_words(f"undo {content.undo}", content.undo_note), SMALL, bold=True))
    return min(max(max(shown) + 2 * PAD + 2, BOX_WIDTH_MIN), BOX_WIDTH_MAX)


def height_of(content: Content) -> float:
    """How high its box is, without its undo."""
    status = STATUS_HEIGHT if content.status else 0.0
    return 8 + TITLE_HEIGHT + FACT_HEIGHT * len(content.facts) + status + 6


def below(content: Content) -> float:
    """What its undo takes below its box."""
    return UNDO_GAP + UNDO_HEIGHT if content.undo else 0.0


def status_words(status: str, note: str) -> str:
    """A status as it stands in a box; room for its sign is counted."""
    return f"✓ {status}, {note}" if note else f"✓ {status}"
