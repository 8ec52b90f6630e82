"""The one thread that owns a store's connection.

Guarantees: jobs run one after the other in the order given; a job that fails leaves no open
transaction; the loop gets each result once. After an error that does not pass (a damaged file, a
failed fsync) the connection does nothing more: what it thinks is written may not be.
Must not: know what a job does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from amends.errors import StoreDamaged, StoreError, StoreUnavailable
from amends.store.sqlite_errors import translate

T = TypeVar("T")
Job = Callable[[], None]


class ConnectionThread:
    """Runs functions of the connection, off the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._tell_end: Job = _nobody
        self._broken: StoreDamaged | None = None

    async def start(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Start the thread and open its connection. Raises what `connect` raises."""
        self._broken = None
        self._thread = Thread(target=self._run, name=f"amends-{self._path.name}", daemon=True)
        self._thread.start()

        def job(_: sqlite3.Connection | None) -> None:
            self._connection = connect()

        try:
            await self._submit(job)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, patience_seconds: float | None = None) -> None:
        """Finish what was given, close the connection and end the thread. May be called twice. A job that
        does not end in `patience_seconds` is left to itself, as the thread is; it keeps no process alive."""
        thread, self._thread = self._thread, None
        if thread is not None:
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
            self._tell_end = lambda: _tell(loop, ended, None, None)
            self._jobs.put(None)
            # not a join in another thread: while a program exits there are no new ones
            if (await asyncio.wait([ended], timeout=patience_seconds))[0]:
                thread.join()

    def run(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """The result of a job, once it has run. Raises StoreUnavailable where the thread is stopped."""
        if self._thread is None:
            raise StoreUnavailable(f"{self._path} is closed")

        def given(connection: sqlite3.Connection | None) -> T:
            if connection is None:
                raise StoreUnavailable(f"{self._path} is closed")
            return job(connection)

        return self._submit(given)

    def _submit(self, job: Callable[[sqlite3.Connection | None], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                if self._broken is not None:
                    raise StoreDamaged(*self._broken.args)
                result = job(self._connection)
            except sqlite3.Error as error:
                self._roll_back()
                _tell(loop, future, None, self._judge(translate(error, self._path)))
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                self._roll_back()
                if isinstance(error, StoreDamaged):
                    self._broken = error
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        self._jobs.put(work)
        return future

    def _judge(self, error: StoreError) -> StoreError:
        if isinstance(error, StoreDamaged):
            self._broken = error
        return error

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        finally:
            self._tell_end()

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                return  # the library has rolled back by itself, as it does when the disk is full


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], result: T | None, error: BaseException | None
) -> None:
    """Hand over a result; a loop that is gone, or a waiter that gave up, needs none."""

    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a T where there is no error

    try:
        loop.call_soon_threadsafe(settle)
    except (RuntimeError, CancelledError):
        return  # the loop is closed: nobody waits any more


def _nobody() -> None:
    """Nobody waits for the thread to end."""
