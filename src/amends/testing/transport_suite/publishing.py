"""Rules about publishing: what was confirmed comes, what is refused is refused by itself.

Guarantees: each rule is one test.
Must not: look at how a broker keeps messages.
"""

from __future__ import annotations

import asyncio

import pytest

from amends.errors import TransportAway, TransportRefused
from amends.testing.transport_suite.rig import Rig, rule, text_of, texts_of
from amends.transport.base import Send


class PublishRules:
    """Publishing, with a broker that is there."""

    @rule
    async def test_what_was_confirmed_before_anybody_listened_comes(self, rig: Rig) -> None:
        transport = await rig.transport()

        await rig.send(transport, "early")

        inbox = await rig.listen(transport)
        assert text_of((await inbox.acked(1))[0]) == "early"

    @rule
    async def test_it_comes_though_the_sender_has_gone(self, rig: Rig) -> None:
        reader, sender = await rig.transport(), await rig.transport()
        await rig.send(sender, "early")

        await sender.close()

        inbox = await rig.listen(reader)
        assert text_of((await inbox.acked(1))[0]) == "early"

    @rule
    async def test_a_batch_of_a_thousand_is_confirmed_and_comes(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        texts = [f"text {number}" for number in range(1000)]

        await rig.send(transport, *texts)

        assert set(await inbox.all_of(texts)) == set(texts)

    @rule
    async def test_batches_that_are_published_at_once_all_come(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        batches = [[f"batch {batch}, {number}" for number in range(20)] for batch in range(20)]

        await asyncio.gather(*(rig.send(transport, *batch) for batch in batches))

        texts = [text for batch in batches for text in batch]
        assert set(await inbox.all_of(texts)) == set(texts)

    @rule
    async def test_one_batch_may_go_to_many_destinations(self, rig: Rig) -> None:
        transport = await rig.transport()
        other = rig.queue._replace(name="payment.commands")
        inboxes = [await rig.listen(transport, to) for to in (rig.queue, other, rig.topic)]
        sends = [Send(to, rig.message(to.name)) for to in (rig.queue, other, rig.topic)]

        told = await transport.publish(sends)

        assert told == [None, None, None]
        assert [text_of((await inbox.acked(1))[0]) for inbox in inboxes] == [send.to.name for send in sends]

    @rule
    async def test_nothing_to_publish_is_nothing(self, rig: Rig) -> None:
        transport = await rig.transport()

        assert await transport.publish([]) == []

    @rule
    async def test_a_message_that_is_too_large_is_refused_and_the_rest_of_its_batch_comes(self, rig: Rig) -> None:
        options = {"message_bytes": str(rig.broker.message_bytes)} if rig.broker.bounds_messages else {}
        transport = await rig.transport(**options)
        inbox = await rig.listen(transport)
        large = rig.message("x" * (rig.broker.message_bytes + 1))

        told = await transport.publish([Send(rig.queue, m) for m in (rig.message("a"), large, rig.message("b"))])

        assert [type(error) for error in told] == [type(None), TransportRefused, type(None)]
        await rig.send(transport, "last")
        assert set(await inbox.all_of(["a", "b", "last"])) == {"a", "b", "last"}

    @rule
    async def test_a_message_of_fifty_megabytes_disturbs_nothing(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        huge = rig.message(data=b"x" * 50_000_000)

        told = await transport.publish([Send(rig.queue, m) for m in (rig.message("a"), huge, rig.message("b"))])

        assert isinstance(told[1], TransportRefused), told[1]
        assert (told[0], told[2]) == (None, None)
        assert set(await inbox.all_of(["a", "b"])) == {"a", "b"}

    @rule
    async def test_what_no_header_can_carry_is_refused_and_the_rest_of_its_batch_comes(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        unfit = [
            rig.message(attributes={"amendskey": "one\r\nce-amendssaga: two"}),
            rig.message(attributes={"Amends-Key": "x"}),
            rig.message(attributes={"amendskey": "\ud800"}),
            rig.message(attributes={"id": "another"}),
            rig.message(attributes={f"amends{number}": "x" for number in range(100)}),
            rig.message(attributes={"amendskey": "x" * 5000}),
            rig.message(subject="nul\x00"),
            rig.message()._replace(id=""),
        ]

        told = await transport.publish([Send(rig.queue, m) for m in (rig.message("a"), *unfit, rig.message("b"))])

        assert [type(error) for error in told[1:-1]] == [TransportRefused] * len(unfit)
        assert (told[0], told[-1]) == (None, None)
        assert set(await inbox.all_of(["a", "b"])) == {"a", "b"}

    @rule
    async def test_a_destination_that_has_no_proper_name_is_refused(self, rig: Rig) -> None:
        transport = await rig.transport()
        names = ["", "a b", "a..b", "a/b", "a*", "a>", "a@b", "ä", "x" * 300, ".a", "a.", "a\nb"]

        told = await transport.publish([Send(rig.queue._replace(name=name), rig.message()) for name in names])

        assert [type(error) for error in told] == [TransportRefused] * len(names)
        with pytest.raises(TransportRefused):
            await rig.listen(transport, rig.queue._replace(name="a b"))

    @rule
    async def test_first_deliveries_of_one_key_come_in_the_order_of_publishing(self, rig: Rig) -> None:
        rig.needs(rig.broker.ordered, "this broker keeps no order")
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=7)
        batches = [[f"{batch}.{number}" for number in range(40)] for batch in range(3)]

        for batch in batches:
            await rig.sent(transport, [rig.message(text, key="saga-1") for text in batch])

        texts = [text for batch in batches for text in batch]
        assert texts_of(await inbox.acked(len(texts))) == texts

    @rule
    async def test_nothing_is_published_before_it_is_open_or_after_it_is_closed(self, rig: Rig) -> None:
        closed, fresh = await rig.transport(), rig.closed(publish_seconds="0.3")
        await closed.close()

        told = [
            *(await closed.publish([Send(rig.queue, rig.message())])),
            *(await fresh.publish([Send(rig.queue, rig.message())])),
        ]

        assert [type(error) for error in told] == [TransportAway, TransportAway]
        assert closed.away
        assert fresh.away
