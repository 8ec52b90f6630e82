"""The clock of a store on this machine.

Guarantees: never steps back in one process, and never stands still: where the wall clock is
set back, time goes on from where it was; where it is set forward, time follows.
Must not: be compared with the clock of another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NOISE_SECONDS = 0.001  # two clocks read one after the other differ by less


class Clock:
    """Seconds since 1970, as the wall clock says, but never less than has passed."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()  # kept, and not the instant: a sum of many small steps would run ahead

    def now(self) -> float:
        """The instant."""
        wall = self._wall()
        steady = self._steady()  # after the wall: who is held up between the two looks must not gain time by it
        self._offset = max(self._offset, wall - steady)
        return steady + self._offset

    def lead(self) -> float:
        """How far the instant is ahead of the wall clock, and of processes that began after it was set back."""
        lead = self.now() - self._wall()
        return lead if lead > NOISE_SECONDS else 0.0
