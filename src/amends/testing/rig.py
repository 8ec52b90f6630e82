"""What the sandbox runs on: one session after another, on loops with one virtual time.

Guarantees: a killed session never does anything again; waiting for a saga ends, with its
outcome or with the reason why none can come.
Must not: know the user's types. The sandbox does.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from amends.decide.state import Action, State
from amends.errors import (
    IdConflict,
    LimitExceeded,
    NotEnlisted,
    NotRunning,
    Refused,
    TooLate,
    UnknownSaga,
    ValueRefused,
)
from amends.operate.operations import Operations
from amends.run.outcomes import Outcome
from amends.run.session import Config, Session, state_of
from amends.store.base import OPEN
from amends.store.clock import Clock
from amends.store.memory import MemoryDatabase
from amends.testing.inline import InlineSession, InlineSqliteStore, SandboxLoop, SoleMemoryStore
from amends.testing.virtual import close

__tracebackhide__ = True  # for pytest
T = TypeVar("T")
CALLERS = (IdConflict, LimitExceeded, NotEnlisted, Refused, TooLate, UnknownSaga, ValueRefused)  # the caller's mistakes
LOOK_FIRST_SECONDS = 60.0
LOOK_LAST_SECONDS = 24 * 3600.0
LOOKS_IN_VAIN_MAX = 20
STORIES_SHOWN = 5
AT_REST = ("completed", "compensated", "parked")


class Rig:
    """One database, and whichever session works on it."""

    def __init__(self, config: Config, database: Path | None) -> None:
        self._config = config
        self._path = database
        self._memory = MemoryDatabase(clock=self.now)
        self._loop = SandboxLoop()
        self._open_loops = [self._loop]
        self._store: SoleMemoryStore | InlineSqliteStore
        self._session: InlineSession | None = None
        self._open()

    def now(self) -> float:
        """The instant, in seconds since 1970."""
        return self._loop.now()

    @property
    def session(self) -> Session:
        """The session at work. Raises NotRunning once the rig is closed."""
        if self._session is None:
            raise NotRunning("the sandbox is closed")
        return self._session

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, and then whatever can happen without time passing. Raises
        NotRunning once the rig is closed."""
        try:
            self.session  # noqa: B018  # raises where there is none
            return self._drive(work)
        except CALLERS as error:
            raise error.with_traceback(None) from None  # a failed test shows its own line, not ours
        finally:
            work.close()  # where it was never begun

    def _drive(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop

        async def whole() -> T:
            try:
                return await work
            finally:
                await loop.quiet()

        return _outside_loops(lambda: loop.run_until_complete(whole()))

    def kill(self) -> None:
        """The session is gone, whatever it was doing; a new one takes over."""
        session = self.session
        self._session = None
        if isinstance(session, InlineSession):
            session.kill()
        self._store.kill()
        self._loop = SandboxLoop(self._loop.time())
        self._open_loops.append(self._loop)
        self._open()

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        session, self._session = self._session, None
        try:
            if session is not None:
                loop = self._loop
                _outside_loops(lambda: loop.run_until_complete(session.close()))
        finally:
            closing, self._open_loops = self._open_loops, []
            for loop in closing:
                _outside_loops(partial(close, loop))

    # What is asked of sagas

    @property
    def operations(self) -> Operations:
        """What an operator may ask."""
        return Operations(self.session)

    async def status(self, key: str) -> str:
        """A saga's status as it stands. Raises UnknownSaga."""
        head = await self.session.store.head(key)
        if head is None:
            raise UnknownSaga(f"there is no saga with the id {key!r} in this sandbox")
        return head.status

    async def history(self, key: str) -> list[str]:
        """What has happened to a saga, with the time since its start. Raises UnknownSaga."""
        lines = await self.operations.history(key)
        return [f"{_passed(line.at - lines[0].at):>16}  {line.text}" for line in lines]

    async def settle(self, key: str) -> Outcome:
        """The outcome of a saga, however long it takes. Raises AssertionError where it would
        take for ever."""
        delay, looks_in_vain = LOOK_FIRST_SECONDS, 0
        while True:
            status = await self.status(key)
            if status in AT_REST:
                return await self.session.outcome(None, key)
            if await self._wait(key, delay):
                delay = min(delay * 2, LOOK_LAST_SECONDS)
                looks_in_vain = looks_in_vain + 1 if self._trouble() else 0
            else:
                await self._refuse_to_wait_for_ever(key)
                looks_in_vain += 1
            if looks_in_vain > LOOKS_IN_VAIN_MAX:
                why = self._trouble() or "is a transaction left open on the sandbox's file?"
                raise AssertionError(f"nothing can be written: {why}\n{await self._story(key, status)}")

    async def stories(self) -> str:
        """The histories of the last sagas."""
        page = await self.operations.find(limit=STORIES_SHOWN)
        return "\n".join([await self._story(saga.id, saga.status) for saga in reversed(page.sagas)])

    async def act(self, key: str, verb: str, step: str, reason: str, result: object) -> None:
        """An operator's act. Raises UnknownSaga, TooLate and Refused."""
        payload = None
        if result is not None:
            loaded = await self.session.store.load(key)
            if loaded is None:
                raise UnknownSaga(f"there is no saga with the id {key!r} in this sandbox")
            codec = self.session.program_of(loaded).codec_at(step)
            payload = codec.admit(result, f"the result of {step}", self._config.settings.payload_bytes)[0]
        await self.session.act(key, verb, step, actor="test", reason=reason, result=payload)

    # Parts

    def _open(self) -> None:
        if self._path is None:
            self._store = SoleMemoryStore(self._memory)
        else:
            self._store = InlineSqliteStore(self._path, self._config.namespace, Clock(self.now, self.now))

        async def begin() -> InlineSession:
            session = InlineSession(replace(self._config, database=self._store))
            await session.open(work=True)
            return session

        try:
            self._session = self._drive(begin())
        except BaseException:
            self.close()
            raise

    def _trouble(self) -> str:
        worker = self.session.worker
        if worker is None:
            return ""
        if worker.failed.done():
            worker.failed.result()  # raises why
        return worker.trouble

    async def _wait(self, key: str, seconds: float) -> bool:
        """Wait for a saga to come to rest, for a while; False where it is not in memory."""
        worker = self.session.worker
        live = None if worker is None else worker.by_key.get(key)
        if live is None:
            return False
        waiting = asyncio.ensure_future(live.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()
        return True

    async def _refuse_to_wait_for_ever(self, key: str) -> None:
        """A saga that is not in memory is about to be claimed, or waits for a signal."""
        worker = self.session.worker
        if worker is not None:
            worker.ownership.wake()  # it may have looked while a transaction of the test held the file
        await asyncio.sleep(1.0)
        loaded = await self.session.store.load(key)
        if loaded is None or loaded.head.status not in OPEN or loaded.head.status in AT_REST:
            return
        if loaded.head.owner is None and loaded.head.wake_at is None:
            names = ", ".join(_waits(state_of(loaded))) or "nothing"
            raise AssertionError(
                f"the saga waits for {names}, without end: send the signal, or cancel it\n"
                f"{await self._story(key, loaded.head.status)}"
            )

    async def _story(self, key: str, status: str) -> str:
        return "\n".join([f"{key}: {status}", *await self.history(key)])


def _waits(state: State) -> list[str]:
    return [address for address, step in state.steps.items() if step.action.status is Action.WAITING]


def _passed(seconds: float) -> str:
    """A time that passed: `0.2 s`, `1:30:00`, `3 days, 0:00:00`."""
    return f"{max(seconds, 0.0):.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _outside_loops(fn: Callable[[], T]) -> T:
    """Call a function where no event loop runs: here, or, in an async test, in another thread."""
    try:
        asyncio.get_running_loop()
        inside = True
    except RuntimeError:
        inside = False
    if not inside:
        return fn()
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def call() -> None:
        try:
            results.append(context.run(fn))
        except BaseException as error:  # noqa: BLE001  # raised again where the result is wanted
            errors.append(error)

    thread = Thread(target=call, name="amends-sandbox")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
