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
        self._threads = 0
        self._idle = 0  # threads that wait for a job
        self._queued = 0  # jobs that no thread has taken

    def submit(self, fn: Callable[[], Any]) -> Future[Any]:
        """Run a function in the context of the caller."""
        future: Future[Any] = Future()
        with self._lock:
            self._jobs.put((fn, contextvars.copy_context(), future))
            self._queued += 1
            if self._queued > self._idle and self._threads < self._size:
                self._grow()
        return future

    def _grow(self) -> None:
        thread = Thread(target=self._work, name=f"amends-step-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more
            if self._threads == 0:
                raise
        else:
            self._threads += 1

    def _work(self) -> None:
        while (job := self._take()) is not None:
            fn, context, future = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(context.run(fn))
                except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                    future.set_exception(error)
            del fn, context, future, job  # an idle thread keeps nothing alive

    def _take(self) -> Job | None:
        """The next job; None where there is none for so long that the thread may end."""
        with self._lock:
            self._idle += 1
        try:
            job: Job | None = self._jobs.get(timeout=IDLE_SECONDS)
        except Empty:
            job = None
        with self._lock:
            self._idle -= 1
            if job is None:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    self._threads -= 1
                    return None
            self._queued -= 1
        return job
