"""A participant entered: what it has open, what it hears, and how it goes.

Guarantees: asked to leave, it hears nothing more, lets what is in hand come to its end for a while, and leaves the
rest unacked, for whoever comes next.
Must not: handle anything itself; `participant_work.py` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from amends.decide.wire import Ended, ended_of
from amends.errors import MessageRefused, NotRunning, StoreUnavailable
from amends.observe.events import MessageBuried
from amends.observe.hub import Hub
from amends.run.homes import Homes
from amends.run.hops import Hops
from amends.run.inbox_upkeep import Sizes, Upkeep
from amends.run.outbox import LOOKS_SECONDS, republish
from amends.run.participant_database import home_of, transactions_on
from amends.run.participant_events import Events
from amends.run.participant_work import Figures, Leaving, Work, kind_of
from amends.run.saying import Said
from amends.run.sealing import Seals
from amends.run.sender import Sender
from amends.transport.base import Delivery, Destination, Listening
from amends.transport.names import commands_of, events_of
from amends.transport.open import transport_for

if TYPE_CHECKING:
    from amends.run.participant import Built

ARRANGE_SECONDS = 1.0  # between two tries to have the queues made
UNACKED_PER_HANDLER = 4  # messages that wait, or whose reply is not confirmed yet, for each that is being handled
STOP_SECONDS = 5.0  # how long a handler that was asked to stop is waited for
T = TypeVar("T")
_log = logging.getLogger("amends.participant")


class ParticipantSession:
    """One entry of a participant."""

    def __init__(self, built: Built, hub: Hub) -> None:
        self._built = built
        self._transport = transport_for(built.broker)
        self._sender = Sender(self._transport)
        home = home_of(built.database, built.handlers)
        size = built.settings.transactions
        self._transactions = None if home is None else transactions_on(home, size, migrate=built.migrate)
        self.hub = hub
        self.work: Work = Work(built.handlers, self._sender, self._transactions, built.settings, built.around, self.hub)
        if built.keys is not None:
            self.work.seals = Seals(built.keys, built.handlers.service.name)
        if home is not None:
            self.work.default_kind, self.work.default_awaited = home.default, home.awaited
        self._events = Events(self.work)
        self._hops: Hops | None = None
        self._homes: Homes | None = None
        if self._transactions is not None:
            self._hops = Hops(self.work, self._transactions, built.routes)
            self._homes = Homes(self.work, self._transactions)
        service, settings = built.handlers.service.name, built.settings
        self._upkeep: Upkeep | None = None
        if self._transactions is not None:
            kept, horizon = settings.events_kept_seconds, settings.inbox_horizon_seconds
            self._upkeep = Upkeep(self._transactions, service, horizon, kept)
        self._stack = AsyncExitStack()
        self._listening: list[Listening] = []
        self._arranging: asyncio.Task[None] | None = None
        self._duties: list[asyncio.Task[None]] = []
        self._signs: asyncio.Task[None] | None = None
        self._arranged = asyncio.Event()
        self._why_not = ""

    # Coming and going

    async def open(self) -> None:
        """Open the resources, the database and the way to the broker; hear from it as soon as it is there. Raises
        StoreError, and TransportError where waiting does not mend it."""
        try:
            self.work.resources = await self._built.resources.open(self._stack)
            if self._transactions is not None:
                await self._transactions.open()
            await self._transport.open()
        except BaseException:
            await self._let_go()
            raise
        loop = asyncio.get_running_loop()
        self._arranging = loop.create_task(self._arrange(), name="amends-participant")
        if self._upkeep is not None and self.work.outbox is not None:
            self._duties = [
                loop.create_task(self._upkeep.run(), name="amends-upkeep"),
                loop.create_task(self.work.outbox.run(), name="amends-outbox"),
            ]
        if self._hops is not None and self._homes is not None:
            self._duties += [
                loop.create_task(self._hops.run(), name="amends-hops"),
                loop.create_task(self._homes.run(), name="amends-homes"),
            ]
        if self.work.careful is not None:
            self._signs = loop.create_task(self.work.careful.run(), name="amends-signs")

    async def listening(self) -> None:
        """Wait until it hears from the broker."""
        await self._arranged.wait()

    async def close(self) -> None:
        """Leave."""
        arranging, self._arranging = self._arranging, None
        duties, self._duties = self._duties, []
        for task in (*duties, *([] if arranging is None else [arranging])):
            task.cancel()
            await asyncio.wait([task])
        for listening in self._listening:
            await listening.stop()
        self.work.leaving.set()
        await self._until_done(self._built.settings.drain_seconds)
        self.work.stop_handlers()
        await self._until_done(STOP_SECONDS)
        for task in self.work.tasks:
            task.cancel()
        await self._until_done(STOP_SECONDS)
        if self._homes is not None:
            self._homes.tell_ended()
            await self._homes.close()
        if self.work.outbox is not None:
            await self.work.outbox.drain(STOP_SECONDS)
            await self.work.outbox.close()
        await self._let_go()

    async def _until_done(self, seconds: float) -> None:
        if self.work.tasks:
            await asyncio.wait(self.work.tasks, timeout=seconds)

    async def _let_go(self) -> None:
        if self._signs is not None:
            self._signs.cancel()
            await asyncio.wait([self._signs])
        try:
            await self._sender.close()
            await self._transport.close()
            self.work.deadlines.close()
            if self._transactions is not None:
                await self._transactions.close()
        finally:
            await self._stack.aclose()

    async def _arrange(self) -> None:
        """See that the queues are there, and listen; as soon as the broker is."""
        handlers = self._built.handlers
        service = handlers.service
        in_flight = self._built.settings.handlers * UNACKED_PER_HANDLER
        tellers = dict.fromkeys(event.service.name for event, _ in handlers.events.values())
        said = Said(_log)
        wanted: list[Destination] = [commands_of(service.name), *map(events_of, tellers)]
        while wanted:
            try:
                await self._transport.prepare(wanted[:1])
                self._listening.append(
                    await self._transport.listen(wanted[0], service.name, self.receive, in_flight=in_flight)
                )
            except Exception as error:  # noqa: BLE001  # whatever it is, this is what everything waits for
                self._why_not = said.warn(f"{wanted[0].name} cannot be received yet", error)
                wanted.append(wanted.pop(0))  # one that is not to be had holds up no other
                await asyncio.sleep(ARRANGE_SECONDS)
            else:
                wanted.pop(0)
        self._why_not = ""
        self._arranged.set()

    # What comes

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """Take what the broker delivers."""
        for delivery in deliveries:
            self._spawn(self._take(delivery))

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        self.work.spawn(job)

    async def _take(self, delivery: Delivery) -> None:
        """One delivery, whatever it is. What goes wrong beyond all that is foreseen leaves it unacked."""
        message = delivery.message
        try:
            if message is None:
                raise MessageRefused(delivery.flaw)
            kind = kind_of(message)
            if kind == "ended":
                await self._ended(delivery, ended_of(message))
            elif kind == "event":
                await self._events.event(delivery, message)
            elif kind == "baton" and self._hops is not None:
                await self._hops.baton(delivery, message)
            elif kind == "mark" and self._hops is not None:
                await self._hops.mark(delivery, message)
            elif kind == "word" and self._homes is not None:
                await self._homes.word(delivery, message)
            elif kind == "answer" and self._homes is not None:
                await self._homes.answer(delivery, message)
            else:
                await self.work.command(delivery, message)
        except MessageRefused as error:
            self.work.figures.refused += 1
            if self.hub.on:
                self.hub.tell(MessageBuried(self.work.handlers.service.name, time.time()))
            _log.warning("a message is put aside: %s", error)
            await delivery.bury(str(error))
        except Leaving:
            return
        except Exception:  # noqa: BLE001  # what befalls one message must not befall the others
            _log.exception("a message could not be handled, and comes again: this is a bug in amends")
            await delivery.retry(ARRANGE_SECONDS)

    async def _ended(self, delivery: Delivery, notice: Ended) -> None:
        """Sagas have ended. A service that keeps nothing has nothing to forget."""
        tries = 0
        while self._upkeep is not None:
            try:
                await self._upkeep.ended(notice)
                self.work.trouble = ""
                break
            except StoreUnavailable as error:
                tries += 1
                await self.work.waits(error, tries)
        await delivery.ack()

    # How it fares

    @property
    def trouble(self) -> str:
        """What keeps it from working at the moment; empty if nothing does."""
        outbox = "" if self.work.outbox is None else self.work.outbox.failed or self.work.outbox.refused
        return self.work.trouble or self._why_not or self._sender.away or outbox

    @property
    def figures(self) -> Figures:
        """What has happened since it was entered."""
        return self.work.figures

    def look_soon(self, numbers: Sequence[int], delays: Sequence[float] = LOOKS_SECONDS) -> None:
        """A transaction with these events commits about now; from any thread."""
        outbox, loop = self.work.outbox, self.work.loop
        if outbox is not None:
            with suppress(RuntimeError):  # the loop is closed, and the sweep of the next comes
                loop.call_soon_threadsafe(outbox.look_soon, numbers, delays)

    async def asked(self, job: Coroutine[Any, Any, T]) -> T:
        """Have something done that no broker delivered: to its end, whether or not who asked is still there, and
        waited for as deliveries are when this participant leaves."""
        task = self.work.loop.create_task(job)
        self.work.tasks.add(task)
        task.add_done_callback(self.work.tasks.discard)
        return await asyncio.shield(task)

    async def ended(self, notice: Ended) -> None:
        """Have what is remembered of these forgotten, a horizon after anything last came of it. Raises StoreError."""
        if self._upkeep is not None:
            await self._upkeep.ended(notice)

    @property
    def homes(self) -> Homes:
        """Of the choreographed sagas. Raises NotRunning where it was given none."""
        if self._homes is None:
            raise NotRunning("this participant knows no choreographed sagas: give it some, Participant(…, sagas=[…])")
        return self._homes

    async def sizes(self) -> Sizes | None:
        """What its inbox and outbox hold; None without a database. Raises StoreError."""
        return None if self._upkeep is None else await self._upkeep.sizes()

    async def lag(self) -> int | None:
        """About how many commands wait at the broker; None where nobody knows."""
        service = self._built.handlers.service.name
        return await self._transport.lag(commands_of(service), service)

    async def clean(self) -> int:
        """Forget, at once, what may be forgotten; gives how many rows that were. Raises StoreError."""
        return 0 if self._upkeep is None else await self._upkeep.clean()

    async def republish(self, since: float) -> int:
        """Have the events since an instant published again; gives how many. Raises StoreError."""
        if self._transactions is None:
            return 0
        return await republish(self._transactions, self._built.handlers.service.name, since)
