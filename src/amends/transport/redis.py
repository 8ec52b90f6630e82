"""Redis streams: `redis://` and `rediss://`. A stream stands for a destination, a consumer group for a group.

Guarantees: what `base.py` says, as far as the server keeps what it has confirmed: with `appendonly yes` and
`appendfsync always` all of it (`docs/reference/transports.md`).
Must not: speak to a cluster, or change streams and groups that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis.exceptions import ResponseError

from amends.errors import TransportError
from amends.transport.base import Destination, Kind, Listening, Receive, Send
from amends.transport.redis_groups import group_of
from amends.transport.redis_link import Link
from amends.transport.redis_listener import RedisListener
from amends.transport.redis_options import read
from amends.transport.redis_publish import Publisher


class RedisTransport:
    """The connections to one Redis."""

    def __init__(self, url: str) -> None:
        self._options = read(url)
        self.prefix: str = self._options.prefix
        self._link = Link(self._options)
        self._publisher = Publisher(self._link)
        self._listeners: list[RedisListener] = []

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can."""
        return self._link.away

    async def open(self) -> None:
        await self._link.open()

    async def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        await asyncio.gather(*(listener.close() for listener in listeners))
        await self._publisher.close()
        await self._link.close()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return await self._publisher.publish(sends)

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        if not self._link.is_open:
            raise self._options.url.refused(self.away)
        listener = RedisListener(self._link, self._publisher, source, group, receive, in_flight)
        await listener.start(self._options.connect_seconds)
        self._listeners.append(listener)
        return listener

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        for destination in destinations:
            if destination.kind is Kind.QUEUE:
                await self._link.groups.ensure(destination, "", None)
            else:
                await self._link.groups.stream(destination)

    async def lag(self, source: Destination, group: str) -> int | None:
        group_of(self.prefix, source, group)
        try:
            return await self._link.groups.lag(source, group)
        except (TransportError, ResponseError):
            return None
