"""Rules about bulk operations: who works at them, and what is written down.

Guarantees: each rule is one test.
Must not: know what a state means.
"""

from __future__ import annotations

import asyncio

from amends.store.base import Store
from amends.store.bulk import BulkRow, Bulks, Counts, NewBulk, NewTarget, TargetResult
from amends.testing.store_suite.rig import LONG, SHORT, Rig, eventually, rule

HELD = ("counting", "running")
TARGETS = [NewTarget(1, "a", 3), NewTarget(2, "b", 4), NewTarget(3, "ü", 5)]


def new(key: str = "one") -> NewBulk:
    """One that is being counted."""
    return NewBulk(key, "counting", '{"verb":"ünpark"}'.encode(), b'{"move":"begun"}')


async def running(store: Store, key: str = "one") -> Bulks:
    """One with targets that somebody is to work at, and nobody does."""
    bulks = store.bulks
    await bulks.add(new(key), "starter", LONG)
    assert await bulks.fill(key, "counting", "starter", TARGETS, LONG)
    assert await bulks.move(key, 1, "running", b'{"move":"counted"}', 3)
    assert await bulks.keep(key, "starter", 0)
    return bulks


class BulkRules:
    """Bulk operations."""

    @rule
    async def test_a_bulk_operation_is_there_for_everybody_once_it_was_added(self, rig: Rig) -> None:
        before = rig.first_store.now()

        row = await rig.first_store.bulks.add(new(), "starter", LONG)

        assert (row.key, row.state, row.body, row.version) == ("one", "counting", new().body, 1)
        assert (row.total, row.done, row.refused, row.failed, row.runner) == (0, 0, 0, 0, "starter")
        assert before - 1 <= row.created_at == row.changed_at
        assert row.lease_until is not None
        assert row.lease_until > row.created_at
        assert await (await rig.store()).bulks.get("one") == row
        assert await rig.first_store.bulks.get("other") is None

    @rule
    async def test_the_same_key_gives_the_first_one_as_it_is(self, rig: Rig) -> None:
        first = await rig.first_store.bulks.add(new(), "starter", LONG)

        again = await rig.first_store.bulks.add(new()._replace(body=b"{}"), "other", LONG)

        assert again == first
        assert len(await rig.first_store.bulks.log("one")) == 1

    @rule
    async def test_its_targets_are_read_in_order_and_in_pages(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)

        pages = [await bulks.targets("one", after, 2) for after in (0, 2, 3)]

        assert [[(row.n, row.saga, row.version, row.word, row.at) for row in page] for page in pages] == [
            [(1, "a", 3, "", None), (2, "b", 4, "", None)],
            [(3, "ü", 5, "", None)],
            [],
        ]

    @rule
    async def test_targets_are_added_once_and_by_its_runner_alone_while_it_is_counted(self, rig: Rig) -> None:
        bulks = rig.first_store.bulks
        await bulks.add(new(), "starter", LONG)

        filled = [
            await bulks.fill("one", "counting", "starter", TARGETS[:2], LONG),
            await bulks.fill("one", "counting", "starter", TARGETS, LONG),
            await bulks.fill("one", "counting", "other", [NewTarget(4, "d", 1)], LONG),
            await bulks.fill("one", "paused", "starter", [NewTarget(5, "e", 1)], LONG),
        ]

        assert filled == [True, True, False, False]
        assert [row.saga for row in await bulks.targets("one", 0, 10)] == ["a", "b", "ü"]

    @rule
    async def test_it_moves_once_from_each_version_and_each_has_a_line(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)

        moved = await asyncio.gather(*(bulks.move("one", 2, "paused", b'{"who":"%d"}' % n) for n in range(4)))

        row, log = await bulks.get("one"), await bulks.log("one")
        assert sorted(moved) == [False, False, False, True]
        assert row is not None
        assert (row.state, row.version, row.total) == ("paused", 3, 3)
        assert [line.version for line in log] == [1, 2, 3]
        assert log[-1].line == b'{"who":"%d"}' % moved.index(True)
        assert log[0].at <= log[-1].at

    @rule
    async def test_one_that_nobody_has_is_taken_by_one(self, rig: Rig) -> None:
        stores = [rig.first_store, *[await rig.store() for _ in range(3)]]
        await running(rig.first_store)

        taken = await asyncio.gather(*(store.bulks.take(HELD, f"r{n}", LONG) for n, store in enumerate(stores)))

        row = await rig.first_store.bulks.get("one")
        assert [one for one in taken if one is not None] == [row]
        assert row is not None
        assert row.runner in ("r0", "r1", "r2", "r3")

    @rule
    async def test_the_oldest_is_taken_first_and_only_in_the_states_that_were_named(self, rig: Rig) -> None:
        bulks = await running(rig.first_store, "one")
        await running(rig.first_store, "two")
        await running(rig.first_store, "three")
        await bulks.move("one", 2, "paused", b"{}")

        by_name = await bulks.take(HELD, "r1", LONG, "three")
        taken = [await bulks.take(HELD, "r2", LONG), await bulks.take(HELD, "r3", LONG)]

        assert by_name is not None
        assert by_name.key == "three"
        assert [one.key if one else None for one in taken] == ["two", None]
        assert await bulks.take(HELD, "r4", LONG, "one") is None
        named = await bulks.take(("paused", "cancelled"), "r5", LONG, "one")
        assert named is not None
        assert named.runner == "r5"
        assert await bulks.take(("paused", "cancelled"), "r6", LONG, "one") is None

    @rule
    async def test_one_whose_lease_is_over_is_taken_over_and_the_runner_before_writes_nothing(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)
        assert await bulks.take(HELD, "dead", SHORT) is not None

        async def taken() -> bool:
            return await bulks.take(HELD, "heir", LONG) is not None

        await eventually(taken)

        result = [TargetResult(1, "accepted", "")]
        assert not await bulks.record("one", "dead", result, Counts(1, 0, 0), LONG)
        assert not await bulks.keep("one", "dead", LONG)
        assert not await bulks.keep("one", "dead", 0)
        row = await bulks.get("one")
        assert row is not None
        assert (row.runner, row.done) == ("heir", 0)
        assert [target.word for target in await bulks.targets("one", 0, 1)] == [""]

    @rule
    async def test_what_a_runner_that_was_killed_has_left_is_taken_by_one_and_what_was_let_go_by_nobody(
        self, rig: Rig
    ) -> None:
        bulks = await running(rig.first_store, "left")
        await running(rig.first_store, "let go")
        await running(rig.first_store, "at work")
        assert await bulks.take(HELD, "dead", SHORT, "left") is not None
        assert await bulks.take(HELD, "alive", LONG, "at work") is not None
        for key in ("left", "let go", "at work"):
            await bulks.move(key, 2, "cancelled", b"{}")

        taken: list[BulkRow | None] = []

        async def comes() -> bool:
            taken.extend(await asyncio.gather(*(bulks.take_left(("cancelled",), f"heir {n}", LONG) for n in range(3))))
            return any(taken)

        await eventually(comes)

        [row] = [one for one in taken if one is not None]
        assert (row.key, row.state) == ("left", "cancelled")
        assert row.runner is not None
        assert row.runner.startswith("heir")
        assert await bulks.get("left") == row
        assert await bulks.take_left(("cancelled", "done"), "other", LONG) is None

    @rule
    async def test_what_is_left_is_taken_in_the_states_that_were_named_alone(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)
        await bulks.take(HELD, "dead", SHORT)

        async def over() -> bool:
            return await bulks.take_left(HELD, "heir", LONG) is not None

        assert await bulks.take_left(("cancelled", "done"), "heir", LONG) is None
        await eventually(over)

    @rule
    async def test_results_and_counts_are_written_together(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)
        await bulks.take(HELD, "runner", LONG)
        results = [TargetResult(1, "accepted", "ok"), TargetResult(3, "refused", "nö")]

        assert await bulks.record("one", "runner", results, Counts(1, 1, 0), LONG)

        row = await bulks.get("one")
        assert row is not None
        assert (row.done, row.refused, row.failed, row.version) == (1, 1, 0, 2)
        left = await bulks.targets("one", 0, 10, ("",))
        known = await bulks.targets("one", 0, 10, ("accepted", "refused"))
        assert [target.n for target in left] == [2]
        assert [(target.n, target.word, target.detail) for target in known] == [
            (1, "accepted", "ok"),
            (3, "refused", "nö"),
        ]
        assert all(target.at is not None for target in known)

    @rule
    async def test_what_is_let_go_is_there_for_the_next(self, rig: Rig) -> None:
        bulks = await running(rig.first_store)
        await bulks.take(HELD, "first", LONG)

        assert await bulks.take(HELD, "second", LONG) is None
        assert await bulks.keep("one", "first", LONG)
        assert await bulks.keep("one", "first", 0)

        assert await bulks.take(HELD, "second", LONG) is not None

    @rule
    async def test_the_newest_are_listed_first_and_in_pages(self, rig: Rig) -> None:
        bulks = rig.first_store.bulks
        for key in ("a", "c", "b"):
            await bulks.add(new(key), "starter", LONG)

        pages = [await bulks.newest(before, 2) for before in (None, "c", "a", "nobody")]

        assert [[row.key for row in page] for page in pages] == [["b", "c"], ["a"], [], []]

    @rule
    async def test_old_ones_that_have_ended_are_forgotten_with_all_that_is_theirs(self, rig: Rig) -> None:
        bulks = await running(rig.first_store, "one")
        await running(rig.first_store, "two")
        await running(rig.first_store, "three")
        for key in ("one", "two"):
            await bulks.move(key, 2, "done", b"{}")
        row = await bulks.get("two")
        assert row is not None

        forgotten = [
            await bulks.forget(("done",), row.created_at - 60, 10),
            await bulks.forget(("done",), row.changed_at + 60, 1),
            await bulks.forget(("done",), row.changed_at + 60, 10),
            await bulks.forget(("done",), row.changed_at + 60, 10),
        ]

        assert forgotten == [0, 1, 1, 0]
        assert [one.key for one in await bulks.newest(None, 10)] == ["three"]
        await bulks.add(new("one"), "starter", LONG)
        assert await bulks.targets("one", 0, 10) == []
        assert len(await bulks.log("one")) == 1
        assert len(await bulks.targets("three", 0, 10)) == 3

    @rule
    async def test_namespaces_do_not_see_each_others(self, rig: Rig) -> None:
        await running(rig.first_store)
        other = (await rig.store("elsewhere")).bulks

        assert await other.get("one") is None
        assert await other.newest(None, 10) == []
        assert await other.targets("one", 0, 10) == []
        assert await other.log("one") == []
        assert await other.take(HELD, "runner", LONG) is None
        assert not await other.move("one", 2, "cancelled", b"{}")
        assert await other.forget(HELD, rig.first_store.now() + 60, 10) == 0
        assert not await other.fill("one", "running", "starter", TARGETS, LONG)
        await other.add(new(), "theirs", LONG)
        row = await rig.first_store.bulks.get("one")
        assert row is not None
        assert row.state == "running"
