"""Rules about what is in flight: how much there may be, and that it stays claimed as long as the work takes.

Guarantees: each rule is one test.
Must not: ask how a broker claims.
"""

from __future__ import annotations

import asyncio

from amends.testing.transport_suite.rig import QUIET_SECONDS, Rig, rule, text_of, texts_of


class ClaimRules:
    """Back-pressure, slow work, long work."""

    @rule
    async def test_no_more_is_in_flight_than_was_asked_for(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=5)
        texts = [f"text {number}" for number in range(30)]
        await rig.send(transport, *texts)

        most, acked = 0, 0
        while acked < len(texts):
            delivery = await inbox.next()
            await asyncio.sleep(0)
            most = max(most, len(inbox.all) - acked)
            await delivery.ack()
            acked += 1

        assert most <= 5

    @rule
    async def test_nothing_more_comes_while_all_that_may_be_in_flight_is(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=5)
        await rig.send(transport, *(f"text {number}" for number in range(30)))
        await inbox.until(5)

        await asyncio.sleep(QUIET_SECONDS)

        assert len(inbox.all) == 5
        await inbox.acked(30)

    @rule
    async def test_a_slow_delivery_holds_nothing_else_up(self, rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=3)
        await rig.send(transport, "slow")
        slow = await inbox.next()
        texts = [f"text {number}" for number in range(100)]

        await rig.send(transport, *texts)

        assert set(await inbox.all_of(texts)) == set(texts)
        await slow.ack()

    @rule
    async def test_one_destination_holds_no_other_up(self, rig: Rig) -> None:
        transport = await rig.transport()
        full, free = await rig.listen(transport, in_flight=1), await rig.listen(transport, rig.topic)
        await rig.send(transport, "one", "two")
        await full.until(1)

        await rig.send(transport, "told", to=rig.topic)

        assert text_of((await free.acked(1))[0]) == "told"
        await full.acked(2)

    @rule
    async def test_a_delivery_stays_claimed_however_long_the_work_takes(self, rig: Rig) -> None:
        sender, worker, idle = await rig.transport(), await rig.transport(), await rig.transport()
        inbox = await rig.listen(worker, in_flight=4)
        await rig.send(sender, "long", "longer")
        long = await inbox.some(2)
        other = await rig.listen(idle)

        await asyncio.sleep(max(rig.broker.claim_seconds * 3, QUIET_SECONDS))

        assert not {"long", "longer"}.intersection(texts_of(other.all))
        assert not inbox.new
        await asyncio.gather(*(delivery.ack() for delivery in long))
        await worker.close()
        await rig.send(sender, "last")
        assert await other.acked_until("last") == ["last"]

    @rule
    async def test_work_that_is_longer_than_a_claim_holds_nothing_else_up(self, rig: Rig) -> None:
        rig.needs(rig.broker.claim_seconds, "claims last as long as connections")
        transport = await rig.transport()
        inbox = await rig.listen(transport, in_flight=4)
        await rig.send(transport, "long")
        long = await inbox.next()
        loop = asyncio.get_running_loop()
        end = loop.time() + rig.broker.claim_seconds * 3

        number = 0
        while loop.time() < end:
            await rig.send(transport, f"text {number}")
            assert text_of((await inbox.acked(1))[0]) == f"text {number}"
            number += 1

        await long.ack()

    @rule
    async def test_lag_is_about_what_waits(self, rig: Rig) -> None:
        transport = await rig.transport()
        await transport.prepare([rig.queue])
        nothing = await transport.lag(rig.queue, "billing")
        rig.needs(nothing is not None, "this broker does not tell")
        await rig.send(transport, *(f"text {number}" for number in range(7)))

        await _lag_is(rig, 7)

        inbox = await rig.listen(transport)
        await inbox.acked(7)
        assert nothing == 0
        await _lag_is(rig, 0)


async def _lag_is(rig: Rig, number: int) -> None:
    """Wait until the lag is so much: brokers count now and then."""
    transport = await rig.transport()
    async with asyncio.timeout(60):
        while await transport.lag(rig.queue, "billing") != number:
            await asyncio.sleep(0.05)
