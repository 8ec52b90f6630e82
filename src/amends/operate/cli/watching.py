"""Watching a saga until it is at rest: drawn as it advances, or told line by line.

What is shown was read from the store, so it is on disk.

Guarantees: ends once the saga is completed, compensated or parked; the last drawing is that.
Must not: hold anything open between two looks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from amends.define.saga import Saga
from amends.operate.cli.flow import strokes_of, texts
from amends.operate.cli.output import console, value, word
from amends.operate.cli.show import history_text
from amends.operate.drawing import draw
from amends.operate.operations import Operations
from amends.operate.values import SagaView

LOOK_FIRST_SECONDS = 0.05
LOOK_LAST_SECONDS = 0.5
ALONE_SECONDS = 1.0
ABSENCES = 3
LINES_MAX = 60
_REST = ("completed", "compensated", "parked")


class Deserted(Exception):
    """No worker is alive to run what is waited for."""


async def watch(found: Operations, saga: Saga[Any, Any], saga_id: str, show: Callable[[SagaView], None]) -> SagaView:
    """Look until the saga is at rest; each time something has changed, `show` is called.

    Raises Deserted for a client whose worker has been away for a while.
    """
    delay, length = LOOK_FIRST_SECONDS, -1
    care = _Care(found)
    rest: asyncio.Task[object] | None = None
    try:
        while True:
            view = await found.show(saga_id)
            if len(view.history) != length:
                show(view)
                delay, length = LOOK_FIRST_SECONDS, len(view.history)
            if view.line.status in _REST:
                return view
            care.look(view)
            if rest is None or rest.done():
                rest = asyncio.ensure_future(found.session.outcome(saga, saga_id))
            await asyncio.wait([rest], timeout=delay)
            if rest.done():
                rest.result()
            delay = min(delay * 1.5, LOOK_LAST_SECONDS)
    finally:
        if rest is not None:
            rest.cancel()


async def wait_at_rest(found: Operations, saga: Saga[Any, Any], saga_id: str) -> SagaView:
    """Wait until the saga is at rest, whoever may come to run it."""
    await found.session.outcome(saga, saga_id)
    return await found.show(saga_id)


class _Care:
    """Whether anybody is there to run what is waited for. One absence may be a restart."""

    def __init__(self, found: Operations) -> None:
        self._found = found
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.time() + ALONE_SECONDS
        self._absences = 0

    def look(self, view: SagaView) -> None:
        """Raises Deserted."""
        if self._found.session.worker is not None or self._loop.time() < self._next:
            return
        self._next = self._loop.time() + ALONE_SECONDS
        self._absences = self._absences + 1 if view.line.stranded else 0
        if self._absences >= ABSENCES:
            raise Deserted


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Callable[[SagaView], None]:
        return lambda view: None

    def __exit__(self, *_: object) -> None:
        return


class Lines:
    """Tells a history line by line, for pipes and logs."""

    def __init__(self) -> None:
        self._told = 0
        self._out = console()

    def __enter__(self) -> Callable[[SagaView], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        return

    def _show(self, view: SagaView) -> None:
        for line in view.history[self._told :]:
            self._out.print(history_text(line))
        self._told = len(view.history)
        sys.stdout.flush()


class Drawing:
    """Draws the flow anew as it advances, for a terminal."""

    def __init__(self) -> None:
        self._out = console()
        self._live = Live(console=self._out, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> Callable[[SagaView], None]:
        self._live.__enter__()
        return self._show

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._live.__exit__(kind, error, None)

    def _show(self, view: SagaView) -> None:
        self._live.update(drawing(self._out, view), refresh=True)


def drawing(out: Console, view: SagaView) -> Group:
    """The flow as it stands, and the last thing that happened."""
    strokes = strokes_of(out)
    lines: list[Text] = texts(draw(view.plan, view.state, strokes), strokes)
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], word(f"… {len(lines) - LINES_MAX} more", "dim")]
    return Group(*lines, history_text(view.history[-1]))


def shower(*, quiet: bool) -> Quiet | Lines | Drawing:
    """How progress is shown here."""
    if quiet:
        return Quiet()
    return Drawing() if sys.stdout.isatty() else Lines()


def outcome_text(view: SagaView) -> Text:
    """How it ended, in a line."""
    line = view.line
    words = {"completed": value(view.result) if view.result not in (None, b"null") else "", "running": "goes on"}
    detail = words.get(line.status, line.reason)
    by_hand = f" (settled by hand: {', '.join(view.closed)})" if view.closed else ""
    return Text.assemble(
        word(line.id, "bold"), " ", word(line.status), word(f": {detail}" if detail else "", ""), word(by_hand, "")
    )
