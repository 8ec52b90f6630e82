"""Rules about who gets what: a queue's messages go to one listener each, a topic's to every group.

Guarantees: each rule is one test.
Must not: ask that work is shared evenly.
"""

from __future__ import annotations

import asyncio

from amends.testing.transport_suite.rig import Rig, eventually, rule, text_of, texts_of


class SharingRules:
    """Queues, topics and prefixes."""

    @rule
    async def test_each_message_of_a_queue_comes_to_one_listener(self, rig: Rig) -> None:
        texts = [f"text {number}" for number in range(200)]
        one, two = [await rig.listen(await rig.transport(), in_flight=len(texts)) for _ in range(2)]

        await rig.send(await rig.transport(), *texts)

        await eventually(lambda: len(one.all) + len(two.all) >= len(texts))
        await asyncio.gather(*(delivery.ack() for delivery in one.all + two.all))
        assert sorted(texts_of(one.all + two.all)) == sorted(texts)

    @rule
    async def test_a_queue_has_one_group_whatever_its_name(self, rig: Rig) -> None:
        one = await rig.listen(await rig.transport(), group="one")
        two = await rig.listen(await rig.transport(), group="two")
        texts = [f"text {number}" for number in range(40)]

        await rig.send(await rig.transport(), *texts)

        await eventually(lambda: len(one.all) + len(two.all) >= len(texts))
        await asyncio.gather(*(delivery.ack() for delivery in one.all + two.all))
        assert sorted(texts_of(one.all + two.all)) == sorted(texts)

    @rule
    async def test_a_listener_that_comes_late_gets_its_share(self, rig: Rig) -> None:
        sender, first = await rig.transport(), await rig.transport()
        busy = await rig.listen(first, in_flight=1)
        await rig.send(sender, "held")
        await busy.until(1)

        late = await rig.listen(await rig.transport())
        await rig.send(sender, *(f"text {number}" for number in range(50)))

        assert (await late.acked(1))[0].message is not None
        await busy.all[0].ack()

    @rule
    async def test_every_group_of_a_topic_gets_every_message(self, rig: Rig) -> None:
        billing = await rig.listen(await rig.transport(), rig.topic, "billing")
        mailing = await rig.listen(await rig.transport(), rig.topic, "mailing")
        texts = [f"text {number}" for number in range(50)]

        await rig.send(await rig.transport(), *texts, to=rig.topic)

        assert set(await billing.all_of(texts)) == set(texts)
        assert set(await mailing.all_of(texts)) == set(texts)

    @rule
    async def test_of_a_group_one_listener_gets_a_message(self, rig: Rig) -> None:
        one, two = [await rig.listen(await rig.transport(), rig.topic) for _ in range(2)]
        texts = [f"text {number}" for number in range(50)]

        await rig.send(await rig.transport(), *texts, to=rig.topic)

        await eventually(lambda: len(one.all) + len(two.all) >= len(texts))
        await asyncio.gather(*(delivery.ack() for delivery in one.all + two.all))
        assert sorted(texts_of(one.all + two.all)) == sorted(texts)

    @rule
    async def test_two_groups_in_one_process_get_every_message(self, rig: Rig) -> None:
        transport = await rig.transport()
        billing = await rig.listen(transport, rig.topic, "billing")
        mailing = await rig.listen(transport, rig.topic, "mailing.eu")

        await rig.send(transport, "told", to=rig.topic)

        assert [text_of((await inbox.acked(1))[0]) for inbox in (billing, mailing)] == ["told", "told"]

    @rule
    async def test_a_group_gets_what_was_published_while_none_of_it_listened(self, rig: Rig) -> None:
        sender, first = await rig.transport(), await rig.transport()
        inbox = await rig.listen(first, rig.topic)
        await rig.send(sender, "before", to=rig.topic)
        await inbox.acked(1)
        await first.close()

        await rig.send(sender, "meanwhile", to=rig.topic)

        again = await rig.listen(await rig.transport(), rig.topic)
        assert text_of((await again.acked(1))[0]) == "meanwhile"

    @rule
    async def test_an_event_that_nobody_listens_to_is_confirmed(self, rig: Rig) -> None:
        transport = await rig.transport()

        await rig.send(transport, "to nobody", to=rig.topic)

    @rule
    async def test_two_prefixes_see_nothing_of_each_other(self, rig: Rig) -> None:
        ours, theirs = await rig.transport(), await rig.transport(prefix=f"{rig.prefix}-b")
        inbox, other = await rig.listen(ours), await rig.listen(theirs)
        topic, other_topic = await rig.listen(ours, rig.topic), await rig.listen(theirs, rig.topic)

        texts = [f"ours {number}" for number in range(10)]
        for to in (rig.queue, rig.topic):
            await rig.send(ours, *texts, to=to)
            await rig.send(theirs, "theirs", to=to)

        assert set(await inbox.all_of(texts)) == set(await topic.all_of(texts)) == set(texts)
        assert await other.acked_until("theirs") == await other_topic.acked_until("theirs") == ["theirs"]
