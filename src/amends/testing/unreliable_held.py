"""What an unreliable network holds back: a buffer that shuffles, and messages that go out later.

Guarantees: what is held is let go in bounded time, or dropped when the network ends.
Must not: decide what is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Shuffled(Generic[T]):
    """A buffer of up to so many things for up to so many seconds, which leave it in another order."""

    def __init__(self, dice: Random, leave: Callable[[Sequence[T]], None]) -> None:
        self._dice = dice
        self._leave = leave
        self._things: list[T] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """How many things it holds."""
        return len(self._things)

    def put(self, thing: T, most: int, seconds: float) -> None:
        """Hold one. The first decides when all leave."""
        self._things.append(thing)
        if len(self._things) >= most:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.flush)

    def flush(self) -> None:
        """Let all leave."""
        self.drop_timer()
        things, self._things = self._things, []
        if things:
            self._dice.shuffle(things)
            self._leave(things)

    def drop(self) -> None:
        """Forget all."""
        self.drop_timer()
        self._things.clear()

    def drop_timer(self) -> None:
        """Let nothing happen by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Later:
    """Things to do in a while, each by its own clock."""

    def __init__(self) -> None:
        self._timers: dict[asyncio.TimerHandle, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def put(self, seconds: float, act: Callable[[], None]) -> Callable[[], bool]:
        """Do it then; what is given does it at once, unless it is done, and says whether it was not."""

        def now() -> bool:
            if self._timers.pop(timer, None) is None:
                return False
            timer.cancel()
            act()
            return True

        timer = asyncio.get_running_loop().call_later(seconds, now)
        self._timers[timer] = act
        return now

    def flush(self) -> None:
        """Do everything at once."""
        timers, self._timers = self._timers, {}
        for timer, act in timers.items():
            timer.cancel()
            act()
