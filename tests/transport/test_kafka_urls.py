"""What a URL of Kafka says, what it may not say, and what the way in over TLS and with a password is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.transport.base import Destination, Send
from amends.transport.kafka import KafkaTransport
from amends.transport.kafka_options import read
from servers import need
from services.kafka import Kafka

QUEUE = Destination("inventory.commands")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka://h/path", "path"),
        ("kafka://h?compression=best", "compression"),
        ("kafka://h?mechanism=PLAIN", "mechanism"),
        ("kafka://u:secret@h?mechanism=GUESS", "mechanism"),
        ("kafka://h?cafile=/nowhere", "TLS"),
        ("kafkas://h?tls=no", "tls"),
        ("kafka://h?partitions=0", "partitions"),
        ("kafka://h?session_seconds=-1", "session_seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(url: str, what: str) -> None:
    with pytest.raises(TransportRefused, match=what) as refused:
        read(url)

    assert "secret" not in str(refused.value)


def test_brokers_user_and_mechanism_are_what_the_url_says() -> None:
    options = read("kafka://amends:p%40ss@a:1,b:2?mechanism=scram-sha-512&partitions=3")

    assert options.bootstrap == ["a:1", "b:2"]
    assert options.partitions == 3
    assert options.login["security_protocol"] == "SASL_PLAINTEXT"
    assert options.login["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options.login["sasl_plain_password"] == "p@ss"  # noqa: S105 - a password of nobody
    assert "p@ss" not in repr(options)


@pytest.fixture(scope="module")
def locked() -> Iterator[Kafka]:
    """A Kafka with TLS, and with passwords."""
    need(Kafka.find)
    with Kafka(tls=True, sasl=True) as server:
        yield server


def _published(url: str) -> list[Exception | None]:
    async def play() -> list[Exception | None]:
        transport = KafkaTransport(url)
        await transport.open()
        try:
            return await transport.publish([Send(QUEUE, Message("1", "test.told", "test", b"{}"))])
        finally:
            await transport.close()

    return asyncio.run(play())


def test_over_tls_the_authority_is_the_one_that_the_url_names(locked: Kafka) -> None:
    url = locked.tls_url

    assert _published(f"{url}?cafile={locked.certificates.authority}") == [None]
    with pytest.raises(TransportRefused, match="certificate"):
        _published(url)


def test_a_password_lets_in_and_a_wrong_one_does_not(locked: Kafka) -> None:
    assert _published(locked.sasl_url) == [None]
    with pytest.raises(TransportRefused):
        _published(locked.sasl_url.replace(locked.password, "wrong"))


def test_what_the_broker_finds_too_large_is_refused_alone(kafka_url: str, broker_prefix: str) -> None:
    """Where the transport was told to let more through than the broker takes."""

    async def play() -> None:
        small = KafkaTransport(f"{kafka_url}?prefix={broker_prefix}")
        await small.open()
        await small.prepare([QUEUE])
        await small.close()
        transport = KafkaTransport(f"{kafka_url}?prefix={broker_prefix}&max_request_size=4000000")
        await transport.open()
        fine = [Message(f"fine-{number}", "test.told", "test", b"{}", key="one") for number in range(3)]
        large = fine[0]._replace(id="large", data=b"x" * 2_000_000)
        told = await transport.publish([Send(QUEUE, message) for message in (fine[0], fine[1], large, fine[2])])
        again = await transport.publish([Send(QUEUE, fine[0])])
        await transport.close()

        assert isinstance(told[2], TransportRefused)
        assert all(error is None or isinstance(error, TransportAway) for error in [*told[:2], told[3]])
        assert again == [None]

    asyncio.run(play())


def test_a_message_of_fifty_megabytes_goes_through_where_it_may(kafka_url: str, broker_prefix: str) -> None:
    """Where topic and URL allow it."""

    async def play() -> None:
        limits = "message_bytes=60000000&max_request_size=60000000"
        transport = KafkaTransport(f"{kafka_url}?prefix={broker_prefix}&{limits}")
        await transport.open()
        came: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        await transport.listen(QUEUE, "", lambda some: came.set_result(some[0].message), in_flight=1)
        body = b"x" * 50_000_000

        assert await transport.publish([Send(QUEUE, Message("1", "test.told", "test", body))]) == [None]

        async with asyncio.timeout(60):
            message = await came
        assert message is not None
        assert message.data == body
        await transport.close()

    asyncio.run(play())
