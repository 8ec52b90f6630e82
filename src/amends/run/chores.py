"""What an ownership loop was asked to write, and does in its own time.

Guarantees: one that has to wait, for a lock of somebody else's perhaps, keeps nothing else waiting.
Must not: know what is written.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

from amends.errors import StoreUnavailable

_log = logging.getLogger("amends.ownership")
Duty = Callable[[], Awaitable[object]]


class Chores:
    """A list of them, in order."""

    def __init__(self) -> None:
        self._todo: deque[Duty] = deque()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._todo)

    def add(self, duty: Duty) -> None:
        """One more, behind all others."""
        self._todo.append(duty)

    def clear(self) -> None:
        """None of them, also of those that are just being done."""
        self._todo.clear()

    async def do(self, before: Duty) -> None:
        """Each once; what cannot be written yet stays, behind the others. before: what comes before each."""
        for _ in range(len(self._todo)):
            await before()
            if not self._todo:
                return  # the registration that they were for is gone
            duty, left = self._todo[0], 0
            try:
                await duty()
            except StoreUnavailable as error:
                _log.warning("what was to be written about a saga is not yet: %s", error)
                left = 1
            if self._todo and self._todo[0] is duty:
                self._todo.popleft()
                self._todo.extend([duty] * left)
