"""What is tried, a step's attempt or a command in a service: its function, its time, and how it is asked to stop.

Guarantees: it is asked to stop at its deadline; a function that is awaited is cancelled, one in a thread sees
`cancelled`, and its statement is interrupted.
Must not: know what comes of it.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from amends.decide.events import Phase
from amends.define.bind import Call
from amends.define.context import Context
from amends.define.policy import Retry
from amends.run.timers import Deadlines


class Tried:
    """One call of a user's function, as those see it who make it."""

    __slots__ = (
        "address",
        "call",
        "cancelled",
        "deadline",
        "interrupt",
        "phase",
        "stopping",
        "task",
        "timeout",
    )

    address: str
    phase: Phase
    call: Call
    timeout: float
    deadline: float
    cancelled: bool
    stopping: bool  # it was asked to stop because the process goes
    task: asyncio.Task[Any] | None  # what a request to stop cancels
    interrupt: Callable[[], None] | None  # what it interrupts in another thread

    @property
    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it was begun."""

    @property
    @abstractmethod
    def deadlines(self) -> Deadlines:
        """Who watches its time."""

    @property
    @abstractmethod
    def retry(self) -> Retry:
        """What it says about being tried again."""

    @property
    @abstractmethod
    def rejects(self) -> tuple[type[Exception], ...]:
        """The exceptions that mean no."""

    @property
    @abstractmethod
    def readonly(self) -> bool:
        """Whether nothing can stay of it."""

    @property
    @abstractmethod
    def context(self) -> Context:
        """What the function may know about it."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the function is called with, but for a transaction. Raises ValueRefused."""

    @abstractmethod
    def admit(self, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused and LimitExceeded."""

    def secrets(self) -> Sequence[object]:
        """The marked values that it knows, which nothing that it says may have."""
        return ()

    def start_clock(self) -> None:
        """Begin to count the timeout."""
        self.deadline = self.loop.time() + self.timeout
        self.deadlines.watch(self)

    def stop_clock(self) -> None:
        """The function has returned."""
        self.deadlines.forget(self)

    def start_clock_from_thread(self) -> None:
        """The same, from another thread."""
        self.loop.call_soon_threadsafe(self.start_clock)

    def stop_clock_from_thread(self) -> None:
        """The same, from another thread."""
        self.loop.call_soon_threadsafe(self.stop_clock)

    def heartbeat(self) -> None:
        """Start the timeout anew; called from any thread."""
        self.deadline = self.loop.time() + self.timeout

    def stop(self) -> None:
        """Ask the function to stop: the process is going."""
        self.stopping = True
        self.ask_to_stop()

    @abstractmethod
    def expire(self) -> bool:
        """The timeout is over. False if its time is not to be watched any more."""

    def ask_to_stop(self) -> None:
        """Cancel what is awaited, interrupt what runs in a thread."""
        self.cancelled = True
        if self.interrupt is not None:
            self.interrupt()
        if self.task is not None and self.call.is_async:
            self.task.cancel()
