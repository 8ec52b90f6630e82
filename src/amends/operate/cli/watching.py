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

import click
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
ALONE_SECONDS = 3.0
LINES_MAX = 60
_REST = ("completed", "compensated", "parked")


async def watch(found: Operations, saga: Saga[Any, Any], saga_id: str, show: Callable[[SagaView], None]) -> SagaView:
    """Look until the saga is at rest; each time something has changed, `show` is called."""
    delay, length = LOOK_FIRST_SECONDS, -1
    care = Care(found)
    rest: asyncio.Task[object] | None = None
    try:
        while True:
            view = await found.show(saga_id)
            if len(view.history) != length:
                show(view)
                delay, length = LOOK_FIRST_SECONDS, len(view.history)
            if view.line.status in _REST:
                return view
            await care.look()
            if rest is None or rest.done():
                rest = asyncio.ensure_future(found.session.outcome(saga, saga_id))
            await asyncio.wait([rest], timeout=delay)
            if rest.done():
                rest.result()
            delay = min(delay * 1.5, LOOK_LAST_SECONDS)
    finally:
        if rest is not None:
            rest.cancel()


class Care:
    """Says so, once, when nobody is there to run what is waited for."""

    def __init__(self, found: Operations) -> None:
        self._found = found
        self._next = asyncio.get_running_loop().time() + ALONE_SECONDS

    async def look(self) -> None:
        """Look whether a worker is alive, now and then."""
        now = asyncio.get_running_loop().time()
        if self._found.session.worker is not None or now < self._next:
            return
        self._next = now + ALONE_SECONDS
        if not await self._found.workers_alive():
            click.echo("No worker is alive: the saga waits until `amends worker` runs.", err=True)
            self._next = float("inf")


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
