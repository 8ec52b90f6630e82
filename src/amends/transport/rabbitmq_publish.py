"""Publishing to RabbitMQ: many confirms outstanding at once, each message's fate told apart.

Guarantees: `None` is said of a message only after the broker's confirm; one that reached no queue was not confirmed;
what a channel was closed for is refused by itself, and what was on its way beside it is sent again on another.
Must not: know what a message says.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

from aiormq.channel import Channel
from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ConnectionChannelError,
    DeliveryError,
    PublishError,
)
from pamqp.commands import Basic

from amends.errors import TransportAway, TransportRefused
from amends.transport.base import Destination
from amends.transport.driver_logs import driving
from amends.transport.rabbitmq_link import TROUBLE, Link
from amends.transport.rabbitmq_places import channel_of, guarded
from amends.transport.rabbitmq_wire import Letter
from amends.transport.url import Url

VANISHED_SECONDS = 1.0
ALONE_PAUSE_SECONDS = 0.1
LARGE_BYTES = 65_536  # a body of more waits until the socket took it


class Parcel(NamedTuple):
    """A letter on its way. exchange: a topic's, or the default one, whose keys are the names of queues. makes: the
    queue that may be made for it where it is missing."""

    exchange: str
    key: str
    letter: Letter
    makes: Destination | None = None


class Nowhere(TransportRefused):
    """There is no such queue."""


class _Suspect(Exception):
    """The channel was closed for one of those that were on it; or the whole connection, because the driver still wrote
    to that channel."""

    def __init__(self, error: AMQPError) -> None:
        super().__init__(str(error.args[0] if error.args else error)[:300])
        self.said_no = not isinstance(error, ConnectionChannelError)


class _Unsent(TransportAway):
    """Its turn came when the channel was closed already."""


class Publisher:
    """Publishes over one connection."""

    def __init__(self, url: Url, link: Link) -> None:
        self._url = url
        self._link = link
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._numbers = count(1)
        self._outstanding: set[str] = set()  # the message ids by which the driver finds what came back
        self._reached: set[str] = set()  # queues that kept something
        self._tasks: set[asyncio.Task[Exception | None]] = set()

    async def send(self, parcels: Sequence[Parcel], seconds: float) -> list[Exception | None]:
        """Publish all at once; what became of each, in so many seconds at most."""
        if not parcels:
            return []
        end = asyncio.get_running_loop().time() + seconds
        told = await self._together(parcels, end)
        if not any(isinstance(error, _Suspect) for error in told):
            return told
        for index, error in enumerate(told):
            if isinstance(error, (_Suspect, _Unsent)):
                told[index] = await self._alone(parcels[index], end)
        return told

    async def settle(self, seconds: float) -> None:
        """Wait for what is on its way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def vanished(self, keys: set[str]) -> None:
        """Wait a moment where one of these queues was there before: made anew at once, it would be taken for the old
        one by those who listened to that, and RabbitMQ would not tell them that it is gone."""
        if keys & self._reached:
            self._reached -= keys
            await asyncio.sleep(VANISHED_SECONDS)

    async def _together(self, parcels: Sequence[Parcel], end: float) -> list[Exception | None]:
        channel = await self._ready(end)
        if channel is None:
            return [TransportAway(self._link.away or f"{self._url.shown}: no answer in time")] * len(parcels)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._one(channel, parcel)) for parcel in parcels]
        self._tasks.update(tasks)
        try:
            await asyncio.wait(tasks, timeout=max(end - loop.time(), 0.0))
        finally:
            self._tasks.difference_update(tasks)
            for task in tasks:
                task.cancel()
        return [self._fate(task) for task in tasks]

    def _fate(self, task: asyncio.Task[Exception | None]) -> Exception | None:
        """What became of one. A task that was cancelled, by the clock or by the driver, tells nothing."""
        if not task.done() or task.cancelled():
            return TransportAway(self._link.away or f"{self._url.shown}: not confirmed in time")
        return task.result()

    async def _alone(self, parcel: Parcel, end: float) -> Exception | None:
        """On a channel of its own, as often as there is time for: if that is closed, it is closed for this one."""
        error: Exception | None = TransportAway(f"{self._url.shown}: not confirmed in time")
        while asyncio.get_running_loop().time() < end:
            try:
                async with asyncio.timeout_at(end):
                    error = await self._on_its_own(parcel)
            except TROUBLE as trouble:
                error = TransportAway(f"{self._url.shown}: {trouble!r:.200}")
            if not isinstance(error, TransportAway):
                break
            await asyncio.sleep(ALONE_PAUSE_SECONDS)
        return error

    async def _on_its_own(self, parcel: Parcel) -> Exception | None:
        connection = await self._link.ready(math.inf)
        if connection is None:
            return TransportAway(self._link.away)
        channel = await channel_of(connection, confirms=True)
        error = await guarded(self._one(channel, parcel))
        if not channel.is_closed:
            await guarded(channel.close())
        if isinstance(error, _Suspect):
            return self._url.refused(str(error)) if error.said_no else TransportAway(f"{self._url.shown}: {error}")
        return error

    async def _ready(self, end: float) -> Channel | None:
        """A channel to publish on, if there is one in time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(end), self._opening:
                if self._channel is not None and not self._channel.is_closed and self._link.connection is not None:
                    return self._channel
                connection = await self._link.ready(end - loop.time())
                if connection is None:
                    return None
                self._channel = await channel_of(connection, confirms=True)
                return self._channel
        except TROUBLE:
            return None

    async def _one(self, channel: Channel, parcel: Parcel) -> Exception | None:
        properties = parcel.letter.properties
        id_ = properties.message_id
        if not id_ or id_ in self._outstanding:
            properties = _with_id(properties, f"{id_ or 'message'}#{next(self._numbers)}")
            id_ = str(properties.message_id)
        self._outstanding.add(id_)
        try:
            with driving():
                await channel.basic_publish(
                    parcel.letter.body,
                    exchange=parcel.exchange,
                    routing_key=parcel.key,
                    properties=properties,
                    mandatory=not parcel.exchange,
                    wait=len(parcel.letter.body) > LARGE_BYTES,
                )
        except PublishError:
            return Nowhere(f"{self._url.shown}: the queue {parcel.key} is missing")
        except DeliveryError:
            return TransportAway(f"{self._url.shown}: the broker did not keep it")
        except (ChannelAccessRefused, ChannelPreconditionFailed, ConnectionChannelError) as error:
            return _Suspect(error)
        except ChannelInvalidStateError as error:
            return _Unsent(f"{self._url.shown}: {error!r:.200}")
        except Exception as error:  # noqa: BLE001  # the driver rejects with whatever ended the connection
            return TransportAway(f"{self._url.shown}: {error!r:.200}")
        finally:
            self._outstanding.discard(id_)
        if not parcel.exchange:
            self._reached.add(parcel.key)
        return None


def _with_id(properties: Basic.Properties, id_: str) -> Basic.Properties:
    """The same properties with another message id."""
    made: Any = Basic.Properties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        delivery_mode=properties.delivery_mode,
        message_id=id_,
    )
    made.headers = properties.headers
    return made  # type: ignore[no-any-return]
