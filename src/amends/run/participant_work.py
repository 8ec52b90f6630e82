"""A participant at work: from the delivery to the ack.

    delivery -> command -> barrier transaction -> commit -> reply, confirmed by the broker -> ack

Guarantees: a delivery is acked only after what came of it is on disk and its reply is confirmed; one whose
database is away, or whose row somebody else has, stays unacked, and the others go on.
Must not: judge, write SQL, or know a broker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import Verdict
from amends.decide.messages import Message as Outcome
from amends.decide.wire import KIND, Command, Reply, command_of, reply_message
from amends.define.handlers import Handled, Handler, Handlers
from amends.errors import StoreError, StoreUnavailable, TransportRefused
from amends.message import Message
from amends.observe.hub import OFF, Hub
from amends.run.attempt import outcome
from amends.run.barrier import Try
from amends.run.chaining import handles
from amends.run.chance import Chance
from amends.run.inbox import CommandTry, Handling, failed, reply_for, unfit
from amends.run.inbox_batch import Batches, fits
from amends.run.inbox_careful import DEATHS_MAX, Care, Careful, Held, Poison
from amends.run.observing import answered
from amends.run.outbox import LOOKS_SECONDS, Outbox
from amends.run.outbox_rows import source_of
from amends.run.progress import Teller
from amends.run.sealing import Seals
from amends.run.sender import Sender
from amends.run.settings import Settings
from amends.run.threads import Threads
from amends.run.timers import Deadlines
from amends.run.transactions import Transactions, surrounded
from amends.transport.base import Delivery, Destination

PAUSE_FIRST_SECONDS = 0.02
PAUSE_LAST_SECONDS = 1.0
POISON = (
    f"it took its process down {DEATHS_MAX} times while it ran alone: look at the service's log, mend the handler, and "
    "try again"
)
publishing: ContextVar[list[int] | None] = ContextVar("amends_publishing", default=None)  # by the handler at work
GROWTH_TRIES = 12  # the pause grows no longer
T = TypeVar("T")
Around = Callable[[Any], Any]
_log = logging.getLogger("amends.participant")


@dataclass(slots=True)
class Figures:
    """What has happened since the participant was entered."""

    handled: int = 0  # commands and events that ended, one way or another
    repeated: int = 0  # that the barrier answered without calling the handler
    failed: int = 0  # whose handler failed, so that nothing stayed
    refused: int = 0  # messages that are none of ours, buried
    parked: int = 0  # commands that nobody here can be given
    poison: int = 0  # that took their process down too often
    buried: int = 0  # events whose handler failed to the end, or that came of too many others
    circling: int = 0  # of those, the latter


class Leaving(Exception):
    """The participant is going: what is not done is left to whoever gets it next."""


class Work:
    """What handlers need, and the way of a command through them. To what it runs it is the `Desk`."""

    def __init__(
        self,
        handlers: Handlers,
        sender: Sender,
        transactions: Transactions | None,
        settings: Settings,
        around: Sequence[Around],
        hub: Hub = OFF,
    ) -> None:
        self.handlers = handlers
        self.sender = sender
        self.transactions = transactions
        self.hub = hub
        self.seals: Seals | None = None
        self.settings = settings
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.deadlines: Deadlines = Deadlines(self.loop)
        self.resources: dict[Any, Any] = {}
        self.payload_bytes: int = settings.payload_bytes
        self.horizon_seconds: float = settings.inbox_horizon_seconds
        self.default_kind: str = ""
        self.default_awaited: bool = False
        self.figures: Figures = Figures()
        self.careful: Careful | None = None if transactions is None else Careful(transactions)
        name, way = handlers.service.name, transactions
        self.teller: Teller = Teller(sender, name, on=settings.progress)
        self.outbox: Outbox | None = None if way is None else Outbox(way, sender, name, self.teller, hub)
        self.trouble: str = ""  # why the database cannot be worked with at the moment
        self.leaving: asyncio.Event = asyncio.Event()
        self.source: str = source_of(handlers.service.name)
        self.has_around: bool = bool(around)
        self._around = tuple(around)
        self.room: asyncio.Semaphore = asyncio.Semaphore(settings.handlers)
        self._batching: dict[int, Batches] = {}
        self._lanes: dict[object, _Lane] = {}
        self._chance = Chance()
        self._threads = Threads(settings.threads)
        self.at_work: set[Handling] = set()
        self.tasks: set[asyncio.Task[Any]] = set()

    # As the Runner of attempts

    def in_thread(self, fn: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a sync function off the loop."""
        return asyncio.wrap_future(self._threads.submit(fn))

    async def around(self, ctx: Any, stack: AsyncExitStack) -> None:
        """Enter what the user put around every handler."""
        for enter in self._around:
            await stack.enter_async_context(enter(ctx))

    def share(self) -> float:
        """A random number from 0 to 1, for jitter."""
        return self._chance.share()

    # A command

    async def command(self, delivery: Delivery, message: Message) -> None:
        """Handle a command, reply, ack. Raises Leaving where it is left to others, MessageRefused."""
        command = command_of(message)
        try:
            care = self.care(times_of(delivery, command), command)
            reply = await self.guarded(care, lambda alone: answered(self, command, alone=alone))
        except Poison:
            self.figures.poison += 1
            _log.error("a command of saga %s is not done any more: %s", command.key, POISON)
            reply = failed(command, POISON, park=True)
        self.figures.handled += 1
        await self.respond(command, reply, delivery)

    async def guarded(self, care: Care | None, job: Callable[[bool], Awaitable[T]]) -> T:
        """Do something that may have taken its process down, if it may have; it is told whether it is alone. care: None
        for what comes for the first time. Raises Poison and Leaving."""
        if care is None or self.careful is None:
            return await job(care is not None and care.again)
        tries = 0
        async with self.lane(care.what):  # who asks again and again is answered as often, and asks the database once
            while not self.leaving.is_set():
                try:
                    async with self.careful.done(care) as alone:
                        self.trouble = ""
                        return await job(alone)
                except Held:
                    tries += 1
                    await self._pause(tries)
                except StoreUnavailable as error:
                    tries += 1
                    await self.waits(error, tries)
        raise Leaving

    def care(self, times: int, command: Command) -> Care | None:
        """What is to be known of a command that was delivered so often, 0 where nobody knows."""
        if times == 1:
            return None
        parts = (command.phase, command.namespace, command.saga.hex(), command.step, str(command.round))
        known = self.handlers.commands.get(command.type)
        handler = None if known is None else known.handler(command.phase)
        return Care(parts, times > 1, 0.0 if handler is None else handler.timeout, command.sent_at)

    async def waits(self, error: StoreUnavailable, tries: int) -> None:
        """The database is away: pause. Raises Leaving."""
        self.trouble = str(error)
        await self._pause(tries)
        if self.leaving.is_set():
            raise Leaving

    async def waited(self, job: Callable[[], Awaitable[T]]) -> T:
        """What a job on the database gives; one that is away is waited for. Raises Leaving."""
        tries = 0
        while True:
            try:
                return await job()
            except StoreUnavailable as error:
                tries += 1
                await self.waits(error, tries)

    async def respond(self, command: Command, reply: Reply, delivery: Delivery) -> None:
        """Send a reply; once the broker has it, ack the command."""
        told = await self._sent(command, reply)
        if isinstance(told, TransportRefused):
            why = f"its reply cannot be sent: {told}"
            told = await self._sent(command, failed(command, why, park=True))
        fault.point("reply.after")
        if told is None:
            await delivery.ack()
        elif isinstance(told, TransportRefused):  # nobody can be told; whoever asks again is answered from the row
            self.figures.refused += 1
            await delivery.bury(f"its reply cannot be sent: {told}")
        else:
            await delivery.retry(PAUSE_LAST_SECONDS)

    async def answer(
        self, command: Command, *, alone: bool = False, tried: Callable[[CommandTry], object] = id
    ) -> Reply:
        """What becomes of a command. alone: in no batch. tried: is told of it, where it goes through the barrier
        alone. Raises Leaving."""
        why = unfit(command, self.handlers.commands, self.handlers.service.name, self.payload_bytes)
        if why:
            _log.error("a command of saga %s cannot be done: %s", command.key, why)
            self.figures.parked += 1
            return failed(command, why, park=True)
        handled = self.handlers.commands[command.type]
        handler = handled.handler(command.phase)
        assert handler is not None  # noqa: S101  # `unfit` has seen to it
        async with self.lane((command.namespace, command.saga, command.step)):
            if not alone and self.transactions is not None and fits(handler, command, around=self.has_around):
                it, message = await self._batches(self.transactions, handler).done(handled, handler, command)
                if it.handling.stopping and not isinstance(message, m.Done):
                    raise Leaving
                if message is not None:
                    self.trouble = ""
                    return self._counted(it, message)
            async with self.room:
                if self.transactions is None or (handler.readonly and not handler.call.transaction):
                    return await self._without(handled, handler, command)
                it = CommandTry(self, handled, handler, command)
                tried(it)
                return self._counted(it, await self.passed(self.transactions, it, it.handling))

    def _batches(self, transactions: Transactions, handler: Handler) -> Batches:
        if id(handler) not in self._batching:
            self._batching[id(handler)] = Batches(self, transactions, handler.batch)
        return self._batching[id(handler)]

    async def _without(self, handled: Handled, handler: Handler, command: Command) -> Reply:
        """A handler that changes nothing needs no transaction."""
        it = CommandTry(self, handled, handler, command)
        too_old = it.expired(time.time())
        if too_old is not None:
            return it.reply(too_old)
        it.handling.values = (handled.contract.sent.decode(command.data),)
        handles(it.chain)
        with _AtWork(self.at_work, it.handling):
            task = it.handling.task = asyncio.ensure_future(outcome(it.handling, self))
            await asyncio.wait([task])
        if it.handling.stopping:
            raise Leaving
        if task.cancelled():
            return reply_for(command, m.Failure(command.step, command.phase, "it was cancelled", resolved=True))
        return self._counted(it, task.result())

    async def passed(self, transactions: Transactions, it: Try, handling: Handling) -> Outcome:
        """Through the barrier, inside what the user put around it; what was published within goes out. Raises
        Leaving."""
        published: list[int] = []
        mark = publishing.set(published)
        try:
            with _AtWork(self.at_work, handling):
                if self.has_around:
                    message = await surrounded(it, lambda: self.until_told(transactions, it))
                else:
                    message = await self.until_told(transactions, it)
        finally:
            publishing.reset(mark)
        if handling.stopping and isinstance(message, m.Failure):
            raise Leaving
        if published and self.outbox is not None and isinstance(message, m.Done):
            self.outbox.look_soon(published, (0.0, *LOOKS_SECONDS))
        return message

    def _counted(self, it: CommandTry, message: Outcome) -> Reply:
        if it.verdict is not None:
            self.figures.repeated += 1
            if it.verdict is not Verdict.REPLAY:
                _log.info("%s of saga %s: %s", it.command.step, it.command.key, it.verdict)
        elif isinstance(message, m.Failure):
            self.figures.failed += 1
        return it.reply(message)

    async def until_told(self, transactions: Transactions, it: Try) -> Outcome:
        """Go through the barrier; a database that is away, and a row that somebody has, are waited for. Raises
        Leaving."""
        while True:
            if self.leaving.is_set():
                raise Leaving
            try:
                message = await transactions.once(it)
            except StoreUnavailable as error:
                it.away(error)
                await self.waits(error, it.tries)
                it.attempt.cancelled = False  # a new transaction has a new time
            except StoreError as error:
                return m.Failure(it.attempt.address, it.attempt.phase, str(error), park=True)
            else:
                self.trouble = ""
                return message

    async def _pause(self, tries: int) -> None:
        seconds = min(PAUSE_FIRST_SECONDS * 2 ** min(tries - 1, GROWTH_TRIES), PAUSE_LAST_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self.leaving.wait()
        except TimeoutError:
            return

    async def _sent(self, command: Command, reply: Reply) -> Exception | None:
        message = reply_message(reply, command.type, self.new_id(), self.source, time.time(), command.trace)
        return await self.sender.send(Destination(command.reply_to), message)

    def new_id(self) -> str:
        """Of a message."""
        return f"{self._chance.operation():x}"

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Have something done beside, which the participant waits for when it leaves."""
        task = self.loop.create_task(job)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Who is at work

    def lane(self, of: object) -> _Lane:
        """One at a time of the same step: the others would only wait for its row, each with a connection."""
        lane = self._lanes.get(of)
        if lane is None:
            lane = self._lanes[of] = _Lane(self._lanes, of)
        return lane

    def stop_handlers(self) -> None:
        """Ask every handler to stop: the participant goes."""
        for handling in list(self.at_work):
            handling.stop()


class _Lane:
    """Those who want the same step: entered by one at a time."""

    __slots__ = ("_all", "_lock", "_of", "_wanted")

    def __init__(self, all_: dict[object, _Lane], of: object) -> None:
        self._all = all_
        self._of = of
        self._lock = asyncio.Lock()
        self._wanted = 0

    async def __aenter__(self) -> None:
        self._wanted += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._left()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._left()

    def _left(self) -> None:
        self._wanted -= 1
        if not self._wanted:
            del self._all[self._of]


class _AtWork:
    """A handler is at work within the block."""

    __slots__ = ("_all", "_one")

    def __init__(self, all_: set[Handling], one: Handling) -> None:
        self._all = all_
        self._one = one

    def __enter__(self) -> None:
        self._all.add(self._one)

    def __exit__(self, *_: object) -> None:
        self._all.discard(self._one)


def times_of(delivery: Delivery, command: Command) -> int:
    """How often a command was delivered, 0 where nobody knows. One that is asked for again comes as a message of its
    own, however many processes the earlier ones took down."""
    return 0 if delivery.times == 1 and command.attempt > 1 else delivery.times


def kind_of(message: Message) -> str:
    """What kind a message says it is."""
    return message.attributes.get(KIND, "")
