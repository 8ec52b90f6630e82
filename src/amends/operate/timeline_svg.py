"""A saga's timeline as SVG: a row for each step, a bar for each attempt and wait, and what people did.

Guarantees: pure; an outcome is told by a class, a sign and words, so it can be read without colour; a description in
words says what the drawing shows; however long the history, the drawing has a limit and says what it leaves out.
Must not: have a style, a script, or a link to anything. `web/static/drawings.css` has the styles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from amends.operate.svg import SMALL, clean, element, fit, number, picture, text, width_of
from amends.operate.timeline_bars import Bar, Course, Mark, Row, course, span_words
from amends.operate.timeline_scale import Scale
from amends.operate.values import SagaView

WIDTH, NARROW_WIDTH = 844.0, 340.0
MARGIN = 10.0
LABEL_MAX = 230.0
LABEL_HEIGHT = 16.0  # where it stands above its row
BAR, UNDO_BAR, ROW_PAD = 14.0, 12.0, 5.0
HEAD_HEIGHT = 34.0  # breaks and ticks
LANE = 18.0
BAR_MIN = 3.0
SIGN_ROOM = 13.0
TOLD_MAX = 40
SIGNS = {
    "succeeded": "✓",
    "compensated": "↩",
    "void": "∅",
    "failed": "✗",
    "unresolved": "?",
    "unknown": "?",
    "lost": "×",  # noqa: RUF001  # the sign is meant
    "rejected": "✗",
    "running": "▶",
    "stuck": "!",
    "closed": "✎",
}


def timeline_svg(view: SagaView, now: float, *, narrow: bool = False, name: str = "") -> str:
    """The timeline, as markup for a page.

    now: where what goes on is drawn to. narrow: for a page of under 600 pixels. name: an id for it, where a page has
    several.
    """
    told = course(view.plan, view.history)
    drawing = _Drawing(told, max(now, told.last), narrow=narrow, name=name or f"time-{'narrow' if narrow else 'wide'}")
    title = f"What {view.line.id} did, and when"
    body = list(drawing.body())
    classes = f"time {'time-narrow' if narrow else 'time-wide'}"
    return picture(classes, drawing.name, (drawing.width, drawing.height), (title, _told(told, now)), body)


def _told(told: Course, now: float) -> str:
    """The bars in words, bounded."""
    spent = f"Over {span_words((told.last if told.ended else max(now, told.last)) - told.started)}."
    lines = [f"{row.address}: {_row_told(row)}." for row in told.rows[:TOLD_MAX]]
    hidden = told.more + max(len(told.rows) - TOLD_MAX, 0)
    people = [f"{mark.told}." for mark in told.people]
    return " ".join([spent, *lines, *([f"And {hidden} more steps."] if hidden else []), *people])


def _row_told(row: Row) -> str:
    tries = sum(bar.kind == "attempt" and not bar.undo for bar in row.bars)
    undos = sum(bar.kind == "attempt" and bar.undo for bar in row.bars)
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in ((tries, "attempt"), (undos, "undo attempt"))
        if count
    ]
    last = row.bars[-1] if row.bars else None
    if last is not None:
        parts.append(f"{'undo ' if last.undo else ''}{last.outcome or 'tried again'}")
    return ", ".join(parts) or (row.marks[-1].told if row.marks else "")


class _Drawing:
    """One timeline. Its height is known once its body is drawn."""

    def __init__(self, told: Course, now: float, *, narrow: bool, name: str) -> None:
        self.name = name
        self.width = NARROW_WIDTH if narrow else WIDTH
        self.height = 0.0
        self._told = told
        self._narrow = narrow
        self._now = told.last if told.ended else now
        labels = [width_of(said, SMALL) for said in (*(row.address for row in told.rows), "parked", "people")]
        label = 0.0 if narrow else min(max(labels), LABEL_MAX) + 12
        self._left, self._right = MARGIN + label, self.width - MARGIN - 8
        self._scale = Scale([*told.instants(), self._now], self._left, self._right, told.busy())

    def body(self) -> Iterator[str]:
        """All of it, from top to bottom."""
        y = MARGIN + HEAD_HEIGHT
        rest = self._rest(y) if self._told.rest else []
        y += LANE if rest else 0.0
        people, lanes = self._people(y)
        y += LANE * lanes
        top = y
        rows: list[str] = []
        for row in self._told.rows:
            drawn, y = self._row(row, y)
            rows.append(drawn)
        if self._told.more:
            rows.append(
                text(MARGIN, y + 14, f"and {self._told.more} more steps, which went as they should", "time-more")
            )
            y += LANE
        self.height = y + MARGIN
        yield self._pattern()
        yield element("g", "time-scale", self._grid(y))
        yield element("g", "time-moments", self._moments(top, y))
        yield from rest
        yield from rows
        yield from people

    def _pattern(self) -> str:
        """The hatching of what waits; it has the drawing's own id."""
        stripe = element("path", "time-hatch", d="M0,6L6,0")
        pattern = element(
            "pattern", "", stripe, id=f"{self.name}-hatch", width=6, height=6, patternUnits="userSpaceOnUse"
        )
        return element("defs", "", pattern)

    def _grid(self, bottom: float) -> Iterator[str]:
        top = MARGIN + HEAD_HEIGHT - 6
        reach = -1e9
        for tick in self._scale.ticks():
            yield element("path", "time-tick", d=f"M{number(tick.x)},{number(top)}V{number(bottom)}")
            room = width_of(tick.text, SMALL)
            start = min(tick.x, self.width - room - 2)
            if tick.text and start > reach + 6:
                yield text(start, top - 4, tick.text, "time-word")
                reach = start + room
        reach = -1e9
        for piece in self._scale.breaks:
            middle = (piece.left + piece.right) / 2
            span = f"M{number(piece.left)},{number(top)}V{number(bottom)}H{number(piece.right)}V{number(top)}Z"
            yield element("path", "time-break", d=span)
            words = f"{span_words(piece.end - piece.start)} later"
            room = width_of(words, SMALL)
            start = min(max(middle - room / 2, MARGIN), self.width - room - 2)
            if start > reach + 6:
                yield text(start, MARGIN + 9, words, "time-word time-break-word")
                reach = start + room

    def _moments(self, top: float, bottom: float) -> Iterator[str]:
        """Where the saga as a whole changed."""
        for mark in self._told.marks:
            x = self._scale.x(mark.at)
            line = element("path", "time-moment", d=f"M{number(x)},{number(top)}V{number(bottom)}")
            yield element("g", f"time-{mark.kind}", (element("title", "", clean(mark.told)), line))

    def _rest(self, y: float) -> list[str]:
        """When it was parked."""
        drawn = [self._label("parked", y, LANE - 4)] if not self._narrow else []
        for span in self._told.rest:
            left, right = self._scale.x(span.start), self._scale.x(self._now if span.end is None else span.end)
            end = self._now if span.end is None else span.end
            told = f"parked for {span_words(end - span.start)}" + (", and still is" if span.end is None else "")
            shapes = self._rect(left, right, y + 2, 10.0, hatched=True)
            drawn.append(element("g", "time-rest status-parked", (element("title", "", clean(told)), *shapes)))
            if self._narrow:
                before = left > MARGIN + width_of("parked", SMALL) + 4
                words = (left - 4, "end") if before else (right + 4, "start")
                drawn.append(text(words[0], y + 11, "parked", "time-word", words[1]))
        return drawn

    def _people(self, y: float) -> tuple[list[str], int]:
        """Who acted, in as many lanes as their names need, up to three."""
        people = self._told.people
        if not people:
            return [], 0
        drawn: list[str] = []
        ends = [-1e9] * 3
        used = 1
        for mark in people:
            x = self._scale.x(mark.at)
            said = fit(mark.who, 150.0, SMALL, bold=True)
            room = width_of(said, SMALL, bold=True) + 18
            lane = next((index for index, end in enumerate(ends) if x - 8 > end), None)
            before = x + room > self.width
            at = y + LANE * (lane or 0)
            shapes = [element("title", "", clean(mark.told)), _diamond(x, at + LANE / 2)]
            if lane is not None and not (before and x - room < max(ends[lane], MARGIN)):
                words = (x - 9, "end") if before else (x + 9, "start")
                shapes.append(text(words[0], at + LANE / 2 + 4, said, "time-who", words[1]))
                ends[lane] = x if before else x + room
                used = max(used, lane + 1)
            drawn.append(element("g", "time-act", shapes))
        if not self._narrow:
            drawn.append(self._label("people", y, LANE))
        return drawn, used

    def _label(self, said: str, y: float, height: float, classes: str = "time-label time-lane") -> str:
        shown = fit(said, self._left - MARGIN - 10, SMALL)
        return text(MARGIN, y + height / 2 + 4, shown, classes)

    def _row(self, row: Row, y: float) -> tuple[str, float]:
        """A step's row, and where the next begins."""
        height = BAR + ROW_PAD * 2 + (UNDO_BAR + 2 if row.undone else 0.0)
        parts = [element("title", "", clean(f"{row.address}: {_row_told(row)}"))]
        if self._narrow:
            parts.append(
                text(MARGIN, y + LABEL_HEIGHT - 3, fit(row.address, self.width - 2 * MARGIN, SMALL), "time-label")
            )
            y += LABEL_HEIGHT - ROW_PAD
        else:
            parts.append(self._label(row.address, y, BAR + 2 * ROW_PAD, "time-label"))
        for lane in (False, True):
            bars = [bar for bar in row.bars if bar.undo is lane]
            top = y + ROW_PAD + (BAR + 2 if lane else 0.0)
            for index, bar in enumerate(bars):
                following = self._scale.x(bars[index + 1].start) if index + 1 < len(bars) else self._right
                parts.append(self._bar(bar, top, UNDO_BAR if lane else BAR, following))
        parts += [self._mark(mark, y + ROW_PAD + BAR / 2) for mark in row.marks]
        line = f"M{number(MARGIN)},{number(y + height)}H{number(self._right)}"
        parts.append(element("path", "time-rule", d=line))
        return element("g", "time-row", parts), y + height

    def _bar(self, bar: Bar, y: float, height: float, following: float) -> str:
        left, right = self._scale.x(bar.start), self._scale.x(self._now if bar.end is None else bar.end)
        hatched = bar.kind != "attempt"
        shapes = [element("title", "", clean(bar.told)), *self._rect(left, right, y, height, hatched=hatched)]
        sign = "" if hatched and bar.kind != "held" else SIGNS.get(bar.outcome, "")
        if sign:
            if right - left >= SIGN_ROOM:
                shapes.append(text((left + right) / 2, y + height / 2 + 4, sign, "time-sign", "middle"))
            elif following - right >= SIGN_ROOM:
                shapes.append(text(max(right, left + BAR_MIN) + 2, y + height / 2 + 4, sign, "time-sign-beside"))
        classes = f"time-bar time-{bar.kind} outcome-{bar.outcome or 'none'}" + (" time-undo" if bar.undo else "")
        return element("g", classes, shapes)

    def _rect(self, left: float, right: float, y: float, height: float, *, hatched: bool) -> Sequence[str]:
        width = max(right - left, BAR_MIN)
        plain = element("rect", "time-fill", x=left, y=y, width=width, height=height, rx=2)
        if not hatched:
            return (plain,)
        hatch = element("rect", "", x=left, y=y, width=width, height=height, rx=2, fill=f"url(#{self.name}-hatch)")
        return plain, hatch

    def _mark(self, mark: Mark, y: float) -> str:
        x = self._scale.x(mark.at)
        shape = _diamond(x, y) if mark.kind == "act" else element("circle", "time-dot", cx=x, cy=y, r=3)
        return element("g", f"time-{mark.kind}", (element("title", "", clean(mark.told)), shape))


def _diamond(x: float, y: float) -> str:
    return element("path", "time-diamond", d=f"M{number(x)},{number(y - 6)}l6,6l-6,6l-6,-6Z")
