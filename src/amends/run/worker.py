"""A worker: the sagas it holds, the attempts it runs, its coming and going.

Guarantees: it starts no attempt after its lease by its own clock; found retired, it drops all
it holds and registers anew; asked to stop, it finishes what is in flight and lets the rest go.
Must not: decide, write SQL, or talk to users.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from amends import fault
from amends.decide.draft import Decision
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.define.context import Context
from amends.define.registry import Registry
from amends.define.resources import Resources
from amends.errors import AmendsError, StoreError, StoreUnavailable
from amends.observe.hub import OFF, Hub
from amends.run.attempt import Attempt
from amends.run.chance import Chance
from amends.run.committer import Committer
from amends.run.live import Live
from amends.run.ownership import Ownership
from amends.run.remote import Remote, Services
from amends.run.retention import Retention
from amends.run.sealed_mail import understood
from amends.run.sealing import Seals
from amends.run.settings import Settings
from amends.run.threads import Threads
from amends.run.timers import Deadlines
from amends.run.transactions import Transactions
from amends.run.waiting import Waiting
from amends.store.base import Fate, MailRow, Retired, Store, WorkerInfo, Write

Around = Callable[[Context], Any]
_log = logging.getLogger("amends.worker")


class Executor(Protocol):
    """Where sync functions run."""

    def submit(self, fn: Callable[[], Any]) -> Any:
        """A `concurrent.futures.Future` of the function's result."""
        ...


class Worker:
    """The working half of an orchestrator. To the sagas it holds it is their `Shell`."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: Settings,
        *,
        namespace: str,
        resources: Resources,
        waiting: Waiting,
        chance: Chance,
        around: Sequence[Around] = (),
        transactions: Transactions | None = None,
        threads: Executor | None = None,
        services: Services | None = None,
        seals: Seals | None = None,
        hub: Hub = OFF,
    ) -> None:
        self.store = store
        self.registry = registry
        self.settings = settings
        self.namespace = namespace
        self.seals: Seals | None = seals
        self.waiting = waiting
        self.hub = hub
        self.resources: dict[Any, Any] = {}
        self.worker: int = 0
        self.lives: dict[bytes, Live] = {}
        self.by_key: dict[str, Live] = {}
        self.alone: asyncio.Lock = asyncio.Lock()
        self.deadlines: Deadlines = Deadlines(asyncio.get_running_loop())
        self.draining: bool = False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()  # kept: asking for it costs a system call
        self.failed: asyncio.Future[None] = self.loop.create_future()
        self.ownership: Ownership = Ownership(self)
        self.looked: Callable[[bool], object] = bool  # told of each look at the store, and whether it went well
        self._providers = resources
        self._around = tuple(around)
        self.has_around: bool = bool(around)
        self._transactions = transactions
        self._remote = Remote(self, services)
        self._retention = Retention(self, transactions)
        self.has_told: Callable[[Sequence[bytes]], Awaitable[bool]] = self._remote.has_told
        self.now: Callable[[], float] = store.now
        self.operation: Callable[[], int] = chance.operation
        self.share: Callable[[], float] = chance.share
        self._threads: Executor = threads or Threads(settings.threads)
        self._stack = AsyncExitStack()
        self._committer: Committer | None = None
        self._held: list[tuple[Live, str, Phase]] = []
        self._quieter = asyncio.Event()

    # Coming and going

    async def start(self) -> None:
        """Open the resources, register, take over what is there, and look for work from now on."""
        try:
            self.resources = await self._providers.open(self._stack)
            self.context: contextvars.Context = contextvars.copy_context()
            if self._transactions is not None:
                await self._transactions.open()
            await self._remote.open()
            await self.ownership.plans.register(self.store)
            await self.ownership.start(await self.register())
            self._retention.start()
        except BaseException:
            self._drop_all()
            await self._close()
            raise

    async def register(self) -> float:
        """Be a worker that was never there before. Gives when it was asked for: the lease counts from there."""
        asked = self.loop.time()
        self.worker = await self.store.register(self.info())
        most = self.settings.batch_writes
        self._committer = Committer(self.store, self.worker, most, self.hub, retired=self.retired, broken=self.broken)
        return asked

    def info(self) -> WorkerInfo:
        """What the registration says."""
        return WorkerInfo(socket.gethostname(), os.getpid(), self.ownership.plans.exact, self.settings.lease_seconds)

    async def drain(self) -> None:
        """Finish what is in flight, let everything go, and leave. What still is after `drain_seconds` is unresolved."""
        if self.draining:
            return
        fault.point("drain.before")
        self.draining = True
        try:
            await self._remote.stop_taking()
            await self.ownership.stop()
            try:
                async with asyncio.timeout(self.settings.drain_seconds):
                    await self._until_quiet()
            except TimeoutError:
                _log.warning("attempts, or what they gave, are still in flight; they are left unresolved")
            await self._leave()
        except (Retired, StoreError) as error:
            _log.warning("the worker leaves without letting go: %s", error)
        finally:
            self._drop_all()
            await self._close()

    async def _until_quiet(self) -> None:
        while any(live.running for live in self.lives.values()):
            self._quieter.clear()
            await self._quieter.wait()
        if self._committer is not None:
            await self._committer.drain()
        await self._remote.drain()

    async def _leave(self) -> None:
        if not self.worker:
            return  # it was asked to go before it had come
        now = self.store.now()
        quiet = [(live.id, now) for live in self.lives.values() if not (live.running or live.unwritten)]
        try:
            await self.store.release(self.worker, quiet)
        except (Retired, StoreUnavailable) as error:  # by a retirement, or somebody's lock: then they are taken over
            _log.warning("sagas are not let go of: %s", error)
        await self.store.deregister(self.worker, survived=False)

    async def _close(self) -> None:
        await self._retention.stop()
        await self._remote.close()
        if self._committer is not None:
            self._committer.close()
        self.deadlines.close()
        try:
            if self._transactions is not None:
                await self._transactions.close()
        finally:
            await self._stack.aclose()

    def retired(self) -> None:
        """Somebody took over what this worker owned: begin anew, with nothing."""
        _log.warning("worker %d was retired while it was away; it registers anew", self.worker)
        self._drop_all()
        if self._committer is not None:
            self._committer.close()
        self.waiting.tell_all()
        self.ownership.begin_anew()

    def broken(self, error: BaseException) -> None:
        """The store cannot be worked with any more."""
        if not self.failed.done():
            _log.error("the worker stops: %s", error)
            self.failed.set_exception(error)
            self.failed.exception()  # seen, also where nobody waits for it
        self._drop_all()
        self.ownership.halt()
        self.waiting.tell_all()

    def _drop_all(self) -> None:
        for live in list(self.lives.values()):
            live.drop()
        self.lives.clear()
        self.by_key.clear()
        self._held.clear()

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; empty if it can."""
        return "" if self._committer is None else self._committer.trouble

    def is_held(self, saga: bytes) -> bool:
        """Whether a lock of somebody else's is in the way of what this saga wants to write."""
        return self._committer is not None and self._committer.is_held(saga)

    # What the sagas in memory ask

    def submit(self, write: Write, told: Callable[[Fate], None]) -> None:
        """Have a decision written."""
        if self._committer is not None:
            self._committer.submit(write, told)

    def may_start(self, live: Live, address: str, phase: Phase) -> bool:
        """Whether an attempt may start; one that the lease holds back starts when it is renewed."""
        if self.draining:
            return False
        if self.ownership.lease.holds():
            return True
        self._held.append((live, address, phase))
        return False

    def start_held(self) -> None:
        """The lease was renewed: start what waited for that."""
        held, self._held = self._held, []
        for live, address, phase in held:
            live.begin(address, phase)

    @property
    def away(self) -> str:
        """Why no command goes out to services at the moment; empty if they do."""
        return self._remote.away

    def send(self, live: Live, address: str, phase: Phase) -> None:
        """Have a command go out; one that the lease holds back goes out when it is renewed."""
        if self.ownership.lease.holds():
            self._remote.send(live, address, phase)
        else:
            self._held.append((live, address, phase))

    def at_rest(self, live: Live, decision: Decision) -> None:
        """The saga ended, parked, or waits for long; that is written."""
        fault.point("release.after")
        self._remove(live)
        if live.comes_back:
            self.ownership.look_again(live.key)
        if decision.state.ended or decision.state.parked:
            self.answered(live)
        if decision.state.ended:
            self._remote.ended(live.id, live.program.plan.services)

    def let_go(self, live: Live, wake: float | None) -> None:
        """Nothing is to be done until an instant, or a mail."""
        self._remove(live)
        self.ownership.release(live.id, wake)

    def lost(self, live: Live, fate: Fate) -> None:
        """A decision was not written: the saga has moved on without this worker, or its rows are refused."""
        if fate is Fate.REFUSED:
            self._remove(live)
            self.ownership.stall(live.id, live.key, "the database refuses its next row; the worker's log says why")
            return
        _log.warning("saga %s has moved on without this worker (%s); it is read again", live.key, fate.value)
        self._remove(live)
        self.ownership.look_again(live.key)

    def broke(self, live: Live, error: Exception) -> None:
        """A bug in amends met a saga. It stays as it is on disk, for the next worker."""
        _log.error("saga %s cannot go on in this worker: this is a bug in amends", live.key, exc_info=error)
        self._remove(live)

    def late(self, live: Live, attempt: Attempt, message: Message) -> None:
        """An attempt ended that nobody waited for any more."""
        if attempt.overdue and not self.draining:
            self.ownership.report_late(live.key, attempt, message)

    def answered(self, live: Live) -> None:
        """Something became of the saga that others may wait for."""
        self.waiting.tell(live.key)
        self.store.hint([live.key], work=False)

    def attempt_over(self) -> None:
        """One attempt less is in flight."""
        if self.draining:
            self._quieter.set()

    def in_thread(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a sync function off the loop."""
        return asyncio.wrap_future(self._threads.submit(fn))

    async def around(self, ctx: Context, stack: AsyncExitStack) -> None:
        """Enter what the user put around every attempt."""
        for enter in self._around:
            await stack.enter_async_context(enter(ctx))

    def transaction(self, address: str) -> Transactions:
        """Who runs a step that takes a transaction."""
        if self._transactions is None:
            raise AmendsError(f"{address} takes a transaction and there is no database for it: give effects=")
        return self._transactions

    # The sagas it holds

    @property
    def room(self) -> int:
        """How many more sagas fit in memory."""
        return 0 if self.draining else max(self.settings.in_flight - len(self.lives), 0)

    def hold(self, live: Live) -> None:
        """Keep a saga in memory."""
        self.lives[live.id] = live
        self.by_key.setdefault(live.key, live)

    def forget(self, live: Live) -> None:
        """The saga was never started: its id is taken."""
        self._remove(live)

    def take_mail(self, mails: Sequence[MailRow], live_workers: frozenset[int]) -> None:
        """Tell the sagas in memory what came for them, each mail once."""
        for mail in mails:
            live = self.lives.get(mail.saga)
            if live is None or mail.message in live.mails or live.misses():
                continue
            live.mails.add(mail.message)
            try:
                live.tell(*understood(mail, live, live_workers))
            except Exception as error:  # noqa: BLE001  # what befalls one saga must not befall the others
                self.broke(live, error)

    def _remove(self, live: Live) -> None:
        self.lives.pop(live.id, None)
        if self.by_key.get(live.key) is live:
            del self.by_key[live.key]
        live.drop()
        self.ownership.left(live.id)
