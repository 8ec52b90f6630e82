"""Threads for sync functions.

The standard pool waits for every thread when the process ends, so one function that never
returns would keep a worker from stopping. These threads are daemons: the process ends without
them, and the saga knows that the attempt is unresolved.

Guarantees: at most `size` functions run at once; the rest wait in order.
Must not: swallow what a function raises.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

IDLE_SECONDS = 30.0
Job = tuple[Callable[[], Any], contextvars.Context, "Future[Any]"]


class Threads:
    """A pool of daemon threads that grows when needed and shrinks when idle."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = Lock()
        self._count = 0
        self._idle = 0

    def submit(self, fn: Callable[[], Any]) -> Future[Any]:
        """Run a function in the context of the caller."""
        future: Future[Any] = Future()
        self._jobs.put((fn, contextvars.copy_context(), future))
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._count < self._size:
                self._count += 1
                Thread(target=self._work, name=f"amends-step-{self._count}", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                fn, context, future = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._count -= 1
                        self._idle = max(self._idle - 1, 0)
                        return
                continue
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(context.run(fn))
                except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                    future.set_exception(error)
            with self._lock:
                self._idle += 1
