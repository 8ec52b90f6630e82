"""Rules about plans and workers: numbers, leases, coming and going.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

import pytest

from amends.store.base import Retired
from amends.testing.store_suite.rig import LONG, OTHER_PLAN, PLAN, SHORT, Rig, rule


class WorkerRules:
    """Plans, registrations, retirement."""

    @rule
    async def test_an_open_database_has_the_schema_that_the_code_needs(self, rig: Rig) -> None:
        version, floor, needed = await rig.first_store.schema()

        assert floor <= needed <= version
        assert await rig.first_store.upgrade() == []

    @rule
    async def test_a_plan_has_one_number_whoever_registers_it(self, rig: Rig) -> None:
        other = await rig.store()

        again = await other.add_plans([OTHER_PLAN, ("fingerprint-3", "order", "{}"), PLAN])

        assert [again[0], again[2]] == [rig.other_plan, rig.plan]
        assert again[1] not in (rig.plan, rig.other_plan)
        assert await rig.first_store.add_plans([PLAN]) == [rig.plan]

    @rule
    async def test_all_plans_are_listed_as_they_were_registered(self, rig: Rig) -> None:
        rows = {row.id: tuple(row)[1:] for row in await rig.first_store.plans()}

        assert rows == {rig.plan: PLAN, rig.other_plan: OTHER_PLAN}

    @rule
    async def test_a_plan_keeps_its_first_text(self, rig: Rig) -> None:
        await rig.first_store.add_plans([(PLAN[0], PLAN[1], '{"name":"another"}')])

        assert [row.body for row in await rig.first_store.plans() if row.id == rig.plan] == [PLAN[2]]

    @rule
    async def test_every_registration_has_a_number_that_was_never_used(self, rig: Rig) -> None:
        first, second = await rig.worker(), await rig.worker()
        await rig.first_store.deregister(second, survived=False)

        store = await rig.again()
        third = await rig.worker(store)

        assert len({first, second, third}) == 3

    @rule
    async def test_a_registration_says_what_the_worker_is(self, rig: Rig) -> None:
        before = rig.first_store.now()
        number = await rig.worker(lease=LONG, plans=(rig.other_plan,))

        row = next(row for row in await rig.first_store.workers() if row.id == number)

        assert (row.host, row.pid, row.plans) == ("host", 4711, (rig.other_plan,))
        assert before <= row.started_at <= rig.first_store.now()
        assert row.expires_at == pytest.approx(row.started_at + LONG)
        assert (row.retired_at, row.survived, row.left_at) == (None, False, None)

    @rule
    async def test_who_deregisters_has_left_and_not_died(self, rig: Rig) -> None:
        number = await rig.worker()

        await rig.first_store.deregister(number, survived=False)

        rows = {row.id: row for row in await rig.first_store.workers()}
        if number in rows:  # a store may forget a worker that is in no open saga's history
            assert rows[number].left_at is not None
            assert rows[number].retired_at is not None
        with pytest.raises(Retired):
            await rig.first_store.claim(number, [rig.plan], 10)

    @rule
    async def test_a_retired_worker_can_say_that_it_survived(self, rig: Rig) -> None:
        gone, other = await rig.worker(lease=SHORT), await rig.worker()
        await rig.owned(gone)
        await rig.retired(other, gone)
        retired_at = {row.id: row.retired_at for row in await rig.first_store.workers()}[gone]

        await rig.first_store.deregister(gone, survived=True)

        row = {row.id: row for row in await rig.first_store.workers()}[gone]
        assert (row.survived, row.retired_at) == (True, retired_at)

    @rule
    async def test_a_renewal_extends_the_lease_and_says_what_the_worker_runs_now(self, rig: Rig) -> None:
        rig.needs_leases()
        number = await rig.worker(lease=SHORT * 50)

        assert await rig.first_store.renew(number, rig.info(LONG, (rig.plan,)))

        row = {row.id: row for row in await rig.first_store.workers()}[number]
        assert row.expires_at > rig.first_store.now() + LONG / 2
        assert row.plans == (rig.plan,)

    @rule
    async def test_a_retired_worker_cannot_renew(self, rig: Rig) -> None:
        gone, other = await rig.worker(lease=SHORT), await rig.worker()
        await rig.owned(gone)
        await rig.retired(other, gone)

        assert not await rig.first_store.renew(gone, rig.info())
        assert not await rig.first_store.renew(other + 1000, rig.info())

    @rule
    async def test_only_a_worker_whose_lease_ran_out_is_retired(self, rig: Rig) -> None:
        rig.needs_leases()
        gone, alive, me = await rig.worker(lease=SHORT), await rig.worker(), await rig.worker()
        await rig.owned(gone)
        await rig.owned(alive)

        await rig.retired(me, gone)

        assert await rig.first_store.retire_expired(me) == [gone]
        assert await rig.first_store.renew(alive, rig.info())

    @rule
    async def test_without_leases_all_others_are_retired_at_once(self, rig: Rig) -> None:
        if rig.first_store.leases:
            pytest.skip("this store has leases")
        gone = await rig.worker(lease=LONG)
        await rig.owned(gone)
        store = await rig.again()
        me = await rig.worker(store)

        assert await store.retire_expired(me) == [gone]
        assert await store.commit(me, []) == []

    @rule
    async def test_the_retired_are_named_as_long_as_they_own_something(self, rig: Rig) -> None:
        gone, empty, me = await rig.worker(lease=SHORT), await rig.worker(lease=SHORT), await rig.worker()
        saga = await rig.owned(gone)
        await rig.retired(me, gone)
        await rig.retired(me, empty)

        named = await rig.first_store.retire_expired(me)
        adopted = await rig.first_store.adopt(me, gone, 10)
        after = await rig.first_store.retire_expired(me)

        assert (named, [one.head.id for one in adopted], after) == ([gone], [saga.id], [])

    @rule
    async def test_a_worker_is_listed_as_long_as_it_owns_an_open_saga(self, rig: Rig) -> None:
        gone = await rig.worker(lease=SHORT)
        await rig.owned(gone)
        store = await rig.again()
        me = await rig.worker(store)
        await rig.retired(me, gone)

        assert {gone, me} <= {row.id for row in await store.workers()}

    @rule
    async def test_a_retired_worker_retires_nobody(self, rig: Rig) -> None:
        gone, me = await rig.worker(lease=SHORT), await rig.worker()
        await rig.retired(me, gone)

        with pytest.raises(Retired):
            await rig.first_store.retire_expired(gone)
        assert await rig.first_store.commit(me, []) == []
