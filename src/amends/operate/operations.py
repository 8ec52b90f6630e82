"""The only API for reading sagas and acting on them. Command line, HTTP and pages are thin over it.

A session of an orchestrator is all it needs, as a client too. The plan of a saga is in the
database, so nothing here needs the code that runs it; a value is the JSON that it is stored as.

Guarantees: an act is a mail: durable, answered by whoever decides, and in the saga's own history
with actor and reason. It is accepted, or TooLate, Refused, Changed, UnknownSaga or NotAnswered is raised.
Must not: hold a rule of what a saga may do; the core has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from math import inf

from amends.decide.plan import Plan
from amends.decide.state import State
from amends.define.policy import Duration
from amends.errors import DefinitionError, NotAnswered, UnknownSaga
from amends.operate import health
from amends.operate.acting import REASON_CHARACTERS_MAX as REASON_CHARACTERS_MAX  # whoever takes one asks here
from amends.operate.acting import Seen
from amends.operate.bulk import BulkOperations
from amends.operate.database import check_sagas, inbox_of
from amends.operate.finding import LIST_LIMIT as LIST_LIMIT  # whoever lists takes it from here
from amends.operate.looking import Looking
from amends.operate.redact import log_reveal
from amends.operate.sight import Sight
from amends.operate.values import Finding, Line, Pruned, SagaView, StuckPage, Trouble
from amends.run.database import Database
from amends.run.mailbox import Wish, act_mail
from amends.run.orchestrator import Orchestrator
from amends.run.plans import Plans
from amends.run.retention import BATCH, Forget, batches, count_ended, forget_bulks, forgetting
from amends.run.session import Config, Session, check_id, state_of
from amends.run.settings import Settings
from amends.store.base import Store


class Operations(Looking, BulkOperations):
    """What one may ask of the sagas in one namespace of a database. answer_seconds: how long an act waits for its
    answer, if not as long as the session's settings say."""

    def __init__(self, session: Session, *, answer_seconds: float | None = None) -> None:
        self.session = session
        self._answer_seconds = answer_seconds
        self._sight = Sight(session)

    # Reading

    async def show(self, saga_id: str, *, reveal: bool = False, reader: str = "") -> SagaView:
        """All that is known of one saga; marked fields masked, unless they are to be revealed: that is logged, with who
        asked. Raises UnknownSaga."""
        log_reveal(saga_id, reader, reveal=reveal)
        return await self._sight.view(saga_id, reveal=reveal)

    async def history(
        self, saga_id: str, *, after: int = 0, reveal: bool = False, reader: str = ""
    ) -> tuple[Line, ...]:
        """The history of one saga, without its first `after` lines; as `show`. Raises UnknownSaga."""
        log_reveal(saga_id, reader, reveal=reveal)
        return (await self._sight.history(saga_id, reveal=reveal))[after:]

    async def flow(self, saga_id: str) -> tuple[Plan, State]:
        """The plan that a saga runs on, and where it stands. Raises UnknownSaga."""
        return await self._sight.flow(saga_id)

    async def plan(self, name: str) -> Plan:
        """The newest stored plan of a definition. Raises UnknownSaga."""
        await self._sight.refresh()
        number = self._sight.numbers([name])[-1]
        return self._sight.plan_of(number)

    async def stuck(self, *, limit: int = LIST_LIMIT, troubles: Collection[Trouble] = ()) -> StuckPage:
        """The sagas that wait for somebody: parked, with a stuck step, stalled, stranded without a
        worker, or waiting for a signal. troubles: only these kinds."""
        await self._sight.refresh()
        return await health.stuck(self._sight, limit, frozenset(troubles or Trouble))

    async def doctor(self) -> tuple[Finding, ...]:
        """The state of the database and of its workers, good and bad."""
        await self._sight.refresh()
        watches = (await self._sight.crew()).watches  # then what is overdue is silent, which is told apart
        found = [finding for finding in await self.session.store.check() if not (watches and finding.what == "lag")]
        return (*found, *await health.workers(self._sight))

    # Forgetting

    async def count_ended(self, *, older_than: Duration) -> int:
        """How many sagas ended longer ago than that."""
        return await count_ended(self.session.store, self._ago(older_than))

    async def prune(
        self,
        *,
        older_than: Duration,
        limit: int | None = None,
        batch: int = BATCH,
        told: Callable[[Pruned], object] | None = None,
    ) -> Pruned:
        """Forget sagas that ended longer ago than that: their journal, their mail, their ids; and bulk operations
        likewise, where there is no limit. A start with such an id is a new saga with new keys. In bounded batches, each
        a transaction of its own; stopped anywhere, what is done is done. limit: at most so many. told: hears after each
        batch how far it is.

        Raises StoreError, DefinitionError.
        """
        store, before = self.session.store, self._ago(older_than)
        found = Pruned(0, 0)
        async with self._inbox() as forget, aclosing(batches(store, before, forget, batch, limit)) as forgotten:
            async for one in forgotten:
                found = Pruned(found.pruned + one.pruned, found.kept + one.kept)
                if told is not None:
                    told(found)
        if limit is None:
            await forget_bulks(store, before)
        return found

    @asynccontextmanager
    async def _inbox(self) -> AsyncGenerator[Forget | None, None]:
        inbox = inbox_of(self.session.config, self.session.store)
        if inbox is None:
            yield None
            return
        await inbox.open()
        try:
            yield forgetting(inbox, self.session.config.namespace)
        finally:
            await inbox.close()

    def _ago(self, older_than: Duration) -> float:
        given = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
        if not 0 <= given < inf:
            raise DefinitionError(f"older_than={older_than!r}: a span of time that is not negative is expected")
        return self.session.store.now() - given

    # Acting

    @property
    def _payload_bytes(self) -> int:
        return self.session.config.settings.payload_bytes

    async def _ask(self, saga_id: str, wish: Wish, message: str | None) -> str:
        await self._sight.refresh()  # some may only be watched here
        mail = act_mail(check_id(saga_id), self.session.message_id(message), wish)
        own = self._answer_seconds
        seconds = self.session.config.settings.answer_seconds if own is None else own
        try:
            async with asyncio.timeout(seconds + 1):  # also where the store itself is away
                return await self.session.ask(mail, seconds=seconds)
        except TimeoutError:
            raise NotAnswered(
                f"the database of {saga_id!r} could not be written for {seconds:g} s, so the {wish.verb} may not have "
                "been sent. See `amends doctor`"
            ) from None

    async def _seen(self, saga_id: str) -> Seen:
        loaded = await self._sight.load(saga_id, reveal=True)  # nothing of payloads is given
        await self.session.check_run_here(saga_id)
        crew, program = await self._sight.crew(), None
        with suppress(UnknownSaga):  # without the code, values are looked at by whoever decides
            program = self.session.program_of(loaded)
        live = frozenset(row.id for row in crew.live)
        plan, now = self._sight.plan_for(loaded), self.session.store.now()
        return Seen(plan, state_of(loaded), len(loaded.rows), now, live, program)


@asynccontextmanager
async def operations(
    source: Database | Orchestrator | Config = None, *, namespace: str = "default", answer_seconds: float | None = None
) -> AsyncGenerator[Operations, None]:
    """Operations on a database, or on an orchestrator's, as a client of its own. It must hold sagas already: no
    tables are made, and none are migrated, by looking.

    answer_seconds: how long an act waits for its answer. Raises StoreError.
    """
    config = replace(config_of(source, namespace, answer_seconds), migrate=False)
    await check_sagas(config.database)
    session = Session(config)
    session.plans = _Known(config.registry)
    await session.open(work=False)
    try:
        yield Operations(session)
    finally:
        await session.close()


class _Known(Plans):
    """The plans that the database has; those of the code at hand are not added by looking."""

    async def register(self, store: Store) -> None:
        await self.refresh(store)


def config_of(source: Database | Orchestrator | Config, namespace: str, answer_seconds: float | None) -> Config:
    """What a client of a database needs; an orchestrator brings its own."""
    if isinstance(source, Config):
        config = source
    elif isinstance(source, Orchestrator):
        config = source.config
    else:
        config = Orchestrator(source, sagas=(), namespace=namespace).config
    if answer_seconds is None:
        return config
    settings: Settings = replace(config.settings, answer_seconds=answer_seconds)
    return replace(config, settings=settings)
