"""A participant: the part of a process that does what one service is asked for.

Guarantees: building it does no I/O; entered, it has checked that every command of its service has who does it and
who undoes it; left, what was not done is left to others.
Must not: hold anything between two entries.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from amends.decide.choreography import obstacles
from amends.decide.events import Phase
from amends.decide.messages import Start
from amends.define.context import Context
from amends.define.contract import Command, Event, Service
from amends.define.handlers import Compensates, CompensatesNothing, Given, Handlers, Handles, On
from amends.define.hints import frame_locals
from amends.define.outcome import Compensated, Completed, Parked
from amends.define.policy import Duration, Retry
from amends.define.resources import Resources
from amends.define.saga import Saga
from amends.errors import DefinitionError, NotRunning, TransportRefused
from amends.observe.events import About, SagaRequested
from amends.observe.hub import Hub, Observer, check_observers
from amends.run.asking import check_id
from amends.run.chaining import told_here
from amends.run.homes import Homes, begun
from amends.run.journey import Name, Route, route
from amends.run.outbox import TOLD_SECONDS
from amends.run.outbox_rows import event_row, published, write_within
from amends.run.participant_acts import Acts
from amends.run.participant_database import home_of, transactions_on
from amends.run.participant_session import ParticipantSession
from amends.run.participant_work import Figures, publishing
from amends.run.sealing import Keyring, check_keys
from amends.run.settings import Settings
from amends.run.transactions import Transactions
from amends.transport.open import Broker, transport_for

Q = TypeVar("Q")
R = TypeVar("R")
E = TypeVar("E")
V = TypeVar("V")
T = TypeVar("T")
Around = Callable[[Context], AbstractAsyncContextManager[Any]]
EVENT_RETRY = Retry(attempts=10, first_delay=0.1, cap=30.0)


@dataclass(frozen=True, slots=True)
class Built:
    """What a participant was built with."""

    handlers: Handlers
    database: object = field(repr=False)  # what may have a password is not shown
    broker: Broker = field(repr=False)
    resources: Resources
    around: tuple[Around, ...]
    settings: Settings
    migrate: bool
    routes: Mapping[Name, Route]  # the choreographed sagas that it knows, by name and fingerprint
    observers: tuple[Observer, ...] = ()
    keys: Keyring | None = None


class Participant(Acts):
    """Does what one service is asked for, each command at most once per saga.

    service: whose commands it does. database: of its effects, a URL or an engine, sessionmaker or pool of your own;
        none for a service that only reads.
    broker: `kafka://…`, `amqp://…`, `nats://…`, `redis://…`; none for orchestrators in this very process.
    resources, around, settings: as of an orchestrator. sagas: the choreographed ones that it takes part in, or starts.
    keys: seal payloads where they are kept, `amends.crypto.Keys`; services of one choreographed saga share them.
    migrate: bring PostgreSQL's inbox and outbox to this code's
        schema when it is entered, instead of refusing; SQLite's always are.
    observers: functions of an event that are told what happens, as of an orchestrator.

    Raises DefinitionError for what cannot be right. Does no I/O: it may live at module level.
    """

    def __init__(
        self,
        service: Service,
        /,
        *,
        database: object = None,
        broker: Broker = None,
        resources: Sequence[Callable[..., Any]] = (),
        around: Sequence[Around] = (),
        settings: Settings | None = None,
        sagas: Sequence[Saga[Any, Any]] = (),
        migrate: bool = False,
        observers: Sequence[Observer] = (),
        keys: Keyring | None = None,
    ) -> None:
        if not isinstance(service, Service):
            raise DefinitionError(f"Participant(…): a Service is expected, not {service!r:.80}")
        for enter in around:
            if not callable(enter):
                raise DefinitionError(f"Participant(around=…): a function of the context is expected, not {enter!r}")
        if broker is not None:
            try:
                transport_for(broker)
            except TransportRefused as error:
                raise DefinitionError(f"Participant(broker=…): {error}") from None
        provided = Resources(resources, depth=2)
        self.service: Service = service
        keys = check_keys(keys, "Participant")
        routes = _routes(sagas, database, keys)
        told, limits = check_observers(observers, "Participant"), settings or Settings()
        self._built = Built(
            Handlers(service), database, broker, provided, tuple(around), limits, migrate, routes, told, keys
        )
        self._hub = Hub(told)  # one for all that it does: an observer that has failed is told nothing more
        self._session: ParticipantSession | None = None
        self._entered = False

    # What it does

    def handles(
        self,
        command: Command[Q, R],
        /,
        *,
        timeout: Duration | None = None,
        rejects: tuple[type[Exception], ...] = (),
        batch: int = 1,
    ) -> Handles[Q, R]:
        """The function does this command: `@app.handles(reserve_stock)`. The command is its first parameter; a
        transaction, the context and resources are filled by their types.

        timeout: 30 s by default. rejects: exceptions that mean "no, and nothing was done". batch: up to so many
            commands in one transaction, each behind a savepoint of its own.

        Raises DefinitionError.
        """
        given = Given(frame_locals(1), timeout, Retry(), rejects, batch)
        registers: Handles[Q, R] = self._registers(command, Phase.ACTION, given)
        return registers

    @overload
    def compensates(self, command: Command[Q, None], /, *, timeout: Duration | None = ...) -> CompensatesNothing[Q]: ...
    @overload
    def compensates(self, command: Command[Q, R], /, *, timeout: Duration | None = ...) -> Compensates[Q, R]: ...
    def compensates(self, command: Command[Any, Any], /, *, timeout: Duration | None = None) -> Any:
        """The function undoes this command. It gets the command and the reply as they were stored.

        Raises DefinitionError.
        """
        return self._registers(command, Phase.UNDO, Given(frame_locals(1), timeout))

    def on(self, event: Event[E], /, *, retry: Retry = EVENT_RETRY, timeout: Duration | None = None) -> On[E]:
        """The function hears of this event, once, and may return events of its own service: one, several in a
        tuple or a list, or None.

        retry: how it is tried again where it fails; then the event is kept aside, with the reason.

        Raises DefinitionError.
        """
        given = Given(frame_locals(1), timeout, retry)

        def register(fn: Callable[..., Any]) -> Callable[..., Any]:
            self._check_open()
            self._built.handlers.listen(event, fn, given)
            return fn

        return register

    def _registers(self, command: Command[Any, Any], phase: Phase, given: Given) -> Any:
        def register(fn: Callable[..., Any]) -> Callable[..., Any]:
            self._check_open()
            self._built.handlers.add(command, phase, fn, given)
            return fn

        return register

    def _check_open(self) -> None:
        if self._entered:
            raise DefinitionError("this participant is at work already; register its functions before it is entered")

    def publish(
        self, event: Event[E], value: E, /, *, within: object, correlation: str | None = None
    ) -> Awaitable[None]:
        """Tell an event, if and only if a transaction of yours commits: a handler's `tx`, or any connection or
        session on the participant's database. With an asynchronous one, await it; a synchronous one has written
        when this returns. In a handler it comes of what is handled; elsewhere it begins a chain of its own.

        correlation: what it shares with the events that come of it, its own id or that of what is handled by default.

        Raises ValueRefused, LimitExceeded and NotEnlisted.
        """
        if event.service is not self.service:
            raise DefinitionError(f"{event!r} is an event of {event.service.name}, and this is {self.service.name}")
        row = event_row(event, value, {}, self._built.settings.payload_bytes, told_here(correlation))
        given, written = write_within(published([row], self.service.name), within)
        if not inspect.isawaitable(written):
            self._published(given, written)
            return _Done(None)

        async def wait() -> None:
            self._published(given, await written)

        return wait()

    def start(self, saga: Saga[V, Any], input: V, /, *, within: object, id: str | None = None) -> Awaitable[str]:
        """Start a choreographed saga, if and only if a transaction of yours commits; gives its id. Its services do
        their parts one after the other, and nobody is in the middle. With an asynchronous connection, await it; a
        synchronous one has written when this returns.

        id: yours; the same saga with the same input may be started twice, and is one.

        Raises ValueRefused, LimitExceeded, IdConflict, NotEnlisted, and Refused where the first request falls over.
        """
        going = self._built.routes.get((saga.name, saga.plan.fingerprint))
        if going is None or going.program is not saga.program:
            raise DefinitionError(f"the saga {saga.name} was not given to this participant: Participant(…, sagas=[…])")
        settings = self._built.settings
        payload, _ = saga.program.input.admit(input, f"the input of {saga.name}", settings.payload_bytes)
        key = uuid.uuid4().hex if id is None else check_id(id)
        hub = self._hub if self._session is None else self._session.hub
        start = begun(self.service.name, going, key, Start(payload, hops=told_here(None).hops), settings, hub)
        if hub.on:
            about = About(self.service.name, saga.name, key, start.saga.id)
            hub.tell(SagaRequested(about, about.made_at))
        given, written = write_within(start.write(), within)
        if not inspect.isawaitable(written):
            self._published(given, written)
            return _Done(key)

        async def wait() -> str:
            self._published(given, await written)
            return key

        return wait()

    def _published(self, given: Any, written: Sequence[Sequence[Any]]) -> None:
        """An event is written: have it published once its transaction commits. Where nobody is at work here, or
        nobody says when that is, the sweep stands behind it."""
        numbers = [int(row[0]) for row in written]
        within_handler = publishing.get()
        if within_handler is not None:
            within_handler.extend(numbers)
        elif (session := self._session) is not None:
            look = partial(session.look_soon, numbers)
            if given is None or not given.after_commit(partial(look, TOLD_SECONDS)):
                look()

    async def outcome(
        self, saga: Saga[Any, R], saga_id: str, /, *, timeout: float | None = None
    ) -> Completed[R] | Compensated | Parked:
        """What becomes of a choreographed saga that was started here: how it ended, or why it is parked.

        timeout: seconds; it stops the waiting, never the saga.

        Raises TimeoutError, UnknownSaga and StoreError.
        """
        return await self.session.homes.outcome(saga.program, saga_id, timeout)

    def _at_home(self) -> tuple[Homes, Settings]:
        return self.session.homes, self._built.settings

    # Where it runs

    def check(self) -> None:
        """See that it can work, without any I/O. Raises DefinitionError."""
        built = self._built
        built.handlers.check_complete()
        home_of(built.database, built.handlers)
        for handler in built.handlers.all():
            for argument in handler.call.arguments:
                if argument.key is not None:
                    at = f"{handler.where}, parameter {argument.name}"
                    built.resources.check(argument.key, argument.label, at)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise NotRunning("this participant is entered already; leave it first, or build another")
        self.check()
        self._entered = True
        try:
            session = ParticipantSession(self._built, self._hub)
            await session.open()
        except BaseException:
            self._entered = False
            raise
        self._session = session
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.close()
        finally:
            self._entered = False

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Work while a web application runs: `FastAPI(lifespan=app.lifespan)`."""
        async with self:
            yield

    def observed_by(self, *observers: Observer) -> None:
        """Have more be told of what happens, from when it is entered next. Raises DefinitionError."""
        told = self._built.observers + check_observers(observers, "Participant")
        self._built, self._hub = replace(self._built, observers=told), Hub(told)

    # How it fares

    @property
    def trouble(self) -> str:
        """What keeps it from working at the moment, in words; empty if nothing does."""
        return self.session.trouble

    @property
    def figures(self) -> Figures:
        """What has happened since it was entered."""
        return self.session.figures

    @property
    def session(self) -> ParticipantSession:
        """The entered session, for tools. Raises NotRunning."""
        if self._session is None:
            raise NotRunning("the participant is not running: use `async with app:`, or `amends worker module:app`")
        return self._session

    # For tools

    @property
    def database(self) -> object:
        """What it was given."""
        return self._built.database

    @property
    def broker(self) -> Broker:
        """What it was given."""
        return self._built.broker

    @property
    def built(self) -> Built:
        """All that it was given, and what is registered."""
        return self._built

    @property
    def hears(self) -> frozenset[str]:
        """The services whose events it has somebody for."""
        return frozenset(event.service.name for event, _ in self._built.handlers.events.values())

    @property
    def asks(self) -> frozenset[str]:
        """The services that the choreographed sagas go to which it knows."""
        return frozenset(service for route in self._built.routes.values() for service in route.plan.services)

    def transactions(self) -> Transactions | None:
        """Its database with the inbox and the outbox, not opened; None where it has none. Raises DefinitionError."""
        home = home_of(self._built.database, self._built.handlers)
        return None if home is None else transactions_on(home, 1, migrate=False)

    def __repr__(self) -> str:
        return f"Participant({self.service.name!r})"


def _routes(sagas: Sequence[Saga[Any, Any]], database: object, keys: Keyring | None) -> Mapping[Name, Route]:
    """The sagas that can go from service to service. Raises DefinitionError."""
    routes: dict[Name, Route] = {}
    for saga in sagas:
        if not isinstance(saga, Saga):
            raise DefinitionError(f"Participant(sagas=…): a Saga is expected, not {saga!r:.80}")
        if found := obstacles(saga.plan):
            raise DefinitionError(f"the saga {saga.name} cannot be choreographed: {'; '.join(found)}")
        routes[saga.name, saga.plan.fingerprint] = route(saga.program, keys)
    if routes and database is None:
        raise DefinitionError("Participant(sagas=…): what a service does in choreographed sagas is kept in a database=")
    return routes


class _Done(Generic[T]):
    """Nothing is left to wait for."""

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, T]:
        yield from ()
        return self._value
