"""The transport over Redis streams passes the suite that every transport must pass.

Guarantees: against a real server.
Must not: test what is particular to Redis: that is in `test_redis.py` and the files beside it.
"""

from __future__ import annotations

import re

import pytest
from lost_brokers import LostBrokers
from redis.asyncio import Redis as Client

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
from amends.testing.transport_suite.rig import Rig, rule, text_of
from amends.transport.base import Destination
from services.redis import Redis


def suited(url: str) -> Broker:
    """A server as the suite has to know it."""

    async def garbage(prefix: str, destination: Destination) -> None:
        client = Client.from_url(url)
        try:
            await client.xadd(f"{prefix}.{destination.name}", {b"\xff": b"no message of ours"})
        finally:
            await client.aclose()

    wrong = re.sub(r"//([^:]*):[^@]*@", r"//\1:wrong-secret@", url)
    return Broker(
        url, claim={"claim_seconds": "1"}, claim_seconds=1.0, garbage=garbage, wrong_login=wrong if "@" in url else None
    )


class TestRedisKeepsThePromises(TransportSuite):
    """With the server that the run shares."""

    @pytest.fixture
    def broker(self, redis_url: str) -> Broker:
        return suited(redis_url)

    @rule
    async def test_what_is_not_acked_comes_again_after_the_connection_broke(self, rig: Rig) -> None:
        """A claim outlives a connection here: it stays with who has it, and goes to others when that is gone."""
        line = await rig.line()
        reader = await rig.transport(url=line.url)
        inbox = await rig.listen(reader)
        await rig.send(await rig.transport(), "left")
        held = await inbox.next()

        await line.cut()

        await rig.send(await rig.transport(), "next")
        assert await inbox.acked_until("next") == ["next"]
        await reader.close()
        again = await (await rig.listen(await rig.transport())).next()
        assert text_of(again) == "left"
        assert again.times > held.times
        await again.ack()


class TestRedisOutlivesItsServer(RestartSuite, LostBrokers):
    """With a server of each test's own."""

    @pytest.fixture
    def server(self, redis_server: Redis) -> Redis:
        return redis_server

    @pytest.fixture
    def broker(self, server: Redis) -> Broker:
        return suited(server.url)
