"""The same orchestrator for synchronous programs.

One background thread runs one event loop with one session; every method hands a coroutine to
it and waits. Nothing is implemented twice.

Guarantees: started on first use, started again in a forked child, closed at exit.
Must not: be used from inside an event loop; `async with orchestrator` is for that.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from amends.define.nodes import Signal
from amends.define.outcome import Compensated, Completed, Parked
from amends.define.policy import Duration, seconds
from amends.define.saga import Saga
from amends.errors import NotRunning
from amends.run.config import Config
from amends.run.session import Session

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
LAST_WORDS_SECONDS = 1.0
_CLOSED = "the orchestrator was closed while this was waiting; what was started goes on without it"
_all: WeakSet[Blocking] = WeakSet()


class BlockingHandle(Generic[T_co]):
    """One started saga."""

    def __init__(self, saga: Saga[Any, T_co], saga_id: str, blocking: Blocking) -> None:
        self.saga = saga
        self.saga_id = saga_id
        self._blocking = blocking

    def outcome(self, *, timeout: Duration | None = None) -> Completed[T_co] | Compensated | Parked:
        """How the saga ended, or that it is parked. Raises TimeoutError after `timeout`."""
        limit = None if timeout is None else seconds(timeout, "outcome(timeout=…)")
        session = self._blocking.session()
        found = self._blocking.wait_for(session.outcome(self.saga, self.saga_id, limit))
        return cast("Completed[T_co] | Compensated | Parked", found)


class Blocking:
    """An orchestrator behind a background loop."""

    def __init__(self, config: Config, *, work: bool) -> None:
        self.work = work
        self._config = config
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._thread: Thread | None = None
        _all.add(self)

    def start(
        self, saga: Saga[I, T], input: I, /, *, id: str | None = None, within: object = None
    ) -> BlockingHandle[T]:
        """As `Orchestrator.start`. With `within=` the rows are written on this thread."""
        session = self.session()
        if within is None:
            return BlockingHandle(saga, self.wait_for(session.start(saga, input, id)), self)
        return BlockingHandle(saga, session.enlist(saga, input, id, within), self)

    def run(
        self, saga: Saga[I, T], input: I, /, *, id: str | None = None, timeout: Duration | None = None
    ) -> Completed[T] | Compensated | Parked:
        """As `Orchestrator.run`. Raises TimeoutError after `timeout`; the saga goes on."""
        return self.start(saga, input, id=id).outcome(timeout=timeout)

    def handle(self, saga: Saga[I, T], saga_id: str, /) -> BlockingHandle[T]:
        """As `Orchestrator.handle`."""
        return BlockingHandle(saga, saga_id, self)

    def signal(
        self, saga_id: str, signal: Signal[T], value: T, /, *, id: str | None = None, within: object = None
    ) -> None:
        """As `Orchestrator.signal`."""
        session = self.session()
        if within is None:
            self.wait_for(session.signal(saga_id, signal, value, id))
        else:
            session.enlist_signal(session.signal_mail(saga_id, signal, value, id), within)

    def cancel(self, saga_id: str, /, *, reason: str, actor: str = "program") -> None:
        """As `Orchestrator.cancel`."""
        self.wait_for(self.session().cancel(saga_id, reason=reason, actor=actor))

    def close(self) -> None:
        """Let go of everything; the next use starts anew. Called at exit."""
        with self._lock:
            loop, session, thread = self._loop, self._session, self._thread
            self._forget()
        if loop is None or session is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(_end(session), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # Parts

    def session(self) -> Session:
        """The session, started if need be. Raises StoreError."""
        with self._lock:
            if self._session is None:
                self._begin()
            if self._session is None:
                raise NotRunning("the background loop did not start")
            return self._session

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the background loop."""
        try:
            if self._loop is None:
                raise RuntimeError("closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise NotRunning(_CLOSED) from None
        try:
            return future.result()
        except CancelledError:
            raise NotRunning(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def _begin(self) -> None:
        loop = asyncio.new_event_loop()
        started = Event()
        thread = Thread(target=self._serve, args=(loop, started), name="amends-blocking", daemon=True)
        thread.start()
        started.wait()
        session = Session(self._config)
        try:
            asyncio.run_coroutine_threadsafe(session.open(work=self.work), loop).result()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            raise
        self._loop, self._session, self._thread = loop, session, thread

    def _serve(self, loop: asyncio.AbstractEventLoop, started: Event) -> None:
        """The background thread. It keeps this object alive until `close`."""
        asyncio.set_event_loop(loop)
        loop.call_soon(started.set)
        loop.run_forever()

    def _forget(self) -> None:
        self._loop, self._session, self._thread = None, None, None


async def _end(session: Session) -> None:
    """Close the session; who still waits for something of it hears that."""
    await session.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, deaf = await asyncio.wait(left, timeout=LAST_WORDS_SECONDS)
        for task in deaf:
            task.cancel()


def _after_fork() -> None:
    """The parent's thread does not exist in the child: begin anew on the next use."""
    for blocking in list(_all):
        blocking._lock = Lock()  # the parent may have held it
        if blocking._session is not None:
            _leave_to_parent(blocking._session, blocking._loop)
        blocking._forget()


def _leave_to_parent(*inherited: object) -> None:
    """Keep what a child has inherited from being tidied up, at its end too. The kernel's list of the sockets
    that the loop waits for is one for parent and child: who takes a connection off it here takes it from the
    parent, which then waits for ever."""
    import ctypes  # dear, and for children only

    for one in inherited:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _at_exit() -> None:
    for blocking in list(_all):
        blocking.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
