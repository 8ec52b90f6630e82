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
    """Counts what ends between `warm` and `warm + seconds` after the start."""

    def __init__(self, warm: float, seconds: float) -> None:
        self.warm = warm
        self.seconds = seconds
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
        self._cpu = time.process_time() - self._cpu

    def sample(self) -> Sample:
        """The result."""
        latencies = sorted(self._latencies)
        if len(latencies) < 2:
            raise RuntimeError("too few sagas ended in the window: make it longer")
        cpu = self._cpu / len(latencies)
        p99 = latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)]
        rate = len(latencies) / self.seconds
        return Sample(rate, median(latencies) * 1e3, p99 * 1e3, cpu * 1e3, len(latencies))


async def drive(run: Callable[[], Awaitable[object]], in_flight: int, warm: float, seconds: float) -> Sample:
    """Keep `in_flight` sagas going on this loop."""
    window = Window(warm, seconds)

    async def one() -> None:
        while window.open():
            since = time.perf_counter()
            await run()
            window.ended(since)

    async def clock() -> None:
        await asyncio.sleep(warm)
        window.mark()
        await asyncio.sleep(seconds)
        window.mark()

    await asyncio.gather(clock(), *(one() for _ in range(in_flight)))
    return window.sample()


def drive_threads(run: Callable[[], object], in_flight: int, warm: float, seconds: float) -> Sample:
    """The same with a thread per saga in flight."""
    window = Window(warm, seconds)

    def one() -> None:
        while window.open():
            since = time.perf_counter()
            run()
            window.ended(since)

    threads = [threading.Thread(target=one) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for pause in (warm, seconds):
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
