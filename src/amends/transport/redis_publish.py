"""Publishing to Redis streams: one round trip for a batch, each message confirmed by its own reply.

Guarantees: a message that is refused is refused by itself; topics are trimmed now and then, as `redis_groups.py` says.
Must not: send a message again whose fate is unknown: that is for whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.transport.base import Destination, Kind, Send
from amends.transport.door import unfit
from amends.transport.names import at_broker, dead_attributes, dead_of
from amends.transport.redis_entries import entry, foreign_entry
from amends.transport.redis_link import Link
from amends.transport.redis_wire import Command, NotSent, Reply, told

if TYPE_CHECKING:
    from amends.transport.redis_delivery import RedisDelivery

TRIM_SECONDS = 60.0


class Publisher:
    """Of one transport."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._options = link.options
        self._trimmed: dict[Destination, float] = {}
        self._trimming: set[asyncio.Task[None]] = set()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        """Send messages; for each None once it is confirmed."""
        answers: list[Exception | None] = [None] * len(sends)
        commands: dict[int, Command] = {}
        for index, send in enumerate(sends):
            error, key = unfit(send.message, self._options.message_bytes), ""
            try:
                key = at_broker(self._options.prefix, send.to)
            except TransportRefused as refused:
                error = refused
            if error is None:
                commands[index] = entry(key, send.message, create=self._options.create)
            else:
                answers[index] = error
        replies = await self._send(list(commands.values()))
        for index, reply in zip(commands, replies, strict=True):
            answers[index] = self._confirmed(reply, sends[index].to)
        for topic in {send.to for send in sends if send.to.kind is Kind.TOPIC}:
            self._trim_soon(topic)
        return answers

    async def bury(self, delivery: RedisDelivery, source: Destination, group: str, reason: str) -> bool:
        """Keep what came with the dead letters; whether that is confirmed."""
        grave = dead_of(source)
        key = at_broker(self._options.prefix, grave)
        why = dead_attributes(source, group, reason)
        message = delivery.message
        if message is None:
            command = foreign_entry(key, delivery.fields, why, create=self._options.create)
        else:
            dead = message._replace(attributes={**message.attributes, **why})
            command = entry(key, dead, create=self._options.create)
        return self._confirmed((await self._send([command]))[0], grave) is None

    async def close(self) -> None:
        """Trim nothing more."""
        for task in list(self._trimming):
            task.cancel()
        if self._trimming:
            await asyncio.wait(self._trimming)

    async def _send(self, commands: Sequence[Command]) -> Sequence[Reply]:
        """The replies, or for each command why there is none."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.publish_seconds
        if not commands:
            return []
        if not self._link.is_open:
            return [TransportAway(f"{self._options.shown}: {self._link.away}")] * len(commands)
        while True:
            try:
                return await self._link.publishing.call(commands, max(end - loop.time(), 0.001))
            except NotSent as error:
                self._link.failed(error)
                if not await self._link.ready(end - loop.time()):
                    return [TransportAway(self._link.away or str(error))] * len(commands)
            except TransportError as error:
                self._link.failed(error)
                return [TransportAway(str(error))] * len(commands)

    def _confirmed(self, reply: Reply, to: Destination) -> Exception | None:
        """None if the reply is the server's confirm; else why it is none."""
        if isinstance(reply, bytes):
            return None
        if isinstance(reply, ResponseError):
            return told(self._options, reply, to.name)
        if isinstance(reply, Exception):
            return reply
        return TransportRefused(f"{self._options.shown}: there is no stream for {to.name}, and create=no")

    def _trim_soon(self, topic: Destination) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._trimmed.get(topic, -TRIM_SECONDS) >= TRIM_SECONDS:
            self._trimmed[topic] = loop.time()
            task = loop.create_task(self._trim(topic), name=f"amends-redis-trim-{topic.name}")
            self._trimming.add(task)
            task.add_done_callback(self._trimming.discard)

    async def _trim(self, topic: Destination) -> None:
        try:
            await self._link.groups.trim(topic)
        except (TransportError, ResponseError):
            self._trimmed.pop(topic, None)  # with the next message again
