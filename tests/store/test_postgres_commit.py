"""The second guard: a saga that has moved is not written to, whatever the statement's snapshot shows; and the
order of locks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from two_sessions import Scene, mutant, patient, scene

from amends.errors import StoreUnavailable
from amends.store import postgres_batch
from amends.store.base import Fate, Head, MailAnswer, Write
from amends.store.postgres_line import SQL
from amends.testing.store_suite.rig import Saga

INSERT_ROW = "INSERT INTO amends.journal (ns, seq, saga, op, row) VALUES (1, $1, $2, $3, '[]')"
INSERT_HEAD = (
    "INSERT INTO amends.saga (ns, plan, id, key, status, epoch, created_at, updated_at, input_hash) "
    "VALUES (1, 1, $1, $2, 'running', 1, 0, 0, '')"
)
LOST = [Fate.LOST]


async def overtaken(play: Scene, saga: Saga, *writes: Write) -> list[Fate]:
    """The fates of writes whose saga is moved by another session: its row is written before the statement
    begins, and committed while it waits. Another saga's row is in the batch too, and must be written."""
    rig = play.rig
    worker = await rig.worker()
    beside = await rig.owned(worker)
    other = await play.begin(INSERT_ROW, values=(1, saga.id, 77))
    batch = asyncio.create_task(rig.first_store.commit(worker, [*writes, beside.next()]))
    await play.waiting(1)
    await other.execute("COMMIT")
    *fates, last = await batch
    assert last is Fate.WRITTEN, "a loser keeps nobody from being written"
    return fates


def test_a_row_that_was_committed_after_the_snapshot_stands_and_the_later_decision_is_lost_whole(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> None:
        async with scene(postgres_url) as play:
            rig = play.rig
            saga = await rig.owned(await rig.worker())
            (mail,) = await rig.first_store.send([saga.mail("m1")])
            head = await rig.head(saga)

            answers = (MailAnswer("m1", "accepted", ""),)
            writes = [saga.next(Head("parked", None, None), answers), saga.next(Head("completed", None, None))]
            fates = await overtaken(play, saga, *writes)

            assert fates == [Fate.LOST] * 2
            assert len(await rig.rows(saga)) == 2, "its first row, and the other's"
            assert await rig.head(saga) == head
            assert await rig.first_store.mail(saga.id) == [mail]

    asyncio.run(main())


WHERE_FIRST = "CASE WHEN {}.saga IN (SELECT saga FROM first) THEN true END"


@pytest.mark.parametrize("part", ["further", "changed", "answered"])
def test_without_its_tie_to_the_first_row_a_part_of_a_lost_decision_would_be_written(
    part: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    mutant(monkeypatch, "commit", WHERE_FIRST.format({"further": "r", "changed": "c", "answered": "a"}[part]), "true")

    async def main() -> tuple[int, str, str | None]:
        async with scene(postgres_url) as play:
            rig = play.rig
            saga = await rig.owned(await rig.worker())
            await rig.first_store.send([saga.mail("m1")])
            writes = [saga.next(Head("parked", None, None), (MailAnswer("m1", "accepted", ""),)), saga.next()]
            await overtaken(play, saga, *writes)
            (mail,) = await rig.first_store.mail(saga.id)
            return len(await rig.rows(saga)), (await rig.head(saga)).status, mail.answer

    wrong = {"further": (3, "running", None), "changed": (2, "parked", None), "answered": (2, "running", "accepted")}
    assert asyncio.run(main()) == wrong[part]


def test_without_the_conflict_clause_a_lost_decision_would_be_taken_for_one_that_the_database_refuses(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    part = "END\n    ON CONFLICT DO NOTHING\n    RETURNING saga\n), further"
    mutant(monkeypatch, "commit", part, part.replace("ON CONFLICT DO NOTHING", ""))

    async def main() -> None:
        async with scene(postgres_url) as play:
            saga = await play.rig.owned(await play.rig.worker())
            assert await overtaken(play, saga, saga.next()) == [Fate.REFUSED]

    asyncio.run(main())


@pytest.mark.parametrize("guarded", [True, False])
def test_a_row_whose_predecessor_is_not_there_is_lost_and_without_the_guard_it_would_leave_a_gap(
    guarded: bool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        mutant(monkeypatch, "commit", "ELSE r.seq - 1 =", "ELSE r.seq IS NOT NULL OR r.seq - 1 =")

    async def main() -> tuple[list[Fate], int]:
        async with scene(postgres_url) as play:
            rig = play.rig
            worker = await rig.worker()
            saga = await rig.owned(worker)
            return await rig.first_store.commit(worker, [saga.at(5)]), len(await rig.rows(saga))

    assert asyncio.run(main()) == ((LOST, 1) if guarded else ([Fate.WRITTEN], 2))


# The order of locks


async def opposite(
    play: Scene, writes: list[Write], others: list[Write], lock: str, *values: object, client: bool = False
) -> bool:
    """Two batches of the same sagas in opposite orders, both on their way when what both wait for is let go.
    Whether both were answered, and no deadlock had to be cut."""
    rig = play.rig
    other = await rig.store(work=True)
    one, two = (None, None) if client else (await rig.worker(), await rig.worker(other))
    wall = await play.begin(lock, values=values)
    first = asyncio.create_task(rig.first_store.commit(one, writes))
    await play.waiting(1)
    second = asyncio.create_task(other.commit(two, others))
    await play.waiting(2)
    await wall.execute("ROLLBACK")
    said = await asyncio.gather(first, second, return_exceptions=True)
    return not any(isinstance(word, StoreUnavailable) and "deadlock" in str(word) for word in said)


async def decisions_in_opposite_orders(play: Scene) -> bool:
    """Two workers that both believe they own three sagas."""
    owner = await play.rig.worker()
    sagas = [await play.rig.owned(owner) for _ in range(3)]
    mine, theirs = [[saga.at(1) for saga in sagas] for _ in range(2)]
    return await opposite(play, mine, theirs[::-1], INSERT_ROW, 1, sagas[1].id, 77)


def test_two_batches_of_the_same_sagas_in_opposite_orders_do_not_deadlock(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> bool:
        async with scene(postgres_url) as play:
            return await decisions_in_opposite_orders(play)

    assert asyncio.run(main())


def test_unsorted_they_would(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch)
    monkeypatch.setattr(postgres_batch, "sorted", lambda writes, key: writes, raising=False)

    async def main() -> bool:
        async with scene(postgres_url) as play:
            return await decisions_in_opposite_orders(play)

    assert not asyncio.run(main())


@pytest.mark.parametrize("client", [True, False])
def test_two_batches_of_starts_with_the_same_keys_in_opposite_orders_do_not_deadlock(
    client: bool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> bool:
        async with scene(postgres_url) as play:
            mine = [play.rig.saga(key) for key in ("a", "b", "c")]
            theirs = [play.rig.saga(key) for key in ("c", "b", "a")]
            starts, others = [saga.first() for saga in mine], [saga.first() for saga in theirs]
            return await opposite(play, starts, others, INSERT_HEAD, play.rig.saga().id, "b", client=client)

    assert asyncio.run(main())


def test_plans_registered_in_opposite_orders_do_not_deadlock(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)

    async def main() -> list[object]:
        async with scene(postgres_url) as play:
            other = await play.rig.store()
            plans = [(fingerprint, fingerprint, "{}") for fingerprint in ("a", "b", "c")]
            values = (1, ["b"], ["b"], ["{}"])
            wall = await play.begin(SQL["plan_add"], values=values)
            acts = [asyncio.create_task(play.rig.first_store.add_plans(plans))]
            await play.waiting(1)
            acts.append(asyncio.create_task(other.add_plans(plans[::-1])))
            await play.waiting(2)
            await wall.execute("ROLLBACK")
            one, two = await asyncio.gather(*acts)
            return [one == two[::-1], len(set(one))]

    assert asyncio.run(main()) == [True, 3]


# Renewal


@pytest.mark.parametrize("line", ["commit", "commit_aside"])
def test_a_renewal_goes_between_the_batches_however_many_there_are(line: str, postgres_url: str) -> None:
    async def main() -> list[int]:
        async with scene(postgres_url) as play:
            rig, store = play.rig, play.rig.first_store
            worker = await rig.worker()
            waited: list[int] = []
            passed, over = 0, False

            async def batches() -> None:
                nonlocal passed
                saga = await rig.owned(worker)
                while not over:
                    assert await getattr(store, line)(worker, [saga.next()]) == [Fate.WRITTEN]
                    passed += 1

            for commit in (store.commit, store.commit_aside):  # connected, both
                await commit(worker, [(await rig.waiting()).at(1)])
            lines = [asyncio.create_task(batches()) for _ in range(2)]
            for _ in range(10):
                before = passed
                assert await store.renew(worker, rig.info())
                waited.append(passed - before)
            over = True
            await asyncio.gather(*lines)
            assert passed > 0
            return waited

    waited = asyncio.run(main())
    assert max(waited) <= 4, f"a renewal waits for what was before it, and for no more: {waited}"


def test_a_renewal_on_a_connection_of_its_own_would_starve_behind_overlapping_batches(postgres_url: str) -> None:
    """Two sessions take turns in holding the worker's row as batches do: each takes it before the other lets go."""

    async def main() -> bool:
        async with scene(postgres_url) as play:
            worker = await play.rig.worker()
            share = "SELECT FROM amends.worker WHERE id = $1 AND retired_at IS NULL FOR SHARE"
            holder, next_one = await play.session(), await play.begin(share, values=(worker,))
            own = await play.session()
            pid = await own.fetchval("SELECT pg_backend_pid()")
            renewal = asyncio.create_task(own.fetch(SQL["worker_renew"], worker, 15.0, [1]))
            await play.waiting(1)
            for _ in range(30):
                holder, next_one = next_one, holder
                await next_one.execute("BEGIN")
                await next_one.fetch(share, worker)
                await holder.execute("COMMIT")
                blocker = await next_one.fetchval("SELECT pg_backend_pid()")
                await play.blocked(pid, blocker)
            starved = not renewal.done()
            await next_one.execute("COMMIT")
            assert len(await renewal) == 1
            return starved

    assert asyncio.run(main())


# Locks of a user's

LOCK_HEAD = "SELECT FROM amends.saga WHERE id = $1 FOR UPDATE"


@pytest.mark.parametrize("blocked_key", [False, True])
def test_a_locked_head_is_found_by_one_look_and_no_other_decision_waits_for_it_again(
    blocked_key: bool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> tuple[list[Fate], list[str]]:
        async with scene(postgres_url) as play:
            rig = play.rig
            worker = await rig.worker()
            sagas = [await rig.owned(worker) for _ in range(100)]
            await play.begin(LOCK_HEAD, values=(sagas[33].id,))
            writes = [saga.next(Head("parked", None, None)) for saga in sagas]
            if blocked_key:
                await play.begin(INSERT_HEAD, values=(rig.saga().id, "K"))
                writes += [rig.saga("K").first(owner=worker), rig.saga().first(owner=worker)]
            names: list[str] = []
            line: Any = rig.first_store._commits  # type: ignore[attr-defined]  # it is PostgreSQL's
            fetch = line.fetch

            def noted(name: str, *values: object) -> Any:
                names.append(name)
                return fetch(name, *values)

            monkeypatch.setattr(line, "fetch", noted)
            return await rig.first_store.commit(worker, writes), names

    fates, names = asyncio.run(main())
    assert fates[:100] == [Fate.HELD if place == 33 else Fate.WRITTEN for place in range(100)]
    assert fates[100:] == ([Fate.HELD] * 2 if blocked_key else [])
    assert names.count("commit") <= (3 if blocked_key else 2), names
