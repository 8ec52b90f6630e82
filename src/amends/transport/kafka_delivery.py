"""One arrival of a Kafka record, as its listener hands it out.

`times`: Kafka does not count. What was in the log when its partition came to this listener may have been read by
others before: it says 0, nobody knows. What was added later says 1: only who holds the partition may read it. (One
exception: a member of the group that was cut off from it, and does not know it yet, may have read it too.) What
is delivered again by the same listener counts on from there; from 0 it says 2, which is all that is known.

Guarantees: the first of ack, retry and bury counts, and nothing after it.
Must not: know how offsets are committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from amends.errors import MessageRefused
from amends.message import Message, from_headers
from amends.transport.kafka_offsets import Offsets
from amends.transport.kafka_publish import PREFIX, Record


class Holder(Protocol):
    """Whoever hands deliveries out."""

    def acked(self, delivery: KafkaDelivery) -> None:
        """It is done with."""
        ...

    def put_off(self, delivery: KafkaDelivery, seconds: float) -> None:
        """Deliver it again, later."""
        ...

    async def keep_dead(self, delivery: KafkaDelivery, reason: str) -> bool:
        """Whether it is among the dead letters now."""
        ...


class KafkaDelivery:
    """One record in somebody's hands."""

    __slots__ = ("_holder", "_over", "flaw", "message", "offset", "offsets", "partition", "raw", "times")

    def __init__(self, holder: Holder, raw: Any, offsets: Offsets, times: int) -> None:
        """raw: the client's record. offsets: of its partition, at the time."""
        self._holder = holder
        self._over = False
        self.raw: Any = raw
        self.offsets: Offsets = offsets
        self.partition: int = raw.partition
        self.offset: int = raw.offset
        self.times: int = times
        self.message: Message | None = None
        self.flaw: str = ""
        try:
            self.message = _message(raw)
        except MessageRefused as error:
            self.flaw = str(error)

    async def ack(self) -> None:
        if not self._over:
            self._over = True
            self._holder.acked(self)

    async def retry(self, after_seconds: float = 0.0) -> None:
        if not self._over:
            self._over = True
            self._holder.put_off(self, max(after_seconds, 0.0))

    async def bury(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        if await self._holder.keep_dead(self, reason):
            self._holder.acked(self)
        else:
            self._holder.put_off(self, 1.0)

    def again(self) -> KafkaDelivery:
        """The same record, to be delivered once more."""
        return KafkaDelivery(self._holder, self.raw, self.offsets, self.times + 1 if self.times else 2)

    def record(self, topic: str, attributes: Mapping[str, str]) -> Record:
        """The record as it came, for another topic, with some attributes more."""
        told = [(PREFIX + name, value.encode()) for name, value in attributes.items()]
        key = (self.raw.key or b"").decode(errors="replace")
        return Record(topic, key, self.raw.value or b"", [*self.raw.headers, *told])


def _message(raw: Any) -> Message:
    """Raises MessageRefused for a record that is no message of ours."""
    try:
        told = {name: value.decode() for name, value in raw.headers}
    except (UnicodeDecodeError, AttributeError):  # perhaps a header that is none of ours
        told = dict(_ours(raw.headers))
    return from_headers(told, raw.value or b"", PREFIX)


def _ours(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[str, str]]:
    """The headers that are attributes."""
    for name, value in headers:
        if name[: len(PREFIX)].lower() == PREFIX:
            try:
                yield name, (value or b"").decode()
            except UnicodeDecodeError:
                raise MessageRefused(f"its header {name:.60} is not UTF-8") from None
