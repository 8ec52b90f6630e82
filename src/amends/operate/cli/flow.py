"""A flow's drawing, with the signs and colours of a terminal.

Guarantees: a terminal that cannot write the signs gets plain ones.
Must not: read anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from amends.operate.cli.output import word
from amends.operate.drawing import ASCII, LINES, SIGNS, Drawn, Strokes

NAME_GAP = 2


def strokes_of(out: Console) -> Strokes:
    """The lines that this console can write."""
    try:
        "├─└│→✓✗∅◷↩✎▶".encode(out.encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return LINES


def texts(lines: Iterable[Drawn], strokes: Strokes) -> list[Text]:
    """One text per line of a drawing, its columns under each other."""
    drawn = list(lines)
    left = max(len(line.stem) + len(line.name) for line in drawn) + NAME_GAP
    kinds = max(len(line.kind) for line in drawn) + NAME_GAP
    return [_text(line, left, kinds, strokes) for line in drawn]


def _text(line: Drawn, left: int, kinds: int, strokes: Strokes) -> Text:
    made = Text.assemble((line.stem, "dim"))
    name = word(line.name, line.status or "") if line.status else word(line.name, "bold" if not line.stem else "")
    made.append_text(name)
    made.append(" " * (left - len(line.stem) - len(line.name)))
    made.append_text(word(line.kind.ljust(kinds), "dim"))
    if line.status:
        sign = SIGNS.get(line.status, ("", ""))[strokes is ASCII]
        made.append_text(word(f"{sign} {line.status}".strip(), line.status))
    if line.note:
        made.append_text(word(f"  {line.note}", ""))
    made.rstrip()
    return made
