"""A shop in a thread of its own, for tests that have no loop, as those with a browser.

Guarantees: what is asked of it is done in its thread, and waited for; it is closed with its thread.
Must not: know a browser.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from scene import Scene, scene, served

from amends.operate.operations import Operations
from amends.operate.values import Line, SagaView

T = TypeVar("T")
PATIENCE_SECONDS = 20.0
Beside = Callable[[Scene], AbstractAsyncContextManager[Scene]]


class Running:
    """A shop at work, with its dashboard served."""

    def __init__(self, loop: asyncio.AbstractEventLoop, made: Scene, desk: Operations) -> None:
        self._loop = loop
        self.scene = made
        self.desk = desk
        self.url = made.url

    def wait(self, what: Coroutine[Any, Any, T]) -> T:
        """Have something done there."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_SECONDS)

    def cookie(self, who: str) -> Any:
        """Of somebody who has logged in."""
        access = self.scene.app.state.web.access
        token = access.by_text(self.scene.tokens[who])
        return {"name": access.sessions.cookie, "value": access.sessions.begin(token.id), "url": self.url}

    def show(self, id_: str) -> SagaView:
        """One saga."""
        return self.wait(self.desk.show(id_))

    def acts(self, id_: str) -> list[tuple[str, str, str]]:
        """Who did what to a saga, and why, as its history has it."""
        lines: tuple[Line, ...] = self.wait(self.desk.history(id_))
        return [(line.actor, line.text, line.reason) for line in lines if line.event == "operated"]

    def ended(self, id_: str, status: str) -> None:
        """Wait until a saga has come to where it should."""

        async def come() -> None:
            while (await self.desk.show(id_)).line.status != status:
                await asyncio.sleep(0.01)

        self.wait(come())

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, as its thread sees it."""

        async def come() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        self.wait(come())


@contextmanager
def running(*, full: bool, beside: Beside = nullcontext) -> Iterator[Running]:
    """The shop; with something of everything in it, or empty. beside: what stands beside it on the same dashboard."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="shop", daemon=True)
    thread.start()
    leave = asyncio.Event()
    begun: list[tuple[Scene, Operations]] = []
    ready = threading.Event()

    async def live() -> None:
        try:
            async with scene("memory://") as made, beside(made) as both, served(both) as there:
                if full:
                    await there.fill()
                    await there.settle()
                begun.append((there, Operations(there.orchestrator.session)))
                ready.set()
                await leave.wait()
        finally:
            ready.set()

    task = asyncio.run_coroutine_threadsafe(live(), loop)
    try:
        ready.wait(PATIENCE_SECONDS)
        if not begun:
            task.result(PATIENCE_SECONDS)
        yield Running(loop, *begun[0])
    finally:
        loop.call_soon_threadsafe(leave.set)
        try:
            task.result(PATIENCE_SECONDS)
            asyncio.run_coroutine_threadsafe(_end_all(), loop).result(PATIENCE_SECONDS)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(PATIENCE_SECONDS)
        loop.close()


async def _end_all() -> None:
    """End what still runs on this loop."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
