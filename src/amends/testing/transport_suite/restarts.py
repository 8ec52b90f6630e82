"""Rules about a broker that is stopped, killed and started again.

Guarantees: each rule is one test.
Must not: ask how long a broker takes to come back.
"""

from __future__ import annotations

import asyncio

from amends.errors import TransportAway
from amends.testing.transport_suite.outages import until_published
from amends.testing.transport_suite.rig import WAIT_SECONDS, Broker, Inbox, Restartable, Rig, text_of, texts_of
from amends.transport.base import Send, Transport

BUSY_SECONDS = 0.7


class RestartRules:
    """With a broker of the test's own."""

    def test_what_was_confirmed_outlives_a_broker_that_is_killed(self, broker: Broker, server: Restartable) -> None:
        async def play() -> None:
            async with Rig(broker) as rig:
                transport = await rig.transport()
                await transport.prepare([rig.queue])
                texts = [f"text {number}" for number in range(200)]
                await rig.send(transport, *texts)
                await asyncio.sleep(broker.settled_seconds)

                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

                inbox = await rig.listen(transport)
                assert set(await inbox.all_of(texts)) == set(texts)

        asyncio.run(play())

    def test_a_listener_outlives_a_broker_that_is_killed(self, broker: Broker, server: Restartable) -> None:
        asyncio.run(_outlives(broker, server, kill=True))

    def test_a_listener_outlives_a_broker_that_is_stopped(self, broker: Broker, server: Restartable) -> None:
        asyncio.run(_outlives(broker, server, kill=False))

    def test_a_broker_that_hangs_is_away_in_time_and_used_again_when_it_goes_on(
        self, broker: Broker, server: Restartable
    ) -> None:
        async def play() -> None:
            async with Rig(broker) as rig:
                transport, leaving = await rig.transport(publish_seconds="1"), await rig.transport(publish_seconds="1")
                inbox = await rig.listen(transport)
                await rig.send(transport, "before")
                await inbox.acked(1)
                await rig.send(leaving, "before")
                await inbox.until(1)
                loop = asyncio.get_running_loop()

                await asyncio.to_thread(server.pause)
                began = loop.time()
                told = await transport.publish([Send(rig.queue, rig.message("lost"))])
                took = loop.time() - began
                async with asyncio.timeout(30):
                    await leaving.close()
                    await inbox.all[-1].retry()
                await asyncio.to_thread(server.resume)

                assert isinstance(told[0], TransportAway)
                assert took < 6
                await until_published(rig, transport, "after")
                assert "after" in await inbox.acked_until("after")

        asyncio.run(play())


async def _outlives(broker: Broker, server: Restartable, *, kill: bool) -> None:
    """What was in flight, what waited and what is sent afterwards comes, to the queue and to the group; what is never
    acked comes to another."""
    async with Rig(broker) as rig:
        transport = await rig.transport(publish_seconds="2")
        inbox, topic = await rig.listen(transport, in_flight=5), await rig.listen(transport, rig.topic)
        await asyncio.sleep(broker.settled_seconds)
        await _busy(rig, transport, inbox)
        await rig.send(transport, *(f"text {number}" for number in range(20)))
        await rig.send(transport, "told", to=rig.topic)
        held, seen = await inbox.some(5), len(inbox.all)
        await topic.some(1)

        await asyncio.to_thread(server.kill if kill else server.stop)
        await asyncio.to_thread(server.start)
        await until_published(rig, transport, "after")

        *done, left = held  # where claims outlive the broker these acks count; elsewhere all of them come again
        await asyncio.gather(*(delivery.ack() for delivery in (*done, *topic.all)))
        texts = {*(f"text {number}" for number in range(20)), "after"} - set(texts_of(held))
        came = await inbox.all_of([*texts])
        await rig.send(transport, "last", to=rig.topic)
        assert "last" in await topic.acked_until("last")
        await inbox.acked(len(inbox.new))
        await transport.close()
        other = await rig.transport()
        heir = await rig.listen(other)
        assert text_of(left) in {*came, *texts_of(inbox.all[seen:])} or await heir.acked_until(text_of(left))
        await _all_done(rig, other, heir)


async def _busy(rig: Rig, transport: Transport, inbox: Inbox) -> None:
    """Have messages come and be acked for a while: brokers write down by and by what was."""
    end = asyncio.get_running_loop().time() + BUSY_SECONDS
    while asyncio.get_running_loop().time() < end:
        await rig.send(transport, "early", "early")
        await inbox.acked(2)


async def _all_done(rig: Rig, transport: Transport, inbox: Inbox) -> None:
    """Ack what comes until nothing waits any more: of what was acked, too, some may come again, and none for ever."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await transport.lag(rig.queue, "billing"):
            await inbox.acked(len(inbox.new))
            await asyncio.sleep(0.05)
