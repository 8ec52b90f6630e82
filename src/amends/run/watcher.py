"""The watcher: who is told of choreographed sagas, so that people can see them.

Guarantees: building it does no I/O; whatever becomes of it, no saga notices.
Must not: run a saga, write into one, or ask anything of a service.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from amends.decide.choreography import obstacles
from amends.decide.flows import FlowPlan
from amends.define.contract import Service
from amends.define.flow import Flow
from amends.define.node import check_name
from amends.define.policy import Duration, seconds
from amends.define.saga import Saga
from amends.errors import DefinitionError, NotRunning, TransportRefused
from amends.run.config import Config
from amends.run.database import Database
from amends.run.orchestrator import Orchestrator
from amends.run.settings import Settings
from amends.run.watcher_session import Seen, WatcherSession
from amends.transport.names import PREFIX, group_at_broker, progress_of
from amends.transport.open import Broker, transport_for

NAMESPACE = "choreographed"


class Watcher:
    """Keeps what it hears of choreographed sagas where `amends list`, `show`, `graph` and `stuck` look.

    database: where it keeps that: a URL, a path or a store; else AMENDS_DATABASE, else `sqlite:///amends.db`.
    homes: the services that start sagas. flows: of events, what is expected of the services that tell them.
    sagas: those that it is to know; others are listed, without their flow.
    broker: the services' own; none for those in this very process.
    namespace: a share of the database of its own, in which no orchestrator works.
    name: watchers of one name share what there is to hear; one with a database of its own needs a name of its own.
    silent_after: how long a service may take before its saga counts as silent, instead of what the plan says.
    settings, migrate: as of an orchestrator.

    Raises DefinitionError for what cannot be right. Does no I/O: it may live at module level.
    """

    def __init__(
        self,
        database: Database = None,
        *,
        homes: Sequence[Service] = (),
        flows: Sequence[Flow] = (),
        sagas: Sequence[Saga[Any, Any]] = (),
        broker: Broker = None,
        namespace: str = NAMESPACE,
        name: str = "watcher",
        silent_after: Duration | None = None,
        settings: Settings | None = None,
        migrate: bool = False,
    ) -> None:
        base = Orchestrator(database, sagas=(), namespace=namespace, settings=settings, migrate=migrate)
        self.config: Config = base.config
        self.broker: Broker = broker
        patience = None if silent_after is None else seconds(silent_after, "Watcher(silent_after=…)")
        group = check_name(name, "Watcher(name=…)")
        if not homes and not flows:
            raise DefinitionError(
                "Watcher(homes=[…]): name the services that start choreographed sagas, or flows, Watcher(flows=[…])"
            )
        self._seen = Seen(_homes(homes, group), _plans(sagas), broker, group, patience, _flows(flows))
        if broker is not None:
            try:
                transport_for(broker)
            except TransportRefused as error:
                raise DefinitionError(f"Watcher(broker=…): {error}") from None
        self._session: WatcherSession | None = None
        self._entered = False

    @property
    def homes(self) -> tuple[str, ...]:
        """The services that it hears of: those that start sagas, and those whose events are in its flows."""
        told = (service for flow in self._seen.flows for service in flow.services)
        return tuple(dict.fromkeys((*self._seen.homes, *told)))

    async def __aenter__(self) -> Self:
        if self._entered:
            raise NotRunning("this watcher is entered already; leave it first, or build another")
        self._entered = True
        try:
            session = WatcherSession(self.config, self._seen)
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
        """Watch while a web application runs: `FastAPI(lifespan=watcher.lifespan)`."""
        async with self:
            yield

    @property
    def session(self) -> WatcherSession:
        """The entered session, for tools. Raises NotRunning."""
        if self._session is None:
            raise NotRunning("the watcher is not running: use `async with watcher:`, or `amends worker module:watcher`")
        return self._session

    @property
    def trouble(self) -> str:
        """What keeps it from watching at the moment, in words; empty if nothing does."""
        return self.session.trouble

    def __repr__(self) -> str:
        return f"Watcher({', '.join(self.homes)})"


def _homes(homes: Sequence[Service], group: str) -> tuple[str, ...]:
    """The names of the services that start sagas. Raises DefinitionError."""
    for home in homes:
        if not isinstance(home, Service):
            raise DefinitionError(f"Watcher(homes=…): a Service is expected, not {home!r:.80}")
        try:
            group_at_broker(PREFIX, progress_of(home.name), group)
        except TransportRefused as error:
            raise DefinitionError(f"Watcher(name=…): {error}") from None
    return tuple(dict.fromkeys(home.name for home in homes))


def _flows(flows: Sequence[Flow]) -> tuple[FlowPlan, ...]:
    """Their plain values. Raises DefinitionError."""
    for flow in flows:
        if not isinstance(flow, Flow):
            raise DefinitionError(f"Watcher(flows=…): a Flow is expected, not {flow!r:.80}")
    if len({flow.name for flow in flows}) < len(flows):
        raise DefinitionError("Watcher(flows=…): two flows have one name")
    return tuple(flow.plan for flow in flows)


def _plans(sagas: Sequence[Saga[Any, Any]]) -> dict[str, Saga[Any, Any]]:
    """Sagas by the fingerprints of their plans. Raises DefinitionError."""
    for saga in sagas:
        if not isinstance(saga, Saga):
            raise DefinitionError(f"Watcher(sagas=…): a Saga is expected, not {saga!r:.80}")
        if found := obstacles(saga.plan):
            raise DefinitionError(f"the saga {saga.name} cannot be choreographed: {'; '.join(found)}")
    return {saga.plan.fingerprint: saga for saga in sagas}
