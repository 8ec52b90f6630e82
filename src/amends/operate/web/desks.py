"""Where the sagas are that are shown: stores of orchestrators and watchers, and homes of choreographed ones.

An orchestrator that runs in this very process is asked by its own session. Anything else is opened as a client when
it is first asked for, and closed with the event loop, also where nobody runs a lifespan of ours: a mounted
application's is not run by Starlette.

Guarantees: opened once, however many ask at once; what cannot be opened is tried again by the next who asks.
Must not: work sagas.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from amends.define.saga import Saga
from amends.errors import DefinitionError, NotRunning, Refused, UnknownSaga
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
OPENS_SECONDS = 20.0


class One:
    """One place of sagas, opened when it is first asked for."""

    def __init__(self, source: Source, namespace: str, at: Keeping | None = None) -> None:
        self._source = source
        self._namespace = namespace
        self._at = at
        self._keeps: AsyncGenerator[Desk, None] | None = None
        self._desk: Desk | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._own: tuple[Session, Operations] | None = None

    async def desk(self) -> Desk:
        """What may be asked here. Raises StoreError, DefinitionError."""
        running = self._running()
        if running is not None:
            if self._own is None or self._own[0] is not running:
                self._own = running, Operations(running)
            return self._own[1]
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # another one, as tests and restarts have
            self._loop, self._desk, self._keeps, self._opening = loop, None, None, asyncio.Lock()
        async with self._opening:
            if self._desk is None:
                keeps = self._kept()
                async with asyncio.timeout(OPENS_SECONDS):
                    self._desk = await anext(keeps)
                self._keeps = keeps
        return self._desk

    async def close(self) -> None:
        """Let go of what was opened here; the next who asks opens it again."""
        keeps, self._keeps, self._desk = self._keeps, None, None
        if keeps is not None and self._loop is asyncio.get_running_loop():
            await keeps.aclose()

    def program_of(self, name: str) -> tuple[Session, Saga[object, object]]:
        """The saga that a start of this name runs, and who starts it. Raises UnknownSaga, Refused."""
        desk = self._own[1] if self._running() is not None and self._own is not None else self._desk
        if not isinstance(desk, Operations) or not desk.session.config.registry.names:
            raise Refused(
                f"a saga is not started from here: only its database is known, not its code. Start {name!r} in your "
                "application, or name the orchestrator: `amends dashboard shop:orchestrator`"
            )
        return desk.session, desk.session.config.registry.named(name)

    def _running(self) -> Session | None:
        """The session of an orchestrator that is entered in this process, on this loop."""
        if not isinstance(self._source, Orchestrator):
            return None
        try:
            return self._source.session
        except NotRunning:
            return None

    async def _kept(self) -> AsyncGenerator[Desk, None]:
        """Open until it is closed, or the loop ends and closes all generators."""
        async with self._opened() as desk:
            yield desk

    def _opened(self) -> AbstractAsyncContextManager[Desk]:
        if isinstance(self._source, Participant):
            return _as_desk(home_operations(self._source, at=self._at))
        source = self._source.config if isinstance(self._source, Watcher) else self._source
        config = config_of(source, self._namespace, None)
        check_there(config.database)
        return _as_desk(operations(config))


@asynccontextmanager
async def _as_desk(opening: AbstractAsyncContextManager[Desk]) -> AsyncGenerator[Desk, None]:
    async with opening as desk:
        yield desk


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
