"""What is said of a broker that is lost: rules beside the suite, for the four classes that kill brokers of their own.

Guarantees: a broker is killed and started again; who uses the class gives the fixtures `broker` and `server`.
Must not: look at anything but the log.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from amends.errors import TransportAway
from amends.testing.transport_suite import Broker, Restartable
from amends.testing.transport_suite.rig import Rig, eventually
from amends.transport.base import Send

AWAY_SECONDS = 2.0


class LostBrokers:
    """Rules about the log."""

    def test_a_broker_that_is_lost_is_said_to_be_away_in_one_line_and_to_be_there_again_in_another(
        self, broker: Broker, server: Restartable, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def play() -> None:
            async with Rig(broker) as rig:
                transport = await rig.transport(publish_seconds="1")
                inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)
                await rig.send(transport, "one", "two")
                await rig.send(transport, "told", to=rig.topic)
                held = [*await inbox.some(2), *await topic.some(1)]
                caplog.clear()

                await asyncio.to_thread(server.kill)
                told = await transport.publish([Send(rig.queue, rig.message(f"text {n}")) for n in range(20)])
                await asyncio.gather(*(delivery.ack() for delivery in held))
                await eventually(lambda: transport.away != "")
                await asyncio.sleep(AWAY_SECONDS)
                while_away = said(caplog)
                await asyncio.to_thread(server.start)
                await eventually(lambda: transport.away == "")

                assert isinstance(told[0], TransportAway)
                assert len(while_away) == 1, while_away
                assert "is away: " in while_away[0]
                assert said(caplog) == while_away
                assert [text for text in said(caplog, logging.INFO) if "there again" in text]

        with caplog.at_level(logging.INFO):
            asyncio.run(play())


def said(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What a service's log would hold by now, from this level on."""
    return [f"{record.name}: {record.getMessage()}" for record in caplog.records if record.levelno >= level]
