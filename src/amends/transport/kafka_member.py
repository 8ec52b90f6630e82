"""One member of a group on Kafka: its consumer, the partitions that are its own at the moment, and what it commits.

Guarantees: a commit never passes what is not done with, and is made only by the member, and in the generation, that
was given the partition: what is done with later is worth nothing, and comes again to whoever has the partition.
Must not: outlive its consumer; hand out what it reads.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from amends.transport import kafka_clients as clients
from amends.transport import kafka_edge as edge
from amends.transport.kafka_offsets import Offsets
from amends.transport.kafka_options import Options
from amends.transport.kafka_share import Claim

READ_SECONDS = 1.0  # the longest that a read waits for something to come
EVEN_SECONDS = 10.0  # between two wishes to share out again, at first
EVEN_LAST_SECONDS = 600.0  # the same, where others were in vain
DRAIN_SECONDS = 10.0  # how long a partition that is to be given away waits for what is in somebody's hands
STALE_SECONDS = 30.0  # without a partition, or an answer to any fetch; then something is wrong with the consumer
_NOBODY = (edge.NOBODY, "")


class Read(NamedTuple):
    """A record that came. times: as a delivery says it."""

    raw: Any
    offsets: Offsets
    times: int


class Member:
    """One consumer's life."""

    def __init__(self, options: Options, topic: str, group: str, settle: Callable[[], Awaitable[None]]) -> None:
        """settle: waits a moment for what is in somebody's hands, before the group changes."""
        self._options = options
        self._topic = topic
        self._group = group
        self._settle = settle
        self._share = edge.Share(self._claim)
        self._consumer: Any = clients.make_consumer(options, group, self._share)
        self._generation: tuple[int, str] = _NOBODY
        self._before: tuple[int, str] = _NOBODY  # the generation that was left for the next
        self._parts: dict[int, Offsets] = {}
        self._old: dict[int, int] = {}  # of a partition, below what others may have read before
        self._paused: set[int] = set()
        self._changing = False  # the group is about to share out again
        self.draining: frozenset[int] = frozenset()  # partitions of which nothing is begun: others are to have them
        self._tried = self._alive = time.monotonic()  # to be rid of what is too much; when all was as it should be
        self._even_seconds = EVEN_SECONDS
        self._answered: int = 0
        self.changed: Callable[[], None] = _nothing  # called when it was given partitions

    async def join(self) -> None:
        """Take part in the group; partitions come when the group has decided."""
        await clients.start(self._consumer)
        self._consumer.subscribe([self._topic], listener=edge.Watch(self))

    async def leave(self) -> None:
        """Leave the group, after a last commit."""
        try:
            await self.commit()
        finally:
            self._generation = _NOBODY
            self._parts = {}
            await clients.drop_consumer(self._consumer)

    @property
    def current(self) -> bool:
        """Whether the group takes it for what it takes itself for."""
        return self._generation != _NOBODY and edge.membership(self._consumer) == self._generation

    @property
    def steady(self) -> bool:
        """Whether what it has may be handed out."""
        return not self._changing and self.current

    def owns(self, partition: int, offsets: Offsets) -> bool:
        """Whether a partition is its own, and was since these offsets were begun."""
        return self._parts.get(partition) is offsets

    async def read(self) -> list[Read]:
        """What has come. Raises what a broker raises."""
        self._hold_back()
        found = await self._consumer.getmany(timeout_ms=int(READ_SECONDS * 1000))
        return [one for tp, records in found.items() if tp.partition in self._parts for one in self._take(tp, records)]

    def _take(self, tp: Any, records: Sequence[Any]) -> list[Read]:
        """What has come from one partition."""
        number = tp.partition
        offsets = self._parts[number]
        if not offsets.fits(records[0].offset):  # another log of the same name: what was before is gone
            offsets = self._parts[number] = Offsets()
            self._old.pop(number, None)
        old = self._old.get(number)
        if old is None:
            old = self._old[number] = self._consumer.highwater(tp) or records[-1].offset + 1
        for raw in records:
            offsets.delivered(raw.offset)
        return [Read(raw, offsets, 0 if raw.offset < old else 1) for raw in records]

    def _hold_back(self) -> None:
        """Read no further in a partition that is too far ahead of what is not done with."""
        for number, offsets in self._parts.items():
            if number in self._paused:
                if offsets.distance <= self._options.ahead // 2:
                    self._paused.discard(number)
                    self._consumer.resume(edge.part(self._topic, number))
            elif offsets.distance > self._options.ahead:
                self._paused.add(number)
                self._consumer.pause(edge.part(self._topic, number))

    @property
    def held_back(self) -> Mapping[int, Offsets]:
        """The partitions that are too far ahead."""
        return {number: self._parts[number] for number in self._paused if number in self._parts}

    async def commit(self) -> bool:
        """Commit what is done with. Whether there is nothing left to commit."""
        wanted = {number: (offsets, offsets.committable) for number, offsets in self._parts.items()}
        told = {n: at for n, (offsets, at) in wanted.items() if at is not None and at != offsets.committed}
        if not told or not self.current:
            return not told
        if not await edge.commit(self._consumer, self._topic, told, self._generation):
            return False
        for number, at in told.items():
            wanted[number][0].committed = at
        return True

    async def revoked(self) -> None:
        """The group changes: nothing is this member's until it has decided."""
        self._changing = True
        if self.current:
            await self._settle()
            await self.commit()
        self._before = self._generation if self.current else _NOBODY
        self._generation = _NOBODY

    def _claim(self) -> Claim:
        """What it brings when the group shares out."""
        if self._before == _NOBODY:
            return Claim()
        held = frozenset(number for number, offsets in self._parts.items() if offsets.held)
        return Claim(self._before[0], frozenset(self._parts), held)

    def assigned(self, partitions: Sequence[int]) -> None:
        """The group has decided. A partition that was this member's in the generation just before was nobody
        else's since: it goes on where it was. Of others all that is not committed comes again."""
        now = edge.membership(self._consumer)
        follows = now == (self._before[0] + 1, self._before[1])
        kept = {number: self._parts[number] for number in partitions if follows and number in self._parts}
        for number, offsets in kept.items():
            if offsets.next is not None:
                self._consumer.seek(edge.part(self._topic, number), offsets.next)
        self._parts = {number: kept.get(number) or Offsets() for number in partitions}
        self._old = {number: old for number, old in self._old.items() if number in kept}
        self._paused.clear()
        self._generation = now
        self._changing = False
        self.draining = frozenset()
        self._tried = self._alive = time.monotonic()
        self.changed()

    def even_out(self) -> None:
        """Have the group share out again where this member has too much, as that was held open before. Nothing is
        begun in those partitions until nobody is at anything there; where that takes too long, they go on, and it is
        tried again later."""
        now, much = time.monotonic(), len(self._parts) - self._share.fair
        if much <= 0:
            self.draining, self._even_seconds = frozenset(), EVEN_SECONDS
        elif not self.draining and now - self._tried > self._even_seconds:
            least = sorted(self._parts, key=lambda number: (self._parts[number].held, number))
            self.draining, self._tried = frozenset(least[:much]), now
        if not self.draining:
            return
        if not any(self._parts[number].held for number in self.draining):
            edge.rejoin(self._consumer)
        elif now - self._tried > DRAIN_SECONDS:
            self.draining, self._tried = frozenset(), now
            self._even_seconds = min(2 * self._even_seconds, EVEN_LAST_SECONDS)

    def trouble(self, hungry: bool) -> str:
        """What is wrong with the consumer, if it is for so long that it will not mend itself. hungry: it was asked for
        more all the time."""
        now = time.monotonic()
        parts = [edge.part(self._topic, number) for number in self._parts if number not in self._paused]
        if self.current and (not hungry or not parts):
            self._alive = now
        elif self.current:
            answered = max((self._consumer.last_poll_timestamp(part) or 0 for part in parts), default=0)
            if answered != self._answered:
                self._answered, self._alive = answered, now
        patience = max(STALE_SECONDS, 3 * self._options.session_seconds)
        return "" if now - self._alive < patience else f"nothing came from the broker for {patience:g} s"


def _nothing() -> None:
    return
