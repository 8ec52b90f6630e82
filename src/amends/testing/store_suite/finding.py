"""Rules about finding sagas among very many, and about counting them.

Guarantees: each rule is one test.
Must not: look at how a store keeps them, or at how long it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from amends.store.base import Fate, Head, SagaRow
from amends.store.finding import Due, Tally, Wanted
from amends.testing.store_suite.rig import Rig, Saga, rule

OPEN = ("running", "compensating", "parked")
LOOK = 1000
HOSTILE = (
    "'",
    '"',
    "' OR '1'='1",
    "x'; DROP TABLE amends_saga; --",
    "%",
    "_",
    "\\",
    "$1",
    "?1",
    "{}",
    "[]",
    '["parked"]',
    "null",
    "\u202e",
    "\N{REPLACEMENT CHARACTER}",
    "a" * 1000,
)


def keys(rows: Sequence[SagaRow]) -> list[str]:
    """Which sagas these are."""
    return [row.key for row in rows]


async def searched(rig: Rig, wanted: Wanted, look: int = LOOK) -> list[str]:
    """Which sagas are found in one look."""
    return keys((await rig.first_store.finder.search(wanted, look)).rows)


async def wrong(
    rig: Rig, worker: int, fingerprint: str, step: str, status: str = "parked", assigned: str | None = None
) -> Saga:
    """An open saga with which something went wrong."""
    saga = await rig.owned(worker)
    owner = worker if status == "compensating" else None
    stuck = None if status == "compensating" else f"{step}: no"
    head = Head(status, owner, None, stuck, "no", fingerprint=fingerprint, step=step, assigned=assigned)
    assert await rig.first_store.commit(worker, [saga.next(head)]) == [Fate.WRITTEN]
    return saga


class FindingRules:
    """Searching, grouping, tallying."""

    @rule
    async def test_what_went_wrong_and_where_stands_in_the_head_until_that_changes(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await wrong(rig, worker, "f1", "ship")

        before = await rig.head(saga)
        await rig.first_store.commit(worker, [saga.next(Head("running", worker, None))])
        after = await rig.head(saga)

        assert (before.fingerprint, before.step) == ("f1", "ship")
        assert (after.fingerprint, after.step) == (None, None)

    @rule
    async def test_whoever_takes_a_saga_over_is_told_what_went_wrong(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = await wrong(rig, worker, "f1", "ship", assigned="ada")
        head = Head("parked", None, rig.first_store.now() - 1, "no", "no", None, "ada", None, "f1", "ship")
        await rig.first_store.commit(worker, [saga.next(head)])

        [claimed] = await rig.first_store.claim(worker, [rig.plan], 1)

        assert (claimed.head.fingerprint, claimed.head.step, claimed.head.assigned) == ("f1", "ship", "ada")

    @rule
    async def test_a_saga_may_begin_with_what_went_wrong(self, rig: Rig) -> None:
        worker = await rig.worker()
        saga = rig.saga()
        first = saga.first(owner=worker)._replace(
            head=Head("compensating", worker, None, fingerprint="f1", step="ship")
        )

        await rig.first_store.commit(worker, [first])

        assert ((await rig.head(saga)).fingerprint, (await rig.head(saga)).step) == ("f1", "ship")

    @rule
    async def test_a_search_is_narrowed_by_each_thing_and_by_all_together(self, rig: Rig) -> None:
        worker = await rig.worker()
        ended = await rig.ended(worker)
        running = await rig.owned(worker, plan=rig.other_plan)
        parked = await wrong(rig, worker, "f1", "ship", assigned="ada")
        back = await wrong(rig, worker, "f2", "pay", "compensating")
        other = await wrong(rig, worker, "f1", "ship")

        assert await searched(rig, Wanted()) == keys([await rig.head(s) for s in (other, back, parked, running, ended)])
        for wanted, expected in (
            (Wanted(("completed",)), [ended]),
            (Wanted(("completed", "compensating")), [back, ended]),
            (Wanted(OPEN), [other, back, parked, running]),
            (Wanted(("parked",)), [other, parked]),
            (Wanted(plans=(rig.other_plan,)), [running]),
            (Wanted(OPEN, plans=(rig.other_plan,)), [running]),
            (Wanted(plans=()), []),
            (Wanted(OPEN, plans=()), []),
            (Wanted(OPEN, fingerprints=("f1",)), [other, parked]),
            (Wanted(fingerprints=("f1", "f2")), [other, back, parked]),
            (Wanted(OPEN, fingerprints=("f2", "none")), [back]),
            (Wanted(OPEN, steps=("pay",)), [back]),
            (Wanted(steps=("pay", "ship")), [other, back, parked]),
            (Wanted(OPEN, fingerprints=("f1",), steps=("pay",)), []),
            (Wanted(assigned="ada"), [parked]),
            (Wanted(OPEN, assigned=""), [other, back, running]),
            (Wanted(OPEN, trouble=True), [other, parked]),
            (Wanted(trouble=True), [other, parked]),
            (Wanted(("parked",), fingerprints=("f1",), steps=("ship",), assigned="ada", trouble=True), [parked]),
        ):
            assert await searched(rig, wanted) == [saga.key for saga in expected], wanted

    @rule
    async def test_a_search_is_narrowed_by_how_the_id_begins(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [rig.saga(key) for key in ("order-1", "order-12", "ORDER-1", "trip-1", "orde%r-1", "Öl-1")]
        await rig.first_store.commit(worker, [saga.first(owner=worker) for saga in sagas])

        for prefix, expected in (
            ("order-1", ["order-12", "order-1"]),
            ("order-12", ["order-12"]),
            ("orde%", ["orde%r-1"]),
            ("orde_", []),
            ("Ö", ["Öl-1"]),
            ("", [saga.key for saga in reversed(sagas)]),
        ):
            assert await searched(rig, Wanted(prefix=prefix)) == expected, prefix
            assert await searched(rig, Wanted(OPEN, prefix=prefix)) == expected, prefix

    @rule
    async def test_a_search_is_narrowed_by_instants(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        sagas: dict[float, Saga] = {}
        for ago in (7 * 86_400.0, 3600.0, 60.0):
            saga = rig.saga()
            saga.id = int((now - ago) * 1000).to_bytes(6, "big") + saga.id[6:]
            first = saga.first(owner=worker)
            assert first.new is not None
            write = first._replace(new=first.new._replace(created_at=now - ago))
            assert await rig.first_store.commit(worker, [write]) == [Fate.WRITTEN]
            sagas[ago] = saga
        week, hour, minute = (sagas[ago].key for ago in (7 * 86_400.0, 3600.0, 60.0))

        for statuses in ((), OPEN):
            assert await searched(rig, Wanted(statuses, started_after=now - 4000)) == [minute, hour]
            assert await searched(rig, Wanted(statuses, started_before=now - 4000)) == [week]
            both = Wanted(statuses, started_after=now - 4000, started_before=now - 100)
            assert await searched(rig, both) == [hour]
            assert await searched(rig, Wanted(statuses, changed_before=now - 1)) == []
            assert await searched(rig, Wanted(statuses, changed_before=now + 60)) == [minute, hour, week]

    @rule
    async def test_pages_of_a_search_have_no_gap_and_nothing_twice(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [await wrong(rig, worker, f"f{index % 2}", "ship") for index in range(7)]

        for wanted in (
            Wanted(limit=2),
            Wanted(OPEN, limit=2),
            Wanted(OPEN, trouble=True, limit=2),
            Wanted(OPEN, steps=("ship",), limit=2),
            Wanted(OPEN, fingerprints=("f0", "f1"), limit=2),
        ):
            found: list[str] = []
            before: bytes | None = None
            for _ in range(10):
                stretch = await rig.first_store.finder.search(wanted._replace(before=before), LOOK)
                assert len(stretch.rows) <= 2
                found += keys(stretch.rows)
                if stretch.last is None:
                    break
                before = stretch.last.id
            assert found == [saga.key for saga in reversed(sagas)], wanted

    @rule
    async def test_a_search_that_looked_at_enough_says_where_to_go_on(self, rig: Rig) -> None:
        worker = await rig.worker()
        rare = await wrong(rig, worker, "f1", "ship", assigned="ada")
        for _ in range(6):
            await rig.owned(worker)

        for statuses in ((), OPEN):
            looks = 0
            before: bytes | None = None
            found: list[str] = []
            while looks < 10:
                wanted = Wanted(statuses, assigned="ada", before=before)
                stretch = await rig.first_store.finder.search(wanted, 2)
                looks += 1
                found += keys(stretch.rows)
                if stretch.last is None:
                    break
                assert before is None or stretch.last.id < before
                before = stretch.last.id
            assert found == [rare.key]
            assert looks < 10

    @rule
    async def test_open_sagas_are_grouped_by_what_went_wrong(self, rig: Rig) -> None:
        worker = await rig.worker()
        first = await wrong(rig, worker, "f1", "ship")
        back = await wrong(rig, worker, "f2", "pay", "compensating")
        last = await wrong(rig, worker, "f1", "ship")
        gone = await wrong(rig, worker, "f1", "ship")
        await rig.first_store.commit(
            worker, [gone.next(Head("compensated", None, None, fingerprint="f1", step="ship"))]
        )
        await rig.owned(worker)
        finder = rig.first_store.finder

        groups = await finder.groups(Wanted(), 10)

        assert [(group.fingerprint, group.sagas, group.newest) for group in groups] == [
            ("f1", 2, last.id),
            ("f2", 1, back.id),
        ]
        assert groups[0].first_at == (await rig.head(first)).updated_at
        assert groups[0].last_at == (await rig.head(last)).updated_at
        assert [group.fingerprint for group in await finder.groups(Wanted(), 1)] == ["f1"]
        for wanted, expected in (
            (Wanted(("compensating",)), ["f2"]),
            (Wanted(plans=(rig.other_plan,)), []),
            (Wanted(steps=("pay",)), ["f2"]),
            (Wanted(trouble=True), ["f1"]),
            (Wanted(prefix=first.key), ["f1"]),
        ):
            assert [group.fingerprint for group in await finder.groups(wanted, 10)] == expected, wanted

    @rule
    async def test_heads_and_first_rows_are_read_by_internal_ids(self, rig: Rig) -> None:
        sagas = [await rig.waiting() for _ in range(3)]
        wanted = [sagas[2].id, sagas[0].id, rig.saga().id]

        heads = await rig.first_store.finder.heads(wanted)
        rows = await rig.first_store.finder.beginnings(wanted)

        assert {row.key for row in heads} == {sagas[2].key, sagas[0].key}
        assert rows == {saga.id: (await rig.rows(saga))[0] for saga in (sagas[0], sagas[2])}
        assert await rig.first_store.finder.heads([]) == []
        assert await rig.first_store.finder.beginnings([]) == {}

    @rule
    async def test_what_ended_began_and_was_parked_is_told_by_the_minute(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        for status in ("completed", "completed", "compensated"):
            await rig.ended(worker, status)
        await wrong(rig, worker, "f1", "ship")
        finder, since = rig.first_store.finder, now - 600

        def by_word(tally: Tally) -> dict[str, int]:
            assert all(9 <= minute <= 11 for _, minute in tally.counts)
            words = {word for word, _ in tally.counts}
            return {word: sum(n for (other, _), n in tally.counts.items() if other == word) for word in words}

        assert by_word(await finder.ended_per_minute(since, LOOK)) == {"completed": 2, "compensated": 1}
        assert by_word(await finder.started_per_minute(since, LOOK)) == {"started": 4}
        assert by_word(await finder.parked_per_minute(since, LOOK)) == {"parked": 1}
        assert (await finder.ended_per_minute(now + 600, LOOK)).counts == {}
        short = await finder.ended_per_minute(since, 2)
        assert (sum(short.counts.values()), short.more) == (2, True)
        assert short.since > since

    @rule
    async def test_what_is_due_owned_or_in_trouble_is_counted(self, rig: Rig) -> None:
        worker = await rig.worker()
        now = rig.first_store.now()
        late = [await rig.waiting(due=now - by) for by in (70.0, 90.0, 10.0)]
        await rig.waiting(due=now + 3600)
        await rig.waiting()
        await rig.owned(worker)
        await wrong(rig, worker, "f1", "ship")
        await wrong(rig, worker, "f1", "ship", "compensating")
        going_on, unfit = await rig.owned(worker), await rig.owned(worker)
        await rig.first_store.commit(worker, [going_on.next(Head("running", None, None, "ship: no"))])
        await rig.first_store.stall(worker, unfit.id, "its plan has changed")
        finder = rig.first_store.finder

        assert await finder.due(now - 60, LOOK) == Due(2, (await rig.head(late[1])).wake_at)
        assert (await finder.due(now - 60, 1)).sagas == 1
        assert await finder.due(now - 3600, LOOK) == Due(0, None)
        assert await finder.owned_by() == {worker: 2}
        assert await finder.troubled() == {"parked": 1, "stuck": 1, "stalled": 1}

    @rule
    async def test_nothing_of_another_namespace_is_found(self, rig: Rig) -> None:
        worker = await rig.worker()
        sagas = [await rig.owned(worker), await rig.ended(worker), await rig.waiting(due=rig.first_store.now() - 9)]
        parked = await wrong(rig, worker, "f1", "ship", assigned="ada")
        ids, now = [saga.id for saga in (*sagas, parked)], rig.first_store.now()
        if rig.first_store.leases:  # one that may have the same numbers of plans and workers
            await (await rig.store("other", work=True)).add_plans([("fingerprint-1", "order", "{}")])
        finder = (await rig.store("other")).finder

        for statuses in ((), OPEN, ("completed",)):
            for wanted in (
                Wanted(statuses),
                Wanted(statuses, plans=(rig.plan,)),
                Wanted(statuses, fingerprints=("f1",)),
                Wanted(statuses, steps=("ship",)),
                Wanted(statuses, assigned="ada"),
                Wanted(statuses, trouble=True),
                Wanted(statuses, prefix="saga"),
            ):
                stretch = await finder.search(wanted, LOOK)
                assert (stretch.rows, stretch.last) == ((), None), wanted
                assert await finder.groups(wanted, 10) == []
        assert await finder.heads(ids) == []
        assert await finder.beginnings(ids) == {}
        for tally in (finder.ended_per_minute, finder.started_per_minute, finder.parked_per_minute):
            assert (await tally(now - 600, LOOK)).counts == {}
        assert await finder.due(now, LOOK) == Due(0, None)
        assert (await finder.owned_by(), await finder.troubled()) == ({}, {})

    @rule
    async def test_whatever_is_looked_for_is_only_a_value(self, rig: Rig) -> None:
        worker = await rig.worker()
        await rig.ended(worker)
        await wrong(rig, worker, "f1", "ship", assigned="ada")
        finder = rig.first_store.finder
        before = await rig.first_store.count()

        for text in HOSTILE:
            for statuses in ((), OPEN, (text,)):
                for wanted in (
                    Wanted(statuses, fingerprints=(text,)),
                    Wanted(statuses, steps=(text,)),
                    Wanted(statuses, prefix=text),
                    Wanted(statuses, assigned=text),
                    Wanted((*statuses, text), trouble=True, fingerprints=(text,), steps=(text,), prefix=text),
                ):
                    assert (await finder.search(wanted, LOOK)).rows == (), wanted
                    assert await finder.groups(wanted, 10) == [], wanted
        assert await rig.first_store.count() == before
