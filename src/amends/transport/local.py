"""The transport without a broker: those who share a running loop, and a prefix, meet in one hub.

Guarantees: what `base.py` says, as long as the process lives; nothing outlives it. What nobody takes is bounded: a
full queue says TransportAway to whoever sends, and so holds back where it can be held back.
Must not: copy a body, touch another loop, or call a listener from within `publish`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.message import Message
from amends.transport.base import Destination, Kind, Listening, Receive, Send
from amends.transport.door import unfit
from amends.transport.names import at_broker, dead_attributes, dead_of, group_at_broker
from amends.transport.url import parse

KEPT_MAX = 100_000  # messages that wait in one queue
BATCH = 500  # that a listener is given at once


class _Kept:
    """A message of a topic, until every group is done with it."""

    __slots__ = ("groups", "handled")

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.handled = asyncio.Event()

    def one_less(self) -> None:
        """A group is done with it."""
        self.groups -= 1
        if not self.groups:
            self.handled.set()


class _Entry(NamedTuple):
    """A message in a queue. times: how often it was delivered. kept: of a topic, shared by its groups."""

    message: Message
    times: int = 0
    kept: _Kept | None = None


class _Queue:
    """What waits for one group, and who listens."""

    def __init__(self, source: Destination, group: str) -> None:
        self.source = source
        self.group = group
        self.waiting: deque[_Entry] = deque()
        self.listeners: deque[_Listener] = deque()
        self.later: int = 0  # that wait for their time
        self._scheduled = False

    def put(self, entry: _Entry, *, first: bool = False) -> None:
        """Keep it for whoever listens."""
        if first:
            self.waiting.appendleft(entry)
        else:
            self.waiting.append(entry)
        self.look()

    def look(self) -> None:
        """Hand out what waits, soon."""
        if self.waiting and self.listeners and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def put_later(self, entry: _Entry, seconds: float) -> None:
        """Keep it, for nobody before its time."""
        self.later += 1
        asyncio.get_running_loop().call_later(seconds, self._due, entry)

    def _due(self, entry: _Entry) -> None:
        self.later -= 1
        self.put(entry)

    def _hand_out(self) -> None:
        """Each listener in turn gets its share of what waits."""
        self._scheduled = False
        idle = 0
        while self.waiting and idle < len(self.listeners):
            listener = self.listeners[0]
            self.listeners.rotate(-1)
            share = -(-len(self.waiting) // len(self.listeners))
            count = min(listener.room, share, BATCH)
            idle = 0 if count else idle + 1
            if count:
                listener.take([self.waiting.popleft() for _ in range(count)])


class _Hub:
    """All destinations of one loop and prefix."""

    def __init__(self) -> None:
        self._queues: dict[Destination, dict[str, _Queue]] = {}
        self._kept: dict[tuple[Destination, str], _Kept] = {}

    def queue(self, source: Destination, group: str) -> _Queue:
        """Of a group. A queue has one, whatever its name."""
        name = "" if source.kind is Kind.QUEUE else group
        groups = self._queues.setdefault(source, {})
        if name not in groups:
            groups[name] = _Queue(source, name)
        return groups[name]

    def put(self, to: Destination, message: Message) -> TransportAway | None:
        """Keep a message for every group, or for none."""
        if to.kind is Kind.QUEUE:
            self.queue(to, "")
        groups = self._queues.get(to, {}).values()
        if any(len(queue.waiting) + queue.later >= KEPT_MAX for queue in groups):
            return TransportAway(f"{to.name} is full: {KEPT_MAX} messages wait, and nobody takes them")
        kept = _Kept(len(groups)) if groups and to.kind is Kind.TOPIC else None
        if kept is not None:
            self._kept[to, message.id] = kept
        for queue in groups:
            queue.put(_Entry(message, kept=kept))
        return None

    def done(self, source: Destination, entry: _Entry) -> None:
        """A group is done with a message."""
        if entry.kept is not None:
            entry.kept.one_less()
            if entry.kept.handled.is_set() and self._kept.get((source, entry.message.id)) is entry.kept:
                del self._kept[source, entry.message.id]

    async def handled(self, to: Destination, id_: str) -> None:
        """Wait until every group is done with a message."""
        kept = self._kept.get((to, id_))
        if kept is not None:
            await kept.handled.wait()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Hub]] = WeakKeyDictionary()


class LocalTransport:
    """One member of the hub of the loop that runs when it is opened."""

    def __init__(self, url: str = "local://") -> None:
        self._url = parse(url, {"local": 0})
        self._url.only()
        self.prefix: str = self._url.prefix
        self.away: str = "it is not open"
        self._message_bytes = self._url.message_bytes
        self._hub: _Hub | None = None
        self._listeners: list[_Listener] = []

    async def open(self) -> None:
        hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
        self._hub = hubs.setdefault(self.prefix, _Hub())
        self.away = ""

    async def close(self) -> None:
        for listener in self._listeners:
            await listener.stop()
            listener.release()
        self._listeners.clear()
        self._hub = None
        self.away = "it is closed"

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return [self._put(send) for send in sends]

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        group_at_broker(self.prefix, source, group)
        if self._hub is None:
            raise TransportRefused(f"{self._url.shown}: {self.away}")
        listener = _Listener(self._hub, self._hub.queue(source, group), receive, in_flight)
        self._listeners.append(listener)
        listener.start()
        return listener

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        for destination in destinations:
            at_broker(self.prefix, destination)

    async def handled(self, to: Destination, id_: str) -> None:
        """As `Forgetful` says."""
        if self._hub is not None:
            await self._hub.handled(to, id_)

    async def lag(self, source: Destination, group: str) -> int | None:
        if self._hub is None:
            return None
        queue = self._hub.queue(source, group)
        return len(queue.waiting) + queue.later

    def _put(self, send: Send) -> TransportError | None:
        if self._hub is None:
            return TransportAway(f"{self._url.shown}: {self.away}")
        try:
            at_broker(self.prefix, send.to)
        except TransportRefused as error:
            return error
        return unfit(send.message, self._message_bytes) or self._hub.put(send.to, send.message)


class _Listener:
    """One listener at work."""

    def __init__(self, hub: _Hub, queue: _Queue, receive: Receive, in_flight: int) -> None:
        self.hub = hub
        self.queue = queue
        self._receive = receive
        self._in_flight = in_flight
        self._open: set[_LocalDelivery] = set()

    @property
    def room(self) -> int:
        """How many more it may be given."""
        return self._in_flight - len(self._open)

    def start(self) -> None:
        """Take part."""
        self.queue.listeners.append(self)
        self.queue.look()

    def take(self, entries: Sequence[_Entry]) -> None:
        """Hand these to whoever listens."""
        deliveries = [_LocalDelivery(self, entry) for entry in entries]
        self._open.update(deliveries)
        self._receive(deliveries)

    async def stop(self) -> None:
        if self in self.queue.listeners:
            self.queue.listeners.remove(self)

    def release(self) -> None:
        """Give back what was not acked, in the order in which it came."""
        for delivery in sorted(self._open, key=lambda one: one.order, reverse=True):
            self.over(delivery)
            self.queue.put(delivery.entry, first=True)

    def over(self, delivery: _LocalDelivery) -> bool:
        """A delivery is no longer this listener's. Whether it was."""
        if delivery not in self._open:
            return False
        self._open.remove(delivery)
        self.queue.look()
        return True


class _LocalDelivery:
    """One arrival."""

    flaw = ""
    _count = 0

    def __init__(self, listener: _Listener, entry: _Entry) -> None:
        self.entry = entry._replace(times=entry.times + 1)
        self.message: Message | None = entry.message
        self.times: int = entry.times + 1
        _LocalDelivery._count += 1
        self.order = _LocalDelivery._count
        self._listener = listener

    async def ack(self) -> None:
        self._finish()

    async def retry(self, after_seconds: float = 0.0) -> None:
        if self._listener.over(self):
            self._listener.queue.put_later(self.entry, max(after_seconds, 0.0))

    async def bury(self, reason: str) -> None:
        queue, message = self._listener.queue, self.entry.message
        told = {**message.attributes, **dead_attributes(queue.source, queue.group, reason)}
        if self._listener.hub.put(dead_of(queue.source), message._replace(attributes=told)) is None:
            self._finish()
        else:
            await self.retry(1.0)

    def _finish(self) -> None:
        if self._listener.over(self):
            self._listener.hub.done(self._listener.queue.source, self.entry)
