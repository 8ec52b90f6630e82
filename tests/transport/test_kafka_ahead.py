"""How far a partition on Kafka is read beyond what is not done with, and how a group evens out afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from amends.message import Message
from amends.transport import kafka_listen, kafka_member
from amends.transport.base import Delivery, Destination, Send
from amends.transport.kafka import KafkaTransport

QUEUE = Destination("inventory.commands")
WAIT_SECONDS = 60.0


async def _open(url: str, **options: str) -> KafkaTransport:
    transport = KafkaTransport(f"{url}?{'&'.join(f'{name}={value}' for name, value in options.items())}")
    await transport.open()
    return transport


async def _publish(transport: KafkaTransport, *ids: str) -> None:
    sends = [Send(QUEUE, Message(id_, "test.told", "test", b"{}", key=id_)) for id_ in ids]
    assert await transport.publish(sends) == [None] * len(sends)


class Desk:
    """Acks what comes, but for the messages that are held."""

    def __init__(self, *held: str) -> None:
        self._hold = set(held)
        self.held: dict[str, Delivery] = {}
        self.came: list[str] = []
        self._tasks: set[asyncio.Future[None]] = set()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        """What the transport calls."""
        for delivery in deliveries:
            assert delivery.message is not None
            self.came.append(delivery.message.id)
            if delivery.message.id in self._hold - self.held.keys():  # the first time
                self.held[delivery.message.id] = delivery
            else:
                task = asyncio.ensure_future(self._work(delivery))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _work(self, delivery: Delivery) -> None:
        await delivery.ack()

    async def has(self, *ids: str, times: int = 1) -> None:
        """Wait until these came so often."""
        async with asyncio.timeout(WAIT_SECONDS):
            while any(self.came.count(id_) < times for id_ in ids):
                await asyncio.sleep(0.02)


def test_what_is_put_off_for_long_holds_its_partition_up_no_further_than_ahead(
    kafka_url: str, broker_prefix: str
) -> None:
    async def play() -> None:
        transport = await _open(kafka_url, prefix=broker_prefix, partitions="1", ahead="20")
        desk = Desk("later")
        await transport.listen(QUEUE, "", desk.receive, in_flight=1000)
        await _publish(transport, "later")
        await desk.has("later")
        began = time.monotonic()

        await desk.held["later"].retry(300.0)
        for batch in range(10):
            await _publish(transport, *(ids := [f"{batch}-{number}" for number in range(20)]))
            await desk.has(*ids)

        await desk.has("later", times=2)
        assert time.monotonic() - began < 250
        async with asyncio.timeout(WAIT_SECONDS):
            while await transport.lag(QUEUE, "") != 0:
                await asyncio.sleep(0.05)
        await transport.close()

    asyncio.run(play())


def test_what_somebody_is_at_for_long_stops_its_partition_there_until_it_is_done(
    kafka_url: str, broker_prefix: str
) -> None:
    async def play() -> None:
        transport = await _open(kafka_url, prefix=broker_prefix, partitions="1", ahead="20")
        desk = Desk("slow")
        await transport.listen(QUEUE, "", desk.receive, in_flight=1000)
        await _publish(transport, "slow")
        await _publish(transport, *(some := [f"some-{number}" for number in range(30)]))
        await desk.has("slow", *some)

        await _publish(transport, "behind")
        await asyncio.sleep(1.5)  # nothing tells that nothing comes
        before = list(desk.came)
        await desk.held["slow"].ack()

        await desk.has("behind")
        assert "behind" not in before
        await transport.close()

    asyncio.run(play())


def test_one_that_came_while_all_was_held_open_gets_its_share_when_that_is_done(
    kafka_url: str, broker_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_member, "EVEN_SECONDS", 1.0)

    async def play() -> None:
        one = await _open(kafka_url, prefix=broker_prefix)
        two = await _open(kafka_url, prefix=broker_prefix)
        ids = [f"long-{number}" for number in range(60)]
        busy, idle = Desk(*ids), Desk()
        await one.listen(QUEUE, "", busy.receive, in_flight=1000)
        await _publish(one, *ids)
        await busy.has(*ids)

        await two.listen(QUEUE, "", idle.receive, in_flight=1000)
        await _publish(one, *(f"between-{number}" for number in range(30)))
        await busy.has(*(f"between-{number}" for number in range(30)))
        for delivery in busy.held.values():
            await delivery.ack()

        turn = 0
        async with asyncio.timeout(WAIT_SECONDS):
            while not idle.came:
                await _publish(one, *(f"{turn}-{number}" for number in range(12)))
                await asyncio.sleep(0.2)
                turn += 1
        assert not [id_ for id_ in ids if busy.came.count(id_) > 1 or id_ in idle.came]
        await one.close()
        await two.close()

    asyncio.run(play())


class Busy(Desk):
    """Is at each message for a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def _work(self, delivery: Delivery) -> None:
        await asyncio.sleep(self._seconds)
        await delivery.ack()


def test_one_that_comes_while_others_are_at_work_without_a_break_gets_its_share(
    kafka_url: str, broker_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_member, "EVEN_SECONDS", 1.0)
    work_seconds = 1.5 * kafka_listen.SETTLE_SECONDS  # a change of the group finds somebody at it everywhere

    async def play() -> tuple[list[str], list[str]]:
        one = await _open(kafka_url, prefix=broker_prefix, partitions="2")
        two = await _open(kafka_url, prefix=broker_prefix, partitions="2")
        first, second = Busy(work_seconds), Busy(work_seconds)
        await one.listen(QUEUE, "", first.receive, in_flight=1000)

        async def load() -> None:
            for turn in itertools.count():
                await _publish(one, *(f"{turn}-{number}" for number in range(12)))
                await asyncio.sleep(0.2)

        loader = asyncio.create_task(load())
        await first.has("0-0")
        await two.listen(QUEUE, "", second.receive, in_flight=1000)
        async with asyncio.timeout(WAIT_SECONDS):
            while not second.came:
                await asyncio.sleep(0.02)
        loader.cancel()
        await asyncio.wait([loader])
        async with asyncio.timeout(WAIT_SECONDS):
            while await one.lag(QUEUE, "") != 0:
                await asyncio.sleep(0.05)
        await one.close()
        await two.close()
        return first.came, second.came

    first, second = asyncio.run(play())

    assert [id_ for id_, times in Counter([*first, *second]).items() if times > 1] == []
