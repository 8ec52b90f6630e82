"""What a person reads: tables, colours and times, on a terminal or through a pipe.

Guarantees: everything shown has gone through `safe`; through a pipe nothing is cut or coloured,
and no markup of Rich is ever obeyed.
Must not: open or ask anything.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amends.operate import as_json
from amends.operate.cli.safe import safe
from amends.operate.instants import utc

PIPE_WIDTH = 100_000
VALUE_CHARACTERS = 300
STYLES = {
    "completed": "green",
    "succeeded": "green",
    "compensated": "cyan",
    "void": "cyan",
    "running": "blue",
    "waiting": "yellow",
    "compensating": "magenta",
    "parked": "bold red",
    "stuck": "bold red",
    "stalled": "bold red",
    "stranded": "bold red",
    "unknown": "red",
    "rejected": "red",
    "closed": "yellow",
    "skipped": "dim",
    "pending": "dim",
    "good": "green",
    "bad": "red",
    "person": "yellow",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}


class Screen(Console):
    """Rich's console, but for a reader who goes away: the entry point knows what that means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """A console that obeys no markup, and cuts nothing where no person's terminal is."""
    tty = sys.stdout.isatty()
    width = None if tty else PIPE_WIDTH
    return Screen(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=not tty, width=width)


def word(text: str, style: str | None = None) -> Text:
    """A text from outside, safe, in the style of its own word or of another."""
    return Text(safe(text), style=STYLES.get(text if style is None else style, style or ""))


def heading(text: str) -> Text:
    """A heading inside an output."""
    return Text(safe(text), style="bold")


def print_table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Rows under small headings; through a pipe one row is one line, whatever its length."""
    cells = [[cell if isinstance(cell, Text) else word(cell, "") for cell in row] for row in rows]
    if not out.is_terminal:
        texts = [[column.upper() for column in columns], *([cell.plain for cell in row] for row in cells)]
        widths = [max(len(row[index]) for row in texts) for index in range(len(columns))]
        for line in texts:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            out.file.write("  ".join(padded).rstrip() + "\n")
        return
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.upper(), overflow="fold")
    for row in cells:
        made.add_row(*row)
    out.print(made)


def emit_json(data: object) -> None:
    """JSON on stdout."""
    sys.stdout.write(as_json.text(data) + "\n")


def when(at: float | None) -> str:
    """An instant to the second, in UTC."""
    return "" if at is None else utc(at).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float) -> str:
    """An instant to the millisecond, in UTC."""
    return utc(at).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def value(payload: bytes | None, limit: int = VALUE_CHARACTERS) -> str:
    """A payload, cut to what a line can bear."""
    if payload is None:
        return ""
    text = payload.decode("utf-8", "replace")
    return text if len(text) <= limit else f"{text[:limit]}… ({len(payload):,} bytes)"


def ago(seconds: float) -> str:
    """A span, roughly."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
