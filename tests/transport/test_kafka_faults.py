"""What the transport over Kafka survives beyond the suite: rebalances, stopped processes, killed and wiped brokers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from aiokafka.client import ConnectionGroup  # type: ignore[import-untyped]

from amends.errors import TransportAway
from amends.message import Message
from amends.transport.base import Delivery, Destination, Kind, Send
from amends.transport.kafka import KafkaTransport
from servers import need
from services.kafka import Kafka

QUEUE = Destination("inventory.commands")
TOPIC = Destination("inventory.events", Kind.TOPIC)
WAIT_SECONDS = 90.0
WORKER = Path(__file__).with_name("kafka_worker.py")


class Desk:
    """Listens, and keeps which messages came, how often."""

    def __init__(self) -> None:
        self.came: Counter[str] = Counter()
        self.held: list[Delivery] = []
        self._news = asyncio.Event()

    def acking(self, deliveries: Sequence[Delivery]) -> None:
        """Ack what comes."""
        for delivery in deliveries:
            asyncio.ensure_future(delivery.ack())  # noqa: RUF006 - it waits for nothing
        self.noting(deliveries)

    def noting(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what comes, and do nothing about it."""
        self.held.extend(deliveries)
        self.note(*(one.message.id for one in deliveries if one.message is not None))

    def note(self, *ids: str) -> None:
        """These came."""
        self.came.update(ids)
        self._news.set()

    async def has(self, ids: set[str]) -> None:
        """Wait until all of these came."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not ids <= self.came.keys():
                self._news.clear()
                await self._news.wait()

    async def has_one(self) -> None:
        """Wait until anything came."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.came:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def opened(url: str, **options: str) -> AsyncIterator[KafkaTransport]:
    """A transport, open."""
    told = "&".join(f"{name}={value}" for name, value in {"session_seconds": "3", **options}.items())
    transport = KafkaTransport(f"{url}?{told}")
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


async def until_confirmed(transport: KafkaTransport, ids: Sequence[str], to: Destination = QUEUE) -> None:
    """Publish as the sender does: what may not have come goes again."""
    left = [Send(to, Message(id_, "test.told", "test", b"{}", key=id_)) for id_ in ids]
    async with asyncio.timeout(WAIT_SECONDS):
        while left:
            told = await transport.publish(left)
            assert all(error is None or isinstance(error, TransportAway) for error in told), told
            left = [send for send, error in zip(left, told, strict=True) if error is not None]
            await asyncio.sleep(0.02 if left else 0.0)


class Process:
    """A worker in a process of its own."""

    def __init__(self, url: str, prefix: str, desk: Desk) -> None:
        environment = {**os.environ, "AMENDS_BROKER": f"{url}?prefix={prefix}&session_seconds=3"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._desk = desk
        self.listening = asyncio.Event()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        out = self._process.stdout
        assert out is not None
        while line := await asyncio.to_thread(out.readline):
            if line == "listening\n":
                self.listening.set()
            else:
                self._desk.note(line.strip())

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        self._process.send_signal(what)

    async def close(self) -> None:
        """Kill it."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        await self._reader
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def names(what: str, count: int) -> list[str]:
    return [f"{what}-{number}" for number in range(count)]


def test_consumers_that_come_and_go_under_load_lose_nothing(kafka_url: str, broker_prefix: str) -> None:
    async def play() -> None:
        desk, ids = Desk(), names("load", 3000)
        async with opened(kafka_url, prefix=broker_prefix) as sender, opened(kafka_url, prefix=broker_prefix) as first:
            await first.listen(QUEUE, "", desk.acking, in_flight=50)

            publishing = asyncio.ensure_future(_in_batches(sender, ids))
            await desk.has_one()
            for _ in range(3):
                async with opened(kafka_url, prefix=broker_prefix) as other:
                    await other.listen(QUEUE, "", desk.acking, in_flight=50)
            await publishing

            await desk.has(set(ids))

    asyncio.run(play())


async def _in_batches(transport: KafkaTransport, ids: Sequence[str], size: int = 20) -> None:
    for at in range(0, len(ids), size):
        await until_confirmed(transport, ids[at : at + size])
        await asyncio.sleep(0.005)


def test_a_process_that_is_stopped_past_its_session_loses_nothing_and_comes_back(
    kafka_url: str, broker_prefix: str
) -> None:
    async def play() -> None:
        one, two = Desk(), Desk()
        stopped = Process(kafka_url, broker_prefix, one)
        other = Process(kafka_url, broker_prefix, two)
        try:
            async with asyncio.timeout(WAIT_SECONDS), opened(kafka_url, prefix=broker_prefix) as sender:
                await stopped.listening.wait()
                await other.listening.wait()
                first, second, third = names("a", 600), names("b", 600), names("c", 600)
                publishing = asyncio.ensure_future(_in_batches(sender, first))
                await one.has_one()

                stopped.send(signal.SIGSTOP)
                await publishing
                await until_confirmed(sender, second)
                await two.has(set(second))  # also those in the partitions of the one that stands still
                stopped.send(signal.SIGCONT)

                seen = set(one.came)
                while not {*one.came} - seen:  # it works again, beside the other
                    await until_confirmed(sender, third)
                while not {*first, *second, *third} <= one.came.keys() | two.came.keys():
                    await asyncio.sleep(0.05)
        finally:
            await stopped.close()
            await other.close()

    asyncio.run(play())


def test_an_ack_that_comes_after_its_member_was_given_up_commits_nothing(kafka_url: str, broker_prefix: str) -> None:
    async def play() -> None:
        late = Desk()
        async with opened(kafka_url, prefix=broker_prefix) as one:
            await one.listen(QUEUE, "", late.noting, in_flight=1000)
            await until_confirmed(one, ids := names("late", 60))
            await late.has(set(ids))
            old = list(late.held)
            consumer = one._listeners[0]._member._consumer  # type: ignore[union-attr]

            await consumer._coordinator._maybe_leave_group()  # as the broker does with one that it hears nothing of
            async with asyncio.timeout(WAIT_SECONDS):
                while min(late.came[id_] for id_ in ids) < 2:  # they came again
                    await asyncio.sleep(0.02)
            for delivery in old:
                await delivery.ack()
        async with opened(kafka_url, prefix=broker_prefix) as two:
            again = Desk()
            await two.listen(QUEUE, "", again.acking, in_flight=100)

            await again.has(set(ids))

    asyncio.run(play())


def test_a_commit_over_a_connection_that_breaks_this_moment_confirms_nothing_and_ends_nothing(
    kafka_url: str, broker_prefix: str
) -> None:
    """uvloop refuses to write there with an error that is no OSError."""

    async def play() -> None:
        desk = Desk()
        async with opened(kafka_url, prefix=broker_prefix, commit_seconds="60") as transport:
            await transport.listen(QUEUE, "", desk.acking, in_flight=100)
            await until_confirmed(transport, ids := names("first", 8))
            await desk.has(set(ids))
            member = transport._listeners[0]._member
            assert member is not None
            coordinator = member._consumer._coordinator
            for (_, group), conn in coordinator._client._conns.items():
                if group == ConnectionGroup.COORDINATION:
                    conn._reader.feed_data(b"\0")  # the beginning of an answer: there is something to read still
                    conn._writer.transport.abort()
            await asyncio.sleep(0)  # the connection is lost now, and its reader does not know yet

            assert not await member.commit()

            await until_confirmed(transport, more := names("second", 8))
            await desk.has(set(more))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


def test_what_stays_with_its_member_in_a_rebalance_does_not_come_again(kafka_url: str, broker_prefix: str) -> None:
    async def play() -> None:
        one, two = Desk(), Desk()
        async with opened(kafka_url, prefix=broker_prefix) as first, opened(kafka_url, prefix=broker_prefix) as second:
            await first.listen(QUEUE, "", one.noting, in_flight=100)
            await until_confirmed(first, ids := names("long", 60))
            await one.has(set(ids))

            await second.listen(QUEUE, "", two.noting, in_flight=100)
            await until_confirmed(first, last := names("last", 30))
            async with asyncio.timeout(WAIT_SECONDS):
                while not set(last) <= one.came.keys() | two.came.keys():
                    await asyncio.sleep(0.05)

            assert not [id_ for id_, count in one.came.items() if count > 1]

    asyncio.run(play())


@pytest.fixture(scope="module")
def of_its_own() -> Iterator[Kafka]:
    """A broker that may be killed."""
    need(Kafka.find)
    with Kafka() as server:
        yield server


def test_a_broker_that_is_killed_under_load_loses_nothing(of_its_own: Kafka, broker_prefix: str) -> None:
    of_its_own.start()
    url = of_its_own.url

    async def play() -> None:
        desk, ids = Desk(), names("load", 2000)
        async with (
            opened(url, prefix=broker_prefix, publish_seconds="3") as sender,
            opened(url, prefix=broker_prefix) as reader,
        ):
            await reader.listen(QUEUE, "", desk.acking, in_flight=50)
            publishing = asyncio.ensure_future(_in_batches(sender, ids))
            await desk.has_one()

            await asyncio.to_thread(of_its_own.kill)
            async with asyncio.timeout(WAIT_SECONDS):
                while not sender.away:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(of_its_own.start)

            await publishing
            await desk.has(set(ids))
            assert sender.away == ""

    asyncio.run(play())


def test_after_a_broker_was_wiped_everybody_works_again_with_topics_made_anew(
    of_its_own: Kafka, broker_prefix: str
) -> None:
    of_its_own.start()
    url = of_its_own.url

    async def play() -> None:
        desk, events = Desk(), Desk()
        async with (
            opened(url, prefix=broker_prefix, publish_seconds="3") as sender,
            opened(url, prefix=broker_prefix) as reader,
        ):
            await reader.listen(QUEUE, "", desk.acking, in_flight=50)
            await reader.listen(TOPIC, "billing", events.acking, in_flight=50)
            await until_confirmed(sender, before := names("before", 300))
            await until_confirmed(sender, before, TOPIC)
            await desk.has(set(before))
            await events.has(set(before))

            await asyncio.to_thread(of_its_own.kill)
            of_its_own.wipe()
            await asyncio.to_thread(of_its_own.start)

            await until_confirmed(sender, after := names("after", 300))
            await until_confirmed(sender, after, TOPIC)
            await desk.has(set(after))
            await events.has(set(after))
            assert (sender.away, reader.away) == ("", "")

    asyncio.run(play())
