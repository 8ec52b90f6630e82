"""Rules about reading, and about forgetting.

Guarantees: each rule is one test.
Must not: look at how a store keeps them.
"""

from __future__ import annotations

from amends.store.base import Ended, Fate, Filter, Head, SagaRow
from amends.testing.store_suite.rig import Rig, Saga, rule


def keys(rows: list[SagaRow]) -> list[str]:
    """Which sagas these are."""
    return [row.key for row in rows]


async def some_sagas(rig: Rig) -> dict[str, Saga]:
    """One of each kind, oldest first."""
    worker = await rig.worker()
    sagas = {"completed": await rig.ended(worker), "compensated": await rig.ended(worker, "compensated")}
    sagas["running"] = await rig.owned(worker)
    sagas["compensating"] = await rig.owned(worker, plan=rig.other_plan)
    sagas["parked"] = await rig.owned(worker, plan=rig.other_plan)
    heads = [
        sagas["compensating"].next(Head("compensating", worker, None, "refund is stuck")),
        sagas["parked"].next(Head("parked", None, None, None, "for a person")),
    ]
    assert await rig.first_store.commit(worker, heads) == [Fate.WRITTEN] * 2
    return sagas


class ReadingRules:
    """Finding, counting, loading, pruning."""

    @rule
    async def test_what_is_not_there_is_none(self, rig: Rig) -> None:
        assert await rig.first_store.head("nobody") is None
        assert await rig.first_store.load("nobody") is None
        assert await rig.first_store.mail(bytes(16)) == []
        assert await rig.first_store.find(Filter()) == []
        assert await rig.first_store.count() == {}

    @rule
    async def test_a_saga_is_loaded_without_owning_it(self, rig: Rig) -> None:
        saga = await rig.waiting(due=rig.first_store.now() - 1)

        loaded = await rig.first_store.load(saga.key)

        assert loaded is not None
        assert loaded.head == await rig.head(saga)
        assert (loaded.head.owner, len(loaded.rows)) == (None, 1)

    @rule
    async def test_how_long_journals_are_is_told_of_many_at_once(self, rig: Rig) -> None:
        worker = await rig.worker()
        first, second = await rig.owned(worker), await rig.owned(worker)
        await rig.first_store.commit(worker, [second.next(), second.next()])

        assert await rig.first_store.lengths([second.id, bytes(16), first.id]) == [3, 0, 1]
        assert await rig.first_store.lengths([]) == []

    @rule
    async def test_whoever_looks_again_sees_what_has_changed_since(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await rig.owned(worker)
        other = await rig.store()

        async def seen() -> tuple[str, str, int, list[str]]:
            head, loaded = await other.head(saga.key), await other.load(saga.key)
            assert head is not None
            assert loaded is not None
            return head.status, loaded.head.status, len(loaded.rows), [row.status for row in await other.find(Filter())]

        assert await seen() == ("running", "running", 1, ["running"])
        await rig.first_store.commit(worker, [saga.next(Head("completed", None, None))])
        assert await seen() == ("completed", "completed", 2, ["completed"])

    @rule
    async def test_sagas_are_listed_newest_first(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)

        assert keys(await rig.first_store.find(Filter())) == [saga.key for saga in reversed(sagas.values())]

    @rule
    async def test_a_list_is_read_page_by_page(self, rig: Rig) -> None:
        sagas = [await rig.waiting() for _ in range(7)]
        pages: list[list[SagaRow]] = []
        before: bytes | None = None

        while page := await rig.first_store.find(Filter(before=before, limit=3)):
            pages.append(page)
            before = page[-1].id

        assert [len(page) for page in pages] == [3, 3, 1]
        assert [key for page in pages for key in keys(page)] == [saga.key for saga in reversed(sagas)]

    @rule
    async def test_a_list_is_narrowed_by_status(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)

        for wanted in (("running",), ("parked", "compensating"), ("completed",), ("completed", "running"), ()):
            found = await rig.first_store.find(Filter(statuses=wanted))
            expected = [saga.key for status, saga in reversed(sagas.items()) if not wanted or status in wanted]
            assert keys(found) == expected, wanted

    @rule
    async def test_a_list_is_narrowed_by_plan(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)
        other = (rig.other_plan,)

        assert keys(await rig.first_store.find(Filter(plans=other))) == [
            sagas["parked"].key,
            sagas["compensating"].key,
        ]
        assert keys(await rig.first_store.find(Filter(("parked",), other))) == [sagas["parked"].key]
        assert await rig.first_store.find(Filter(("running",), other)) == []
        assert await rig.first_store.find(Filter(plans=())) == []

    @rule
    async def test_a_list_is_narrowed_to_what_is_stuck_or_stalled(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)
        worker = await rig.worker()
        stalled = await rig.waiting(due=rig.first_store.now() - 1)
        await rig.first_store.claim(worker, [rig.plan], 1)
        await rig.first_store.stall(worker, stalled.id, "no code")

        found = await rig.first_store.find(Filter(stuck=True))
        narrow = await rig.first_store.find(Filter(("compensating",), stuck=True))

        assert keys(found) == [stalled.key, sagas["compensating"].key]
        assert keys(narrow) == [sagas["compensating"].key]
        assert keys(await rig.first_store.find(Filter(stuck=True, before=stalled.id))) == [sagas["compensating"].key]
        assert keys(await rig.first_store.find(Filter(stuck=True, limit=1))) == [stalled.key]

    @rule
    async def test_pages_of_open_sagas_have_no_gap(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [await (rig.ended(worker) if index % 2 else rig.owned(worker)) for index in range(9)]
        expected = [saga.key for saga in reversed(sagas[::2])]

        first = await rig.first_store.find(Filter(("running",), limit=2))
        rest = await rig.first_store.find(Filter(("running",), before=first[-1].id, limit=50))

        assert keys([*first, *rest]) == expected

    @rule
    async def test_sagas_are_counted_by_plan_and_status(self, rig: Rig) -> None:
        await some_sagas(rig)
        await rig.waiting()

        assert await rig.first_store.count() == {
            (rig.plan, "completed"): 1,
            (rig.plan, "compensated"): 1,
            (rig.plan, "running"): 2,
            (rig.other_plan, "compensating"): 1,
            (rig.other_plan, "parked"): 1,
        }
        assert await rig.first_store.count(open_only=True) == {
            (rig.plan, "running"): 2,
            (rig.other_plan, "compensating"): 1,
            (rig.other_plan, "parked"): 1,
        }

    @rule
    async def test_what_ended_is_found_a_stretch_at_a_time_and_forgotten_and_the_rest_stays(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)
        worker = await rig.worker()
        more = [await rig.ended(worker) for _ in range(3)]
        await rig.first_store.send([more[0].mail("m")])
        later = rig.first_store.now() + 1
        found: list[Ended] = [await rig.first_store.ended(later, None, 3)]

        while (last := found[-1].last) is not None:
            found.append(await rig.first_store.ended(later, last, 3))
        counts = [await rig.first_store.prune(later, stretch.sagas) for stretch in found]

        old = [sagas["completed"].id, sagas["compensated"].id, *(saga.id for saga in more)]
        assert [saga for stretch in found for saga in stretch.sagas] == old
        assert max(len(stretch.sagas) for stretch in found) <= 3
        assert sum(counts) == 5
        assert (await rig.first_store.ended(later, None, 100)).sagas == ()
        assert set(keys(await rig.first_store.find(Filter()))) == {
            sagas[status].key for status in ("running", "compensating", "parked")
        }
        assert await rig.first_store.load(more[0].key) is None
        assert await rig.first_store.mail(more[0].id) == []
        assert len(await rig.rows(sagas["running"])) == 1

    @rule
    async def test_nothing_is_forgotten_but_what_ended_before_the_instant(self, rig: Rig) -> None:
        sagas = await some_sagas(rig)
        before = rig.first_store.now() - 1
        every = [saga.id for saga in sagas.values()]

        assert (await rig.first_store.ended(before, None, 100)).sagas == ()
        assert await rig.first_store.prune(before, every) == 0
        assert await rig.first_store.prune(rig.first_store.now() + 1, [*every, rig.saga().id]) == 2

    @rule
    async def test_what_nobody_took_in_time_is_found_the_longest_due_first(self, rig: Rig) -> None:
        now = rig.first_store.now()
        late = {by: await rig.waiting(due=now - by) for by in (70.0, 90.0, 80.0, 10.0)}
        await rig.waiting(due=now + 3600)
        await rig.owned(await rig.worker())

        found = await rig.first_store.overdue(now - 60, 10)

        assert keys(found) == [late[by].key for by in (90.0, 80.0, 70.0)]
        assert keys(await rig.first_store.overdue(now - 60, 2)) == keys(found)[:2]

    @rule
    async def test_an_id_is_free_again_once_its_saga_was_pruned(self, rig: Rig) -> None:
        worker = await rig.worker()
        ended = await rig.ended(worker)
        await rig.first_store.send([ended.mail("m")])
        await rig.first_store.prune(rig.first_store.now() + 1, [ended.id])
        again = rig.saga(ended.key)

        assert await rig.first_store.commit(None, [again.first()]) == [Fate.WRITTEN]

        assert (await rig.head(again)).id == again.id
        assert len(await rig.rows(again)) == 1
        assert await rig.first_store.sent(again.key, "m") is None
        assert (await rig.first_store.send([again.mail("m")]))[0] is not None

    @rule
    async def test_doctor_has_something_to_say_and_no_error(self, rig: Rig) -> None:
        await some_sagas(rig)

        lines = await rig.first_store.check()

        assert lines
        assert {line.level for line in lines} <= {"ok", "warning"}
