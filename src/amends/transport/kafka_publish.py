"""Publishing to Kafka: what goes out together is packed by partition, and confirmed batch by batch.

Guarantees: None only for what all replicas in sync have; a message that the broker refuses is refused alone, and
what was packed with it is sent without it. After `publish_seconds` nobody waits any more, and what was given to the
producer by then is not sent after that.
Must not: try again by itself what may have come: whoever sends knows when.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.message import JSON, Message, headers
from amends.transport import kafka_edge as edge
from amends.transport.base import Destination, Send
from amends.transport.door import unfit
from amends.transport.kafka_link import Link
from amends.transport.names import at_broker

PREFIX = "ce_"  # of the attributes in headers, as CloudEvents bind them to Kafka
CONTENT_TYPE = "content-type"
HEADERS_BYTES_MAX = 300_000  # more than what the door lets through
DOUBT_SECONDS = 0.5  # without a confirm; then it is looked whether the broker is there


class Record(NamedTuple):
    """A message, as Kafka has it. key: empty for none."""

    topic: str
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]


class _Batch(NamedTuple):
    """What goes out as one. of: the places of its records."""

    builder: Any
    of: list[int]


class _Errand(NamedTuple):
    """One call. records: by their place in it. told: what became of each. until: by the monotonic clock."""

    records: dict[int, Record]
    told: list[Exception | None]
    until: float

    @property
    def left(self) -> float:
        """How many seconds may still be waited."""
        return max(self.until - time.monotonic(), 0.0)

    def tell(self, places: Sequence[int], error: Exception) -> None:
        """What went wrong with some of them."""
        for place in places:
            self.told[place] = error


def record_of(topic: str, message: Message) -> Record:
    """A message, as it goes out."""
    told = [(name, value.encode()) for name, value in headers(message, PREFIX).items()]
    told.append((CONTENT_TYPE, JSON.encode()))
    return Record(topic, message.key, message.data, told)


class Publisher:
    """One per transport."""

    def __init__(self, link: Link, message_bytes: int) -> None:
        self._link = link
        self._message_bytes = message_bytes
        self._turn = 0  # where what has no key goes
        self.busy: int = 0  # calls that are not answered yet

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        """As `Transport.publish` says."""
        told: list[Exception | None] = [None] * len(sends)
        records: dict[int, Record] = {}
        topics: dict[Destination, str] = {}
        for place, (to, message) in enumerate(sends):
            error = unfit(message, self._message_bytes)
            if error is None:
                try:
                    topic = topics.get(to) or topics.setdefault(to, at_broker(self._link.options.prefix, to))
                except TransportRefused as refused:
                    error = refused
                else:
                    records[place] = record = record_of(topic, message)
                    error = self._too_large(record)
            if error is not None:
                told[place] = error
                records.pop(place, None)
        await self.put(records, told)
        return told

    def _too_large(self, record: Record) -> TransportRefused | None:
        """Why a record does not go out: what the broker refuses costs all that is on its way with it."""
        limit = self._link.options.max_request_size
        if len(record.value) + HEADERS_BYTES_MAX < limit or (size := _size(record)) <= limit:
            return None
        return TransportRefused(
            f"with its headers it has {size} bytes, and {limit} are allowed (max_request_size=; where it is raised, "
            "message.max.bytes of the broker or max.message.bytes of the topic must be raised, too)"
        )

    async def put(self, records: dict[int, Record], told: list[Exception | None]) -> None:
        """Send records; what went wrong is told at their places."""
        errand = _Errand(records, told, time.monotonic() + self._link.options.publish_seconds)
        by_topic: dict[str, list[int]] = {}
        for place, record in records.items():
            by_topic.setdefault(record.topic, []).append(place)
        self.busy += 1
        try:
            await _all(self._topic(errand, topic, places) for topic, places in by_topic.items())
        finally:
            self.busy -= 1

    async def _topic(self, errand: _Errand, topic: str, places: list[int]) -> None:
        """What goes to one topic."""
        try:
            count = len(await self._link.partitions(topic, errand.left))
            producer = await self._link.ready(errand.left)
        except TransportError as error:
            errand.tell(places, error)
            return
        by_partition: dict[int, list[int]] = {}
        for place in places:
            key = errand.records[place].key
            self._turn += not key
            number = edge.partition_of(key, count) if key else self._turn % count
            by_partition.setdefault(number, []).append(place)
        await _all(self._partition(errand, producer, number, some) for number, some in by_partition.items())

    async def _partition(self, errand: _Errand, producer: Any, number: int, places: list[int]) -> None:
        """What goes to one partition."""
        confirms: list[tuple[_Batch, Any]] = []
        for batch in _pack(producer, errand.records, places):
            topic = errand.records[batch.of[0]].topic
            try:
                async with asyncio.timeout(errand.left):
                    confirm = await producer.send_batch(batch.builder, topic, partition=number)
            except edge.TROUBLE as error:
                self._failed(errand, producer, batch, error)
            else:
                confirms.append((batch, confirm))
        for batch, confirm in confirms:
            wrong = await self._confirmed(errand, confirm)
            if isinstance(wrong, edge.too_large_errors) and len(batch.of) > 1:
                self._link.renew(producer, _text(wrong))
                for place in batch.of:  # one of them is too large for this broker, and it does not say which
                    await self._topic(errand, errand.records[place].topic, [place])
            elif wrong is not None:
                self._failed(errand, producer, batch, wrong)

    async def _confirmed(self, errand: _Errand, confirm: Any) -> Exception | None:
        """What became of a batch: None, or what the client raised."""
        for seconds in (min(DOUBT_SECONDS, errand.left), errand.left):
            await asyncio.wait([confirm], timeout=seconds)
            if confirm.done():
                error: Exception | None = confirm.exception()
                return error
            self._link.doubt()
        confirm.add_done_callback(_seen)
        return TimeoutError("no confirm came in time")

    def _failed(self, errand: _Errand, producer: Any, batch: _Batch, error: Exception) -> None:
        """Tell what went wrong, and see to it that it goes better the next time: whatever the broker has against
        a batch, the client has counted it, and the broker has not."""
        shown = self._link.options.shown
        topic = errand.records[batch.of[0]].topic
        self._link.renew(producer, _text(error))
        if isinstance(error, (*edge.refused_errors, *edge.too_large_errors)):
            errand.tell(batch.of, TransportRefused(f"{shown}: {topic}: {_text(error)}"))
            return
        self._link.forget(topic)
        errand.tell(batch.of, TransportAway(f"{shown}: {topic}: {_text(error)}"))


def _pack(producer: Any, records: dict[int, Record], places: list[int]) -> list[_Batch]:
    """Records of one partition as batches; one that is larger than a batch is one alone."""
    packed: list[_Batch] = []
    batch = _Batch(producer.create_batch(), [])
    for place in places:
        record = records[place]
        if not _add(batch.builder, record):
            packed.append(batch)
            batch = _Batch(producer.create_batch(), [])
            _add(batch.builder, record)
        batch.of.append(place)
    packed.append(batch)
    return packed


def _size(record: Record) -> int:
    """About what it takes as a batch by itself."""
    told = sum(len(name) + len(value) + 8 for name, value in record.headers)
    return len(record.value) + len(record.key) * 4 + told + 100


def _add(builder: Any, record: Record) -> bool:
    """Whether there was room."""
    key = record.key.encode() if record.key else None
    added = builder.append(timestamp=None, key=key, value=record.value, headers=record.headers)
    return added is not None


async def _all(some: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them at the same time; one alone needs no task."""
    coroutines = list(some)
    if len(coroutines) == 1:
        await coroutines[0]
    elif coroutines:
        await asyncio.gather(*coroutines)


def _seen(confirm: Any) -> None:
    """What became of it is no news to anybody any more."""
    if not confirm.cancelled():
        confirm.exception()


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
