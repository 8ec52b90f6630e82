"""The transport over NATS JetStream passes the suite that every transport must pass.

Guarantees: against a real server.
Must not: test what is particular to NATS: that is in `test_nats.py` and the files beside it.
"""

from __future__ import annotations

import re

import nats
import pytest
from lost_brokers import LostBrokers

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
from amends.testing.transport_suite.rig import Rig, rule, text_of
from amends.transport.base import Destination
from services.nats import Nats


def suited(url: str) -> Broker:
    """A server as the suite has to know it."""

    async def garbage(prefix: str, destination: Destination) -> None:
        client = await nats.connect(url)
        try:
            await client.jetstream().publish(f"{prefix}.{destination.name}", b"\xff no message of ours")
        finally:
            await client.close()

    wrong = re.sub(r"//([^:]*):[^@]*@", r"//\1:wrong-secret@", url)
    return Broker(
        url, claim={"claim_seconds": "1"}, claim_seconds=1.0, garbage=garbage, wrong_login=wrong if "@" in url else None
    )


class TestNatsKeepsThePromises(TransportSuite):
    """With the server that the run shares."""

    @pytest.fixture
    def broker(self, nats_url: str) -> Broker:
        return suited(nats_url)

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


class TestNatsOutlivesItsServer(RestartSuite, LostBrokers):
    """With a server of each test's own."""

    @pytest.fixture
    def server(self, nats_server: Nats) -> Nats:
        return nats_server

    @pytest.fixture
    def broker(self, server: Nats) -> Broker:
        return suited(server.url)
