"""A session: an orchestrator at work, or as a client, on one event loop.

Guarantees: what it says is started is on disk; what it says was answered is what happened; a
wait that is given up stops the waiting, never the saga.
Must not: outlive its loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from amends import fault
from amends.define.contract import Service
from amends.define.registry import Registry
from amends.define.saga import Saga
from amends.errors import (
    DefinitionError,
    NotRunning,
    StoreUnavailable,
    TransportRefused,
    UnknownSaga,
    ValueRefused,
)
from amends.observe.events import About, SagaRequested, WorkerLeft
from amends.observe.hub import Hub
from amends.run.asking import Asking
from amends.run.asking import check_id as check_id  # tools take it from here
from amends.run.bulk_duty import Bulking, bulking_of
from amends.run.chance import id_text
from amends.run.committer import Committer
from amends.run.config import Config as Config  # tools and tests take it from here
from amends.run.database import store_of
from amends.run.effects import transactions_of
from amends.run.enlisting import Enlisting
from amends.run.journal import state_of as state_of  # tools and tests take it from here
from amends.run.live import Live
from amends.run.outcomes import Outcome, outcome_of
from amends.run.plans import Plans
from amends.run.remote import Services
from amends.run.sealing import Seals, opened_or_not
from amends.run.starting import held_write, kept_hash, new_of, same_or_conflict
from amends.run.starting import input_hash as input_hash  # those who watch take it from here
from amends.run.transactions import Transactions
from amends.run.waiting import Waiting
from amends.run.worker import Worker
from amends.store.base import OPEN, Fate, Loaded, NewSaga, SagaRow, Store, Write
from amends.transport.open import Broker, transport_for

AWAY_PAUSE_SECONDS = 0.1
LOOK_SECONDS = 1.0  # what one look may take where nobody wants to wait
_log = logging.getLogger("amends.session")


class Session(Asking, Enlisting):
    """One entered orchestrator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seals: Seals | None = None if config.keys is None else Seals(config.keys, config.namespace)
        self.store: Store = store_of(config.database, config.namespace, migrate=config.migrate)
        self.worker: Worker | None = None
        self.waiting: Waiting = Waiting(self.store)
        self.plans: Plans = Plans(config.registry)
        self.hub: Hub = Hub(config.observers)
        self._committer: Committer | None = None
        self._bulking: Bulking | None = None
        self._broken: BaseException | None = None
        self._left = False
        self._hints_due: set[int] = set()
        self.loop: asyncio.AbstractEventLoop

    # Coming and going

    async def open(self, *, work: bool) -> None:
        """Open the store and, to work, everything else. Raises StoreError."""
        self.loop = asyncio.get_running_loop()
        await self.store.open(work=work)
        try:
            if work:
                await self._open_worker()
            else:
                await self.plans.register(self.store)
                self.store.listen(self._hinted)
                most = self.config.settings.batch_writes
                self._committer = Committer(self.store, None, most, self.hub, retired=_never, broken=self._break)
        except BaseException:
            await self.store.close()
            raise

    async def _open_worker(self) -> None:
        config = self.config
        self.worker = Worker(
            self.store,
            config.registry,
            config.settings,
            namespace=config.namespace,
            resources=config.resources,
            waiting=self.waiting,
            chance=config.chance,
            around=config.around,
            transactions=self._transactions(),
            threads=config.threads,
            services=services_of(config),
            hub=self.hub,
            seals=self.seals,
        )
        await self.worker.start()
        self.plans = self.worker.ownership.plans
        self._bulking = bulking_of(self, self.worker)
        self._bulking.start()

    def _transactions(self) -> Transactions | None:
        """The effects database, if any step takes a transaction."""
        return transactions_of(self.config, self.store)

    async def close(self) -> None:
        """Drain the worker, if there is one, and close the store."""
        try:
            if self._bulking is not None:
                await self._bulking.stop()
            if self.worker is not None:
                await self.worker.drain()
                if self.hub.on:
                    self.hub.tell(WorkerLeft(self.worker.worker, self.store.now()))
            if self._committer is not None:
                async with asyncio.timeout(self.config.settings.drain_seconds):
                    await self._committer.drain()
        except TimeoutError:
            _log.warning("what could not be written is given up: %s", self.trouble or "the store does not answer")
        finally:
            self._left = True
            if self._committer is not None:
                self._committer.close()
            self.waiting.tell_all()
            await self.store.close()

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; empty if it can."""
        if self.worker is not None:
            return self.worker.trouble
        return "" if self._committer is None else self._committer.trouble

    # Starting

    async def start(self, saga: Saga[Any, Any], value: Any, key: str | None) -> str:
        """Start a saga; gives its id. Raises UnknownSaga, ValueRefused, LimitExceeded, IdConflict,
        and StoreUnavailable where it cannot be written within `Settings.answer_seconds`."""
        write, live = self._prepare(saga, value, key)
        fault.point("start.before")
        told = self._write_start(write, live)
        seconds = self.config.settings.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._started(saga, value, write, told)
        except TimeoutError:
            raise StoreUnavailable(
                f"the saga {new_of(write).key!r} is not on disk after {seconds:g} s: "
                f"{self._obstacle(write.saga)}. It is written when that passes, if this process "
                "lives; to be sure, start it again with the same id"
            ) from None

    def _obstacle(self, saga: bytes) -> str:
        """Why the first row of a saga is not on disk."""
        committer = self.worker or self._committer
        if committer is not None and committer.is_held(saga):
            return "a transaction that is still open has started a saga with this id"
        return self.trouble or "the store does not answer"

    async def run(self, saga: Saga[Any, Any], value: Any, key: str | None) -> Outcome:
        """Start a saga and wait for how it ends. Raises what `start` raises."""
        write, live = self._prepare(saga, value, key)
        fault.point("start.before")
        told = self._write_start(write, live)
        if live is not None:
            found = await live.wait()  # in one go: that it is on disk is no news to whoever waits for its end
            if found is not None:
                return found
        return await self._outcome(saga, await self._started(saga, value, write, told))

    async def _started(self, saga: Saga[Any, Any], value: Any, write: Write, told: asyncio.Future[Fate]) -> str:
        """The id of a saga, once it is on disk."""
        new = new_of(write)
        fate = await told
        while fate is not Fate.WRITTEN:
            if fate is Fate.REFUSED:
                raise ValueRefused(f"the database refuses the saga {new.key!r} or its input; the log says why")
            if fate is Fate.EXISTS:
                existing = await self._patiently(lambda: self.store.head(new.key))
                if existing is not None:
                    await self._patiently(lambda: self.plans.refresh(self.store))
                    same_or_conflict(saga, write, existing, self.plans, self.seals)
                    break
            fate = await self._start_again(saga, value, write)
        if self.worker is None:
            self.store.hint([], work=True)
        return new.key

    async def _start_again(self, saga: Saga[Any, Any], value: Any, write: Write) -> Fate:
        """The worker was retired with the start on its way, or whoever had the id was pruned.
        The same row again, for whichever worker claims it: if it is there already, that is success."""
        await asyncio.sleep(AWAY_PAUSE_SECONDS)
        self._raise_if_broken()
        payload, _ = saga.program.input.admit(value, f"the input of {saga.name}", self.config.settings.payload_bytes)
        new = new_of(write)._replace(created_at=self.store.now())
        held = held_write(self.config, saga, payload, write.saga, new, self.seals)
        return await self._write_start(held._replace(op=write.op), None)

    def _prepare(
        self, saga: Saga[Any, Any], value: Any, key: str | None, *, hold: bool = False
    ) -> tuple[Write, Live | None]:
        """Everything about a new saga that can be wrong, checked before anything is written."""
        self._raise_if_broken()
        registry, settings = self.config.registry, self.config.settings
        registry.check_known(saga)
        program = saga.program
        payload, kept = program.input.admit(value, f"the input of {saga.name}", settings.payload_bytes)
        now = self.store.now()
        internal_id = self.config.chance.uuid7(now)
        name = id_text(internal_id) if key is None else check_id(key)
        if self.hub.on:
            self.hub.tell(SagaRequested(About(self.config.namespace, saga.name, name, internal_id), now))
        number = self.plans.number_of(program.plan.fingerprint)
        new = NewSaga(name, number, kept_hash(saga.name, payload, self.seals), now)
        worker = self.worker
        if worker is None or hold or not worker.room:
            return held_write(self.config, saga, payload, internal_id, new, self.seals), None
        live = Live(worker, program, internal_id, name, 1)
        return live.prepare(payload, kept, new), live

    def _held(self, saga: Saga[Any, Any], value: Any, key: str | None) -> Write:
        return self._prepare(saga, value, key, hold=True)[0]

    def _same(self, saga: Saga[Any, Any], write: Write, existing: SagaRow) -> None:
        same_or_conflict(saga, write, existing, self.plans, self.seals)

    def _write_start(self, write: Write, live: Live | None) -> asyncio.Future[Fate]:
        told: asyncio.Future[Fate] = self.loop.create_future()
        if live is not None and self.worker is not None:
            self.worker.hold(live)
            live.start(write, told)
        elif self.worker is not None:
            self.worker.ownership.backlog = True
            self.worker.submit(write, partial(_tell, told))
        elif self._committer is not None:
            self._committer.submit(write, partial(_tell, told))
        return told

    # Waiting

    async def outcome(self, saga: Saga[Any, Any] | None, key: str, timeout: float | None = None) -> Outcome:
        """How a saga ended, or that it is parked. Raises UnknownSaga, and TimeoutError after
        `timeout` seconds; that stops the waiting, never the saga. However short it is, there is one look."""
        if timeout is not None and timeout < LOOK_SECONDS and self._live(key) is None:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await self._look(saga, key)
            if found is not None:
                return found
        async with asyncio.timeout(timeout):
            return await self._outcome(saga, key)

    async def _outcome(self, saga: Saga[Any, Any] | None, key: str) -> Outcome:
        while True:
            live = self._live(key)
            if live is None:
                return await self.waiting.until(key, partial(self._look, saga, key))
            found = await live.wait()
            if found is not None:
                return found

    def _live(self, key: str) -> Live | None:
        return None if self.worker is None else self.worker.by_key.get(key)

    async def _look(self, saga: Saga[Any, Any] | None, key: str) -> Outcome | None:
        self._raise_if_broken()
        head = await self._patiently(lambda: self.store.head(key))
        if head is None:
            raise UnknownSaga(f"there is no saga with the id {key!r} in this namespace")
        if head.status in OPEN and head.status != "parked":
            return None
        loaded = await self._patiently(lambda: self.store.load(key))
        if loaded is None:
            raise UnknownSaga(f"the saga {key!r} has been pruned")
        loaded = opened_or_not(loaded, self.seals)
        program = self.program_of(loaded, saga)
        return outcome_of(program, state_of(loaded))

    def program_of(self, loaded: Loaded, saga: Saga[Any, Any] | None = None) -> Any:
        """The program that can read a saga. Raises UnknownSaga where this process has none."""
        state = state_of(loaded)
        program, word = self.plans.program_for(loaded.head.plan, state)
        if program is None and saga is not None:
            program = saga.program
        if program is None:
            raise UnknownSaga(f"this process cannot read the saga {loaded.head.key!r}: {word}")
        return program

    async def _patiently(self, read: Callable[[], Any]) -> Any:
        """Read, however long the store is away."""
        warned = False
        while True:
            try:
                return await read()
            except StoreUnavailable as error:
                self._raise_if_broken()
                if not warned:
                    _log.warning("the store is away, waiting for it: %s", error)
                warned = True
                await asyncio.sleep(AWAY_PAUSE_SECONDS)

    # Parts

    def _hinted(self, topic: str) -> None:
        if topic != "work":
            self.waiting.tell(topic)

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self.waiting.tell_all()

    def _raise_if_broken(self) -> None:
        if self._left:
            raise NotRunning("the orchestrator was left while this was waiting; what was started goes on without it")
        if self._broken is not None:
            raise self._broken
        if self.worker is not None and self.worker.failed.done():
            self.worker.failed.result()


def services_of(config: Config) -> Services | None:
    """The services that steps of an orchestrator are done by; None where there are none. Raises TransportRefused."""
    plans = (saga.plan for saga in config.registry.by_fingerprint.values())
    names = tuple(dict.fromkeys(service for plan in plans for service in plan.services))
    if not names:
        return None
    return Services(names, transport_for(config.broker), config.settings.reply_name)


def check_services(registry: Registry, services: Sequence[Service], broker: Broker) -> None:
    """See that sagas ask only the services that were given, if any were, and that the broker's URL can be meant.
    Raises DefinitionError."""
    for service in services:
        if not isinstance(service, Service):
            raise DefinitionError(f"Orchestrator(services=[…]): a Service is expected, not {service!r:.80}")
    known = {service.name for service in services}
    for saga in registry.by_fingerprint.values():
        for name in saga.plan.services:
            if known and name not in known:
                raise DefinitionError(f"saga {saga.name!r} asks the service {name}; add it to services=[…]")
    if broker is not None:
        try:
            transport_for(broker)
        except TransportRefused as error:
            raise DefinitionError(f"Orchestrator(broker=…): {error}") from None


def _tell(told: asyncio.Future[Fate], fate: Fate) -> None:
    if not told.done():
        told.set_result(fate)


def _never() -> None:
    raise RuntimeError("a client has no registration to lose")
