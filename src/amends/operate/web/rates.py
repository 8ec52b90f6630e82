"""How often something may be done: buckets that fill by themselves.

Guarantees: at most `most` buckets are kept, so that nobody fills the memory by asking under many names.
Must not: sleep.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

NAMES_MAX = 10_000


class Rate:
    """Of each name so many a second, and so many at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """0 if it may be done now; else in how many seconds."""
        now = self._clock()
        left, at = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._buckets[name] = (left if wait else left - 1, now)
        while len(self._buckets) > NAMES_MAX:
            self._buckets.popitem(last=False)
        return wait
