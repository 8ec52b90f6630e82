"""One arrival of a message from JetStream, and what may be said of it to the server.

Guarantees: what `base.py` says of a delivery.
Must not: ask for messages.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from amends.errors import MessageRefused
from amends.message import Message, from_headers
from amends.transport.nats_client import Headers, pub

if TYPE_CHECKING:
    from amends.transport.nats_listener import NatsListener

RETRY_SECONDS = 1.0  # of what could not be buried
_SECOND = 1_000_000_000


class NatsDelivery:
    """One arrival. reply: where its acks go. sequence: its place in the stream."""

    __slots__ = ("_listener", "data", "flaw", "headers", "message", "reply", "sequence", "times")

    def __init__(self, listener: NatsListener, reply: str, data: bytes, headers: Headers) -> None:
        self._listener = listener
        self.reply: str = reply
        self.data: bytes = data
        self.headers: Headers = headers
        self.message: Message | None = None
        self.flaw: str = ""
        self.times: int
        self.sequence: int
        self.times, self.sequence = _counted(reply)
        try:
            self.message = from_headers(headers, data)
        except MessageRefused as error:
            self.flaw = str(error)

    async def ack(self) -> None:
        self._listener.over(self, ended(self.reply))

    async def retry(self, after_seconds: float = 0.0) -> None:
        self._listener.over(self, ended(self.reply, again=True, after_seconds=after_seconds))

    async def bury(self, reason: str) -> None:
        listener = self._listener
        if not listener.is_open(self):
            return
        if await listener.publisher.bury(self, listener.source, listener.group, reason):
            await self.ack()
        else:
            await self.retry(RETRY_SECONDS)


def ended(reply: str, *, again: bool = False, after_seconds: float = 0.0) -> bytes:
    """What the server is told when a delivery ends: it is acked, or it shall come again, now or later."""
    if not again:
        return pub(reply, "", b"+ACK")
    if after_seconds <= 0:
        return pub(reply, "", b"-NAK")
    return pub(reply, "", b"-NAK " + json.dumps({"delay": int(after_seconds * _SECOND)}).encode())


def progress(reply: str) -> bytes:
    """What the server is told while a delivery is worked on."""
    return pub(reply, "", b"+WPI")


def removed(stream: str, consumer: str, sequence: int) -> bytes:
    """What the server is told of a message that is not there any more: it is acked. Its number among the deliveries is
    the server's to know."""
    return pub(f"$JS.ACK.{stream}.{consumer}.1.{sequence}.0.0.0", "", b"+ACK")


def _counted(reply: str) -> tuple[int, int]:
    """How often it was delivered, and its place in the stream, from the subject of its acks:
    `$JS.ACK.stream.consumer.times.sequence.…`, with a domain and an account before the stream in later servers."""
    parts = reply.split(".")
    at = 4 if len(parts) == 9 else 6
    return int(parts[at]), int(parts[at + 1])
