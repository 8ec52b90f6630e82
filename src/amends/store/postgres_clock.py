"""The server's clock, as a process sees it between two looks.

Instants of all processes must be comparable, and their machines' clocks may be minutes apart; so
nobody's wall clock is asked. What the server said is carried on by the monotonic clock.

Guarantees: never steps back in one process; is late by at most the time the answer was on its way,
never early, so that what is written as due now is due to whoever looks next.
Must not: be used before the server was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_SECONDS = 0.5  # a look that differs by more says that the clock was set, or that the server is another
BEST_SECONDS = 60.0  # how long the quickest answer stands: no two clocks go equally fast


class ServerClock:
    """Seconds since 1970, by the server."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._offset: float | None = None
        self._heard_at = 0.0
        self._last = 0.0

    def heard(self, instant: float) -> None:
        """The server has just said what time it is."""
        steady = self._steady()
        offset = instant - steady
        stale = self._offset is None or steady - self._heard_at > BEST_SECONDS or offset < self._offset - STEP_SECONDS
        if self._offset is None or stale or offset > self._offset:
            self._offset, self._heard_at = offset, steady

    def now(self) -> float:
        """The instant. Raises RuntimeError before the first look."""
        if self._offset is None:
            raise RuntimeError("the server was not asked yet")
        self._last = max(self._last, self._steady() + self._offset)
        return self._last
