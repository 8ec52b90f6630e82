"""Where the sagas are that are shown: stores of orchestrators and watchers, and homes of choreographed ones.

An orchestrator that runs in this very process is asked by its own session. Anything else is opened as a client when
it is first asked for, and closed with the event loop, also where nobody runs a lifespan of ours: a mounted
application's is not run by Starlette.

Guarantees: opened once, however many ask at once; what cannot be opened is tried again by the next who asks.
Must not: work sagas.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from amends.define.saga import Saga
from amends.errors import DefinitionError, NotRunning, Refused, StoreUnavailable, UnknownSaga
from amends.operate.database import check_there
from amends.operate.homes import HomeOperations, home_operations
from amends.operate.operations import Operations, config_of, operations
from amends.operate.services import Keeping
from amends.run.config import Config
from amends.run.database import Database
from amends.run.orchestrator import Orchestrator
from amends.run.participant import Participant
from amends.run.session import Session
from amends.run.watcher import Watcher

Desk = Operations | HomeOperations
Source = Database | Orchestrator | Watcher | Participant | Config
T = TypeVar("T")
OPENS_SECONDS = 20.0
ANSWER_SECONDS = 10.0  # how long somebody looks at a page that does not come


class Kept(Generic[T]):
    """Something that is opened when it is first asked for, and closed with the loop at the latest: a task holds it
    open, and a loop that ends cancels its tasks and waits for them. make: opens it."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._make = make
        self._holding: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[T]
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self) -> T:
        """It, open. Raises what opening it raises; the next who asks tries anew."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._holding is None or self._holding.done():
            self._loop, self._opened = loop, loop.create_future()
            self._opened.add_done_callback(_retrieve)  # whoever asked may have gone
            self._holding = loop.create_task(self._hold(self._opened), name="amends-desk")
        opened = self._opened
        await asyncio.wait([opened], timeout=OPENS_SECONDS)
        if not opened.done():
            raise StoreUnavailable(f"the database has not answered within {OPENS_SECONDS:g} s; it is still waited for")
        return opened.result()

    async def close(self) -> None:
        """Let go of it."""
        holding, self._holding = self._holding, None
        if holding is not None and self._loop is asyncio.get_running_loop():
            holding.cancel()
            await asyncio.wait([holding])

    async def _hold(self, opened: asyncio.Future[T]) -> None:
        try:
            async with self._make() as found:
                opened.set_result(found)
                await asyncio.get_running_loop().create_future()  # until it is cancelled
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)
        finally:
            opened.cancel()


def _retrieve(opened: asyncio.Future[Any]) -> None:
    if not opened.cancelled():
        opened.exception()


class One:
    """One place of sagas."""

    def __init__(self, source: Source, namespace: str, at: Keeping | None = None) -> None:
        self._source = source
        self._namespace = namespace
        self._at = at
        self._desk = Kept[Desk](self._opened)
        self._starter = Kept[Session](self._opened_to_start)
        self._own: tuple[Session, Operations] | None = None

    async def desk(self) -> Desk:
        """What may be asked here. Raises StoreError, DefinitionError."""
        running = self._running()
        if running is None:
            return await self._desk.get()
        if self._own is None or self._own[0] is not running:
            seconds = min(ANSWER_SECONDS, running.config.settings.answer_seconds)
            self._own = running, Operations(running, answer_seconds=seconds)
        return self._own[1]

    async def starter(self, name: str) -> tuple[Session, Saga[Any, Any]]:
        """A session that can start the saga of this name, and that saga. Raises UnknownSaga, Refused, StoreError."""
        if isinstance(self._source, Participant):
            raise Refused(f"{name!r:.80}: a choreographed saga is started by its service, in a transaction of its own")
        running = self._running()
        config = self._config() if running is None else running.config
        if not config.registry.names:
            raise Refused(
                f"{name!r:.80} cannot be started from here, where only a database is known and no code: start it in "
                "your application, or name the orchestrator that lists it, as in `amends dashboard shop:orchestrator`"
            )
        saga = config.registry.named(name)
        return running or await self._starter.get(), saga

    async def close(self) -> None:
        """Let go of what was opened here; the next who asks opens it again."""
        await self._starter.close()
        await self._desk.close()

    def _running(self) -> Session | None:
        """The session of an orchestrator that is entered in this process, on this loop."""
        if not isinstance(self._source, Orchestrator):
            return None
        try:
            return self._source.session
        except NotRunning:
            return None

    def _opened(self) -> AbstractAsyncContextManager[Desk]:
        if isinstance(self._source, Participant):
            return home_operations(self._source, at=self._at, answer_seconds=ANSWER_SECONDS)
        return operations(self._config())

    @asynccontextmanager
    async def _opened_to_start(self) -> AsyncGenerator[Session, None]:
        session = Session(replace(self._config(), migrate=False))
        await session.open(work=False)
        try:
            yield session
        finally:
            await session.close()

    def _config(self) -> Config:
        source = self._source
        if isinstance(source, Participant):
            raise Refused(f"the sagas of the service {source.service.name} are in no orchestrator's database")
        if isinstance(source, Watcher):
            source = source.config
        config = config_of(source, self._namespace, ANSWER_SECONDS)
        check_there(config.database)
        return config


class Desks:
    """All places that are shown, by name. The first one is meant where none is named."""

    def __init__(
        self,
        source: Source,
        homes: Sequence[Participant] = (),
        *,
        namespace: str = "default",
        places: Mapping[str, Keeping] | None = None,
    ) -> None:
        kept = places or {}
        first = source.service.name if isinstance(source, Participant) else ""
        self._all: dict[str, One] = {first: One(source, namespace, kept.get(first))}
        for home in homes:
            name = home.service.name
            if name in self._all:
                raise DefinitionError(f"homes=[…]: the service {name} is there twice")
            self._all[name] = One(home, namespace, kept.get(name))

    @property
    def names(self) -> tuple[str, ...]:
        """Of all places; the empty one is the orchestrator's, or the watcher's."""
        return tuple(self._all)

    def one(self, name: str | None) -> One:
        """A place by its name. Raises UnknownSaga."""
        if name is None:
            return next(iter(self._all.values()))
        if name not in self._all:
            known = ", ".join(name for name in self._all if name) or "none"
            raise UnknownSaga(f"at={name!r:.80}: no home with this name is shown here; there are: {known}")
        return self._all[name]

    async def close(self) -> None:
        """Let go of all that was opened."""
        for one in self._all.values():
            await one.close()
