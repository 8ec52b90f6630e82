"""When a saga in memory looks at the clock again.

Guarantees: one timer at most, set anew with every decision.
Must not: know why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """One saga's. `patience`: until this instant, by the store's clock, replies of services are waited for in
    memory; then it is to be looked at, whatever else is due."""

    __slots__ = ("_loop", "_ring", "_timer", "patience")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self.patience: float = 0.0
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, wake: float | None, now: float) -> None:
        """Ring at an instant, or never."""
        self.cancel()
        if wake is not None:
            wake = self.patience if now < self.patience < wake else wake
            self._timer = self._loop.call_later(max(wake - now, 0.0), self._rings)

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rings(self) -> None:
        self._timer = None
        self._ring()
