"""The demo without a terminal: one line for each thing that happens.

Guarantees: the same story as on a terminal, readable in a log.
Must not: move the cursor or need colours.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from amends.operate.demo.ledger import money
from amends.operate.demo.story import Scene
from amends.operate.demo.watch import STEPS, View


class PlainShow:
    """The story as lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._begun = time.monotonic()

    def say(self, text: str, tone: str = "") -> None:
        """Something happened."""
        self._line(text)

    def order(self, view: View) -> None:
        """An order came to rest."""
        undone = [name for name, status in zip(STEPS.values(), view.steps, strict=True) if status == "compensated"]
        notes = [*view.notes, f"undone: {', '.join(reversed(undone))}"] if undone else view.notes
        self._line(f"{view.order.id}  {view.status:11}  {money(view.order.cents):>6}  {'; '.join(notes)}".rstrip())

    def draw(self, scene: Scene) -> None:
        """Lines need no picture."""

    def _line(self, text: str) -> None:
        self._write(f"{time.monotonic() - self._begun:5.1f} s  {text}")
