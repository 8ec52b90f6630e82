"""The bare client of Redis: redis-py, streams, one group for each.

Guarantees: a batch is one pipeline, confirmed entry by entry; what is acked is removed, as amends does.
Must not: claim what others left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bench.services.carrier import Got, Letter, Receive, unending

GROUP = "bare"


class Bare:
    """One connection to publish over, one that waits."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client: Any = Redis.from_url(url, socket_timeout=None)  # a question is kept by the server for as long
        self._prefix = prefix
        self._queue = ""
        self._reading: asyncio.Task[None] | None = None

    async def open(self, queues: Sequence[str]) -> None:
        """Make streams and groups."""
        for queue in queues:
            with suppress(ResponseError):  # it is there
                await self._client.xgroup_create(self._prefix + queue, GROUP, id="0", mkstream=True)

    async def publish(self, letters: Sequence[Letter]) -> None:
        """One round trip."""
        pipe = self._client.pipeline(transaction=False)
        for queue, id_, body in letters:
            pipe.xadd(self._prefix + queue, {"id": id_, "body": body})
        await pipe.execute()

    async def consume(self, queue: str, receive: Receive) -> None:
        """Ask, and let the server keep the question."""
        self._queue = self._prefix + queue

        async def read() -> None:
            while True:
                told = await self._client.xreadgroup(GROUP, "bare-1", {self._queue: ">"}, count=500, block=5000)
                if told:
                    receive([Got(fields[b"id"], fields[b"body"], id_) for id_, fields in _entries(told)])

        self._reading = unending(read())

    async def ack(self, got: Sequence[Got]) -> None:
        """One round trip."""
        ids = [one.handle for one in got]
        pipe = self._client.pipeline(transaction=False)
        pipe.xack(self._queue, GROUP, *ids)
        pipe.xdel(self._queue, *ids)
        await pipe.execute()

    async def close(self) -> None:
        """Stop asking."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._client.aclose()


def _entries(told: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Of one stream, whatever protocol is spoken: a list of pairs, or a mapping to lists of lists."""
    if isinstance(told, dict):
        return [entry for lists in told.values() for entries in lists for entry in entries]
    return list(told[0][1])
