"""Rules about a broker that cannot be reached for a while, or whose connections break.

Guarantees: each rule is one test.
Must not: ask how often or how soon a transport tries again, as long as it does.
"""

from __future__ import annotations

import asyncio

from amends.errors import TransportAway
from amends.testing.transport_suite.rig import Rig, eventually, rule, text_of
from amends.transport.base import Send, Transport

PUBLISH_SECONDS = 1.0


async def until_published(rig: Rig, transport: Transport, text: str) -> None:
    """Publish again and again, as the sender does, until it is confirmed."""
    async with asyncio.timeout(60):
        while (told := await transport.publish([Send(rig.queue, rig.message(text))])) != [None]:
            assert isinstance(told[0], TransportAway), told
            await asyncio.sleep(0.05)


class OutageRules:
    """Through a line that can be cut."""

    @rule
    async def test_what_is_not_acked_comes_again_after_the_connection_broke(self, rig: Rig) -> None:
        line = await rig.line()
        reader = await rig.transport(url=line.url)
        inbox = await rig.listen(reader)
        await rig.send(await rig.transport(), "left")
        await inbox.next()

        await line.cut()

        again = await inbox.next()
        assert text_of(again) == "left"
        assert again.times != 1
        await again.ack()

    @rule
    async def test_a_listener_gets_what_was_sent_while_it_was_away(self, rig: Rig) -> None:
        line = await rig.line()
        reader, sender = await rig.transport(url=line.url), await rig.transport()
        inbox = await rig.listen(reader)
        topic = await rig.listen(reader, rig.topic)
        await rig.send(sender, "before")
        await inbox.acked(1)

        await line.down()
        await rig.send(sender, "meanwhile")
        await rig.send(sender, "told", to=rig.topic)
        await line.up()

        assert "meanwhile" in await inbox.acked_until("meanwhile")
        assert "told" in await topic.acked_until("told")

    @rule
    async def test_publishing_while_the_broker_is_away_says_so_in_time_and_works_when_it_is_back(
        self, rig: Rig
    ) -> None:
        line = await rig.line()
        transport = await rig.transport(url=line.url, publish_seconds=str(PUBLISH_SECONDS))
        await rig.send(transport, "before")
        await line.down()
        loop = asyncio.get_running_loop()
        began = loop.time()

        told = await transport.publish([Send(rig.queue, rig.message("lost")) for _ in range(3)])

        assert [type(error) for error in told] == [TransportAway] * 3
        assert loop.time() - began < PUBLISH_SECONDS + 5
        await eventually(lambda: transport.away != "")
        await line.up()
        await until_published(rig, transport, "after")
        inbox = await rig.listen(transport)
        assert {"before", "after"} <= set(await inbox.all_of(["before", "after"]))
        assert transport.away == ""

    @rule
    async def test_what_was_on_its_way_when_the_connection_broke_is_confirmed_or_away(self, rig: Rig) -> None:
        line = await rig.line()
        transport = await rig.transport(url=line.url, publish_seconds="20")
        await rig.send(transport, "before")
        texts = [f"text {number}" for number in range(500)]
        sends = [Send(rig.queue, rig.message(text)) for text in texts]

        publishing = asyncio.ensure_future(transport.publish(sends))
        await asyncio.sleep(0.01)
        await line.cut()
        told = await publishing

        assert all(error is None or isinstance(error, TransportAway) for error in told)
        confirmed = [text for text, error in zip(texts, told, strict=True) if error is None]
        inbox = await rig.listen(await rig.transport())
        assert set(confirmed) <= set(await inbox.all_of([*confirmed, "before"]))

    @rule
    async def test_an_end_that_does_not_get_through_raises_nothing_and_loses_nothing(self, rig: Rig) -> None:
        line = await rig.line()
        transport = await rig.transport(url=line.url, publish_seconds=str(PUBLISH_SECONDS))
        inbox = await rig.listen(transport)
        await rig.send(await rig.transport(), "one", "two", "three", "four")
        one, two, three, four = await inbox.these("one", "two", "three", "four")

        await line.down()
        await one.ack()
        await two.retry()
        await three.retry(3.0)  # longer than any transport holds on to it
        await four.bury("too far away")
        await line.up()

        assert {"two", "three", "four"} <= set(await inbox.all_of(["two", "three", "four"]))

    @rule
    async def test_a_broker_that_is_away_when_a_transport_opens_is_waited_for(self, rig: Rig) -> None:
        line = await rig.line()
        await line.down()

        transport = await rig.transport(url=line.url, publish_seconds=str(PUBLISH_SECONDS))

        told = await transport.publish([Send(rig.queue, rig.message("lost"))])
        assert isinstance(told[0], TransportAway)
        assert transport.away
        await line.up()
        await until_published(rig, transport, "after")
        inbox = await rig.listen(transport)
        assert "after" in await inbox.acked_until("after")

    @rule
    async def test_listening_to_a_broker_that_is_away_begins_when_it_is_there(self, rig: Rig) -> None:
        line = await rig.line()
        await line.down()
        transport = await rig.transport(url=line.url)

        listening = asyncio.ensure_future(rig.listen(transport))
        await asyncio.sleep(0.1)
        await line.up()

        inbox = await listening
        await rig.send(await rig.transport(), "told")
        assert "told" in await inbox.acked_until("told")

    @rule
    async def test_a_transport_may_be_closed_while_its_broker_is_away(self, rig: Rig) -> None:
        line = await rig.line()
        transport = await rig.transport(url=line.url)
        await rig.listen(transport)
        await line.down()

        async with asyncio.timeout(30):
            await transport.close()

        assert transport.away

    @rule
    async def test_a_connection_that_breaks_again_and_again_loses_nothing(self, rig: Rig) -> None:
        line = await rig.line()
        transport = await rig.transport(url=line.url, publish_seconds="20")
        inbox = await rig.listen(transport, in_flight=10)
        texts = [f"text {number}" for number in range(5)]

        for text in texts:
            await until_published(rig, transport, text)
            await inbox.until(1)
            await line.cut()

        assert set(await inbox.all_of(texts)) == set(texts)
