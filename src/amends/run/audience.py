"""Who waits, in the worker's own process, for a saga that is in its memory.

Guarantees: everybody is told once, also where the saga leaves the memory without an end; who
gives up leaves nothing behind.
Must not: look into the store; `waiting.py` does, for everybody else.
"""

from __future__ import annotations

import asyncio

from amends.decide.state import State
from amends.define.program import Program
from amends.errors import AmendsError
from amends.run.outcomes import Outcome, outcome_of


class Audience:
    """The waiters of one saga."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[Outcome | None]] = []

    async def wait(self, loop: asyncio.AbstractEventLoop) -> Outcome | None:
        """What they are told."""
        future: asyncio.Future[Outcome | None] = loop.create_future()
        self.waiters.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future in self.waiters:
                self.waiters.remove(future)
            raise

    def tell(self, found: Outcome | AmendsError | None) -> None:
        """The outcome, or why it cannot be told; None: look elsewhere."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if isinstance(found, AmendsError):
                waiter.set_exception(found)
            else:
                waiter.set_result(found)

    def tell_outcome(self, program: Program, state: State) -> None:
        """The outcome of a saga at rest; its output may be one that can no longer be read."""
        try:
            found = outcome_of(program, state)
        except AmendsError as error:
            self.tell(error)
        else:
            self.tell(found)
