"""A listener to a Redis stream: one connection that waits for what comes, and claims that are kept alive beside it.

All that is handed out comes through one loop, so that never more is in flight than was asked for: what is to come
again first, then what others left idle, then what is new. What waits for its retry stays claimed, by its id alone, and
is read again when its time has come; if this process ends before, others take it over like all that it had.

Guarantees: what `base.py` says. A claim that another has taken over meanwhile is left to it.
Must not: ask again and again while nothing comes: the server keeps the question.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from redis.exceptions import ResponseError

from amends.errors import TransportAway, TransportError
from amends.transport.base import Delivery, Destination, Kind, Receive
from amends.transport.lasting import lasting
from amends.transport.redis_claims import Came, Claims
from amends.transport.redis_delivery import RedisDelivery
from amends.transport.redis_groups import group_of
from amends.transport.redis_link import Link, end
from amends.transport.redis_publish import Publisher
from amends.transport.redis_wire import Reply, Wire

BATCH = 500
BLOCK_SECONDS = 5.0  # how long the server keeps a question for messages
UNTOLD_SECONDS = 0.5  # the same where its waiting cannot be ended from outside
SECONDS = 10.0  # for an answer that takes no time
SCAN_SECONDS = 5.0  # at most, between two looks for what others left
TIDY_SECONDS = 600.0
PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS = 0.05, 2.0
_GONE = ("NOGROUP", "UNBLOCKED")
_log = logging.getLogger("amends.redis")


class RedisListener:
    """One listener at work."""

    def __init__(
        self, link: Link, publisher: Publisher, source: Destination, group: str, receive: Receive, in_flight: int
    ) -> None:
        options = link.options
        self.link = link
        self.publisher = publisher
        self.source = source
        self.group = group
        self.open: dict[bytes, RedisDelivery] = {}
        self._at = group_of(options.prefix, source, group)
        self._consumer = f"{socket.gethostname():.40}-{os.getpid()}-{secrets.token_hex(4)}"
        self._claims = Claims(self._at, self._consumer, options.claim_ms, removes=source.kind is Kind.QUEUE)
        self._receive = receive
        self._in_flight = in_flight
        self._wire = Wire(options)
        self._held: dict[bytes, float] = {}  # what waits for its retry, and until when
        self._acks: list[bytes] = []
        self._acking: asyncio.Task[None] | None = None
        self._position: str | None = None  # the last entry that was delivered to the group, as far as we know
        self._made = False
        self._client = 0  # what the server calls our connection, to end its waiting; 0 if it does not tell
        self._waits = False
        self._waking: asyncio.Task[None] | None = None
        self._scan_at = 0.0
        self._room = asyncio.Event()
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, seconds: float) -> None:
        """Take part. Raises TransportRefused; where the server is away the rest happens by itself."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._made and loop.time() < until and await self.link.ready(until - loop.time()):
            try:
                await self._make()
                self._made = True
            except TransportAway as error:
                self.link.failed(error)
        self._tasks = [self._duty(self._run, "listening to"), self._duty(self._tend, "claims of")]

    async def stop(self) -> None:
        """Ask for nothing more; what is not handed out by then is others'."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        await self._wake()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=1.0)
            await end(self._tasks[0])
        await self._wire.close()
        await self._quietly(self._give_back())

    async def close(self) -> None:
        """Give back what is not acked."""
        await self.stop()
        for task in (*self._tasks, self._waking):
            await end(task)
        self._tasks.clear()
        if self._acking is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await asyncio.wait([self._acking])
            await end(self._acking)
        self.open.clear()
        await self._quietly(self._give_back())
        await self._quietly(self.link.groups.remove_consumers(self._at, self._consumer))

    def is_open(self, delivery: RedisDelivery) -> bool:
        """Whether a delivery is still this listener's."""
        return self.open.get(delivery.id) is delivery

    def ack(self, delivery: RedisDelivery) -> None:
        """A delivery is done with."""
        if self.is_open(delivery):
            del self.open[delivery.id]
            self._room.set()
            self._acks.append(delivery.id)
            if self._acking is None:
                self._acking = self._duty(self._put_acks, "acks of")

    def retry(self, delivery: RedisDelivery, after_seconds: float) -> None:
        """A delivery shall come again."""
        if self.is_open(delivery):
            del self.open[delivery.id]
            self._room.set()
            loop = asyncio.get_running_loop()
            self._held[delivery.id] = loop.time() + max(after_seconds, 0.0)
            if self._waking is None or self._waking.done():
                self._waking = loop.create_task(self._quietly(self._wake()), name="amends-redis-wake")

    def _duty(self, duty: Callable[[], Awaitable[None]], what: str) -> asyncio.Task[None]:
        doing = lasting(duty, f"{what} {self.source.name}", _log)
        return asyncio.get_running_loop().create_task(doing, name=f"amends-redis {what} {self.source.name}")

    async def _put_acks(self) -> None:
        """Tell the server what is done with, until it knows. An ack twice does no harm."""
        pause = PAUSE_FIRST_SECONDS
        while self._acks:
            acks, self._acks = self._acks, []
            try:
                await self._claims.ack(self.link.tending, acks, SECONDS)
                pause = PAUSE_FIRST_SECONDS
            except ResponseError as error:
                if not str(error).startswith(_GONE):
                    _log.warning("%s: an ack is refused: %s", self.source.name, error)
            except TransportError:
                self._acks = acks + self._acks
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_LAST_SECONDS)
        self._acking = None

    async def _run(self) -> None:
        """Hand out what comes, until it is stopped."""
        pause = PAUSE_FIRST_SECONDS
        while not self._stopped.is_set():
            made, self._made = self._made, False
            try:
                if not made:
                    await self._make()
                await self._turn()
                self._made = True
                pause = PAUSE_FIRST_SECONDS
            except (TransportError, ResponseError) as error:
                if self._stopped.is_set():
                    return
                self._say(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_LAST_SECONDS)

    def _say(self, error: Exception) -> None:
        """Why nothing comes for a moment; where the server is away, the link says so."""
        text, level = str(error), logging.WARNING
        if isinstance(error, TransportAway):
            self.link.doubt()
            level = logging.DEBUG
        elif any(gone in text for gone in _GONE):
            level = logging.INFO
        _log.log(level, "%s: %s", self.source.name, text)

    async def _turn(self) -> None:
        """One look at all that may come."""
        loop = asyncio.get_running_loop()
        room = self._in_flight - len(self.open)
        if room <= 0:
            self._room.clear()
            await self._room.wait()
            await asyncio.sleep(0)  # others may be acked in the same breath
            return
        due = [id for id, at in self._held.items() if at <= loop.time()][:room]
        if due:
            came = await self._claims.take(self._wire, due, SECONDS)
            for id in due:
                self._held.pop(id, None)
            self._hand_out(came)
        elif self._scan_at <= loop.time():
            came, more = await self._claims.take_idle(self._wire, room, SECONDS)
            if not more:
                self._scan_at = loop.time() + min(self.link.options.claim_seconds / 6, SCAN_SECONDS)
            self._hand_out(came)
        else:
            await self._read(min(room, BATCH))

    async def _read(self, most: int) -> None:
        """Wait for what is new."""
        now = asyncio.get_running_loop().time()
        block = min(
            [BLOCK_SECONDS if self._client else 0.5, self._scan_at - now, *(at - now for at in self._held.values())]
        )
        command = ("XREADGROUP", "GROUP", self._at.name, self._consumer, "COUNT", most)
        wait = ("BLOCK", max(int(block * 1000), 1), "STREAMS", self._at.key, ">")
        self._waits = True
        try:
            reply: Reply = (await self._wire.call([(*command, *wait)], BLOCK_SECONDS + SECONDS))[0]
        finally:
            self._waits = False
        if isinstance(reply, ResponseError):
            raise reply
        entries = reply[0][1] if reply else []
        if entries:
            self._position = entries[-1][0].decode()
            self._hand_out([Came(one[0], one[1] or [], 1) for one in entries])

    def _hand_out(self, came: Sequence[Came]) -> None:
        here: list[Delivery] = []
        for one in came if not self._stopped.is_set() else ():
            if one.id not in self.open and one.id not in self._held:
                delivery = self.open[one.id] = RedisDelivery(self, one.id, one.fields, one.times)
                here.append(delivery)
        if here:
            self._receive(here)

    async def _make(self) -> None:
        """See that the group is there, and that nothing was given to us that we do not know of."""
        self._position = await self.link.groups.ensure(self.source, self.group, self._position)
        reply = (await self._wire.call([("CLIENT", "ID")], SECONDS))[0]
        self._client = reply if isinstance(reply, int) else 0
        mine = await self._claims.own(self._wire, SECONDS)
        done = set(self._acks)
        for id in mine:  # the answer that it was in never came
            if id not in self.open and id not in self._held and id not in done:
                self._held[id] = 0.0
        self._scan_at = 0.0

    async def _wake(self) -> None:
        """End the waiting at the server, so that there is another look."""
        self._room.set()
        until = asyncio.get_running_loop().time() + 1.0
        while self._waits and self._client and asyncio.get_running_loop().time() < until:
            if await self.link.tending.one("CLIENT", "UNBLOCK", self._client, seconds=2.0):
                return
            await asyncio.sleep(0.005)  # the question may still be on its way

    async def _tend(self) -> None:
        """Keep claims alive, and the group tidy."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time() + TIDY_SECONDS
        while True:
            await asyncio.sleep(self.link.options.claim_seconds / 3)
            try:
                if self.open or self._held:
                    held = list(self._held)
                    kept = await self._claims.keep(self.link.tending, [*self.open, *held], SECONDS)
                    for id in held:
                        if id not in kept:
                            self._held.pop(id, None)
                if loop.time() > tidy_at:
                    tidy_at = loop.time() + TIDY_SECONDS
                    await self.link.groups.remove_consumers(self._at)
            except (TransportError, ResponseError) as error:
                _log.debug("%s: %s", self.source.name, error)

    async def _give_back(self) -> None:
        """What nobody here works on may others take at once."""
        self._held.clear()
        done = set(self._acks)
        mine = await self._claims.own(self.link.tending, 2.0)
        left = [id for id in mine if id not in self.open and id not in done]
        await self._claims.give_back(self.link.tending, left, 2.0)

    async def _quietly(self, work: Awaitable[None]) -> None:
        """Do what may fail, at the end of a listener."""
        with suppress(TransportError, ResponseError):
            await work
