"""What is heard becomes a journal: the same rows in the same order, whoever writes them, however they come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import UNDO, Story, plan, remote

from amends.decide.baton import Progress, Saga
from amends.decide.evolve import replay
from amends.decide.watching import GRACE_SECONDS, Watched
from amends.errors import MessageRefused
from amends.run import journal
from amends.run.database import store_of
from amends.run.watcher_fold import Folder, Heard, Watch, heard_of
from amends.store.base import Filter, Head, NewSaga, Retired, Store, WorkerInfo, Write

FLOW = plan(remote("a"), remote("b"))
INFO = WorkerInfo("here", 1, (), 60.0)


def saga(number: int, key: str, home: str = "orders", fingerprint: str = FLOW.fingerprint) -> Saga:
    """One of a few."""
    return Saga(bytes([number]) * 16, key, "told", fingerprint, home)


def history() -> list[bytes]:
    """A saga that goes back, in nine rows."""
    story = Story(FLOW)
    story.succeeds("a")
    story.rejects("b", sure=True)
    story.fails("a", resolved=True, phase=UNDO)
    story.tick()
    story.undone("a")
    assert story.status == "compensated"
    return [journal.encode(float(at), 0, [event]) for at, event in enumerate(story.history)]


ROWS = history()
STATUSES = {
    length: str(replay(event for row in ROWS[:length] for event in journal.decode(row).events).status)
    for length in range(1, len(ROWS) + 1)
}


def heard(whose: Saga, length: int, rows: Sequence[bytes] = ROWS) -> Heard:
    """Its history so far."""
    return heard_of(Progress(whose, "shop", b"[" + b",".join(rows[:length]) + b"]"))


def folder_on(store: Store) -> Folder:
    """A watcher's half that writes, as new."""
    return Folder(store, Watch(store, {FLOW.fingerprint: FLOW}), None)


async def written(store: Store, key: str) -> list[bytes]:
    """What stands in the journal of a saga."""
    loaded = await store.load(key)
    return [] if loaded is None else list(loaded.rows)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each, not open."""
    if request.param == "postgres":
        return store_of(request.getfixturevalue("postgres_url"), "choreographed", migrate=True)
    return store_of("memory://" if request.param == "memory" else tmp_path / "watched.db", "choreographed")


async def opened(store: Store) -> int:
    """Open it, and be registered."""
    await store.open(work=False)
    return await store.register(INFO)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, len(ROWS)), min_size=1, max_size=12), st.data())
def test_however_histories_come_and_whoever_takes_them_the_longest_stands(
    lengths: list[int], data: st.DataObject
) -> None:
    """Taken by two watchers that know nothing of each other, and may be new at any time."""
    one = saga(1, "o-1")

    async def main() -> None:
        store = store_of("memory://", "choreographed")
        worker = await opened(store)
        folders, left, longest = [folder_on(store), folder_on(store)], lengths, 0
        while left:
            size, which = data.draw(st.integers(1, len(left))), data.draw(st.integers(0, 1))
            if data.draw(st.booleans()):
                folders[which] = folder_on(store)
            batch, left = left[:size], left[size:]
            longest = max(longest, *batch)
            assert await folders[which].fold(worker, [heard(one, length) for length in batch])
            assert await written(store, "o-1") == ROWS[:longest]
            head = await store.head("o-1")
            assert head is not None
            assert (head.status, head.owner, head.wake_at is None) == (STATUSES[longest], None, longest == len(ROWS))

    asyncio.run(main())


def test_a_head_is_that_of_the_last_row_and_is_due_when_it_falls_silent(store: Store) -> None:
    one = saga(1, "o-1")

    async def main() -> None:
        worker = await opened(store)
        try:
            assert await folder_on(store).fold(worker, [heard(one, 3)])
            head = await store.head("o-1")
            assert head is not None
            assert (head.status, head.owner, head.created_at) == ("running", None, 0.0)
            assert head.wake_at == 2.0 + 10.0 + GRACE_SECONDS  # a has 10 s, and was asked at 2.0
            assert await folder_on(store).fold(worker, [heard(one, 5), heard(one, 3)])
            assert await folder_on(store).fold(worker, [heard(one, len(ROWS)), heard(one, 4)])
            head = await store.head("o-1")
            assert head is not None
            assert (head.status, head.wake_at, head.reason) == ("compensated", None, "b: no")
            assert await written(store, "o-1") == ROWS
        finally:
            await store.close()

    asyncio.run(main())


def test_sagas_of_two_homes_with_one_id_are_two(store: Store) -> None:
    one, other, third = saga(1, "o-1"), saga(2, "o-1", "returns"), saga(3, "o-1", "returns")

    async def main() -> None:
        worker = await opened(store)
        try:
            batch = [heard(each, 2) for each in (one, other, third)]
            assert await folder_on(store).fold(worker, batch)
            assert await folder_on(store).fold(worker, [heard(other, 4), heard(third, 2)])
            found = {row.key: row.id for row in await store.find(Filter())}
            assert found == {"o-1": one.id, "o-1@returns": other.id, f"o-1@returns:{third.id.hex()}": third.id}
            assert await written(store, "o-1@returns") == ROWS[:4]
        finally:
            await store.close()

    asyncio.run(main())


def test_many_sagas_are_written_at_once_whatever_befalls_one(store: Store) -> None:
    many = [saga(number, f"o-{number}") for number in range(1, 40)]
    odd = journal.encode(9.0, 0, [journal.decode(ROWS[-1]).events[0]])

    async def main() -> None:
        worker = await opened(store)
        try:
            batch = [heard(one, 2) for one in many]
            batch[7] = heard(many[7], 2, [ROWS[0], odd])  # a history that cannot be
            assert await folder_on(store).fold(worker, batch)
            assert len(await store.find(Filter(limit=100))) == len(many) - 1
            assert await written(store, "o-8") == []
        finally:
            await store.close()

    asyncio.run(main())


def test_what_is_written_stays_whatever_else_is_told_and_what_follows_upon_it_is_added(store: Store) -> None:
    one, other_rows = saga(1, "o-1"), [ROWS[0], journal.encode(7.0, 0, journal.decode(ROWS[1]).events), *ROWS[2:]]

    async def main() -> None:
        worker = await opened(store)
        try:
            assert await folder_on(store).fold(worker, [heard(one, 3)])
            assert await folder_on(store).fold(worker, [heard(one, 2, other_rows), heard(saga(2, "o-2"), 3)])
            assert await folder_on(store).fold(worker, [heard(one, len(ROWS), other_rows)])
            assert await written(store, "o-1") == ROWS
            assert await written(store, "o-2") == ROWS[:3]
        finally:
            await store.close()

    asyncio.run(main())


def test_a_journal_that_cannot_be_read_holds_nobody_up(store: Store) -> None:
    one, other = saga(1, "o-1"), saga(2, "o-2")

    async def main() -> None:
        worker = await opened(store)
        try:
            [plan_number] = await store.add_plans([(Watched("orders", FLOW.fingerprint).text, FLOW.name, FLOW.json)])
            new, head = NewSaga("o-1", plan_number, b"", 0.0), Head("running", None, None)
            await store.commit(worker, [Write(one.id, 0, 1, b'[1.0,0,[["from_the_future"]]]', new, head)])
            assert await folder_on(store).fold(worker, [heard(one, 3), heard(other, 3)])
            assert await written(store, "o-2") == ROWS[:3]
        finally:
            await store.close()

    asyncio.run(main())


def test_what_is_folded_belongs_to_no_worker_and_none_can_take_it(store: Store) -> None:
    one = saga(1, "o-1")

    async def main() -> None:
        worker = await opened(store)
        try:
            await folder_on(store).fold(worker, [heard(one, 2)])
            [row] = await store.plans()
            assert row.fingerprint == Watched("orders", FLOW.fingerprint).text
            [mine] = await store.add_plans([(FLOW.fingerprint, FLOW.name, FLOW.json)])
            assert mine != row.id
            assert await store.claim(worker, [mine], 10) == []
        finally:
            await store.close()

    asyncio.run(main())


def test_whoever_was_retired_writes_nothing(store: Store) -> None:
    async def main() -> None:
        worker = await opened(store)
        try:
            await store.deregister(worker, survived=False)
            with pytest.raises(Retired):
                await folder_on(store).fold(worker, [heard(saga(1, "o-1"), 2)])
            assert await store.find(Filter()) == []
        finally:
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("rows", [b"", b"{}", b"[]"], ids=repr)
def test_rows_that_are_none_are_refused(rows: bytes) -> None:
    with pytest.raises(MessageRefused):
        heard_of(Progress(saga(1, "o-1"), "shop", rows))
