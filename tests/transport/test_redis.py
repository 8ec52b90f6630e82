"""What is particular to Redis streams: groups, consumers, trimming, permissions, what is durable.

Guarantees: real servers.
Must not: repeat the suite.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis as Client

from amends.errors import TransportRefused
from amends.testing.transport_suite.rig import QUIET_SECONDS, Broker, Rig, eventually, text_of
from amends.transport.base import Send
from amends.transport.names import at_broker
from amends.transport.redis import RedisTransport
from amends.transport.redis_groups import group_of
from services.redis import Redis

IDLE_CALLS = 8  # in a bit more than a second, of all connections together
_USERS = """
user clerk on >PASSWORD ~* +@all -config -xadd
user least on >PASSWORD ~amends.* +xadd +xreadgroup +xack +xdel +xclaim +xautoclaim +xpending +xinfo +xlen +exists \
+xgroup +xtrim +time +ping +info
"""


class Forgetful(Redis):
    """A server that keeps nothing, and drops what it has no room for."""

    def configure(self) -> None:
        super().configure()
        path = self.directory / "redis.conf"
        text = path.read_text().replace("appendonly yes", "appendonly no").replace("noeviction", "allkeys-lru")
        path.write_text(f"{text}\nmaxmemory 64mb\n{_USERS}\n".replace("PASSWORD", self.password))


@pytest.fixture
def forgetful(redis_server: Redis) -> Iterator[Redis]:
    with Forgetful() as server:
        yield server


@asynccontextmanager
async def admin(url: str) -> AsyncIterator[Client]:
    """A client of the test's own."""
    client = Client.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def texts(client: Client, key: str) -> list[str]:
    """What is in a stream."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = await client.xrange(key)  # type: ignore[assignment]
    return [fields[b"data"].decode() for _, fields in entries]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


def test_what_is_acked_is_removed_from_a_queue_and_stays_in_a_topic(redis_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_url)) as rig, admin(redis_url) as client:
            transport = await rig.transport()
            inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
            await rig.send(transport, "one", "two")
            await rig.send(transport, "told", to=rig.topic)
            await inbox.acked(2)
            await topic.acked(1)
            queue = at_broker(rig.prefix, rig.queue)

            async def empty() -> bool:
                return bool(await client.xlen(queue) == 0)

            await until(empty)
            assert await client.xlen(at_broker(rig.prefix, rig.topic)) == 1
            assert (await client.xpending(queue, "listeners"))["pending"] == 0

    asyncio.run(play())


def test_a_topic_is_trimmed_by_age_and_never_beyond_what_a_group_has_acked(redis_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_url)) as rig, admin(redis_url) as client:
            old = await rig.transport(keep_days="0.0000001")  # some milliseconds
            assert isinstance(old, RedisTransport)
            key, groups = at_broker(rig.prefix, rig.topic), old._link.groups
            reader = await rig.transport()
            inbox = await rig.listen(reader, rig.topic, in_flight=1000)
            await rig.send(old, *(f"text {number}" for number in range(500)), to=rig.topic)
            await inbox.until(500)
            held = inbox.new[150]
            await asyncio.gather(*(one.ack() for one in inbox.new if one is not held))

            async def acked() -> bool:
                return bool((await client.xpending(key, "billing"))["pending"] == 1)

            await until(acked)
            await asyncio.sleep(0.05)
            await groups.trim(rig.topic)

            left = await texts(client, key)
            assert text_of(held) in left
            assert len(left) < 500
            await held.ack()

            async def trimmed() -> bool:
                await groups.trim(rig.topic)
                return bool(await client.xlen(key) <= 200)

            await until(trimmed)

    asyncio.run(play())


def test_a_consumer_that_leaves_with_nothing_is_removed_and_one_that_had_something_only_after_that_was_taken(
    redis_url: str,
) -> None:
    async def play() -> None:
        claim = {"claim_seconds": "1"}
        async with Rig(Broker(redis_url, claim=claim)) as rig, admin(redis_url) as client:
            key = at_broker(rig.prefix, rig.queue)
            busy, idle = await rig.transport(), await rig.transport()
            inbox = await rig.listen(busy)
            await rig.send(busy, "left")
            await inbox.until(1)
            await rig.listen(idle)

            await idle.close()
            assert len(await client.xinfo_consumers(key, "listeners")) == 1
            await busy.close()
            assert len(await client.xinfo_consumers(key, "listeners")) == 1

            again = await rig.transport()
            assert text_of((await (await rig.listen(again)).acked(1))[0]) == "left"
            await again.close()
            names = [one["name"].decode() for one in await client.xinfo_consumers(key, "listeners")]
            assert len(names) == 1
            open_again = await rig.transport()
            assert isinstance(open_again, RedisTransport)
            await open_again._link.groups.remove_consumers(group_of(rig.prefix, rig.queue, ""), names[0])
            assert await client.xinfo_consumers(key, "listeners") == []

    asyncio.run(play())


def test_groups_are_made_again_after_flushall_and_miss_nothing_that_came_after(redis_server: Redis) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_server.url)) as rig, admin(redis_server.url) as client:
            transport = await rig.transport()
            inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
            await rig.send(transport, "before")
            await inbox.acked(1)
            await rig.send(transport, "told before", to=rig.topic)
            await topic.acked(1)

            await client.flushall()
            await rig.send(transport, "after")
            await rig.send(transport, "told after", to=rig.topic)

            assert "after" in await inbox.acked_until("after")
            assert "told after" in await topic.acked_until("told after")

    asyncio.run(play())


def test_an_idle_listener_asks_next_to_nothing_and_a_lone_message_comes_at_once(redis_server: Redis) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_server.url)) as rig, admin(redis_server.url) as client:
            transport, sender = await rig.transport(), await rig.transport()
            inbox = await rig.listen(transport)
            await client.ping()
            before = (await client.info("stats"))["total_commands_processed"]

            await asyncio.sleep(QUIET_SECONDS * 4)

            asked = (await client.info("stats"))["total_commands_processed"] - before
            assert asked <= IDLE_CALLS
            await rig.send(sender, "lone")
            assert await inbox.acked_until("lone") == ["lone"]

    asyncio.run(play())


def test_what_is_not_durable_is_said_at_the_start_where_the_server_tells(
    forgetful: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def said(url: str) -> str:
        caplog.clear()
        transport = RedisTransport(url)
        with caplog.at_level(logging.WARNING, logger="amends.redis"):
            await transport.open()
        await transport.close()
        return caplog.text

    warned = asyncio.run(said(forgetful.url))
    durable = asyncio.run(said(redis_url))
    forbidden = asyncio.run(said(forgetful.url.replace("//:", "//clerk:")))

    assert "appendonly is off" in warned
    assert "allkeys-lru" in warned
    assert forgetful.password not in warned
    assert durable == ""
    assert forbidden == ""


def test_what_this_user_may_not_do_is_refused(forgetful: Redis) -> None:
    async def play() -> None:
        async with Rig(Broker(forgetful.url.replace("//:", "//clerk:"))) as rig:
            transport = await rig.transport()

            told = await transport.publish([Send(rig.queue, rig.message())])

            assert isinstance(told[0], TransportRefused)
            assert rig.queue.name in str(told[0])

    asyncio.run(play())


def test_the_least_rights_that_the_page_names_are_enough(forgetful: Redis) -> None:
    async def play() -> None:
        async with Rig(Broker(forgetful.url.replace("//:", "//least:"), claim={"claim_seconds": "1"})) as rig:
            prefix = f"amends.{rig.prefix}"
            transport = await rig.transport(prefix=prefix)
            await transport.prepare([rig.queue, rig.topic])
            inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
            grave = await rig.listen(transport, rig.queue._replace(name=f"{rig.queue.name}.dead"))

            await rig.send(transport, "one")
            await rig.send(transport, "told", to=rig.topic)
            await (await inbox.next()).retry(0.2)
            await (await inbox.next()).bury("poison")

            assert text_of((await grave.acked(1))[0]) == "one"
            assert text_of((await topic.acked(1))[0]) == "told"
            await rig.send(transport, "left")
            await inbox.until(1)
            await transport.close()
            again = await rig.listen(await rig.transport(prefix=prefix))
            assert text_of((await again.acked(1))[0]) == "left"

    asyncio.run(play())


def test_an_ack_that_finds_the_server_away_gets_there_when_it_is_back(redis_server: Redis) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_server.url)) as rig, admin(redis_server.url) as client:
            transport = await rig.transport()
            inbox = await rig.listen(transport)
            await rig.send(transport, "held")
            held = await inbox.next()
            await asyncio.to_thread(redis_server.kill)

            await held.ack()
            await asyncio.to_thread(redis_server.start)

            async def acked() -> bool:
                return bool(await client.xlen(at_broker(rig.prefix, rig.queue)) == 0)

            await until(acked)
            await eventually(lambda: transport.away == "")

    asyncio.run(play())


def test_what_the_answer_to_a_read_never_told_comes_all_the_same(redis_url: str) -> None:
    async def play() -> None:
        async with Rig(Broker(redis_url)) as rig, admin(redis_url) as client:
            line = await rig.line()
            transport = await rig.transport(url=line.url)
            inbox = await rig.listen(transport)
            key = at_broker(rig.prefix, rig.queue)
            await rig.send(transport, "first")
            await inbox.acked(1)
            name = (await client.xinfo_consumers(key, "listeners"))[0]["name"]
            await line.down()
            await rig.send(await rig.transport(), "lost on its way")
            await client.xreadgroup("listeners", name, {key: ">"})  # as if the answer had been lost

            await line.up()

            assert await inbox.acked_until("lost on its way") == ["lost on its way"]
            assert inbox.all[-1].times >= 2

    asyncio.run(play())


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1/0?claim_seconds=0",
        "redis://127.0.0.1/abc",
        "redis://127.0.0.1,127.0.0.2/0",
        "redis://127.0.0.1/0?cafile=/x",
        "rediss://127.0.0.1/0?cafile=/none",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_before_anybody_connects(url: str) -> None:
    with pytest.raises(TransportRefused):
        RedisTransport(url)
