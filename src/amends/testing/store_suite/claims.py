"""Rules about ownership: claims, adoption, letting go, stalled sagas.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

import asyncio

import pytest

from amends.store.base import Fate, Head, MailAnswer, Retired
from amends.testing.store_suite.rig import SHORT, Rig, ids, row_of, rule


class ClaimRules:
    """Who owns a saga, and how that changes."""

    @rule
    async def test_a_claim_gives_what_is_due_with_its_journal_and_a_new_epoch(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.waiting(due=rig.first_store.now() - 1)

        claimed = await rig.first_store.claim(worker, [rig.plan], 10)

        assert [(one.head.key, one.head.owner, one.head.epoch) for one in claimed] == [(saga.key, worker, 2)]
        assert claimed[0].rows == (row_of(saga.key, 0),)
        head = await rig.head(saga)
        assert (head.owner, head.epoch) == (worker, 2)

    @rule
    async def test_a_claimed_saga_is_claimed_by_nobody_else(self, rig: Rig) -> None:
        worker, other = await rig.worker(), await rig.worker()
        await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.claim(worker, [rig.plan], 10)

        assert await rig.first_store.claim(other, [rig.plan], 10) == []
        assert await rig.first_store.claim(worker, [rig.plan], 10) == []

    @rule
    async def test_what_is_not_due_yet_is_left(self, rig: Rig) -> None:
        worker = await rig.worker()
        await rig.waiting(due=rig.first_store.now() + 3600)
        await rig.waiting(due=None)

        assert await rig.first_store.claim(worker, [rig.plan], 10) == []
        assert not (await rig.first_store.peek()).due

    @rule
    async def test_the_longest_due_comes_first_and_no_more_than_asked_for(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        sagas = {late: await rig.waiting(due=now - late) for late in (5.0, 40.0, 10.0, 20.0)}

        first = await rig.first_store.claim(worker, [rig.plan], 3)
        rest = await rig.first_store.claim(worker, [rig.plan], 3)

        assert ids(first) == [sagas[late].id for late in (40.0, 20.0, 10.0)]
        assert ids(rest) == [sagas[5.0].id]

    @rule
    async def test_mail_makes_a_waiting_saga_claimable(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.waiting(due=rig.first_store.now() + 3600)
        await rig.first_store.send([saga.mail("m")])

        claimed = await rig.first_store.claim(worker, [rig.plan], 10)

        assert ids(claimed) == [saga.id]

    @rule
    async def test_mail_makes_a_parked_saga_claimable(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.commit(worker, [saga.next(Head("parked", None, None))])
        assert await rig.first_store.claim(worker, [rig.plan], 10) == []

        await rig.first_store.send([saga.mail("m", "act")])

        assert ids(await rig.first_store.claim(worker, [rig.plan], 10)) == [saga.id]

    @rule
    async def test_mail_that_was_taken_makes_nothing_claimable(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        await rig.first_store.send([saga.mail("m")])

        taken = saga.next(Head("running", None, None), (MailAnswer("m", None, ""),))
        await rig.first_store.commit(worker, [taken])

        assert await rig.first_store.claim(worker, [rig.plan], 10) == []
        assert not (await rig.first_store.peek()).mail

    @rule
    async def test_a_claim_never_exceeds_its_limit_and_misses_nothing(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        due_with_mail = [await rig.waiting(due=now - 1) for _ in range(3)]
        only_mail = [await rig.waiting() for _ in range(3)]
        await rig.first_store.send([saga.mail("m") for saga in [*due_with_mail, *only_mail]])

        batches = [await rig.first_store.claim(worker, [rig.plan], 4) for _ in range(3)]

        assert [len(batch) for batch in batches] == [4, 2, 0]
        assert {saga.id for saga in due_with_mail} <= set(ids(batches[0]))
        assert {*ids(batches[0]), *ids(batches[1])} == {saga.id for saga in [*due_with_mail, *only_mail]}

    @rule
    async def test_only_sagas_of_the_plans_asked_for_are_claimed(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        other = await rig.waiting(due=now - 10, plan=rig.other_plan)
        mine = await rig.waiting(due=now - 1)
        await rig.first_store.send([other.mail("m")])

        assert ids(await rig.first_store.claim(worker, [rig.plan], 10)) == [mine.id]
        assert await rig.first_store.claim(worker, [], 10) == []

    @rule
    async def test_what_has_ended_is_never_claimed(self, rig: Rig) -> None:
        worker = await rig.worker()
        ended = await rig.ended(worker)
        await rig.first_store.send([ended.mail("m")])

        assert await rig.first_store.claim(worker, [rig.plan], 10) == []

    @rule
    async def test_claims_made_at_once_never_hand_one_saga_to_two(self, rig: Rig) -> None:
        stores = [rig.first_store, *[await rig.store() for _ in range(3)]]
        workers = [await rig.worker(store) for store in stores]
        now = rig.first_store.now()
        sagas = [await rig.waiting(due=now - 1) for _ in range(40)]

        async def claim_all(index: int) -> list[bytes]:
            mine: list[bytes] = []
            while batch := await stores[index].claim(workers[index], [rig.plan], 3):
                mine += ids(batch)
            return mine

        found = await asyncio.gather(*(claim_all(index) for index in range(4)))

        assert sorted(one for mine in found for one in mine) == sorted(saga.id for saga in sagas)

    @rule
    async def test_every_change_of_owner_counts_the_epoch_up(self, rig: Rig) -> None:
        first, second = await rig.worker(), await rig.worker()
        saga = await rig.owned(first)
        await rig.first_store.release(first, [(saga.id, rig.first_store.now())])

        claimed = await rig.first_store.claim(second, [rig.plan], 1)
        await rig.first_store.release(second, [(saga.id, rig.first_store.now())])
        again = await rig.first_store.claim(first, [rig.plan], 1)

        assert [claimed[0].head.epoch, again[0].head.epoch] == [2, 3]

    @rule
    async def test_a_released_saga_is_due_at_its_instant(self, rig: Rig) -> None:
        worker = await rig.worker()
        now_due, later, never = await rig.owned(worker), await rig.owned(worker), await rig.owned(worker)
        now = rig.first_store.now()

        await rig.first_store.release(worker, [(now_due.id, now), (later.id, now + 3600), (never.id, None)])

        assert ids(await rig.first_store.claim(worker, [rig.plan], 10)) == [now_due.id]
        head = await rig.head(later)
        assert (head.owner, head.wake_at) == (None, now + 3600)
        assert (await rig.head(never)).wake_at is None

    @rule
    async def test_only_the_owner_lets_go(self, rig: Rig) -> None:
        owner, other = await rig.worker(), await rig.worker()
        saga = await rig.owned(owner)

        await rig.first_store.release(other, [(saga.id, None), (b"no such saga 123", None)])
        await rig.first_store.stall(other, saga.id, "not mine")

        head = await rig.head(saga)
        assert (head.owner, head.stalled) == (owner, None)

    @rule
    async def test_a_worker_finds_what_it_owns_beside_what_it_holds(self, rig: Rig) -> None:
        worker, other = await rig.worker(), await rig.worker()
        held, forgotten = await rig.owned(worker), await rig.owned(worker)
        await rig.owned(other)
        await rig.ended(worker)

        found = await rig.first_store.owned(worker, {held.id})

        assert [(one.head.id, len(one.rows)) for one in found] == [(forgotten.id, 1)]

    @rule
    async def test_adoption_takes_what_a_retired_worker_owned_in_batches(self, rig: Rig) -> None:
        gone, me = await rig.worker(lease=SHORT), await rig.worker()
        sagas = [await rig.owned(gone) for _ in range(5)]
        mine = await rig.owned(me)
        await rig.retired(me, gone)

        batches = [await rig.first_store.adopt(me, gone, 2) for _ in range(4)]

        assert [len(batch) for batch in batches] == [2, 2, 1, 0]
        assert {one for batch in batches for one in ids(batch)} == {saga.id for saga in sagas}
        assert {one.head.epoch for batch in batches for one in batch} == {2}
        assert (await rig.head(mine)).epoch == 1

    @rule
    async def test_nothing_is_adopted_from_a_living_worker(self, rig: Rig) -> None:
        alive, me = await rig.worker(), await rig.worker()
        saga = await rig.owned(alive)

        assert await rig.first_store.adopt(me, alive, 10) == []
        assert (await rig.head(saga)).owner == alive

    @rule
    async def test_a_saga_taken_over_cannot_be_written_by_who_lost_it(self, rig: Rig) -> None:
        gone, me = await rig.worker(lease=SHORT), await rig.worker()
        saga = await rig.owned(gone)
        late = saga.at(1, Head("completed", None, None))
        await rig.retired(me, gone)
        await rig.first_store.adopt(me, gone, 10)

        assert await rig.first_store.commit(me, [saga.at(1)]) == [Fate.WRITTEN]
        with pytest.raises(Retired):
            await rig.first_store.commit(gone, [late])

        assert (await rig.head(saga)).status == "running"

    @rule
    async def test_a_retired_worker_gets_nothing_and_lets_nothing_go(self, rig: Rig) -> None:
        gone, me = await rig.worker(lease=SHORT), await rig.worker()
        saga = await rig.owned(gone)
        await rig.waiting(due=rig.first_store.now() - 1)
        await rig.retired(me, gone)
        store = rig.first_store

        for call in (
            store.claim(gone, [rig.plan], 10),
            store.adopt(gone, gone, 10),
            store.release(gone, [(saga.id, None)]),
            store.stall(gone, saga.id, "no"),
        ):
            with pytest.raises(Retired):
                await call

        assert (await rig.head(saga)).owner == gone


class StallRules:
    """Sagas that no worker can run, and what becomes of them."""

    @rule
    async def test_a_stalled_saga_is_not_due_and_not_claimed(self, rig: Rig) -> None:
        worker = await rig.worker(plans=(rig.other_plan,))
        saga = await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.claim(worker, [rig.plan], 1)

        await rig.first_store.stall(worker, saga.id, "its plan has changed")

        head = await rig.head(saga)
        assert (head.owner, head.stalled, head.status) == (None, "its plan has changed", "running")
        assert not (await rig.first_store.peek()).due
        assert await rig.first_store.claim(worker, [rig.plan], 10) == []
        await rig.first_store.send([saga.mail("m")])
        assert await rig.first_store.claim(worker, [rig.plan], 10) == []

    @rule
    async def test_a_stalled_saga_that_was_taken_over_is_taken_over_again_by_who_can_run_it(self, rig: Rig) -> None:
        gone, unfit = await rig.worker(lease=SHORT), await rig.worker(plans=(rig.other_plan,))
        saga = await rig.owned(gone)
        await rig.retired(unfit, gone)
        await rig.first_store.adopt(unfit, gone, 10)

        await rig.first_store.stall(unfit, saga.id, "its plan has changed", gone)

        head = await rig.head(saga)
        assert (head.owner, head.stalled, head.status) == (gone, "its plan has changed", "running")
        assert await rig.first_store.adopt(unfit, gone, 10) == []
        fit = await rig.worker(plans=(rig.plan,))
        assert await rig.first_store.claim(fit, [rig.plan], 10) == []
        assert gone in await rig.first_store.retire_expired(fit)
        adopted = await rig.first_store.adopt(fit, gone, 10)
        assert [(one.head.id, one.head.stalled, one.head.epoch) for one in adopted] == [(saga.id, None, 3)]

    @rule
    async def test_a_worker_that_runs_its_plan_claims_a_stalled_saga(self, rig: Rig) -> None:
        first = await rig.worker(plans=(rig.other_plan,))
        saga = await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.claim(first, [rig.plan], 1)
        await rig.first_store.stall(first, saga.id, "its plan has changed")
        second = await rig.worker(plans=(rig.plan,))

        claimed = await rig.first_store.claim(second, [rig.plan], 10)

        assert [(one.head.id, one.head.stalled) for one in claimed] == [(saga.id, None)]
        assert (await rig.head(saga)).stalled is None

    @rule
    async def test_unstalling_makes_the_sagas_of_those_plans_due(self, rig: Rig) -> None:
        worker = await rig.worker(plans=())
        mine = await rig.waiting(due=rig.first_store.now() - 2)
        other = await rig.waiting(due=rig.first_store.now() - 1, plan=rig.other_plan)
        for one in await rig.first_store.claim(worker, [rig.plan, rig.other_plan], 10):
            await rig.first_store.stall(worker, one.head.id, "no code")

        assert await rig.first_store.unstall([rig.plan]) == 1

        assert (await rig.first_store.peek()).due
        assert ids(await rig.first_store.claim(worker, [rig.plan, rig.other_plan], 10)) == [mine.id]
        assert (await rig.head(other)).stalled == "no code"

    @rule
    async def test_rousing_makes_what_only_waits_due_and_nothing_else(self, rig: Rig) -> None:
        worker, later = await rig.worker(plans=()), rig.first_store.now() + 1000
        sleeper = await rig.waiting(due=later)
        waiter = await rig.waiting(due=None)
        owned = await rig.owned(worker)
        other = await rig.waiting(due=later, plan=rig.other_plan)
        stalled = await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.claim(worker, [rig.plan], 1)
        await rig.first_store.stall(worker, stalled.id, "no code")

        assert await rig.first_store.rouse([rig.plan]) == 2
        assert await rig.first_store.rouse([rig.plan]) == 0

        assert set(ids(await rig.first_store.claim(worker, [rig.other_plan], 10))) == set()
        assert set(ids(await rig.first_store.claim(worker, [rig.plan], 10))) == {sleeper.id, waiter.id}
        assert (await rig.head(owned)).owner == worker
        assert (await rig.head(other)).wake_at == later
        assert (await rig.head(stalled)).stalled == "no code"

    @rule
    async def test_a_look_says_whether_anything_is_due_or_has_mail(self, rig: Rig) -> None:
        worker = await rig.worker()
        empty = await rig.first_store.peek()
        await rig.waiting(due=rig.first_store.now() - 1)
        due = await rig.first_store.peek()
        claimed = await rig.first_store.claim(worker, [rig.plan], 10)
        owned = await rig.first_store.peek()
        await rig.first_store.send([(await rig.owned(worker)).mail("m")])
        mailed = await rig.first_store.peek()

        assert len(claimed) == 1
        assert [(look.due, look.mail) for look in (empty, due, owned, mailed)] == [
            (False, False),
            (True, False),
            (False, False),
            (False, True),
        ]
