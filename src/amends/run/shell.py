"""What a saga in memory needs from the worker that holds it.

Guarantees: nothing; a protocol.
Must not: know any worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from amends.decide.draft import Decision
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.observe.hub import Hub
from amends.run.attempt import Attempt, Runner
from amends.run.sealing import Seals
from amends.run.settings import Settings
from amends.run.timers import Deadlines
from amends.store.base import Fate, Write

if TYPE_CHECKING:
    from amends.run.live import Live
    from amends.run.transactions import Transactions


class Shell(Runner, Protocol):
    """What a saga in memory needs from the worker that holds it."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    worker: int
    namespace: str
    seals: Seals | None  # where payloads are sealed
    resources: dict[Any, Any]
    alone: asyncio.Lock  # held by the one attempt that runs carefully
    deadlines: Deadlines
    draining: bool
    hub: Hub
    context: Context  # what steps see of it is the same for all, whoever starts a saga or wakes it

    def now(self) -> float:
        """The store's clock."""
        ...

    def operation(self) -> int:
        """A new operation number."""
        ...

    def submit(self, write: Write, told: Callable[[Fate], None]) -> None:
        """Have a decision written."""
        ...

    def may_start(self, live: Live, address: str, phase: Phase) -> bool:
        """Whether an attempt may start now; if not, the worker starts it when it may."""
        ...

    @property
    def away(self) -> str:
        """Why no command goes out to services at the moment; empty if they do."""
        ...

    def send(self, live: Live, address: str, phase: Phase) -> None:
        """Have a command go out, whose decision is written."""
        ...

    def at_rest(self, live: Live, decision: Decision) -> None:
        """The saga ended, parked, or waits for long; that is written."""
        ...

    def let_go(self, live: Live, wake: float | None) -> None:
        """Nothing is to be done until an instant, or a mail: the saga may go to whoever comes."""
        ...

    def late(self, live: Live, attempt: Attempt, message: Message) -> None:
        """An attempt ended that nobody waits for any more."""
        ...

    def forget(self, live: Live) -> None:
        """The saga was never started: its id is taken."""
        ...

    def lost(self, live: Live, fate: Fate) -> None:
        """A decision was not written: the saga has moved on without this worker."""
        ...

    def broke(self, live: Live, error: Exception) -> None:
        """Something went wrong that must not: a bug in amends. The saga leaves the memory as it
        is on disk, and is taken up again by the next worker."""
        ...

    def transaction(self, address: str) -> Transactions:
        """Who runs a step that takes a transaction."""
        ...

    def answered(self, live: Live) -> None:
        """Whoever sent a mail to the saga has an answer."""
        ...

    def attempt_over(self) -> None:
        """One attempt less is in flight."""
        ...
