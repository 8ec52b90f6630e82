"""The first guard: a worker that is retired writes nothing, and what it was writing is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from two_sessions import Scene, mutant, patient, scene, until

from amends.store import postgres
from amends.store.base import Fate, Head, Retired, Store
from amends.store.postgres_line import SQL
from amends.testing.store_suite.rig import SHORT, ids

LOCK_HEAD = "SELECT FROM amends.saga WHERE id = $1 FOR UPDATE"
RETIRE = "UPDATE amends.worker SET retired_at = 1.0 WHERE id = $1 AND retired_at IS NULL"


async def expired(play: Scene, *workers: int) -> None:
    """Wait until the leases of these workers are over, by the server's clock."""

    async def are_over() -> bool:
        over = "SELECT count(*) FROM amends.worker WHERE id = ANY($1) AND expires_at < extract(epoch FROM now())"
        return await play.value(over, list(workers)) == len(workers)

    await until(are_over, "the leases end")


async def overlapped(play: Scene) -> tuple[bool, bool]:
    """A batch is in flight while its worker is retired and its sagas taken over. Whether the retirement
    waited, and whether whoever took over saw all that was ever written by the worker before."""
    rig = play.rig
    other = await rig.store(work=True)
    gone, heir = await rig.worker(lease=SHORT), await rig.worker(other)
    free, held = await rig.owned(gone), await rig.owned(gone)
    await expired(play, gone)
    lock = await play.begin(LOCK_HEAD, values=(held.id,))
    writes = [free.next(), held.next(Head("running", gone, 5.0))]
    batch = asyncio.create_task(rig.first_store.commit(gone, writes))
    await play.waiting(1)

    retiring = asyncio.create_task(other.retire_expired(heir))
    await until(lambda: done_or(retiring, play.waits(2)), "the retirement waits, or is done")
    waited = not retiring.done()
    seen = await other.adopt(heir, gone, 10) if not waited else []
    await lock.execute("ROLLBACK")
    await asyncio.gather(batch, retiring, return_exceptions=True)
    seen += await other.adopt(heir, gone, 10)

    rows = {loaded.head.id: loaded.rows for loaded in seen}
    return waited, [rows[saga.id] for saga in (free, held)] == [await rig.rows(saga) for saga in (free, held)]


async def done_or(task: asyncio.Future[Any], other: Awaitable[bool]) -> bool:
    """Whether a task is done, or else another condition holds."""
    return await other or task.done()


def test_a_retirement_waits_for_the_batch_that_is_on_its_way(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> tuple[bool, bool]:
        async with scene(postgres_url) as play:
            return await overlapped(play)

    assert asyncio.run(main()) == (True, True)


@pytest.mark.parametrize("lock", ["FOR KEY SHARE", ""])
def test_a_weaker_lock_would_be_tricked_by_a_retirement_in_mid_batch(
    lock: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    mutant(monkeypatch, "commit", "FOR SHARE", lock)

    async def main() -> tuple[bool, bool]:
        async with scene(postgres_url) as play:
            return await overlapped(play)

    assert asyncio.run(main()) == (False, False), "the heir decides without a row that is then there"


async def behind_a_retirement(play: Scene) -> tuple[object, int]:
    """A batch begins while a retirement is not yet committed. What it says, and how many rows its saga has."""
    rig = play.rig
    worker = await rig.worker()
    saga = await rig.owned(worker)
    retirement = await play.begin(RETIRE, values=(worker,))
    batch = asyncio.create_task(rig.first_store.commit(worker, [saga.next(Head("parked", None, None))]))
    await until(lambda: done_or(batch, play.waits(1)), "the batch waits, or is written")
    await retirement.execute("COMMIT")
    (said,) = await asyncio.gather(batch, return_exceptions=True)
    return said, len(await rig.rows(saga))


def test_a_batch_whose_snapshot_is_older_than_a_retirement_changes_nothing(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> tuple[object, int]:
        async with scene(postgres_url) as play:
            return await behind_a_retirement(play)

    said, rows = asyncio.run(main())
    assert isinstance(said, Retired)
    assert rows == 1


@pytest.mark.parametrize(("old", "new"), [("AND retired_at IS NULL FOR SHARE", "FOR SHARE"), ("FOR SHARE", "")])
def test_without_the_first_guard_a_retired_worker_would_write(
    old: str, new: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    mutant(monkeypatch, "commit", old, new)

    async def main() -> tuple[object, int]:
        async with scene(postgres_url) as play:
            return await behind_a_retirement(play)

    assert asyncio.run(main()) == ([Fate.WRITTEN], 2)


@pytest.mark.parametrize("name", ["claim", "adopt", "release", "stall"])
def test_whatever_a_worker_writes_about_ownership_waits_for_its_retirement_and_then_is_not_written(
    name: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> None:
        async with scene(postgres_url) as play:
            rig, store = play.rig, play.rig.first_store
            worker, dead = await rig.worker(), await rig.worker()
            mine, orphan, due = await rig.owned(worker), await rig.owned(dead), await rig.waiting(due=0.0)
            await store.deregister(dead, survived=False)
            acts: dict[str, Callable[[], Awaitable[object]]] = {
                "claim": lambda: store.claim(worker, [rig.plan], 10),
                "adopt": lambda: store.adopt(worker, dead, 10),
                "release": lambda: store.release(worker, [(mine.id, None)]),
                "stall": lambda: store.stall(worker, mine.id, "no"),
            }
            before = [await rig.head(saga) for saga in (mine, orphan, due)]
            retirement = await play.begin(RETIRE, values=(worker,))

            acting = asyncio.ensure_future(acts[name]())
            await play.waiting(1)
            await retirement.execute("COMMIT")

            with pytest.raises(Retired):
                await acting
            assert [await rig.head(saga) for saga in (mine, orphan, due)] == before

    asyncio.run(main())


def test_a_claim_that_overtook_the_commit_of_a_release_sees_the_newest_row(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> tuple[int, int, int]:
        async with scene(postgres_url) as play:
            return await overtaken(play)

    seen, of_one_statement, written = asyncio.run(main())
    assert (seen, written) == (2, 2)
    assert of_one_statement == 1, "a journal read in the claim's own statement is as old as its snapshot"


async def overtaken(play: Scene) -> tuple[int, int, int]:
    """Claims begin, and wait before they look; meanwhile a saga is owned, moved and let go by another. How many
    rows the claim sees of it, how many a claim would that reads them in the same statement, and how many there are."""
    rig, store = play.rig, play.rig.first_store
    other = await rig.store(work=True)
    first, second, busy = await rig.worker(), await rig.worker(), await rig.worker(other)
    saga, twin = await rig.waiting(due=0.0), await rig.waiting(due=0.0)
    lock = await play.begin("SELECT FROM amends.worker WHERE id = ANY($1) FOR UPDATE", values=([first, second],))
    claiming = asyncio.create_task(store.claim(first, [rig.plan], 1))
    await play.waiting(1)
    single = await play.session()
    reading = asyncio.create_task(single.fetch(one_statement(), 1, second, [rig.plan], 1))
    await play.waiting(2)

    assert len(await other.claim(busy, [rig.plan], 10)) == 2
    moved = [saga.next(Head("running", None, 0.0)), twin.next(Head("running", None, 0.0))]
    assert await other.commit(busy, moved) == [Fate.WRITTEN] * 2
    await lock.execute("COMMIT")

    (loaded,), ((rows,),) = await claiming, await reading
    return len(loaded.rows), len(rows), len(await rig.rows(saga))


def one_statement() -> str:
    """The claim, reading the journal in its own statement."""
    text = SQL["claim"]
    end = "SELECT alive.plans IS NOT NULL, owned.*"
    assert end in text
    journal = "SELECT ARRAY(SELECT j.row FROM amends.journal j WHERE j.ns = $1 AND j.saga = owned.id ORDER BY j.seq)"
    return text.replace(end, journal)


def test_two_workers_that_retire_and_adopt_each_other_wait_for_nothing_and_take_each_saga_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> None:
        async with scene(postgres_url) as play:
            rig, store = play.rig, play.rig.first_store
            other = await rig.store(work=True)
            for _ in range(5):
                one, two = await rig.worker(lease=SHORT), await rig.worker(other, lease=SHORT)
                sagas = [await rig.owned(one), await rig.owned(two)]
                await expired(play, one, two)
                lock = await play.begin("SELECT FROM amends.worker WHERE id = ANY($1) FOR SHARE", values=([one, two],))
                acts = [adopt_from(store, one, two), adopt_from(other, two, one)]
                both = asyncio.gather(*acts)
                await play.waiting(2)
                await lock.execute("COMMIT")
                taken = [saga for some in await both for saga in some]
                assert len(taken) == len(set(taken)) <= 1
                assert {(await rig.head(saga)).owner for saga in sagas} <= {one, two}

    asyncio.run(main())


async def adopt_from(store: Store, worker: int, gone: int) -> list[bytes]:
    """What an adoption gives; a worker that is retired itself gets nothing."""
    with contextlib.suppress(Retired):
        await store.retire_expired(worker)
        return ids(await store.adopt(worker, gone, 10))
    return []


def test_a_retirement_within_the_adopting_transaction_would_deadlock(postgres_url: str) -> None:
    async def main() -> int:
        async with scene(postgres_url) as play:
            one, two = await play.rig.worker(), await play.rig.worker()
            share = "SELECT FROM amends.worker WHERE id = $1 AND retired_at IS NULL FOR SHARE"
            first = await play.begin(share, values=(one,))
            second = await play.begin(share, values=(two,))

            said = await asyncio.gather(
                first.execute(retirement_of(two)), second.execute(retirement_of(one)), return_exceptions=True
            )
            return sum("deadlock detected" in str(word) for word in said)

    assert asyncio.run(main()) == 1


def retirement_of(worker: int) -> str:
    """The retirement of a worker, as a statement without values."""
    return RETIRE.replace("$1", str(worker))


def test_a_retirement_that_cannot_be_had_keeps_no_other_from_being_made(postgres_url: str) -> None:
    async def main() -> list[int]:
        async with scene(postgres_url) as play:
            rig = play.rig
            heir, blocked, gone = await rig.worker(), await rig.worker(lease=SHORT), await rig.worker(lease=SHORT)
            for worker in (blocked, gone):
                await rig.owned(worker)
            await expired(play, blocked, gone)
            await play.begin("SELECT FROM amends.worker WHERE id = $1 FOR SHARE", values=(blocked,))
            assert await rig.first_store.retire_expired(heir) == [gone]
            return [row.id for row in await rig.first_store.workers() if row.retired_at is not None]

    assert asyncio.run(main()) == [3]


def test_a_worker_comes_though_somebody_holds_an_old_one_that_it_would_clear_away(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another does that comes at the same moment, and clears away the same."""
    monkeypatch.setattr(postgres, "OLD_WORKERS_KEPT", 0)

    async def main() -> int:
        async with scene(postgres_url) as play:
            old = await play.rig.worker()
            session = await play.session()
            await session.execute("UPDATE amends.worker SET retired_at = 1.0")
            await play.begin("SELECT FROM amends.worker WHERE id = $1 FOR UPDATE", values=(old,))
            return await play.rig.worker() - old

    assert asyncio.run(main()) == 1
