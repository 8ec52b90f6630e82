"""The link to a Kafka: one producer that is always a good one, the topics that are known to be there, and whether
the broker is away.

A producer that writes each message once is numbered by the broker. One that has lost its broker may find another
with the same address and other numbers, and then what it sends may be taken for a repetition, confirmed and thrown
away. So a producer never outlives an outage, a fatal error, or a confirm that did not come in time: a new one is made.

Guarantees: `away` is empty only while a broker answers; it is looked at every second, and at once where there is
reason to doubt. What was given to a producer that is dropped fails; nobody waits for it.
Must not: send, or listen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from amends.errors import TransportAway, TransportRefused
from amends.transport import kafka_clients as clients
from amends.transport import kafka_edge as edge
from amends.transport.driver_logs import driving_task
from amends.transport.kafka_options import REQUEST_BYTES, Options
from amends.transport.lasting import lasting

PULSE_SECONDS = 1.0
PULSE_WAIT_SECONDS = 3.0
PAUSE_FIRST_SECONDS = 0.1
PAUSE_LAST_SECONDS = 2.0
DEAD = ".dead"
_log = logging.getLogger("amends.transport.kafka")


class Link:
    """One per transport."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.away: str = "it is not open"
        self.producer: Any = None
        self.lost: list[Callable[[set[str]], None]] = []  # told of topics that were there and are gone
        self._said = False  # that the broker is away
        self._known: dict[str, list[int]] = {}  # topics that are there, with their partitions
        self._ready = asyncio.Event()
        self._doubt = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._dropping: set[asyncio.Task[None]] = set()
        self._watched: set[str] = set()  # topics that somebody listens to

    @property
    def opened(self) -> bool:
        """Whether it connects, or tries to."""
        return self._keeper is not None

    async def open(self) -> None:
        """Connect, or go on trying in the background. Raises TransportRefused where that does not help."""
        if self._keeper is not None:
            return
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = driving_task(
            lasting(lambda: self._keep(tried), f"the connection to {self.options.shown}", _log), "amends-kafka-link"
        )
        try:
            await tried
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        self._leave("it is closed")
        if self._dropping:
            await asyncio.wait(self._dropping)

    def doubt(self) -> None:
        """Look at once whether the broker is there."""
        self._doubt.set()

    def renew(self, producer: Any, why: str) -> None:
        """This producer is no good any more: make another, unless that has happened."""
        if producer is self.producer and producer is not None:
            _log.info("a new producer is made: %s", why)
            self._leave(why)
            self._doubt.set()

    def forget(self, topic: str) -> None:
        """It may not be there any more."""
        self._known.pop(topic, None)

    def watch(self, topic: str) -> None:
        """Say so when this topic is gone."""
        self._watched.add(topic)

    async def ready(self, seconds: float) -> Any:
        """The producer, once there is one. Raises TransportAway after so long."""
        if self.producer is None:
            if self._keeper is None:
                raise TransportAway(f"{self.options.shown}: {self.away}")
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.0)):
                    await self._ready.wait()
        if self.producer is None:
            raise TransportAway(f"{self.options.shown}: {self.away or 'it has just gone'}")
        return self.producer

    async def partitions(self, topic: str, seconds: float) -> list[int]:
        """The partitions of a topic, which is made if need be. Raises TransportRefused, or TransportAway."""
        known = self._known.get(topic)
        if known is None:
            await self.prepare([topic], seconds)
            known = self._known.get(topic)
        if known is None:
            raise TransportAway(f"{self.options.shown}: the topic {topic} is not there yet")
        return known

    async def prepare(self, topics: Sequence[str], seconds: float) -> None:
        """See that topics are there. Raises TransportRefused, or TransportAway after so long."""
        until = asyncio.get_running_loop().time() + seconds
        pause = PAUSE_FIRST_SECONDS
        while missing := [topic for topic in dict.fromkeys(topics) if topic not in self._known]:
            left = until - asyncio.get_running_loop().time()
            producer = await self.ready(left)
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    await self._prepare(producer, missing)
            except edge.refused_errors as error:
                raise self._refused(str(error)) from error
            except edge.TROUBLE as error:
                if left < pause:
                    raise TransportAway(f"{self.options.shown}: {_text(error)}") from error
                self.doubt()
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_LAST_SECONDS)

    async def _prepare(self, producer: Any, topics: list[str]) -> None:
        """One try."""
        found = await edge.topics_there(producer.client, topics)
        missing = [topic for topic in topics if topic not in found]
        if missing and not self.options.create:
            raise self._missing(missing, "create=no")
        if missing:
            wanted = {topic: _configuration(topic, self.options) for topic in missing}
            self._check(await edge.create_topics(producer.client, wanted, self.options))
        for topic in topics:
            known = sorted(await producer.partitions_for(topic))
            if producer is self.producer:
                self._known[topic] = known

    def _check(self, told: Mapping[str, Any]) -> None:
        """Raises what went wrong with the topics that were to be made."""
        forbidden = [topic for topic, error in told.items() if isinstance(error, edge.forbidden_errors)]
        if forbidden:
            raise self._missing(forbidden, "this user may not make it")
        for topic, error in told.items():
            if isinstance(error, edge.refused_errors):
                raise self._refused(f"the topic {topic} cannot be made: {error}")
            if error is not None:
                raise error

    def _missing(self, topics: Sequence[str], why: str) -> TransportRefused:
        """The error that says what is missing and how to make it."""
        options = self.options
        replication = "" if options.replication < 0 else f" --replication-factor {options.replication}"
        return self._refused(
            f"the topic {topics[0]} is not there, and {why}. To make it: kafka-topics.sh --bootstrap-server "
            f"{options.bootstrap[0]} --create --topic {topics[0]} --partitions {options.partitions}{replication}"
        )

    def _refused(self, why: str) -> TransportRefused:
        return TransportRefused(f"{self.options.shown}: {why}")

    async def _keep(self, tried: asyncio.Future[None]) -> None:
        """Connect, look, connect again, until it is cancelled."""
        pause = PAUSE_FIRST_SECONDS
        while True:
            self._leave(self.away)
            try:
                await self._connect()
            except TransportRefused as error:
                if not tried.done():
                    tried.set_exception(error)
                    return
                self._lost(str(error))  # it was fine before: somebody may mend it
            except TransportAway as error:
                self._lost(str(error))
            else:
                pause = PAUSE_FIRST_SECONDS
                _settle(tried)
                await self._look()
                continue
            finally:
                _settle(tried)  # whatever it was
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_LAST_SECONDS)

    async def _connect(self) -> None:
        """One try."""
        producer = clients.make_producer(self.options)
        try:
            async with asyncio.timeout(self.options.connect_seconds):
                await clients.start(producer)
                gone = await self._missing_of(producer)
        except edge.TROUBLE as error:
            self._drop(producer)
            why, for_good = await edge.why_not(self.options, error)
            if for_good:
                raise self._refused(why) from error
            raise TransportAway(why) from error
        except BaseException:
            self._drop(producer)
            raise
        if self._said:
            _log.info("%s is there again", self.options.shown)
        self._said = False
        self._known.clear()
        self.producer = producer
        self.away = ""
        self._ready.set()
        self._tell(gone)

    async def _look(self) -> None:
        """Look every now and then whether the broker is there, until it is not, or the producer was given up."""
        while self.producer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_SECONDS):
                    await self._doubt.wait()
            self._doubt.clear()
            producer = self.producer
            if producer is None:
                return
            try:
                async with asyncio.timeout(PULSE_WAIT_SECONDS):
                    gone = await self._missing_of(producer)
            except edge.TROUBLE as error:
                why, _ = await edge.why_not(self.options, error)
                self._leave(why or "it does not answer")
                self._lost(self.away)
                return
            self._tell(gone)

    async def _missing_of(self, producer: Any) -> set[str]:
        """Of the topics that somebody uses those that are gone. Raises what a broker that is away raises."""
        topics = sorted(self._watched | self._known.keys())
        found = await edge.topics_there(producer.client, topics)
        return {topic for topic in topics if topic not in found}

    def _tell(self, gone: set[str]) -> None:
        for topic in gone:
            self.forget(topic)
        if gone:
            for tell in list(self.lost):
                tell(gone)

    def _lost(self, why: str) -> None:
        """The broker is away, which is said once."""
        self.away = why
        _log.log(logging.DEBUG if self._said else logging.WARNING, "%s is away: %s", self.options.shown, why)
        self._said = True

    def _leave(self, why: str) -> None:
        """The producer is gone."""
        producer, self.producer = self.producer, None
        self._ready.clear()
        self.away = why
        if producer is not None:
            self._drop(producer)

    def _drop(self, producer: Any) -> None:
        task = driving_task(clients.drop_producer(producer), "amends-kafka-drop")
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)


def _configuration(topic: str, options: Options) -> dict[str, str]:
    """Of a topic that is made: it takes what is let through; dead letters stay until somebody has looked at them."""
    told: dict[str, str] = {"retention.ms": "-1"} if topic.endswith(DEAD) else {}
    if options.max_request_size > REQUEST_BYTES:
        told["max.message.bytes"] = str(options.max_request_size)
    return told


def _settle(tried: asyncio.Future[None]) -> None:
    if not tried.done():
        tried.set_result(None)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
