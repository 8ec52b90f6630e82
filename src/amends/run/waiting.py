"""Waiting for a saga, or for the answer to a mail, wherever the saga runs.

Whoever commits the end of a saga tells the waiters of its process at once and hints at the
others; a slow look at the store stands behind both, so a hint may be lost.

Guarantees: a waiter wakes within `LOOK_LAST_SECONDS` of what it waits for, hints or none; where very
many wait, all of them together look at most `LOOKS_PER_SECOND` times a second, or they would keep
the store from what they wait for.
Must not: keep anything in memory for a saga that nobody waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from amends.store.base import Store

T = TypeVar("T")
LOOK_FIRST_SECONDS = 0.05
LOOK_LAST_SECONDS = 1.0
LOOKS_PER_SECOND = 500


class Waiting:
    """The waiters of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiters: dict[str, dict[asyncio.Event, None]] = {}  # in the order in which they came

    def tell(self, key: str) -> None:
        """Something became of this saga."""
        for event in self._waiters.get(key, ()):
            event.set()

    def tell_all(self) -> None:
        """Something may have become of any saga."""
        for key in list(self._waiters):
            self.tell(key)

    @property
    def anybody(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiters)

    async def until(self, key: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds, once it finds something; asked again after every hint, and now and then."""
        event = asyncio.Event()
        self._waiters.setdefault(key, {})[event] = None
        delay = LOOK_FIRST_SECONDS
        try:
            self._store.watch(key)
            while True:
                event.clear()
                found = await look()
                if found is not None:
                    return found
                try:
                    async with asyncio.timeout(max(delay, len(self._waiters) / LOOKS_PER_SECOND)):
                        await event.wait()
                except TimeoutError:
                    delay = min(delay * 2, LOOK_LAST_SECONDS)
                self._store.watch(key)
        finally:
            del self._waiters[key][event]
            if not self._waiters[key]:
                del self._waiters[key]
