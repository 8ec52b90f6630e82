"""Streams and consumers of JetStream: what stands for a queue, for a topic and for a group, and how it is made.

A destination is one stream with one subject, the name of the destination at the broker. A queue is a work-queue: what
is acked is removed, and its one consumer is `listeners`. A topic keeps everything for `keep_days`; each group is a
consumer.

Guarantees: what is there is used as it is; only what is missing is made.
Must not: change or remove anything.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, NamedTuple

from amends.errors import TransportAway, TransportRefused
from amends.transport.base import Destination, Kind
from amends.transport.names import at_broker, group_at_broker
from amends.transport.nats_link import FORBIDDEN, LOST, NOBODY, Answer, Link, Question

QUEUE_CONSUMER = "listeners"
REMOVED_MAX = 100_000  # the newest places in a queue that are looked at for what is waited for in vain
LOOKS_MAX = 2_000  # at messages that are there, and in somebody's hands
WAITING_MAX = 512  # questions for messages that wait at one consumer: two of each listener
_API = "$JS.API."
_NO_STREAM, _NO_CONSUMER, _NO_MESSAGE, _THERE = 10059, 10014, 10037, 10058
_LATER = (10023, 10047, 10077, 10028)  # resources or room are short; somebody or something may mend that
_SECOND = 1_000_000_000
_log = logging.getLogger("amends.nats")


class Consumer(NamedTuple):
    """A group's share. unacked: the places in the stream between which it may wait for acks."""

    stream: str
    name: str
    ack_seconds: float
    unacked: range


class Start(NamedTuple):
    """Where a group that has to be made again goes on. born: of the stream that it read; sequence: the next."""

    born: str
    sequence: int


def stream_of(prefix: str, destination: Destination) -> str:
    """A stream's name has no dots."""
    return at_broker(prefix, destination).replace(".", "+")


def consumer_of(prefix: str, source: Destination, group: str) -> str:
    """Of a group."""
    if source.kind is Kind.QUEUE:
        return QUEUE_CONSUMER
    group_at_broker(prefix, source, group)
    return group.replace(".", "+")


class Places:
    """The streams and consumers of one transport."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._options = link.options

    async def stream(self, destination: Destination) -> str:
        """See that a destination is there; gives when it was made. Raises TransportRefused or TransportAway."""
        name = stream_of(self._options.prefix, destination)
        told = await self._api(f"STREAM.INFO.{name}", {}, destination)
        if told.get("code") == _NO_STREAM:
            if not self._options.create:
                raise self._refused(f"there is no stream {name} for {destination.name}, and create=no")
            told = await self._api(f"STREAM.CREATE.{name}", self._stream_config(name, destination), destination)
            if told.get("code") == _THERE:  # somebody else made it, perhaps with other options
                told = await self._api(f"STREAM.INFO.{name}", {}, destination)
        self._check(told, f"the stream {name} for {destination.name}")
        return str(told["created"])

    async def consumer(self, source: Destination, group: str, start: Start | None) -> tuple[Consumer, Start]:
        """See that a group is there, and its destination; gives it, and where it began if it was made now.
        start: where a group goes on that this process knows and that is gone."""
        born = await self.stream(source)
        stream = stream_of(self._options.prefix, source)
        name = consumer_of(self._options.prefix, source, group)
        told = await self._api(f"CONSUMER.INFO.{stream}.{name}", {}, source)
        if told.get("code") == _NO_CONSUMER:
            if not self._options.create:
                raise self._refused(f"there is no consumer {name} of the stream {stream} for {source.name}, create=no")
            config = {"stream_name": stream, "config": self._consumer_config(name, source, born, start)}
            told = await self._api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", config, source)
        self._check(told, f"the consumer {name} of the stream {stream} for {source.name}")
        ack_seconds = told["config"].get("ack_wait", 30 * _SECOND) / _SECOND
        delivered, floor = (int(told.get(place, {}).get("stream_seq", 0)) for place in ("delivered", "ack_floor"))
        first = max(floor + 1, delivered + 1 - REMOVED_MAX) if told.get("num_ack_pending") else delivered + 1
        unacked = range(first, delivered + 1)
        return Consumer(stream, name, ack_seconds, unacked), Start(born, delivered + 1)

    async def removed(self, source: Destination, consumer: Consumer) -> list[int]:
        """The places in a queue that its consumer may wait for, and that are empty. Raises TransportAway.

        A server that was killed may have kept of an ack that the message is removed, and not that it is acked. It then
        looks for that message again and again, for one at each occasion, before it gives anybody what is there: seen
        with 2.9, and in the source up to 2.10 (`getNextMsg` in server/consumer.go). An ack is all that ends it.
        """
        empty: list[int] = []
        if source.kind is Kind.QUEUE and consumer.unacked:
            place = consumer.unacked.start
            for _ in range(LOOKS_MAX):
                there = await self._next_there(source, consumer.stream, place)
                if there is None:
                    break
                empty += range(place, min(there, consumer.unacked.stop))
                place = there + 1
                if place >= consumer.unacked.stop:
                    break
        return empty

    async def _next_there(self, source: Destination, stream: str, place: int) -> int | None:
        """The first place from here on that is not empty, beyond all where there is none; None where the server does
        not say."""
        subject = at_broker(self._options.prefix, source)
        try:
            told = await self._api(f"STREAM.MSG.GET.{stream}", {"seq": place, "next_by_subj": subject}, source)
        except TransportRefused as error:
            _log.debug("%s", error)
            return None
        if told.get("code") == _NO_MESSAGE:
            return sys.maxsize
        return told["message"]["seq"] if "message" in told else None

    async def lag(self, source: Destination, group: str) -> int | None:
        """About how many messages wait for a group; None where nobody knows.

        The stream of a queue is not asked: a server that was killed may have kept there what was acked just before, and
        gives it to nobody any more, as its consumer knows. With the question server 2.9 forgets, too, other questions
        of those who are gone; one that it tries to answer with a message that comes again has it lose count of how
        often that was delivered.
        """
        stream = stream_of(self._options.prefix, source)
        name = consumer_of(self._options.prefix, source, group)
        try:
            told = await self._api(f"CONSUMER.INFO.{stream}.{name}", {}, source)
        except (TransportAway, TransportRefused):
            return None
        return int(told["num_pending"]) + int(told["num_ack_pending"]) if "num_pending" in told else None

    def _stream_config(self, name: str, destination: Destination) -> dict[str, Any]:
        options = self._options
        config: dict[str, Any] = {
            "name": name,
            "subjects": [at_broker(options.prefix, destination)],
            "storage": "file",
            "num_replicas": options.replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "duplicate_window": int(options.duplicate_seconds * _SECOND),
        }
        if destination.kind is Kind.QUEUE:
            return {**config, "retention": "workqueue", "discard": "new", "max_age": 0}
        config["duplicate_window"] = int(min(options.duplicate_seconds, options.keep_seconds) * _SECOND)
        return {**config, "retention": "limits", "discard": "old", "max_age": int(options.keep_seconds * _SECOND)}

    def _consumer_config(self, name: str, source: Destination, born: str, start: Start | None) -> dict[str, Any]:
        config: dict[str, Any] = {
            "durable_name": name,
            "ack_policy": "explicit",
            "ack_wait": int(self._options.claim_seconds * _SECOND),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": WAITING_MAX,
            "replay_policy": "instant",
        }
        if source.kind is Kind.QUEUE:
            return {**config, "deliver_policy": "all"}
        if start is None:
            return {**config, "deliver_policy": "new"}
        if start.born != born:  # the server lost its data: all that is there came after this group began to listen
            return {**config, "deliver_policy": "all"}
        return {**config, "deliver_policy": "by_start_sequence", "opt_start_seq": max(start.sequence, 1)}

    async def _api(self, what: str, question: dict[str, Any], place: Destination) -> dict[str, Any]:
        """Ask JetStream; gives what it said, with `code` where that is an error."""
        data = json.dumps(question).encode() if question else b""
        answer = (await self._link.ask([Question(_API + what, data)], self._options.publish_seconds))[0]
        if answer is None or answer.status == LOST:
            raise TransportAway(self._link.away or f"{self._options.shown}: no answer from JetStream for {place.name}")
        if answer.status == FORBIDDEN:
            raise self._refused(f"this user may not ask {_API}{what} for {place.name}")
        if answer.status == NOBODY:
            raise TransportAway(f"{self._options.shown}: JetStream does not answer; is it enabled there (`--js`)?")
        told: dict[str, Any] = json.loads(answer.data)
        if "error" in told:
            told["code"] = told["error"].get("err_code", 0)
        return told

    def _check(self, told: dict[str, Any], what: str) -> None:
        if "error" in told:
            text = f"{what}: {told['error'].get('description', 'no reason given')}"
            if too_late(told["error"]):
                raise TransportAway(f"{self._options.shown}: {text}")
            raise self._refused(text)

    def _refused(self, why: str) -> TransportRefused:
        return self._options.url.refused(why)


def too_late(error: dict[str, Any]) -> bool:
    """Whether an error of JetStream is one that waiting may mend."""
    return error.get("err_code") in _LATER or int(error.get("code", 500)) >= 500


def confirmed(answer: Answer) -> Exception | None:
    """Whether the answer to a message that was published is JetStream's confirm; else why it is none."""
    if answer.status == NOBODY:
        return None  # not here: there is no such stream
    if answer.status == LOST:
        return TransportAway("the connection broke before the confirm")
    if answer.status == FORBIDDEN:
        return TransportRefused(answer.data.decode(errors="replace"))
    if answer.data.startswith(b'{"stream":') and b'"seq":' in answer.data:
        return None
    try:
        error = json.loads(answer.data).get("error", {})
    except ValueError:
        return TransportAway("the answer of the broker is none that JetStream gives")
    text = str(error.get("description", "no reason given"))
    return TransportAway(text) if too_late(error) else TransportRefused(text)
