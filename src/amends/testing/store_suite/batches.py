"""Rules about batches: sagas in one commit do not harm one another.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

import asyncio

from amends.store.base import Fate, Head, Write
from amends.testing.store_suite.rig import Rig, rule


class BatchRules:
    """What `commit` does with many sagas."""

    @rule
    async def test_fates_come_in_the_order_of_the_writes(self, rig: Rig) -> None:
        worker = await rig.worker()
        taken, good, gap = await rig.owned(worker), await rig.owned(worker), await rig.owned(worker)

        batch = [rig.saga(taken.key).first(owner=worker), good.next(), gap.at(7), good.next(), taken.next()]
        fates = await rig.first_store.commit(worker, batch)

        assert fates == [Fate.EXISTS, Fate.WRITTEN, Fate.LOST, Fate.WRITTEN, Fate.WRITTEN]

    @rule
    async def test_a_loser_does_not_harm_the_others(self, rig: Rig) -> None:
        worker = await rig.worker()
        losing, good, new = await rig.owned(worker), await rig.owned(worker), rig.saga()
        await rig.first_store.commit(worker, [losing.at(1)])

        batch = [good.next(Head("compensating", worker, None)), losing.at(1), new.first(owner=worker)]
        fates = await rig.first_store.commit(worker, batch)

        assert fates == [Fate.WRITTEN, Fate.LOST, Fate.WRITTEN]
        assert (await rig.head(good)).status == "compensating"
        assert (await rig.head(new)).owner == worker

    @rule
    async def test_all_that_follows_a_lost_row_of_its_saga_is_lost(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.commit(worker, [saga.at(1)])

        fates = await rig.first_store.commit(worker, [saga.at(1), saga.at(2), saga.at(3, Head("parked", None, None))])

        assert fates == [Fate.LOST] * 3
        assert len(await rig.rows(saga)) == 2
        assert (await rig.head(saga)).status == "running"

    @rule
    async def test_all_that_follows_a_start_whose_key_is_taken_is_lost(self, rig: Rig) -> None:
        worker = await rig.worker()
        taken = await rig.owned(worker)
        second = rig.saga(taken.key)

        fates = await rig.first_store.commit(worker, [second.first(owner=worker), second.next()])

        assert fates == [Fate.EXISTS, Fate.LOST]
        assert len(await rig.rows(taken)) == 1

    @rule
    async def test_two_starts_with_one_key_in_a_batch_are_one_saga(self, rig: Rig) -> None:
        worker = await rig.worker()
        first, second = rig.saga("same"), rig.saga("same")

        fates = await rig.first_store.commit(worker, [first.first(owner=worker), second.first(owner=worker)])

        assert fates == [Fate.WRITTEN, Fate.EXISTS]
        assert (await rig.head(first)).id == first.id

    @rule
    async def test_a_batch_half_of_which_was_written_before_is_completed(self, rig: Rig) -> None:
        worker = await rig.worker()
        before, after = rig.saga(), rig.saga()
        known: list[Write] = [before.first(owner=worker), before.next()]
        await rig.first_store.commit(worker, known)

        fates = await rig.first_store.commit(worker, [*known, before.next(), after.first(owner=worker)])

        assert fates == [Fate.WRITTEN] * 4
        assert (len(await rig.rows(before)), len(await rig.rows(after))) == (3, 1)

    @rule
    async def test_an_empty_batch_is_no_batch(self, rig: Rig) -> None:
        worker = await rig.worker()

        assert await rig.first_store.commit(worker, []) == []

    @rule
    async def test_a_thousand_rows_are_one_batch(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [rig.saga() for _ in range(500)]
        batch = [write for saga in sagas for write in (saga.first(owner=worker), saga.next())]

        assert await rig.first_store.commit(worker, batch) == [Fate.WRITTEN] * 1000
        assert await rig.first_store.count(open_only=True) == {(rig.plan, "running"): 500}

    @rule
    async def test_of_two_that_write_the_same_place_at_once_one_wins(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)

        both = await asyncio.gather(*(rig.first_store.commit(worker, [saga.at(1)]) for _ in range(5)))

        assert sorted(fate.value for fates in both for fate in fates) == ["lost"] * 4 + ["written"]
        assert len(await rig.rows(saga)) == 2

    @rule
    async def test_of_many_processes_that_start_one_key_at_once_one_wins(self, rig: Rig) -> None:
        stores = [await rig.store() for _ in range(4)]

        fates = await asyncio.gather(*(store.commit(None, [rig.saga("one").first()]) for store in stores))

        assert sorted(fate[0].value for fate in fates) == ["exists"] * 3 + ["written"]
