"""Rules about a broker that is stopped, killed and started again.

Guarantees: each rule is one test.
Must not: ask how long a broker takes to come back.
"""

from __future__ import annotations

import asyncio

from amends.testing.transport_suite.outages import until_published
from amends.testing.transport_suite.rig import Broker, Restartable, Rig


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


async def _outlives(broker: Broker, server: Restartable, *, kill: bool) -> None:
    """What was in flight, what waited and what is sent afterwards comes, to the queue and to the group."""
    async with Rig(broker) as rig:
        transport = await rig.transport(publish_seconds="2")
        inbox, topic = await rig.listen(transport, in_flight=5), await rig.listen(transport, rig.topic)
        await rig.send(transport, *(f"text {number}" for number in range(20)))
        await rig.send(transport, "told", to=rig.topic)
        await inbox.some(5)
        await topic.some(1)
        await asyncio.sleep(broker.settled_seconds)

        await asyncio.to_thread(server.kill if kill else server.stop)
        await asyncio.to_thread(server.start)
        await until_published(rig, transport, "after")

        texts = [*(f"text {number}" for number in range(20)), "after"]
        assert set(await inbox.all_of(texts)) >= set(texts)
        assert "told" in await topic.acked_until("told")
