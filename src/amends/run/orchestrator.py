"""The orchestrator: what a user builds once, at module level, and enters where it runs.

Guarantees: building it does no I/O and checks everything; entered, it works (runs sagas) or is
a client (starts, signals, cancels and waits); left, it has let go of everything.
Must not: hold anything between two entries.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from amends.define.context import Context
from amends.define.contract import Service
from amends.define.node import check_name
from amends.define.nodes import Signal
from amends.define.outcome import Compensated, Completed, Parked
from amends.define.policy import Duration, seconds
from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import DefinitionError, NotRunning
from amends.observe.hub import Observer, check_observers
from amends.run.blocking import Blocking
from amends.run.config import Config
from amends.run.database import Database, check_database
from amends.run.effects import check_effects
from amends.run.sealing import Keyring, check_keys
from amends.run.session import Session, check_services
from amends.run.settings import Settings
from amends.transport.open import Broker

I = TypeVar("I")  # noqa: E741  # the input, as in the documented signatures
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Around = Callable[[Context], AbstractAsyncContextManager[Any]]


class Handle(Generic[T_co]):
    """One started saga."""

    def __init__(self, saga: Saga[Any, T_co], saga_id: str, session: Callable[[], Session]) -> None:
        self.saga = saga
        self.saga_id = saga_id
        self._session = session

    async def outcome(self, *, timeout: Duration | None = None) -> Completed[T_co] | Compensated | Parked:
        """How the saga ended, or that it is parked. Raises TimeoutError after `timeout`; that
        stops the waiting, never the saga."""
        limit = None if timeout is None else seconds(timeout, "outcome(timeout=…)")
        found = await self._session().outcome(self.saga, self.saga_id, limit)
        return cast("Completed[T_co] | Compensated | Parked", found)

    def __repr__(self) -> str:
        return f"Handle({self.saga.name!r}, {self.saga_id!r})"


class Orchestrator:
    """Runs sagas, keeps them in a database, and never loses track.

    database: a URL (`sqlite:///orders.db`, `postgresql://user@host/orders`), a path or a store;
        else AMENDS_DATABASE, else `sqlite:///amends.db`.
    sagas: those it knows. resources: functions that make what steps ask for. effects: the
        database of steps that take a transaction, by default the sagas' own: a URL, or an engine,
        a sessionmaker or a pool of your own. around: functions of the context that give an async
        context manager, entered around every attempt.
    broker: where the services are reached that do steps: `kafka://…`, `amqp://…`, `nats://…`, `redis://…`; none
        for those in this very process. services: where given, the only ones that its sagas may ask.
    namespace: a share of the database that sees nothing of the others. settings: the limits.
    keys: seal payloads where they are kept, `amends.crypto.Keys`; the first key seals, all open.
    migrate: bring PostgreSQL's schema to this code's when it is opened, instead of refusing;
        SQLite's always is.
    observers: functions of an event that are told what happens: metrics, traces, logs, or your own.

    Raises DefinitionError for what cannot be right. Does no I/O: it may live at module level.
    """

    def __init__(
        self,
        database: Database = None,
        *,
        sagas: Sequence[Saga[Any, Any]],
        services: Sequence[Service] = (),
        broker: Broker = None,
        resources: Sequence[Callable[..., Any]] = (),
        effects: object = None,
        around: Sequence[Around] = (),
        namespace: str = "default",
        settings: Settings | None = None,
        migrate: bool = False,
        observers: Sequence[Observer] = (),
        keys: Keyring | None = None,
    ) -> None:
        check_database(database)
        for enter in around:
            if not callable(enter):
                raise DefinitionError(f"Orchestrator(around=…): a function of the context is expected, not {enter!r}")
        provided = Resources(resources, depth=2)
        registry = Registry(sagas, provided)
        check_effects(effects, registry)
        check_services(registry, services, broker)
        name = check_name(namespace, "Orchestrator(namespace=…)")
        self.config: Config = Config(
            database,
            registry,
            provided,
            name,
            settings or Settings(),
            effects,
            tuple(around),
            migrate,
            broker=broker,
            observers=check_observers(observers, "Orchestrator"),
            keys=check_keys(keys, "Orchestrator"),
        )
        self._session: Session | None = None
        self._entered = False
        self._blocking: dict[bool, Blocking] = {}

    # Where it runs

    async def __aenter__(self) -> Self:
        await self._enter(work=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Self, None]:
        """Be a client in this process: start, signal, cancel, read and wait; run no step."""
        await self._enter(work=False)
        try:
            yield self
        finally:
            await self._leave()

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Work while a web application runs: `FastAPI(lifespan=orchestrator.lifespan)`."""
        async with self:
            yield

    @asynccontextmanager
    async def client_lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Be a client while a web application runs, beside an `amends worker`."""
        async with self.client():
            yield

    def blocking(self, *, work: bool = False) -> Blocking:
        """The same for synchronous programs: one object per process, started on first use,
        started again after a fork, closed at exit. A client, unless `work`."""
        if work not in self._blocking:
            self._blocking[work] = Blocking(self.config, work=work)
        return self._blocking[work]

    # Sagas

    async def start(self, saga: Saga[I, T], input: I, /, *, id: str | None = None, within: object = None) -> Handle[T]:
        """Start a saga; once this returns, it is on disk and will end.

        id: yours to choose, so that a repeated start is the same saga; by default a new one.
        within: an open transaction of your own on the same database, given as its connection or
            session; the saga exists if and only if that commits.

        Raises IdConflict where the id belongs to another saga or another input, ValueRefused
        and LimitExceeded for an input that cannot be stored, UnknownSaga, NotEnlisted.
        """
        session = self._need()
        if within is None:
            return Handle(saga, await session.start(saga, input, id), self._need)
        return Handle(saga, await session.enlist_here(saga, input, id, within), self._need)

    async def run(self, saga: Saga[I, T], input: I, /, *, id: str | None = None) -> Completed[T] | Compensated | Parked:
        """Start a saga and wait for it to end or to park. Raises what `start` raises, and
        nothing for a business no."""
        return cast("Completed[T] | Compensated | Parked", await self._need().run(saga, input, id))

    def handle(self, saga: Saga[I, T], saga_id: str, /) -> Handle[T]:
        """A handle on a saga that was started before, here or elsewhere."""
        return Handle(saga, saga_id, self._need)

    async def signal(
        self, saga_id: str, signal: Signal[T], value: T, /, *, id: str | None = None, within: object = None
    ) -> None:
        """Send a value to a wait of a saga. One sent before the wait is kept for it.

        id: a repeated signal with the same id counts once. within: as in `start`; what became
        of it is then in the history.

        Raises TooLate and Refused, UnknownSaga, NotAnswered where no worker answers in time.
        """
        session = self._need()
        if within is None:
            await session.signal(saga_id, signal, value, id)
        else:
            await session.enlist_signal_here(session.signal_mail(saga_id, signal, value, id), within)

    async def cancel(self, saga_id: str, /, *, reason: str, actor: str | None = None) -> None:
        """Have a saga go back. Returns once it is decided that it does.

        Raises TooLate where the saga has passed its pivot or ended first, Refused, UnknownSaga,
        NotAnswered.
        """
        await self._need().cancel(saga_id, reason=reason, actor=actor or _user())

    @property
    def session(self) -> Session:
        """The entered session, for operations and tools. Raises NotRunning."""
        return self._need()

    # Parts

    async def _enter(self, *, work: bool) -> None:
        if self._entered:
            raise NotRunning("this orchestrator is entered already; leave it first, or build another")
        self._entered = True
        try:
            session = Session(self.config)
            await session.open(work=work)
        except BaseException:
            self._entered = False
            raise
        self._session = session

    async def _leave(self) -> None:
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.close()
        finally:
            self._entered = False

    def _need(self) -> Session:
        if self._session is None:
            raise NotRunning(
                "the orchestrator is not running: use `async with orchestrator:` to work in this process, "
                "`async with orchestrator.client():` beside a worker, or `orchestrator.blocking()` in synchronous code"
            )
        here = asyncio._get_running_loop()
        if here is not None and here is not self._session.loop:
            raise NotRunning(
                "the orchestrator runs on another event loop than this one: use `orchestrator.blocking()` in other "
                "threads, or hand the coroutine to its loop with `asyncio.run_coroutine_threadsafe`"
            )
        return self._session


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
