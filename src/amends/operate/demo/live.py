"""The demo on a terminal: a table that lives, a few lines below it, and the ledger.

Guarantees: fits into 80 columns and 24 lines; colours follow NO_COLOR, symbols the encoding.
Must not: know what happens next.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from amends.operate.demo.ledger import money
from amends.operate.demo.story import Scene
from amends.operate.demo.watch import STEPS, View

WIDTH_MAX = 120
CELL = 6  # columns of one step in the drawing of a flow
LOG_LINES_MIN, LOG_LINES_MAX = 4, 8
FRAME_LINES = 9  # all but the orders and the log
PIVOT = list(STEPS).index("confirm_order")


class Mark(NamedTuple):
    """How a status is drawn: a symbol, the same in ASCII, a style."""

    symbol: str
    plain: str
    style: str


MARKS = {
    "pending": Mark("·", ".", "bright_black"),
    "running": Mark("◐", "o", "bold yellow"),
    "waiting": Mark("↻", "~", "yellow"),
    "undo running": Mark("◐", "o", "bold cyan"),
    "undo waiting": Mark("↻", "~", "cyan"),
    "succeeded": Mark("●", "*", "green"),
    "rejected": Mark("✗", "x", "bold red"),
    "unknown": Mark("?", "?", "bold magenta"),
    "stuck": Mark("■", "#", "bold magenta"),
    "compensated": Mark("↶", "<", "cyan"),
    "void": Mark("○", "0", "cyan"),
    "skipped": Mark("-", "-", "bright_black"),
    "closed": Mark("◇", "+", "magenta"),
}
LEGEND = (
    ("succeeded", "done"),
    ("running", "working"),
    ("waiting", "retry"),
    ("rejected", "no"),
    ("unknown", "unknown"),
    ("compensated", "undone"),
    ("stuck", "parked"),
)
OUTCOMES = {
    "running": "yellow",
    "compensating": "bold cyan",
    "completed": "green",
    "compensated": "cyan",
    "parked": "bold magenta",
}
TONES = {"good": "green", "bad": "bold red", "person": "magenta", "": ""}


class LiveShow:
    """The story as a table that lives."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self._title = title
        self._begun = time.monotonic()
        self._log: deque[Text] = deque(maxlen=LOG_LINES_MAX)
        self._scene: Scene | None = None
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._symbols = (console.encoding or "").lower().startswith("utf")
        self._overflow: OverflowMethod = "ellipsis" if self._symbols else "crop"

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str, tone: str = "") -> None:
        """A line below the table."""
        seconds = time.monotonic() - self._begun
        self._log.append(Text.assemble((f"{seconds:5.1f} s  ", "bright_black"), (text, TONES[tone])))
        if self._scene is not None:
            self.draw(self._scene)

    def order(self, view: View) -> None:
        """Nothing more than the table shows."""

    def draw(self, scene: Scene) -> None:
        """The whole picture, anew."""
        self._scene = scene
        self._live.update(self.picture(scene), refresh=True)

    def picture(self, scene: Scene) -> RenderableType:
        """What is on the screen."""
        height, width = self.console.size.height, min(self.console.size.width, WIDTH_MAX)
        log_lines = LOG_LINES_MIN if height < 30 else LOG_LINES_MAX
        rows = max(height - log_lines - FRAME_LINES, 3)
        table = self._table(chosen(scene.views.values(), rows), rows, width)
        log = list(self._log)[-log_lines:]
        log += [Text("")] * (log_lines - len(log))
        for line in log:
            line.truncate(width, overflow=self._overflow)
        return Group(
            Text(self._title, style="bold", no_wrap=True, overflow=self._overflow),
            Text(""),
            table,
            self._legend(),
            Text(""),
            *_numbers(scene),
            *log,
        )

    def _table(self, views: Sequence[View], rows: int, width: int) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, width=width, header_style="bright_black")
        table.add_column("order", width=9, no_wrap=True, overflow=self._overflow)
        table.add_column("price", width=6, justify="right", no_wrap=True)
        table.add_column(_labels(), width=CELL * len(STEPS) - 2, no_wrap=True)
        table.add_column("outcome", width=12, no_wrap=True)
        table.add_column("", ratio=1, no_wrap=True, overflow=self._overflow)
        for view in views:
            outcome = Text(view.status, style=OUTCOMES.get(view.status, ""))
            note = Text(_note(view, width), style="bright_black" if view.ended else "")
            table.add_row(view.order.id, money(view.order.cents), self._flow(view), outcome, note)
        for _ in range(rows - len(views)):
            table.add_row("", "", "", "", "")
        return table

    def _flow(self, view: View) -> Text:
        flow = Text("  ")
        for number, status in enumerate(view.steps):
            mark = MARKS.get(status, MARKS["pending"])
            if number:
                reached = status not in ("pending", "skipped")
                flow.append(self._line(number) * (CELL - 1), mark.style if reached else "bright_black")
            flow.append(mark.symbol if self._symbols else mark.plain, mark.style)
        return flow

    def _line(self, number: int) -> str:
        if not self._symbols:
            return "=" if number == PIVOT + 1 else "-"
        return "═" if number == PIVOT + 1 else "─"

    def _legend(self) -> Text:
        legend = Text("", style="bright_black", no_wrap=True, overflow="crop")
        for status, word in LEGEND:
            mark = MARKS[status]
            legend.append(mark.symbol if self._symbols else mark.plain, mark.style)
            legend.append(f" {word}  ")
        return legend.append(f"{self._line(PIVOT + 1)} no way back")


def chosen(views: Iterable[View], rows: int) -> list[View]:
    """Which orders to show: those that move or wait for a person, then the newest. In the end,
    those with most to tell."""
    newest_first = list(views)[::-1]
    moving = [view for view in newest_first if not view.ended]
    ended = [view for view in newest_first if view.ended]
    if not moving:
        ended.sort(key=lambda view: -len(view.notes))
    return sorted((moving + ended)[:rows], key=lambda view: view.order.id)


def _labels() -> Text:
    return Text("".join(label.ljust(CELL) for label in STEPS.values()).rstrip())


def _note(view: View, width: int) -> str:
    return (", " if width > 100 else "").join(view.notes if width > 100 else view.notes[:1])


def _numbers(scene: Scene) -> tuple[Text, Text]:
    moving = len(scene.views) - scene.number("completed", "compensated", "parked")
    sagas = [
        (f"{len(scene.views)} of {scene.total} started", ""),
        (f"{scene.number('completed')} completed", OUTCOMES["completed"]),
        (f"{scene.number('compensated')} compensated", OUTCOMES["compensated"]),
        (f"{scene.number('parked')} parked", OUTCOMES["parked"] if scene.number("parked") else ""),
        (f"{moving} in flight", "yellow" if moving else ""),
    ]
    counts = scene.counts
    services = [
        (f"{counts.effects} effects", ""),
        (f"{_counted(counts.repeats, 'repeat')} absorbed", ""),
        (f"{counts.late} too late", ""),
        (scene.worker, "green" if scene.alive else "bold red"),
    ]
    return _joined(sagas), _joined(services)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _joined(parts: Sequence[tuple[str, str]]) -> Text:
    line = Text("", no_wrap=True, overflow="crop")
    for number, (text, style) in enumerate(parts):
        line.append("   " if number else "")
        line.append(text, style or "default")
    return line
