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
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from amends.decide.state import Action, State
from amends.errors import NotRunning, UnknownSaga
from amends.run.outcomes import Outcome
from amends.run.session import Config, Session, state_of
from amends.store.base import OPEN, Filter, Loaded
from amends.store.memory import MemoryDatabase
from amends.testing.inline import InlineSession, InlineSqliteStore, SandboxLoop, SoleMemoryStore
from amends.testing.story import story
from amends.testing.virtual import close

T = TypeVar("T")
LOOK_FIRST_SECONDS = 60.0
LOOK_LAST_SECONDS = 24 * 3600.0
LOOKS_IN_TROUBLE_MAX = 4
STORIES_SHOWN = 5


class Rig:
    """One database, and whichever session works on it."""

    def __init__(self, config: Config, database: Path | None) -> None:
        self._config = config
        self._path = database
        self._memory = MemoryDatabase(clock=self.now)
        self._loops = [SandboxLoop()]
        self._store: SoleMemoryStore | InlineSqliteStore
        self._session: InlineSession | None = None
        self._open()

    def now(self) -> float:
        """The instant, in seconds since 1970. With this name the rig is the clock of a file, too."""
        return self._loops[-1].now()

    @property
    def session(self) -> Session:
        """The session at work. Raises NotRunning once the rig is closed."""
        if self._session is None:
            raise NotRunning("the sandbox is closed")
        return self._session

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, and then whatever can happen without time passing."""
        loop = self._loops[-1]

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
        self._loops.append(SandboxLoop(self._loops[-1].time()))
        self._open()

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        session, self._session = self._session, None
        try:
            if session is not None:
                loop = self._loops[-1]
                _outside_loops(lambda: loop.run_until_complete(session.close()))
        finally:
            while self._loops:
                _outside_loops(lambda: close(self._loops.pop()))

    # What is asked of sagas

    async def load(self, key: str) -> Loaded:
        """A saga as the store has it. Raises UnknownSaga."""
        loaded = await self.session.store.load(key)
        if loaded is None:
            raise UnknownSaga(f"there is no saga with the id {key!r} in this sandbox")
        return loaded

    async def settle(self, key: str) -> Outcome:
        """The outcome of a saga, however long it takes. Raises AssertionError where it would
        take for ever."""
        delay, looks_in_trouble = LOOK_FIRST_SECONDS, 0
        while True:
            head = (await self.load(key)).head
            if head.status not in OPEN or head.status == "parked":
                return await self.session.outcome(None, key)
            looks_in_trouble = looks_in_trouble + 1 if self._trouble() else 0
            if looks_in_trouble > LOOKS_IN_TROUBLE_MAX:
                raise AssertionError(f"nothing can be written: {self._trouble()}")
            if not await self._wait(key, delay):
                await self._refuse_to_wait_for_ever(key)
            delay = min(delay * 2, LOOK_LAST_SECONDS)

    async def stories(self) -> str:
        """The histories of the last sagas."""
        texts: list[str] = []
        for head in reversed(await self.session.store.find(Filter(limit=STORIES_SHOWN))):
            lines = story((await self.load(head.key)).rows)
            texts.append("\n".join([f"{head.key}: {head.status}", *(f"  {line}" for line in lines)]))
        return "\n".join(texts)

    # Parts

    def _open(self) -> None:
        if self._path is None:
            self._store = SoleMemoryStore(self._memory)
        else:
            self._store = InlineSqliteStore(self._path, self._config.namespace, self)

        async def begin() -> InlineSession:
            session = InlineSession(replace(self._config, database=self._store))
            await session.open(work=True)
            return session

        try:
            self._session = self.run(begin())
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
        await self._loops[-1].quiet()
        await asyncio.sleep(1.0)
        loaded = await self.load(key)
        if loaded.head.owner is None and loaded.head.wake_at is None and loaded.head.status in OPEN:
            names = ", ".join(_waits(state_of(loaded))) or "nothing"
            lines = "\n".join(f"  {line}" for line in story(loaded.rows))
            raise AssertionError(f"the saga {key} waits for {names}, without end: send a signal, or cancel it\n{lines}")


def _waits(state: State) -> list[str]:
    return [address for address, step in state.steps.items() if step.action.status is Action.WAITING]


def _outside_loops(fn: Callable[[], T]) -> T:
    """Call a function where no event loop runs: here, or, in an async test, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
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
