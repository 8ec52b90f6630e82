"""A saga's history as bars: for each step its attempts, its waits, and what people did.

Guarantees: pure; every attempt that the history tells of is a bar, in its row; what is not over yet has no end. Rows
and bars have a limit, and what is left out is counted.
Must not: interpret more than a line of history says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from amends.decide.plan import Plan, SleepNode
from amends.operate.values import Line

ROWS_MAX = 60
BARS_MAX = 40  # in a row
PEOPLE_MAX = 40
MARKS_MAX = 40  # of a row, and of the saga as a whole
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))  # each with the next smaller
_ENDS = {"undone": "compensated", "voided": "void"}
_SAGA = {
    "started": "",
    "turned_back": "turned",
    "pivot_passed": "pivot",
    "completed": "completed",
    "compensated": "compensated",
    "adopted": "adopted",
}


class Bar(NamedTuple):
    """Something that took time. kind: attempt, pause (until the next), wait, sleep, held (for a person) or many. end:
    None while it goes on. outcome: in the words of a step's status; failed, unresolved or lost. undo: of the
    compensation. told: in words."""

    kind: str
    start: float
    end: float | None
    outcome: str
    undo: bool
    told: str
    attempt: int = 0


class Mark(NamedTuple):
    """Something that happened at an instant. kind: act, fact, turned, pivot, adopted, completed or compensated. who:
    for an act."""

    at: float
    kind: str
    told: str
    who: str = ""


@dataclass
class Row:
    """One step. Its bars are in order."""

    address: str
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    @property
    def undone(self) -> bool:
        """Whether anything of it is about its compensation."""
        return any(bar.undo for bar in self.bars)

    @property
    def plain(self) -> bool:
        """Whether it went as it should, at once."""
        return not self.marks and len(self.bars) <= 1 and all(bar.outcome == "succeeded" for bar in self.bars)


class Span(NamedTuple):
    """A time. end: None while it goes on."""

    start: float
    end: float | None


@dataclass
class Course:
    """All of a history. rest: when it was parked. more: rows that are left out."""

    started: float
    last: float
    rows: list[Row]
    marks: list[Mark]
    people: list[Mark]
    rest: list[Span]
    ended: bool = False
    more: int = 0

    def instants(self) -> list[float]:
        """Every instant at which something begins, ends or happens, in order."""
        found = {self.started, self.last}
        for row in self.rows:
            found.update(mark.at for mark in row.marks)
            for bar in row.bars:
                found.update((bar.start,) if bar.end is None else (bar.start, bar.end))
        for mark in (*self.marks, *self.people):
            found.add(mark.at)
        for span in self.rest:
            found.update((span.start,) if span.end is None else (span.start, span.end))
        return sorted(found)

    def busy(self) -> list[tuple[float, float]]:
        """From when to when something was at work."""
        bars = (bar for row in self.rows for bar in row.bars if bar.kind == "attempt")
        return [(bar.start, inf if bar.end is None else bar.end) for bar in bars]


class _Open(NamedTuple):
    kind: str
    line: Line


class _Reader:
    """Reads a history line by line."""

    def __init__(self, plan: Plan, started: float) -> None:
        self._plan = plan
        self.rows: dict[str, Row] = {}
        self.marks: list[Mark] = []
        self.people: list[Mark] = []
        self.rest: list[Span] = []
        self.ended = False
        self._started = started
        self._open: dict[tuple[str, bool], _Open] = {}

    def read(self, line: Line) -> None:
        """One more line."""
        if line.actor:
            self._act(line)
        match line.event:
            case "issued" | "sent":
                self._begin("attempt", line)
            case "waiting":
                kind = "sleep" if isinstance(self._plan.node(line.step), SleepNode) else "wait"
                self._begin(kind, line)
            case "succeeded" | "rejected" | "unknown" | "abandoned":
                self._end(line, "skipped" if line.event == "abandoned" else line.event)
            case "undone" | "voided":
                self._end(line, _ENDS[line.event])
            case "failed":
                self._end(line, line.outcome or "unresolved")
                self._open[_key(line)] = _Open("pause", line)
            case "stuck":
                self._end(line, "stuck")
                self._open[_key(line)] = _Open("held", line)
            case "retried" | "closed":
                self._end(line, "closed" if line.event == "closed" else "")
            case "chosen" | "listed" | "late" | "begun":
                self._row(line.step).marks.append(Mark(line.at, "fact", line.text))
            case "parked":
                self.rest.append(Span(line.at, None))
            case "resumed" | "resumed_back":
                self._wake(line.at)
            case _:
                self._of_saga(line)

    def _act(self, line: Line) -> None:
        mark = Mark(line.at, "act", line.text, line.actor)
        if any((other.at, other.who) == (mark.at, mark.who) for other in self.people[-1:]):
            return  # the same act: a signal that came, and what it did
        self.people.append(mark)
        if line.step in self.rows:
            self.rows[line.step].marks.append(mark)

    def _of_saga(self, line: Line) -> None:
        kind = _SAGA.get(line.event, "")
        if kind:
            self.marks.append(Mark(line.at, kind, line.text))
        if kind in ("completed", "compensated"):
            self.ended = True
        if kind == "turned":
            self._wake(line.at)

    def _wake(self, at: float) -> None:
        if self.rest and self.rest[-1].end is None:
            self.rest[-1] = Span(self.rest[-1].start, at)

    def _row(self, address: str) -> Row:
        return self.rows.setdefault(address, Row(address))

    def _begin(self, kind: str, line: Line) -> None:
        self._over(_key(line), line.at)
        self._row(line.step)
        self._open[_key(line)] = _Open(kind, line)

    def _end(self, line: Line, outcome: str) -> None:
        """What was open of that step is over, and that is how."""
        key = _key(line)
        found = self._open.pop(key, None)
        row = self._row(line.step)
        if found is None or found.kind in ("pause", "held"):
            if found is not None:
                row.bars.append(_rested(found, line.at, key[1]))
            if outcome:
                row.marks.append(Mark(line.at, "fact", line.text))
            return
        told = f"{line.text}, after {span_words(line.at - found.line.at)}"
        row.bars.append(Bar(found.kind, found.line.at, line.at, outcome, key[1], told, found.line.attempt))

    def _over(self, key: tuple[str, bool], at: float) -> None:
        """A pause is over; an attempt of which nothing was heard too."""
        found = self._open.pop(key, None)
        if found is None:
            return
        if found.kind in ("pause", "held"):
            self._row(key[0]).bars.append(_rested(found, at, key[1]))
        else:
            told = f"{found.line.text}: nothing was heard of it"
            self._row(key[0]).bars.append(
                Bar(found.kind, found.line.at, at, "unresolved", key[1], told, found.line.attempt)
            )

    def finish(self) -> None:
        """What is still open goes on."""
        outcomes = {"attempt": "running", "pause": "waiting", "wait": "waiting", "sleep": "waiting", "held": "stuck"}
        for (address, undo), found in self._open.items():
            line = found.line
            self._row(address).bars.append(
                Bar(found.kind, line.at, None, outcomes[found.kind], undo, line.text, line.attempt)
            )


def course(plan: Plan, history: Sequence[Line]) -> Course:
    """The bars of a history. It has at least one line."""
    started = history[0].at
    reader = _Reader(plan, started)
    for line in history:
        reader.read(line)
    reader.finish()
    rows = [_bounded(row) for row in reader.rows.values()]
    kept = chosen(rows)
    more = len(rows) - len(kept)
    people, marks, rest = reader.people[-PEOPLE_MAX:], reader.marks[-MARKS_MAX:], reader.rest[-MARKS_MAX:]
    return Course(started, history[-1].at, kept, marks, people, rest, reader.ended, more)


def chosen(rows: Sequence[Row]) -> list[Row]:
    """The rows that are shown: where there are too many, those with something to tell first."""
    if len(rows) <= ROWS_MAX:
        return list(rows)
    telling = [index for index, row in enumerate(rows) if not row.plain]
    plain = [index for index, row in enumerate(rows) if row.plain]
    return [rows[index] for index in sorted((telling + plain)[:ROWS_MAX])]


def span_words(seconds: float) -> str:
    """A time in words, two units at most."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    small = next((unit[2] for unit in _UNITS if seconds >= unit[0]), 1)
    whole = round(seconds / small) * small
    size, word, small, little = next((unit for unit in _UNITS if whole >= unit[0]), _UNITS[-1])
    count, rest = divmod(whole, size)
    return f"{count} {word}" + (f" {rest // small} {little}" if rest // small else "")


def _key(line: Line) -> tuple[str, bool]:
    return line.step, line.phase == "undo"


def _rested(found: _Open, at: float, undo: bool) -> Bar:
    """A pause, or a time in which a person was waited for, that is over."""
    word = "waits for a person" if found.kind == "held" else "waits for the next attempt"
    told = f"{found.line.step} {word}, for {span_words(at - found.line.at)}: {found.line.reason}"
    outcome = "stuck" if found.kind == "held" else "waiting"
    return Bar(found.kind, found.line.at, at, outcome, undo, told)


def _bounded(row: Row) -> Row:
    marks = row.marks[-MARKS_MAX:]
    if len(row.bars) <= BARS_MAX:
        return Row(row.address, row.bars, marks)
    early, late = row.bars[: -BARS_MAX + 1], row.bars[-BARS_MAX + 1 :]
    attempts = sum(bar.kind == "attempt" for bar in early)
    told = f"{attempts} earlier attempts, with what lay between them"
    return Row(row.address, [Bar("many", early[0].start, _end_of(early), "waiting", False, told), *late], marks)


def _end_of(bars: Iterable[Bar]) -> float:
    return max(bar.start if bar.end is None else bar.end for bar in bars)
