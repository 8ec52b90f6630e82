"""One arrival of an entry of a Redis stream.

Guarantees: what `base.py` says of a delivery.
Must not: speak to the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.message import Message
from amends.transport.redis_entries import Fields, message_of

if TYPE_CHECKING:
    from amends.transport.redis_listener import RedisListener

RETRY_SECONDS = 1.0  # of what could not be buried


class RedisDelivery:
    """One arrival. id: of the entry. fields: as they came."""

    __slots__ = ("_listener", "fields", "flaw", "id", "message", "times")

    def __init__(self, listener: RedisListener, id: bytes, fields: Fields, times: int) -> None:
        self._listener = listener
        self.id: bytes = id
        self.fields: Fields = fields
        self.times: int = times
        made = message_of(fields)
        self.message: Message | None = made[0]
        self.flaw: str = made[1]

    async def ack(self) -> None:
        self._listener.ack(self)

    async def retry(self, after_seconds: float = 0.0) -> None:
        self._listener.retry(self, after_seconds)

    async def bury(self, reason: str) -> None:
        listener = self._listener
        if not listener.is_open(self):
            return
        if await listener.publisher.bury(self, listener.source, listener.group, reason):
            listener.ack(self)
        else:
            listener.retry(self, RETRY_SECONDS)
