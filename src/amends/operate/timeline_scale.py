"""The scale of a timeline: where an instant stands, and which ticks help to read it.

A saga works for milliseconds and then waits for days. A gap that would take most of the width is drawn as a short
break, with how long it is; what lies between the breaks has one scale. A time in which something was at work is cut
short only where nothing else could be seen beside it.

Guarantees: pure; a later instant never stands left of an earlier one; the number of ticks and of breaks is bounded.
Must not: know what happens at an instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from amends.operate.timeline_bars import span_words

BREAK_SHARE = 0.5  # of what is left to be drawn: a gap that takes more is a break
BUSY_SHARE = 0.985  # the same, of a gap in which something was at work
BREAK_WIDTH = 34.0
BREAKS_MAX = 8
TICK_WIDTH = 78.0
TICKS_MAX = 60
_STEPS = (
    *(size / 1000 for size in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0 * size for size in (1, 2, 5, 10, 15, 30)),
    *(3600.0 * size for size in (1, 2, 3, 6, 12)),
    *(86400.0 * size for size in (1, 2, 5, 10, 30, 100, 365, 1000, 3650)),
)


class Piece(NamedTuple):
    """A stretch of the scale. broken: a gap that is drawn short."""

    start: float
    end: float
    left: float
    right: float
    broken: bool


class Tick(NamedTuple):
    """A line of the scale. text: may be empty."""

    x: float
    text: str


class Scale:
    """Where instants stand, between two places. busy: from when to when something was at work."""

    def __init__(
        self, instants: Sequence[float], left: float, right: float, busy: Sequence[tuple[float, float]] = ()
    ) -> None:
        marks = sorted(set(instants)) or [0.0]
        if len(marks) == 1:
            marks.append(marks[0] + 0.001)
        self.start: float = marks[0]
        self.end: float = marks[-1]
        breaks = _breaks(marks, busy)
        left_over = (self.end - self.start) - sum(end - start for start, end in breaks)
        self._rate = (right - left - BREAK_WIDTH * len(breaks)) / left_over
        self.pieces: list[Piece] = []
        x, begin = left, self.start
        for start, end in [*sorted(breaks), (self.end, self.end)]:
            if start > begin:
                reach = x + (start - begin) * self._rate
                self.pieces.append(Piece(begin, start, x, reach, broken=False))
                x = reach
            if end > start:
                self.pieces.append(Piece(start, end, x, x + BREAK_WIDTH, broken=True))
                x += BREAK_WIDTH
            begin = end

    def x(self, at: float) -> float:
        """Where an instant stands; at an end, what lies beyond it."""
        for piece in self.pieces:
            if at <= piece.end:
                share = (at - piece.start) / (piece.end - piece.start)
                return piece.left + max(share, 0.0) * (piece.right - piece.left)
        return self.pieces[-1].right

    @property
    def breaks(self) -> list[Piece]:
        """The gaps that are drawn short."""
        return [piece for piece in self.pieces if piece.broken]

    def ticks(self) -> list[Tick]:
        """Ticks in words: from the start of the saga; behind a break, the first says how long it ran then, the others
        count from there."""
        found: list[Tick] = []
        for piece in self.pieces:
            if piece.broken:
                continue
            first = piece.start - self.start
            found.append(Tick(piece.left, span_words(first) if first else "0"))
            step = next((size for size in _STEPS if size * self._rate >= TICK_WIDTH), _STEPS[-1])
            count = 1
            while count * step <= piece.end - piece.start and len(found) < TICKS_MAX:
                words = span_words(count * step)
                found.append(Tick(piece.left + count * step * self._rate, f"+{words}" if first else words))
                count += 1
        return found


def _breaks(marks: Sequence[float], busy: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The gaps to draw short, the longest first; something is always left."""
    gaps = sorted(pairwise(marks), key=lambda gap: gap[0] - gap[1])
    left = marks[-1] - marks[0]
    found: list[tuple[float, float]] = []
    for start, end in gaps[:-1]:
        size = end - start
        if len(found) == BREAKS_MAX or size <= BREAK_SHARE * left or left - size <= 0:
            break
        if size <= BUSY_SHARE * left and any(begun <= start and end <= ended for begun, ended in busy):
            continue
        found.append((start, end))
        left -= size
    return found
