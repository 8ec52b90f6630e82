"""Rules about how a delivery ends: acked, retried, buried, or left behind by a process that died.

Guarantees: each rule is one test.
Must not: ask that something comes only once.
"""

from __future__ import annotations

import asyncio

from amends.testing.transport_suite.child import Child
from amends.testing.transport_suite.rig import Rig, rule, text_of
from amends.transport.base import Destination, Kind
from amends.transport.names import DEAD_FROM, DEAD_GROUP, DEAD_REASON, DEAD_TIME, dead_of

LONGER_SECONDS = 2.6  # of a retry that is longer than any transport holds a message by itself


class EndRules:
    """ack, retry, bury and none of them."""

    @rule
    async def test_what_is_acked_does_not_come_again(self, rig: Rig) -> None:
        sender, reader = await rig.transport(), await rig.transport()
        inbox = await rig.listen(reader)
        await rig.send(sender, "one", "two")
        await inbox.acked(2)

        await reader.close()

        again = await rig.listen(await rig.transport())
        await rig.send(sender, "last")
        assert await again.acked_until("last") == ["last"]

    @rule
    async def test_what_is_not_acked_comes_to_others_when_its_listener_is_gone(self, rig: Rig) -> None:
        sender, reader = await rig.transport(), await rig.transport()
        inbox = await rig.listen(reader)
        await rig.send(sender, "left", "also left")
        await inbox.some(2)

        await inbox.listening.stop()
        await reader.close()

        again = await rig.listen(await rig.transport())
        assert set(await again.all_of(["left", "also left"])) == {"left", "also left"}

    @rule
    async def test_an_ack_out_of_order_ends_that_delivery_and_no_other(self, rig: Rig) -> None:
        sender, reader = await rig.transport(), await rig.transport()
        inbox = await rig.listen(reader)
        await rig.send(sender, "one", "two", "three")
        deliveries = {text_of(delivery): delivery for delivery in await inbox.some(3)}
        await deliveries["three"].ack()

        await reader.close()

        again = await rig.listen(await rig.transport())
        assert {"one", "two"} <= set(await again.all_of(["one", "two"]))

    @rule
    async def test_what_a_killed_process_had_comes_to_others(self, rig: Rig) -> None:
        rig.needs(rig.broker.survives, "these messages live in one process")
        sender = await rig.transport()
        await sender.prepare([rig.queue])
        await rig.send(sender, "left", "also left")
        with Child(rig) as child:
            await child.has(2)

            child.kill()

        again = await rig.listen(sender)
        assert set(await again.all_of(["left", "also left"])) == {"left", "also left"}

    @rule
    async def test_times_tells_a_first_delivery_from_others(self, rig: Rig) -> None:
        sender, reader = await rig.transport(), await rig.transport()
        inbox = await rig.listen(reader)
        await rig.send(sender, "left")
        first = await inbox.next()
        await reader.close()

        again = await rig.listen(await rig.transport())
        second = await again.next()
        await second.retry()
        third = await again.next()
        await third.ack()

        assert first.times in ((1,) if rig.broker.counts else (0, 1))
        assert second.times >= 2 or (second.times == 0 and not rig.broker.counts)
        assert third.times >= 2 or (third.times == 0 and not rig.broker.counts)

    @rule
    async def test_retry_has_it_come_again(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        sent = rig.message("again", subject="order-42", key="saga-1", attributes={"amendskey": "Zoë"})
        await rig.sent(transport, [sent])

        await (await inbox.next()).retry()

        again = (await inbox.acked(1))[0]
        assert again.message == sent

    @rule
    async def test_a_retry_comes_not_before_about_its_time_and_holds_nothing_up(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=2)
        loop = asyncio.get_running_loop()
        await rig.send(transport, "later")
        delivery = await inbox.next()
        asked = loop.time()

        await delivery.retry(1.5)

        others = [f"other {number}" for number in range(20)]
        await rig.send(transport, *others)
        assert await inbox.all_of([*others, "later"])
        assert loop.time() - asked >= 1.2

    @rule
    async def test_a_longer_retry_comes_not_before_about_its_time_either(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        sent = rig.message("later", subject="order-42", key="saga-1", attributes={"amendskey": "Zoë"})
        await rig.sent(transport, [sent])
        delivery = await inbox.next()
        asked = asyncio.get_running_loop().time()

        await delivery.retry(LONGER_SECONDS)

        again = (await inbox.acked(1))[0]
        assert again.message == sent
        assert asyncio.get_running_loop().time() - asked >= LONGER_SECONDS * 0.8
        assert again.times >= 2 or not rig.broker.counts

    @rule
    async def test_what_waits_for_its_retry_is_not_lost_with_who_asked(self, rig: Rig) -> None:
        for seconds in (0.5, LONGER_SECONDS):
            reader = await rig.transport()
            inbox = await rig.listen(reader)
            await rig.send(reader, f"after {seconds}")
            await (await inbox.next()).retry(seconds)

            await reader.close()

            again = await rig.transport()
            assert text_of((await (await rig.listen(again)).acked(1))[0]) == f"after {seconds}"
            await again.close()

    @rule
    async def test_many_retries_at_once_all_come(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        texts = [f"text {number}" for number in range(100)]
        await rig.send(transport, *texts)

        await asyncio.gather(*(delivery.retry(0.2) for delivery in await inbox.some(100)))

        assert set(await inbox.all_of(texts)) == set(texts)

    @rule
    async def test_a_retry_of_a_group_comes_to_that_group_alone(self, rig: Rig) -> None:
        transport = await rig.transport()
        billing = await rig.listen(transport, rig.topic, "billing")
        mailing = await rig.listen(transport, rig.topic, "mailing")
        await rig.send(transport, "told", to=rig.topic)
        await mailing.acked(1)

        await (await billing.next()).retry(0.2)

        assert text_of((await billing.acked(1))[0]) == "told"
        await rig.send(transport, "last", to=rig.topic)
        assert await mailing.acked_until("last") == ["last"]

    @rule
    async def test_what_is_buried_lies_with_the_dead_letters_and_does_not_come_again(self, rig: Rig) -> None:
        sender, reader = await rig.transport(), await rig.transport()
        inbox = await rig.listen(reader)
        await rig.send(sender, "poison")

        await (await inbox.next()).bury("no such command")
        await reader.close()

        grave = await rig.listen(sender, dead_of(rig.queue))
        message = (await grave.acked(1))[0].message
        assert message is not None
        assert message.data == b"poison"
        assert message.attributes[DEAD_REASON] == "no such command"
        assert message.attributes[DEAD_FROM] == rig.queue.name
        assert message.attributes[DEAD_TIME].endswith("Z")
        again = await rig.listen(await rig.transport())
        await rig.send(sender, "last")
        assert await again.acked_until("last") == ["last"]

    @rule
    async def test_what_a_group_buries_lies_with_the_dead_letters_of_the_topic(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport, rig.topic, "billing")
        await rig.send(transport, "poison", to=rig.topic)

        await (await inbox.next()).bury("no such event")

        grave = await rig.listen(transport, Destination("inventory.events.dead", Kind.QUEUE))
        message = (await grave.acked(1))[0].message
        assert message is not None
        assert (message.data, message.attributes[DEAD_GROUP]) == (b"poison", "billing")

    @rule
    async def test_a_delivery_may_be_ended_twice_and_after_the_close(self, rig: Rig) -> None:
        sender, transport = await rig.transport(), await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(sender, "one", "two", "three", "four")
        one, two, three, four = await inbox.these("one", "two", "three", "four")

        for delivery in (one, two):
            await delivery.ack()
            await delivery.ack()
            await delivery.retry()
            await delivery.bury("twice")
        await transport.close()
        await three.ack()
        await four.retry(1.0)
        await four.bury("too late")

        again = await rig.listen(sender)
        assert {"three", "four"} <= set(await again.all_of(["three", "four"]))
        await rig.send(sender, "last")
        assert "one" not in await again.acked_until("last")
