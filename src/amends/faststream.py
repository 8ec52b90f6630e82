"""FastStream: an app of it tells events of its service, and hears of those of others.

FastStream's broker carries them, with its middlewares and its ways of being tested; what travels is what participants
send, so either side may be the other. Commands are none of it: only sagas send them, for whoever sends one
has to wait for its reply, send it again, undo it, and say when it is over.

Guarantees: an event is written, named and read as `Participant` does; a function gets only the event that it asked for.
Must not: promise that a function has its effect once, which takes an inbox; be imported without FastStream:
pip install "amends[faststream]" "faststream[nats]".
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeVar

from faststream import AckPolicy, Context, Depends
from faststream.exceptions import AckMessage

from amends.decide.chain import chain_of
from amends.decide.wire import KIND, Kind
from amends.define.contract import Event, Service
from amends.define.handlers import On
from amends.errors import DefinitionError, MessageRefused, TransportRefused, ValueRefused
from amends.message import JSON, PERCENT_ENCODED, Message, from_headers, headers
from amends.run.chaining import EVENT_HOPS, handles, told_here, too_many
from amends.run.outbox_rows import event_row, message_of
from amends.transport.base import Destination
from amends.transport.base import Kind as To
from amends.transport.door import unfit
from amends.transport.names import at_broker, dead_attributes, dead_of, events_of, group_at_broker
from amends.transport.open import transport_for

E = TypeVar("E")
PUBLISH_SECONDS = 10.0  # for a confirm of NATS
CLAIM_SECONDS = 60.0  # NATS and Redis: what nobody has acked for so long comes again
READ_AT_ONCE = 10  # Redis: what is read waits in the process, and its claim with it
_OTHER_PREFIX = "cloudEvents:"
_log = logging.getLogger("amends.faststream")


class Bridge:
    """A FastStream app as one service among others.

    service: the app's own: whose events it tells, and the group that it hears others in. No participant may hear
        events under the same name: each would get a part of them.
    broker: FastStream's, of NATS, RabbitMQ, Redis or Kafka (aiokafka).
    url: of the same broker, as participants write it; its `prefix=` stands before all names.
    ack_policy: FastStream's. By default an event whose function fails is not acked, and comes again.

    Raises DefinitionError. Does no I/O.
    """

    def __init__(
        self, service: Service, broker: Any, url: str, /, *, ack_policy: AckPolicy = AckPolicy.NACK_ON_ERROR
    ) -> None:
        if not isinstance(service, Service):
            raise DefinitionError(f"Bridge(…): a Service is expected, not {service!r:.80}")
        self.service: Service = service
        self._broker = broker
        self._url = url
        self._carrier = _carrier_for(broker, url)
        self._prefix = _prefix_of(url)
        self._ack_policy = ack_policy
        self._heard: dict[str, _Hearing] = {}

    async def prepare(self) -> None:
        """See that the topics are there, and make what is missing as participants do: before the broker starts,
        `FastStream(broker, on_startup=[bridge.prepare])`. Raises TransportError."""
        topics = [events_of(name) for name in dict.fromkeys([self.service.name, *self._heard])]
        graves = [dead_of(events_of(name)) for name in self._heard]
        transport = transport_for(self._url)
        await transport.open()
        try:
            await transport.prepare([*topics, *graves])
        finally:
            await transport.close()

    async def publish(self, event: Event[E], value: E, /, *, id: str | None = None) -> str:
        """Tell an event of this service, now: it is in no transaction, and what commits beside it may be lost, or be
        told of in vain. In a handler of this bridge it comes of the event that is handled. Gives its id.

        id: the same for the same event told again, so that participants do it once; a new one by default.

        Raises DefinitionError, ValueRefused, LimitExceeded, TransportRefused, and what FastStream's broker raises.
        """
        if event.service is not self.service:
            raise DefinitionError(f"{event!r} is an event of {event.service.name}, and this is {self.service.name}")
        chain = told_here(None)
        row = event_row(event, value, {}, chain=chain._replace(correlation=chain.correlation or id or ""))
        message = message_of(row._replace(id=id or row.id, at=time.time()), self.service.name)
        refused = unfit(message)
        if refused is not None:
            raise refused
        await self._send(events_of(self.service.name), message)
        return message.id

    def on(self, event: Event[E], /) -> On[E]:
        """The function hears of this event: its value comes first, the rest is FastStream's to fill. An `Envelope`
        among its parameters is the message: its id, who sent it, and when.

        Raises DefinitionError, and TransportRefused for a name that no broker takes.
        """
        teller = event.service.name
        hearing = self._heard.get(teller)
        if hearing is None:
            hearing = self._heard[teller] = _Hearing(self, events_of(teller), self._subscribers(events_of(teller)))
        return hearing.add(event)

    def _subscribers(self, source: Destination) -> list[Any]:
        at_broker(self._prefix, dead_of(source))
        given = {"ack_policy": self._ack_policy, "no_reply": True}
        return self._carrier.subscribers(_Place(self._prefix, source, self.service.name), self._broker, given)

    async def _send(self, to: Destination, message: Message) -> None:
        await self._carrier.send(_Place(self._prefix, to, ""), self._broker, message)

    async def bury(self, source: Destination, message: Message, reason: str) -> None:
        """Keep a message aside, with the reason, where participants keep theirs."""
        told = {**message.attributes, **dead_attributes(source, self.service.name, reason)}
        await self._send(dead_of(source), message._replace(attributes=told))


class _Hearing:
    """Of one service's events: one subscriber for all of them, as they come through one topic."""

    def __init__(self, bridge: Bridge, source: Destination, subscribers: list[Any]) -> None:
        self._bridge = bridge
        self._source = source
        self._subscribers = subscribers
        self._wanted: dict[str, Event[Any]] = {}
        for subscriber in subscribers:
            subscriber(_nothing, filter=self._unwanted, decoder=self._pass_over)

    def add(self, event: Event[E]) -> On[E]:
        """A function more."""
        if event.type in self._wanted:
            raise DefinitionError(f"two functions hear of {event.type}; one is expected, which may call others")
        self._wanted[event.type] = event

        def fits(message: Any) -> bool:
            return _type_of(message) == event.type

        async def decode(message: Any) -> Any:
            return await self._value(event, message)

        def register(fn: Callable[..., Any]) -> Callable[..., Any]:
            for subscriber in self._subscribers:
                fn = subscriber(fn, filter=fits, decoder=decode)
            return fn

        return register

    def _unwanted(self, message: Any) -> bool:
        return _type_of(message) not in self._wanted

    async def _pass_over(self, message: Any) -> None:
        """A topic has all events of a service, and perhaps what is none."""
        try:
            envelope(message)
        except MessageRefused as error:
            _log.error("what came from %s is no event, and is acked: %s", self._source.name, error)

    async def _value(self, event: Event[Any], message: Any) -> Any:
        """The value of an event. One that does not fit its contract never will: it is put aside."""
        told, service = envelope(message), self._bridge.service.name
        try:
            value, chain = event.told.decode(told.data or b"null"), chain_of(told)
            if chain.hops <= EVENT_HOPS:
                handles(chain.after(told.id))
                return value
            why = too_many(chain, service, EVENT_HOPS)
        except ValueRefused as error:
            why = f"it does not fit {event!r} as {service} knows it: {error}"
        except MessageRefused as error:
            why = str(error)
        _log.error("the event %s %s is put aside: %s", told.type, told.id, why)
        await self._bridge.bury(self._source, told, why)
        raise AckMessage


async def _nothing(body: Any = None) -> None:
    """Done with."""


def envelope(message: Any = Context("message")) -> Message:  # noqa: B008  # FastStream fills it
    """The message that an event came as. Raises MessageRefused for what is none."""
    carrier = _carrier_of(message)
    if carrier is None:
        raise MessageRefused(f"{type(message).__name__} is of no broker that amends knows")
    told = from_headers(dict(_texts(message.headers, carrier.prefix)), message.body, carrier.prefix)
    if told.attributes.get(KIND) != Kind.EVENT:
        raise MessageRefused(f"{KIND} is {told.attributes.get(KIND)!r:.40}: no event")
    return told


Envelope = Annotated[Message, Depends(envelope, cast=False)]
"""What a parameter is annotated with that is to be the message."""


def _type_of(message: Any) -> str:
    try:
        return envelope(message).type
    except MessageRefused:
        return ""


def _texts(given: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """The headers that are attributes, as texts; other clients of RabbitMQ send numbers and instants as such."""
    for name, value in given.items():
        own = prefix + name[len(_OTHER_PREFIX) :] if name.startswith(_OTHER_PREFIX) else name
        if own.lower().startswith(prefix.lower()):
            yield own, value.isoformat() if isinstance(value, datetime) else str(value)


# The brokers


class _Place(NamedTuple):
    """Where something goes, or comes from."""

    prefix: str
    destination: Destination
    group: str

    @property
    def name(self) -> str:
        """At the broker."""
        return at_broker(self.prefix, self.destination)

    @property
    def group_name(self) -> str:
        """Of the group's share, where it is called by its own name."""
        return group_at_broker(self.prefix, self.destination, self.group)


class _Carrier(NamedTuple):
    """One kind of broker. prefix: of attributes among headers."""

    schemes: tuple[str, ...]
    prefix: str
    send: Callable[[_Place, Any, Message], Awaitable[None]]
    subscribers: Callable[[_Place, Any, dict[str, Any]], list[Any]]


def _carrier_of(thing: object) -> _Carrier | None:
    """By where the class of a broker or a message is from, so that no driver is imported that is not used."""
    for cls in type(thing).__mro__:
        top, _, rest = cls.__module__.partition(".")
        if top == "faststream" and (found := _CARRIERS.get(rest.partition(".")[0])):
            return found
    return None


def _carrier_for(broker: object, url: str) -> _Carrier:
    """The kind that a broker and its URL agree on. Raises DefinitionError."""
    carrier = _carrier_of(broker)
    if carrier is None:
        known = ", ".join(_CARRIERS)
        raise DefinitionError(f"Bridge(broker): one of faststream's {known} is expected, not {broker!r:.80}")
    if url.partition("://")[0] not in carrier.schemes:
        raise DefinitionError(f"Bridge(url): {carrier.schemes[0]}://… is expected for {type(broker).__name__}")
    return carrier


def _prefix_of(url: str) -> str:
    try:
        return transport_for(url).prefix
    except TransportRefused as error:
        raise DefinitionError(f"Bridge(url): {error}") from None


async def _send_nats(to: _Place, broker: Any, message: Message) -> None:
    from amends.transport.nats_places import stream_of

    told = headers(message)
    told |= {"Nats-Msg-Id": told["ce-id"], "content-type": JSON}
    stream = stream_of(to.prefix, to.destination)
    await broker.publish(message.data, to.name, headers=told, stream=stream, timeout=PUBLISH_SECONDS)


def _from_nats(source: _Place, broker: Any, given: dict[str, Any]) -> list[Any]:
    from faststream.nats import JStream
    from nats.js.api import ConsumerConfig, DeliverPolicy

    from amends.transport.nats_places import consumer_of, stream_of

    durable = consumer_of(source.prefix, source.destination, source.group)
    stream = JStream(stream_of(source.prefix, source.destination), declare=False)
    config = ConsumerConfig(
        durable_name=durable, deliver_policy=DeliverPolicy.NEW, ack_wait=CLAIM_SECONDS, max_deliver=-1
    )
    return [broker.subscriber(source.name, stream=stream, durable=durable, pull_sub=True, config=config, **given)]


async def _send_rabbit(to: _Place, broker: Any, message: Message) -> None:
    told = headers(message, "cloudEvents_")
    given = {"headers": told, "content_type": JSON, "message_id": message.id[:200], "persist": True}
    if to.destination.kind is To.TOPIC:
        await broker.publish(message.data, exchange=_fanout(to.name), mandatory=False, **given)
    else:
        await broker.publish(message.data, to.name, **given)


def _from_rabbit(source: _Place, broker: Any, given: dict[str, Any]) -> list[Any]:
    from faststream.rabbit import QueueType, RabbitQueue

    queue = RabbitQueue(source.group_name, queue_type=QueueType.QUORUM, durable=True)
    return [broker.subscriber(queue, _fanout(source.name), **given)]


def _fanout(name: str) -> Any:
    from faststream.rabbit import ExchangeType, RabbitExchange

    return RabbitExchange(name, type=ExchangeType.FANOUT, durable=True)


async def _send_kafka(to: _Place, broker: Any, message: Message) -> None:
    told = {**headers(message, "ce_"), "content-type": JSON}
    await broker.publish(message.data, to.name, key=message.key.encode() or None, headers=told)


def _from_kafka(source: _Place, broker: Any, given: dict[str, Any]) -> list[Any]:
    return [broker.subscriber(source.name, group_id=source.group_name, auto_offset_reset="earliest", **given)]


async def _send_redis(to: _Place, broker: Any, message: Message) -> None:
    """Past FastStream, whose own entries of a stream have one field with all in it."""
    client = await broker.connect()
    await client.xadd(to.name, {**headers(message, "ce_"), "data": message.data})


def _from_redis(source: _Place, broker: Any, given: dict[str, Any]) -> list[Any]:
    """One subscriber for what is new, and one for what was read and not acked."""
    from faststream.redis import StreamSub

    made = []
    for idle in (None, int(CLAIM_SECONDS * 1000)):
        stream = StreamSub(
            source.name,
            group=source.group,
            consumer=f"faststream-{platform.node():.40}",
            max_records=READ_AT_ONCE,
            min_idle_time=idle,
        )
        made.append(broker.subscriber(stream=stream, parser=_parse_redis, **given))
    return made


async def _parse_redis(raw: Any, original: Callable[[Any], Awaitable[Any]]) -> Any:
    """An entry whose fields are the attributes, and the body."""
    fields = raw["data"]
    body = fields.get(b"data", b"")
    message = await original({**raw, "data": {b"__data__": b"{}"}})
    message.body = body
    message.headers = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in fields.items()
        if name != b"data"
    }
    return message


_CARRIERS = {
    "nats": _Carrier(("nats", "tls"), PERCENT_ENCODED, _send_nats, _from_nats),
    "rabbit": _Carrier(("amqp", "amqps"), "cloudEvents_", _send_rabbit, _from_rabbit),
    "kafka": _Carrier(("kafka", "kafkas"), "ce_", _send_kafka, _from_kafka),
    "redis": _Carrier(("redis", "rediss"), "ce_", _send_redis, _from_redis),
}
