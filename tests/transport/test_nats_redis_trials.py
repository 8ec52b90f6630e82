"""What NATS JetStream and Redis streams must survive: a kill under load, the loss of all data, a process that sleeps
past its claim; and what they have in common beyond the suite.

Guarantees: real servers, one of each test's own.
Must not: wait for luck: what is waited for is a message, or a condition.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from amends.errors import TransportAway, TransportRefused
from amends.testing.transport_suite.outages import until_published
from amends.testing.transport_suite.rig import Broker, Inbox, Rig, eventually, text_of
from amends.transport.base import Delivery, Send
from amends.transport.open import transport_for
from services.broker import Broker as Server
from services.nats import Nats
from services.redis import Redis

CLAIM_SECONDS = 1.0
_CHILD = """
import asyncio, os, sys
from amends.transport.base import Destination
from amends.transport.open import transport_for

async def main():
    transport = transport_for(os.environ["AMENDS_BROKER"])
    await transport.open()
    came = asyncio.Queue()
    def receive(deliveries):
        for delivery in deliveries:
            came.put_nowait(delivery)
    await transport.listen(Destination(sys.argv[1]), "child", receive, in_flight=10)
    delivery = await came.get()
    print(delivery.message.data.decode(), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await delivery.ack()
    await transport.close()
    print("acked", flush=True)

asyncio.run(main())
"""


@pytest.fixture(params=["nats", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of the test's own."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(params=[Nats, Redis], ids=["nats", "redis"])
def tls_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The same with TLS."""
    request.getfixturevalue(f"{request.param.name.lower()}_server")  # skips where there is none
    with request.param(tls=True) as found:
        yield found


def rig_of(server: Server) -> Rig:
    return Rig(Broker(server.url, claim={"claim_seconds": str(CLAIM_SECONDS)}, claim_seconds=CLAIM_SECONDS))


@contextmanager
def child(rig: Rig) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens, says what it got, and acks when it is told to."""
    url = rig.broker.url_with({"prefix": rig.prefix, **rig.broker.claim})
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, rig.queue.name],
        env={**os.environ, "AMENDS_BROKER": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).decode().strip()


def test_nothing_that_was_confirmed_is_lost_when_the_server_is_killed_under_load(server: Server) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            sender, reader = await rig.transport(publish_seconds="5"), await rig.transport()
            await sender.prepare([rig.queue])
            inbox = await rig.listen(reader, in_flight=50)
            confirmed, handled, done = set[str](), set[str](), asyncio.Event()

            async def send() -> None:
                number = 0
                while not done.is_set():
                    texts = [f"text {number + index}" for index in range(50)]
                    number += 50
                    told = await sender.publish([Send(rig.queue, rig.message(text)) for text in texts])
                    confirmed.update(text for text, error in zip(texts, told, strict=True) if error is None)
                    assert all(error is None or isinstance(error, TransportAway) for error in told)

            async def handle() -> None:
                while True:
                    handled.add(text_of((await inbox.acked(1))[0]))

            sending, handling = asyncio.ensure_future(send()), asyncio.ensure_future(handle())
            for _ in range(3):
                enough = len(confirmed) + 300
                await eventually(lambda enough=enough: len(confirmed) >= enough)  # type: ignore[misc]
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            done.set()
            await sending

            await eventually(lambda: confirmed <= handled)
            handling.cancel()

    asyncio.run(play())


def test_listeners_go_on_after_the_server_lost_its_data_and_miss_nothing_that_came_after(server: Server) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            line = await rig.line()
            reader, sender = await rig.transport(url=line.url), await rig.transport()
            inbox, topic = await rig.listen(reader), await rig.listen(reader, rig.topic)
            await rig.send(sender, "before")
            await rig.send(sender, "told before", to=rig.topic)
            await inbox.acked(1)
            await topic.acked(1)

            await line.down()
            await asyncio.to_thread(server.kill)
            server.wipe()
            await asyncio.to_thread(server.start)
            await until_published(rig, sender, "after")
            async with asyncio.timeout(30):
                while await sender.publish([Send(rig.topic, rig.message("told after"))]) != [None]:
                    await asyncio.sleep(0.05)
            await line.up()

            assert "after" in await inbox.acked_until("after")
            assert "told after" in await topic.acked_until("told after")

    asyncio.run(play())


def test_an_ack_from_before_the_server_lost_its_data_ends_no_message_from_after(server: Server) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            reader, sender = await rig.transport(), await rig.transport()
            inbox = await rig.listen(reader)
            await rig.send(sender, "old")
            old = await inbox.next()

            await asyncio.to_thread(server.kill)
            server.wipe()
            await asyncio.to_thread(server.start)
            await until_published(rig, sender, "new")
            new = await inbox.next()
            await old.ack()
            await reader.close()

            again = await (await rig.listen(await rig.transport())).next()
            assert text_of(new) == text_of(again) == "new"
            await again.ack()

    asyncio.run(play())


def test_what_a_process_had_that_slept_past_its_claim_comes_to_others_and_its_late_ack_does_no_harm(
    server: Server,
) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            sender = await rig.transport()
            await sender.prepare([rig.queue])
            await rig.send(sender, "held")
            with child(rig) as process:
                assert await line_of(process) == "held"
                process.send_signal(signal.SIGSTOP)
                inbox = await rig.listen(sender)
                taken = await inbox.next()
                process.send_signal(signal.SIGCONT)
                assert process.stdin is not None
                process.stdin.write(b"ack\n")
                process.stdin.flush()
                assert await line_of(process) == "acked"

            await taken.ack()
            await rig.send(sender, "last")

            assert text_of(taken) == "held"
            assert taken.times >= 2
            assert await inbox.acked_until("last") == ["last"]

    asyncio.run(play())


def test_a_handler_that_takes_longer_than_the_claim_gets_its_message_once_though_others_wait(server: Server) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            reader, idle = await rig.transport(), await rig.transport()
            inbox = await rig.listen(reader, in_flight=2)
            await rig.send(reader, "long")
            long = await inbox.next()
            other = await rig.listen(idle)
            end = asyncio.get_running_loop().time() + 4 * CLAIM_SECONDS

            number = 0
            while asyncio.get_running_loop().time() < end:  # traffic, so that whoever looks for work finds some
                await rig.send(reader, f"text {number}")
                await eventually(lambda: bool(inbox.new or other.new))
                for box in (inbox, other):
                    await box.acked(len(box.new))
                number += 1
            await long.ack()

            assert [text_of(one) for one in (*inbox.all, *other.all)].count("long") == 1

    asyncio.run(play())


def test_two_processes_share_what_comes(server: Server) -> None:
    async def play() -> None:
        async with rig_of(server) as rig:
            one, two = [await rig.listen(await rig.transport(), in_flight=5) for _ in range(2)]
            texts = {f"text {number}" for number in range(300)}
            handling = [asyncio.ensure_future(_ack_all(box)) for box in (one, two)]

            await rig.send(await rig.transport(), *texts)

            await eventually(lambda: len(one.all) + len(two.all) >= 300)
            for task in handling:
                task.cancel()
            assert {text_of(delivery) for delivery in one.all + two.all} == texts
            assert one.all
            assert two.all

    asyncio.run(play())


def test_over_tls_the_servers_certificate_is_checked(tls_server: Server) -> None:
    async def play() -> None:
        trusting = transport_for(f"{tls_server.tls_url}?cafile={tls_server.certificates.authority}")
        wary = transport_for(tls_server.tls_url)
        got: list[Delivery] = []

        await trusting.open()
        async with Rig(Broker(tls_server.url)) as rig:
            await trusting.listen(rig.queue, "", got.extend, in_flight=5)
            told = await trusting.publish([Send(rig.queue, rig.message("told"))])
            await eventually(lambda: bool(got))
        await trusting.close()

        assert told == [None]
        with pytest.raises(TransportRefused, match="TLS") as refused:
            await wary.open()
        assert tls_server.password not in str(refused.value)

    asyncio.run(play())


async def _ack_all(inbox: Inbox) -> None:
    while True:
        await inbox.acked(1)
