"""What is particular to NATS JetStream: its limits, its permissions, its streams, its TLS.

Guarantees: real servers.
Must not: repeat the suite.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nats
import pytest
import uvloop

from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.testing.transport_suite.rig import QUIET_SECONDS, Broker, Rig, eventually, text_of
from amends.transport.base import Delivery, Destination, Send, Transport
from amends.transport.names import at_broker
from amends.transport.nats import NatsTransport
from amends.transport.nats_client import NatsClient, pub
from amends.transport.nats_link import Link
from amends.transport.open import transport_for
from services.broker import USER
from services.nats import Nats

QUEUE = Destination("inventory.commands")
RESTRICTED = """
listen: "127.0.0.1:{port}"
authorization {{ users: [
  {{ user: "{user}", password: "{password}" }}
  {{ user: "clerk", password: "{password}", permissions: {{
       publish: {{ deny: ["*.secret.>", "$JS.API.STREAM.CREATE.>"] }} }} }}
  {{ user: "least", password: "{password}", permissions: {{
       publish: ["*.inventory.>", "$JS.ACK.>", "$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.INFO.>",
                 "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.STREAM.MSG.GET.>",
                 "$JS.API.STREAM.CREATE.>", "$JS.API.CONSUMER.DURABLE.CREATE.>"],
       subscribe: "_INBOX.>" }} }}
] }}
jetstream {{ store_dir: "{data}" }}
"""
PLAIN = """
listen: "127.0.0.1:{port}"
authorization {{ token: "{password}" }}
max_payload: 65536
"""


class Configured(Nats):
    """A server with a configuration of the test's own."""

    def __init__(self, text: str) -> None:
        self._text = text
        super().__init__()

    def configure(self) -> None:
        self.make_data_directory()
        told = {"port": self.port, "user": USER, "password": self.password, "data": self.data}
        self.place.write("nats.conf", self._text.format(**told))


@pytest.fixture
def restricted(nats_server: Nats) -> Iterator[Nats]:
    """A server where `clerk` may make no streams, and send nothing that is secret."""
    with Configured(RESTRICTED) as server:
        yield server


@pytest.fixture
def plain(nats_server: Nats) -> Iterator[Nats]:
    """A server without JetStream, that asks for a token."""
    with Configured(PLAIN) as server:
        yield server


def test_a_message_that_fits_only_without_its_headers_is_refused_and_disturbs_nothing(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            most = 1024 * 1024  # of the server
            large = [rig.message(data=b"x" * (most - short)) for short in (1, 100, 4096)]

            told = await transport.publish([Send(rig.queue, m) for m in (rig.message("a"), *large, rig.message("b"))])

            assert [type(error) for error in told] == [type(None), *[TransportRefused] * 3, type(None)]
            assert "max_payload" in str(told[1])
            assert set(await inbox.all_of(["a", "b"])) == {"a", "b"}

    asyncio.run(play())


def test_the_largest_message_that_is_taken_can_be_buried_whatever_the_reason(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            grave = await rig.listen(transport, rig.queue._replace(name=f"{rig.queue.name}.dead"))
            await rig.sent(transport, [rig.message(data=b"x" * (1024 * 1024 - 5000))])

            await (await inbox.next()).bury("🛒" * 2000)

            assert len((await grave.acked(1))[0].message.data) == 1024 * 1024 - 5000  # type: ignore[union-attr]

    asyncio.run(play())


def test_a_message_that_is_sent_twice_with_one_id_comes_once(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            message = rig.message("once")

            for _ in range(3):
                await rig.sent(transport, [message])
            await rig.send(transport, "last")

            assert await inbox.acked_until("last") == ["once", "last"]

    asyncio.run(play())


def test_what_is_acked_is_removed_from_a_queue_and_stays_in_a_topic(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport()
            inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
            await rig.send(transport, "one", "two")
            await rig.send(transport, "told", to=rig.topic)
            await inbox.acked(2)
            await topic.acked(1)
            client = await nats.connect(nats_url)
            try:
                streams = client.jetstream()

                async def kept(name: str) -> int:
                    info = await streams.stream_info(name.replace(".", "+"))
                    return info.state.messages

                async with asyncio.timeout(30):
                    while await kept(at_broker(rig.prefix, rig.queue)) != 0:
                        await asyncio.sleep(0.02)
                assert await kept(at_broker(rig.prefix, rig.topic)) == 1
            finally:
                await client.close()

    asyncio.run(play())


def test_an_idle_listener_says_nothing_and_a_lone_message_comes_at_once(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport(claim_seconds="30")
            assert isinstance(transport, NatsTransport)
            inbox = await rig.listen(transport)
            link: Link = transport._link
            said = _said(link)

            await asyncio.sleep(QUIET_SECONDS * 4)

            assert _said(link) - said == 0
            await rig.send(await rig.transport(), "lone")
            assert await inbox.acked_until("lone") == ["lone"]

    asyncio.run(play())


def _said(link: Link) -> int:
    """How many commands have been put on the wire, as far as the link counts them: its questions."""
    assert link.client is not None
    return link.client.told


def test_what_this_user_may_not_send_is_refused_by_itself(restricted: Nats) -> None:
    async def play() -> None:
        async with Rig(Broker(restricted.url)) as rig:
            await (await rig.transport()).prepare([rig.queue, rig.queue._replace(name="secret.commands")])
            clerk = await rig.transport(url=restricted.url.replace(f"{USER}:", "clerk:"), publish_seconds="20")
            secret = rig.queue._replace(name="secret.commands")

            told = await clerk.publish([Send(secret, rig.message()), Send(rig.queue, rig.message())])

            assert [type(error) for error in told] == [TransportRefused, type(None)]

    asyncio.run(play())


def test_where_this_user_may_make_no_stream_the_missing_one_is_named(restricted: Nats) -> None:
    async def play() -> None:
        async with Rig(Broker(restricted.url)) as rig:
            clerk = await rig.transport(url=restricted.url.replace(f"{USER}:", "clerk:"))

            with pytest.raises(TransportRefused, match=rig.queue.name):
                await rig.listen(clerk)

    asyncio.run(play())


def test_the_rights_that_the_page_names_are_enough(restricted: Nats) -> None:
    async def play() -> None:
        url = restricted.url.replace(f"{USER}:", "least:")
        async with Rig(Broker(url, claim={"claim_seconds": "1"})) as rig:
            transport = await rig.transport()
            await transport.prepare([rig.queue, rig.topic])
            inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
            grave = await rig.listen(transport, rig.queue._replace(name=f"{rig.queue.name}.dead"))

            await rig.send(transport, "one")
            await rig.send(transport, "told", to=rig.topic)
            await (await inbox.next()).retry(0.2)
            await (await inbox.next()).bury("poison")

            assert text_of((await grave.acked(1))[0]) == "one"
            assert text_of((await topic.acked(1))[0]) == "told"

    asyncio.run(play())


def test_a_token_lets_in_and_without_jetstream_nothing_is_confirmed(plain: Nats) -> None:
    async def play() -> None:
        address = f"127.0.0.1:{plain.port}"
        async with Rig(Broker(f"nats://{plain.password}@{address}")) as rig:
            transport = await rig.transport(publish_seconds="1")

            told = await transport.publish([Send(rig.queue, rig.message())])

            assert isinstance(told[0], TransportAway)
            assert "JetStream" in str(told[0])
        with pytest.raises(TransportRefused) as refused:
            await transport_for(f"nats://wrong-secret@{address}").open()
        assert "wrong-secret" not in str(refused.value)

    asyncio.run(play())


def test_over_tls_nothing_is_said_to_a_server_that_speaks_none(nats_server: Nats) -> None:
    async def play() -> None:
        heard = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.9.0","headers":true,"max_payload":1048576}\r\n')
            heard.extend(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(TransportRefused, match="TLS"):
            await transport_for(f"tls://user:secret@127.0.0.1:{port}").open()

        server.close()
        assert heard == b""

    asyncio.run(play())


def test_a_stream_that_somebody_deletes_is_made_again_and_its_group_goes_on(nats_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(nats_url)) as rig:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            await rig.send(transport, "before")
            await inbox.acked(1)
            client = await nats.connect(nats_url)
            try:
                await client.jetstream().delete_stream(at_broker(rig.prefix, rig.queue).replace(".", "+"))
            finally:
                await client.close()

            await rig.send(transport, "after")

            assert await inbox.acked_until("after") == ["after"]

    asyncio.run(play())


@pytest.mark.parametrize("count", [40, 2_500])
def test_what_a_server_waits_for_in_vain_after_its_end_keeps_nothing_from_those_who_wait(
    nats_server: Nats, count: int
) -> None:
    """It kept that acked messages are removed, and not that they are acked; the oldest is still in somebody's hands."""

    def consumer_file() -> Path:
        return next(nats_server.data.rglob("obs/listeners/o.dat"))

    async def story() -> None:
        desk = Desk()
        transport = transport_for(f"{nats_server.url}?claim_seconds=2")
        await transport.open()
        await transport.listen(QUEUE, "", desk.receive, in_flight=count + 10)
        await _published(transport, [f"old-{number}" for number in range(count)])
        await desk.has(f"old-{count - 1}")
        await _until(lambda: len(consumer_file().read_bytes()) > 2 * count)
        before = consumer_file().read_bytes()
        for delivery in desk.held[1:]:
            await delivery.ack()
        await _until(lambda: len(consumer_file().read_bytes()) < count)
        nats_server.stop()
        consumer_file().write_bytes(before)
        nats_server.start()

        await _published(transport, ["new"])
        await asyncio.sleep(2.5)  # by then the server has begun to look for all that it waits for in vain
        await _published(transport, ["newer"])
        await desk.has("newer")
        assert await transport.lag(QUEUE, "") == 3

        await transport.close()

    asyncio.run(story())


async def _published(transport: Transport, ids: Sequence[str]) -> None:
    """Publish as the sender does: what is not confirmed goes again."""
    left = [Send(QUEUE, Message(id_, "test.told", "test", b"{}", key=id_)) for id_ in ids]
    async with asyncio.timeout(20):
        while left:
            told = await transport.publish(left)
            left = [send for send, error in zip(left, told, strict=True) if error is not None]
            await asyncio.sleep(0.02 if left else 0.0)


async def _until(it_is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not it_is_so():
            await asyncio.sleep(0.05)


class Desk:
    """Keeps what comes, and acks nothing."""

    def __init__(self) -> None:
        self.held: list[Delivery] = []
        self._news = asyncio.Event()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        self.held.extend(deliveries)
        self._news.set()

    async def has(self, id_: str) -> None:
        async with asyncio.timeout(20):
            while not any(one.message is not None and one.message.id == id_ for one in self.held):
                self._news.clear()
                await self._news.wait()


def test_of_several_servers_one_that_is_away_is_passed_over(nats_server: Nats) -> None:
    async def play() -> None:
        login = f"nats://{USER}:{nats_server.password}"
        async with Rig(Broker(f"{login}@127.0.0.1:1,127.0.0.1:{nats_server.port}")) as rig:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            await rig.send(transport, "told")

            assert text_of((await inbox.acked(1))[0]) == "told"
            await eventually(lambda: transport.away == "")

    asyncio.run(play())


def test_a_connection_that_breaks_with_something_left_to_say_ends_without_a_word_in_the_log(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context)))
        gone = asyncio.Event()
        client = NatsClient(insist_on_tls=False)

        async def closed() -> None:
            gone.set()

        async def trouble(error: Exception) -> None:
            client.put([pub("somewhere")])

        await client.connect([nats_url], allow_reconnect=False, closed_cb=closed, error_cb=trouble)
        transport: Any = client._transport
        transport._io_writer.transport.abort()
        async with asyncio.timeout(30.0):
            await gone.wait()

    told: list[str] = []
    with caplog.at_level("WARNING"):
        uvloop.run(play())  # to asyncio's own loop, a write to what is closed is no error
        gc.collect()  # a task that failed says so when it goes

    assert told == []
    assert caplog.text == ""


@pytest.mark.parametrize("options", ["claim_seconds=0", "keep_days=x", "replicas=0", "credentials=/x", "cafile=/none"])
def test_an_option_that_makes_no_sense_is_refused_before_anybody_connects(options: str) -> None:
    with pytest.raises(TransportRefused):
        NatsTransport(f"nats://127.0.0.1:4222?{options}")
