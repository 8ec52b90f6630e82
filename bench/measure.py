"""One measurement: a closed loop of so many sagas in flight, for so many seconds.

Guarantees: only what ended inside the window counts; latencies are of whole sagas.
Must not: know what runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

Meter = Callable[[], dict[str, float]]  # what others have used up so far, in seconds


@dataclass
class Sample:
    """What one window gave. Times in milliseconds, per saga."""

    sagas_per_second: float
    p50: float
    p99: float
    cpu: float
    sagas: int
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Window:
    """Counts what ends between `warm` and `warm + seconds` after the start. meter: whose use in the window is
    told too."""

    def __init__(self, warm: float, seconds: float, meter: Meter = dict) -> None:
        self.warm = warm
        self.seconds = seconds
        self._meter = meter
        self._metered: list[dict[str, float]] = []
        self.begin = time.perf_counter() + warm
        self.end = self.begin + seconds
        self._latencies: list[float] = []
        self._cpu = 0.0

    def open(self) -> bool:
        """Whether another saga is to be started."""
        return time.perf_counter() < self.end

    def ended(self, since: float) -> None:
        """A saga that was started at `since` has ended."""
        now = time.perf_counter()
        if self.begin <= now < self.end:
            self._latencies.append(now - since)

    def mark(self) -> None:
        """Called when the window begins, and when it ends: reads the processor time."""
        self._metered.append(self._meter())
        self._cpu = time.process_time() - self._cpu

    def sample(self) -> Sample:
        """The result."""
        latencies = sorted(self._latencies)
        if len(latencies) < 2:
            raise RuntimeError("too few sagas ended in the window: make it longer")
        cpu = self._cpu / len(latencies)
        p99 = latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)]
        rate = len(latencies) / self.seconds
        before, after = self._metered or ({}, {})
        used = {name: (after[name] - before.get(name, 0.0)) / len(latencies) * 1e3 for name in after}
        return Sample(rate, median(latencies) * 1e3, p99 * 1e3, cpu * 1e3, len(latencies), used)


async def drive(run: Callable[[], Awaitable[object]], in_flight: int, window: Window) -> Sample:
    """Keep `in_flight` sagas going on this loop."""

    async def one() -> None:
        while window.open():
            since = time.perf_counter()
            await run()
            window.ended(since)

    async def clock() -> None:
        for pause in (window.warm, window.seconds):
            await asyncio.sleep(pause)
            window.mark()

    await asyncio.gather(clock(), *(one() for _ in range(in_flight)))
    return window.sample()


def drive_threads(run: Callable[[], object], in_flight: int, window: Window) -> Sample:
    """The same with a thread per saga in flight."""

    def one() -> None:
        while window.open():
            since = time.perf_counter()
            run()
            window.ended(since)

    threads = [threading.Thread(target=one) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for pause in (window.warm, window.seconds):
        time.sleep(pause)
        window.mark()
    for thread in threads:
        thread.join()
    return window.sample()


async def run_many(run: Callable[[], Awaitable[object]], in_flight: int, total: int) -> None:
    """Run so many sagas and no more: for counting."""
    left = iter(range(total))

    async def one() -> None:
        for _ in left:
            await run()

    await asyncio.gather(*(one() for _ in range(in_flight)))


def run_many_threads(run: Callable[[], object], in_flight: int, total: int) -> None:
    """The same with threads."""
    left = iter(range(total))
    lock = threading.Lock()

    def one() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            run()

    threads = [threading.Thread(target=one) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
