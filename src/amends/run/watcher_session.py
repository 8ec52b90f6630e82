"""A watcher entered: what it hears, and how that comes into its store.

Its registration is its sign of life: with the plans of which it knows all that was told, so that silence means
something; with none while it is behind.

Guarantees: a message is acked once what it says is on disk. A database or broker that is away is waited for.
Must not: hold anything that a later history would not bring again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from amends.decide.baton import progress_of
from amends.decide.flows import FlowPlan
from amends.decide.watching import Watched, watched_of
from amends.decide.wire import KIND, Kind
from amends.define.saga import Saga
from amends.errors import DefinitionError, MessageRefused, StoreError
from amends.run.config import Config
from amends.run.database import store_of
from amends.run.retention import LOOK_SECONDS, batches
from amends.run.watcher_flows import Flows
from amends.run.watcher_fold import Folder, Heard, Watch, heard_of
from amends.store.base import Retired, Store, WorkerInfo
from amends.transport import names
from amends.transport.base import Delivery, Destination, Listening
from amends.transport.open import Broker, transport_for

BATCH = 500  # messages that are folded at once
GATHER_SECONDS = 0.05  # so long a message waits for company: nobody looks as often, and fewer commits are made
IN_FLIGHT = 2000
PAUSE_SECONDS = 0.5  # between two tries, where something is away
BEATS = 3  # in one lease
CLOSE_SECONDS = 5.0
HISTORIES, PRESENCE = "what is heard of choreographed sagas", "that the watcher is there"
_log = logging.getLogger("amends.watcher")


class Seen(NamedTuple):
    """What a watcher was built with, beside where it keeps it. sagas: by the fingerprints of their plans."""

    homes: tuple[str, ...]
    sagas: Mapping[str, Saga[Any, Any]]
    broker: Broker
    group: str
    patience: float | None
    flows: Sequence[FlowPlan] = ()

    def __repr__(self) -> str:
        """Without the broker's URL, which may have a password."""
        return f"Seen({self.homes!r}, {len(self.sagas)} sagas, {self.group!r})"


class Came(NamedTuple):
    """A message that is not on disk."""

    heard: Heard
    delivery: Delivery


class WatcherSession:
    """One entry of a watcher."""

    def __init__(self, config: Config, seen: Seen) -> None:
        self._config = config
        self._seen = seen
        self._transport = transport_for(seen.broker)
        self.store: Store = store_of(config.database, config.namespace, migrate=config.migrate)
        self._watch = Watch(self.store, {name: saga.plan for name, saga in seen.sagas.items()})
        self._folder = Folder(self.store, self._watch, seen.patience)
        self._flows = Flows(self.store, seen.flows)
        self._came: deque[Came] = deque()
        self._soon = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._listening: list[Listening] = []
        self._arranged = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._burying: set[asyncio.Task[None]] = set()
        self._worker = 0
        self._registering: asyncio.Lock = asyncio.Lock()
        self._why_not = ""
        self._away: dict[str, str] = {}  # why what cannot be written
        self._pruned_at = 0.0
        self.folded: int = 0  # messages, since it was entered

    # Coming and going

    async def open(self) -> None:
        """Open the store, and hear as soon as the broker is there. Raises StoreError, DefinitionError, and
        TransportError where waiting does not mend it."""
        try:
            await self.store.open(work=False)
            await self._check_place()
            await self._register_plans()
            await self._register()
            await self._transport.open()
        except BaseException:
            await self._let_go()
            raise
        loop = asyncio.get_running_loop()
        jobs = [("arrange", self._arrange()), ("fold", self._run()), ("beat", self._beat())]
        if self._seen.flows:
            jobs.append(("flows", self._flows.run(lambda: self._worker, self._registered)))
        self._tasks = [loop.create_task(job, name=f"amends-watcher-{name}") for name, job in jobs]

    async def _check_place(self) -> None:
        """See that the namespace is its own."""
        for row in await self._watch.learn():
            if watched_of(row.fingerprint) is None:
                raise DefinitionError(
                    f"the namespace {self._config.namespace!r} is an orchestrator's, which runs {row.name!r} there; "
                    "give the watcher one of its own: Watcher(…, namespace=…)"
                )

    async def _register_plans(self) -> None:
        given = [
            (Watched(home, fingerprint).text, saga.name, saga.plan.json)
            for fingerprint, saga in self._seen.sagas.items()
            for home in self._seen.homes
        ]
        if given:
            await self.store.add_plans(given)
        await self._flows.register()
        await self._watch.learn()

    async def close(self) -> None:
        """Hear nothing more, write what is in hand, and go."""
        for listening in self._listening:
            await listening.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.idle()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks or self._burying:
            await asyncio.wait([*tasks, *self._burying], timeout=CLOSE_SECONDS)
        with suppress(StoreError):
            await self.store.deregister(self._worker, survived=False)
        await self._let_go()

    async def _let_go(self) -> None:
        try:
            await self._transport.close()
        finally:
            await self.store.close()

    async def listening(self) -> None:
        """Wait until it hears from the broker."""
        await self._arranged.wait()

    async def idle(self) -> None:
        """Wait until all that came is on disk."""
        await self._idle.wait()
        await self._flows.idle.wait()

    @property
    def trouble(self) -> str:
        """What keeps it from watching at the moment; empty if nothing does."""
        return next(iter(self._away.values()), "") or self._flows.away or self._why_not or self._transport.away

    async def _arrange(self) -> None:
        """Hear of every home, as soon as the broker is there."""
        wanted = list(self._sources)
        while wanted:
            try:
                await self._transport.prepare(wanted[:1])
                self._listening.append(
                    await self._transport.listen(wanted[0], self._seen.group, self.receive, in_flight=IN_FLIGHT)
                )
            except Exception as error:  # noqa: BLE001  # whatever it is, this is what everything waits for
                self._say_why_not(wanted[0], str(error) or type(error).__name__)
                wanted.append(wanted.pop(0))
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                wanted.pop(0)
        self._why_not = ""
        self._arranged.set()

    @property
    def _sources(self) -> tuple[Destination, ...]:
        """What it hears: the progress of its homes' sagas, and the events of its flows."""
        return (*map(names.progress_of, self._seen.homes), *map(names.events_of, self._flows.services))

    def _say_why_not(self, source: Destination, why: str) -> None:
        if why != self._why_not:
            _log.warning("%s cannot be received yet: %s", source.name, why)
        self._why_not = why

    # What comes

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """Take what the broker delivers."""
        loop = asyncio.get_running_loop()
        for delivery in deliveries:
            try:
                if delivery.message is None:
                    raise MessageRefused(delivery.flaw)
                if delivery.message.attributes.get(KIND) == Kind.EVENT:
                    self._flows.hear(delivery, delivery.message)
                    continue
                heard = heard_of(progress_of(delivery.message))
            except MessageRefused as error:
                _log.warning("a message is put aside: %s", error)
                burying = loop.create_task(delivery.bury(str(error)))
                self._burying.add(burying)
                burying.add_done_callback(self._burying.discard)
            else:
                self._came.append(Came(heard, delivery))
        if self._came:
            self._idle.clear()
            self._soon.set()

    async def _run(self) -> None:
        """Fold what comes, until cancelled."""
        while True:
            if not self._came:
                self._idle.set()
                await self._soon.wait()
            self._soon.clear()
            if len(self._came) < BATCH:
                await asyncio.sleep(GATHER_SECONDS)
            batch = [self._came.popleft() for _ in range(min(len(self._came), BATCH))]
            if batch:
                await self._fold(batch)

    async def _fold(self, batch: Sequence[Came]) -> None:
        """Write what is new, and ack."""
        while not await self._written(batch):
            await asyncio.sleep(PAUSE_SECONDS)
        self._away.pop(HISTORIES, None)
        self.folded += len(batch)
        for one in batch:
            await one.delivery.ack()

    async def _written(self, batch: Sequence[Came]) -> bool:
        """Write; whether that is done with. What befalls one message must not befall the others."""
        worker = self._worker
        try:
            return await self._folder.fold(worker, [one.heard for one in batch])
        except Retired:
            return await self._registered(worker) and await self._written(batch)
        except StoreError as error:
            self._say_away(HISTORIES, str(error))
            return False
        except Exception:  # noqa: BLE001  # left to a later history, where it is alone
            if len(batch) == 1:
                _log.exception("what is heard of a choreographed saga cannot be written: this is a bug in amends")
                return True
        return all([await self._written([one]) for one in batch])

    def _say_away(self, what: str, why: str) -> None:
        if why != self._away.get(what):
            _log.warning("%s cannot be written: %s", what, why)
        self._away[what] = why

    # Its sign of life

    async def _beat(self) -> None:
        """Renew the registration, until cancelled."""
        while True:
            try:
                await self._renew()
            except StoreError as error:
                self._say_away(PRESENCE, str(error))
            except Exception:  # noqa: BLE001  # next time, perhaps; no saga depends on it
                _log.exception("the watcher cannot renew its registration: this is a bug in amends")
            await asyncio.sleep(self._config.settings.lease_seconds / BEATS)

    async def _renew(self) -> None:
        hears, worker = await self._is_current(), self._worker
        if not await self.store.renew(worker, self._info(hears=hears)):
            await self._register(worker)
        self._away.pop(PRESENCE, None)
        await self._forget()

    async def _is_current(self) -> bool:
        """Whether all that was told is on disk."""
        if not self._arranged.is_set() or self._transport.away:
            return False
        lags = [await self._transport.lag(source, self._seen.group) for source in self._sources]
        return not any(lags) and self._idle.is_set() and self._flows.idle.is_set()

    async def _forget(self) -> None:
        """Sagas that ended long ago, if that is wanted."""
        keep, now = self._config.settings.retention_seconds, asyncio.get_running_loop().time()
        if keep is not None and now - self._pruned_at > LOOK_SECONDS:
            self._pruned_at = now
            async for _ in batches(self.store, self.store.now() - keep, None):
                await asyncio.sleep(0)

    async def _register(self, gone: int | None = None) -> None:
        """Be there; those of this place that are not any more, are gone for good. gone: the number under which one of
        its duties was not there any more; another may have seen to that already. Raises StoreError."""
        async with self._registering:
            if gone not in (None, self._worker):
                return
            now = self.store.now()
            for row in await self.store.workers():
                if row.retired_at is None and row.expires_at < now:
                    await self.store.deregister(row.id, survived=False)
            self._worker = await self.store.register(self._info(hears=False))

    async def _registered(self, gone: int) -> bool:
        """Register anew; whether that could be done."""
        try:
            await self._register(gone)
        except StoreError as error:
            self._say_away(HISTORIES, str(error))
            return False
        return True

    def _info(self, *, hears: bool) -> WorkerInfo:
        plans = self._watch.numbers if hears else ()
        return WorkerInfo(socket.gethostname(), os.getpid(), plans, self._config.settings.lease_seconds)
