"""Keeps one thing in a broker and looks whether it is there, in each broker's own way.

Guarantees: what is kept was confirmed as durable by the broker; looking changes nothing.
Must not: leave a connection open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import nats
import redis
from aio_pika.exceptions import ChannelNotFoundEntity
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from nats.js.errors import NotFoundError

from services.broker import Broker
from services.kafka import Kafka
from services.nats import Nats
from services.rabbitmq import Rabbitmq
from services.redis import Redis

WAIT_SECONDS = 60.0
INFO_BYTES = 65536


class Probe(ABC):
    """One kind of broker, and how it is spoken to."""

    kind: type[Broker]

    @abstractmethod
    async def make(self, url: str, name: str) -> None:
        """Make what things can be kept in."""

    @abstractmethod
    async def keep(self, url: str, name: str, what: bytes) -> None:
        """Keep something there; comes back when the broker has confirmed it."""

    @abstractmethod
    async def find(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        """What is kept under a name."""

    def made(self, url: str, name: str) -> None:
        """make(), from outside a loop."""
        asyncio.run(asyncio.wait_for(self.make(url, name), WAIT_SECONDS))

    def kept(self, url: str, name: str, what: bytes) -> None:
        """keep(), from outside a loop."""
        asyncio.run(asyncio.wait_for(self.keep(url, name, what), WAIT_SECONDS))

    def put(self, url: str, name: str, what: bytes) -> None:
        """Make a new place and keep something in it."""
        self.made(url, name)
        self.kept(url, name, what)

    def found(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        """find(), from outside a loop."""
        return asyncio.run(asyncio.wait_for(self.find(url, name, trust), WAIT_SECONDS))

    def knock(self, url: str, trust: ssl.SSLContext) -> None:
        """Go in over TLS, if the broker is trusted, and out again."""
        assert self.found(url, "nothing", trust) is None


class InRabbitmq(Probe):
    kind = Rabbitmq

    async def make(self, url: str, name: str) -> None:
        async with await aio_pika.connect(url) as connection:
            await (await connection.channel()).declare_queue(name, durable=True)

    async def keep(self, url: str, name: str, what: bytes) -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            message = aio_pika.Message(what, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, name)

    async def find(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        async with await aio_pika.connect(url, ssl_context=trust) as connection:
            channel = await connection.channel()
            try:
                queue = await channel.declare_queue(name, passive=True)
            except ChannelNotFoundEntity:
                return None
            message = await queue.get(fail=False)  # it goes back into the queue with the connection
            return message.body if message else None


class InNats(Probe):
    kind = Nats

    async def make(self, url: str, name: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name=name, subjects=[name])
        await client.close()

    async def keep(self, url: str, name: str, what: bytes) -> None:
        client = await nats.connect(url)
        await client.jetstream().publish(name, what)
        await client.close()

    async def find(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        client = await nats.connect(url, tls=trust)
        try:
            return (await client.jetstream().get_last_msg(name, name)).data
        except NotFoundError:
            return None
        finally:
            await client.close()

    def knock(self, url: str, trust: ssl.SSLContext) -> None:
        # without its client, which waits for ever for the end of a line that could not be encrypted
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=WAIT_SECONDS) as line:
            assert line.recv(INFO_BYTES).startswith(b"INFO")
            trust.wrap_socket(line, server_hostname=parts.hostname).close()


class InRedis(Probe):
    kind = Redis

    async def make(self, url: str, name: str) -> None:
        """Redis needs nothing made."""

    async def keep(self, url: str, name: str, what: bytes) -> None:
        async with redis.asyncio.from_url(url) as client:
            await client.set(name, what)

    async def find(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        # redis-py makes its own context, from a file
        options: dict[str, Any] = {"ssl_ca_data": _authorities(trust)} if trust else {}
        async with redis.asyncio.from_url(url, **options) as client:
            found = await client.get(name)
            return found.encode() if isinstance(found, str) else found


class InKafka(Probe):
    kind = Kafka

    async def make(self, url: str, name: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=url.rpartition("/")[2])
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1)])
        await admin.close()

    async def keep(self, url: str, name: str, what: bytes) -> None:
        address = url.rpartition("/")[2]
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            await producer.send_and_wait(name, what)

    async def find(self, url: str, name: str, trust: ssl.SSLContext | None = None) -> bytes | None:
        protocol = "SSL" if trust else "PLAINTEXT"
        return await read_from_kafka(name, url.rpartition("/")[2], security_protocol=protocol, ssl_context=trust)


async def read_from_kafka(topic: str, address: str, **options: Any) -> bytes | None:
    """The first message of a topic; None if there is no such topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", **options)
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            return None
        consumer.assign([TopicPartition(topic, 0)])
        value: bytes | None = (await consumer.getone()).value
        return value
    finally:
        await consumer.stop()


def _authorities(trust: ssl.SSLContext) -> str:
    return "".join(ssl.DER_cert_to_PEM_cert(found) for found in trust.get_ca_certs(binary_form=True))


PROBES = (InRabbitmq(), InNats(), InRedis(), InKafka())
