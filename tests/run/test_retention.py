"""Sagas that ended long ago are forgotten: by workers that are told to, in bounded batches, and with them what
their steps' transactions left; never so that something late could still take effect."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from engine import Order, database, until, virtually

from amends import Compensated, Completed, Orchestrator, Reject, Retry, Saga, Settings, pivot, step, wait_for
from amends.errors import DefinitionError, StoreUnavailable
from amends.run import ownership, retention, transactions_sqlite
from amends.run.transactions import ATTEMPT_SECONDS_MAX, INBOX_SECONDS
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store.base import Ended
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.testing.inline import InlineConnection
from amends.testing.virtual import Inline

HOUR = 3600.0
KEEPS_AN_HOUR = Settings(retention_seconds=HOUR)


@step(readonly=True)
async def look(order: Order) -> None: ...


short = Saga("short", look, input=Order)
endless = Saga("endless", wait_for("go", Order), input=Order)


class Watched(MemoryStore):
    """A store that says when it is asked to forget, and how much at once."""

    def __init__(self, db: MemoryDatabase) -> None:
        super().__init__(db)
        self.looks: list[float] = []
        self.sizes: list[int] = []
        self.away = 0

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        self.looks.append(self.now())
        return await super().ended(before, after, limit)

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("it is away")
        self.sizes.append(len(sagas))
        return await super().prune(before, sagas)


def test_a_worker_forgets_what_ended_longer_ago_than_it_is_to_keep_and_nothing_else() -> None:
    async def main() -> None:
        db = database()
        async with Orchestrator(MemoryStore(db), sagas=[short, endless], settings=KEEPS_AN_HOUR) as orchestrator:
            await orchestrator.start(endless, Order(), id="open")
            await orchestrator.run(short, Order(), id="old")
            await asyncio.sleep(HOUR - 60)
            await orchestrator.run(short, Order(), id="young")
            before = set(db.keys)
            await asyncio.sleep(2 * retention.LOOK_SECONDS)
            after = set(db.keys)

        assert before == {"open", "old", "young"}
        assert after == {"open", "young"}

    virtually(main())


def test_without_a_word_everything_is_kept() -> None:
    async def main() -> None:
        db = database()
        async with Orchestrator(MemoryStore(db), sagas=[short]) as orchestrator:
            await orchestrator.run(short, Order(), id="old")
            await asyncio.sleep(6 * HOUR)

        assert set(db.keys) == {"old"}

    virtually(main())


def test_it_forgets_in_bounded_batches_and_work_goes_on_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOOK_ROWS", 30)
    batches = retention.batches
    monkeypatch.setattr(retention, "batches", lambda store, before, forget: batches(store, before, forget, 10))

    async def main() -> None:
        db = database()
        store = Watched(db)
        async with Orchestrator(store, sagas=[short], settings=KEEPS_AN_HOUR) as orchestrator:
            for number in range(95):
                await orchestrator.run(short, Order(), id=f"old-{number}")
            await asyncio.sleep(HOUR)
            await until(lambda: bool(store.sizes), 2 * retention.LOOK_SECONDS)
            at_first = len(db.keys)
            outcome = await orchestrator.run(short, Order(), id="new")
            meanwhile = len(db.keys)
            await asyncio.sleep(60)

        assert at_first == 85
        assert outcome == Completed(None)
        assert meanwhile > 20, "it was not held up until all were forgotten"
        assert max(store.sizes) == 10
        assert set(db.keys) == {"new"}

    virtually(main())


def test_several_workers_that_forget_do_not_look_all_at_once_and_do_no_harm() -> None:
    async def main() -> None:
        db = database()
        stores = [Watched(db) for _ in range(4)]
        workers = [Orchestrator(store, sagas=[short], settings=KEEPS_AN_HOUR) for store in stores]
        for worker in workers:
            await worker.__aenter__()
        for number in range(40):
            await workers[number % 4].run(short, Order(), id=f"old-{number}")
        await asyncio.sleep(2 * HOUR)
        for worker in workers:
            await worker.__aexit__(None, None, None)

        first = sorted(store.looks[0] for store in stores)
        assert not db.keys
        assert all(later - earlier > 0.01 for earlier, later in pairwise(first))

    virtually(main())


def test_a_store_that_is_away_is_asked_again_later() -> None:
    async def main() -> None:
        db = database()
        store = Watched(db)
        async with Orchestrator(store, sagas=[short], settings=KEEPS_AN_HOUR) as orchestrator:
            await orchestrator.run(short, Order(), id="old")
            store.away = 2
            await asyncio.sleep(2 * HOUR)

        assert store.away == 0
        assert not db.keys

    virtually(main())


@pytest.mark.parametrize("seconds", [0.0, 90.0, -1.0, float("inf"), True])
def test_a_time_to_keep_that_a_start_sent_again_could_outlast_is_refused(seconds: float) -> None:
    with pytest.raises(DefinitionError, match="retention_seconds"):
        Settings(retention_seconds=seconds)


class Shop:
    """Sagas in memory, and the effects of their steps in a file, which two workers share."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transactions_sqlite, "ConnectionThread", InlineConnection)
        monkeypatch.setattr(ownership, "SLOW_SECONDS", HOUR)  # weeks pass here: nobody looks every second
        self.path = directory / "effects.db"
        self.db = database()
        self.sql("CREATE TABLE booked (who TEXT)")

    def sql(self, text: str) -> list[Any]:
        """One statement, committed."""
        with sqlite3.connect(self.path, timeout=60) as connection:
            found = connection.execute(text).fetchall()
        connection.close()
        return found

    def worker(self, saga: Saga[Order, Any], **options: Any) -> Orchestrator:
        """One more worker."""
        settings = Settings(poll_seconds=HOUR, lease_seconds=HOUR, **options)
        built = Orchestrator(MemoryStore(self.db), sagas=[saga], effects=f"sqlite:///{self.path}", settings=settings)
        built.config = replace(built.config, threads=Inline())
        return built

    @property
    def inbox(self) -> list[tuple[str, int]]:
        """What the inbox says."""
        return self.sql("SELECT action, compensated FROM amends_inbox")

    @property
    def booked(self) -> int:
        """How many effects stand."""
        return len(self.sql("SELECT * FROM booked"))


def booking(*, refuse: bool = False) -> Saga[Order, None]:
    """A step that books in a transaction, and a decision."""

    @step(retry=Retry(attempts=1))
    def book(order: Order, tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO booked VALUES ('somebody')")

    @book.compensation
    def unbook(tx: sqlite3.Connection) -> None:
        tx.execute("DELETE FROM booked WHERE rowid IN (SELECT rowid FROM booked LIMIT 1)")

    @step
    async def decide() -> None:
        if refuse:
            raise Reject("no")

    return Saga("booking", book, pivot(decide), input=Order)


def effects_of(orchestrator: Orchestrator) -> SqliteTransactions:
    """The effects of an orchestrator that works."""
    worker = orchestrator.session.worker
    assert worker is not None
    assert isinstance(worker._transactions, SqliteTransactions)
    return worker._transactions


def test_a_saga_goes_with_its_inbox_rows_and_not_before_their_horizon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        shop, saga = Shop(tmp_path, monkeypatch), booking()
        async with shop.worker(saga, retention_seconds=HOUR) as orchestrator:
            await orchestrator.run(saga, Order(), id="one")
            await asyncio.sleep(INBOX_SECONDS - 60)
            early = (set(shop.db.keys), shop.inbox)
            await asyncio.sleep(2 * retention.LOOK_SECONDS)
            late = (set(shop.db.keys), shop.inbox)

        assert early == ({"one"}, [("succeeded", 0)])
        assert late == (set(), [])
        assert shop.booked == 1

    virtually(main())


def test_who_is_stopped_between_the_inbox_and_the_saga_finds_the_saga_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        shop, saga = Shop(tmp_path, monkeypatch), booking()
        async with shop.worker(saga, retention_seconds=HOUR) as orchestrator:
            await orchestrator.run(saga, Order(), id="one")
            store, prune, tries = orchestrator.session.store, MemoryStore.prune, [1]

            async def away(before: float, sagas: Sequence[bytes]) -> int:
                if sagas and tries:
                    tries.pop()
                    raise StoreUnavailable("it is away")
                assert isinstance(store, MemoryStore)
                return await prune(store, before, sagas)

            monkeypatch.setattr(store, "prune", away)
            await asyncio.sleep(INBOX_SECONDS - 60)
            await until(lambda: not tries, 60 + 2 * retention.LOOK_SECONDS)
            first = (set(shop.db.keys), shop.inbox)
            await asyncio.sleep(2 * retention.LOOK_SECONDS)

        assert first == ({"one"}, [])
        assert not shop.db.keys

    virtually(main())


@pytest.mark.parametrize("frozen_seconds", [60.0, INBOX_SECONDS + 2 * HOUR, 10 * INBOX_SECONDS])
def test_an_action_that_was_frozen_takes_no_effect_after_its_compensation_however_long_it_was(
    frozen_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would tell it that it comes too late, the tombstone, is gone by then."""

    async def main() -> None:
        shop, saga = Shop(tmp_path, monkeypatch), booking()
        first = shop.worker(saga)
        await first.__aenter__()
        gate = effects_of(first)._one
        await gate.acquire()  # its attempt stands before its transaction
        await first.start(saga, Order(), id="one")
        running = first.session.worker
        assert running is not None
        await until(lambda: any(live.running for live in running.lives.values()))
        running.ownership.halt()  # it is frozen: no renewal
        async with shop.worker(saga, retention_seconds=HOUR) as second:
            outcome = await second.handle(saga, "one").outcome()
            tombstone = shop.inbox
            await asyncio.sleep(frozen_seconds)
            left = shop.inbox
            gate.release()  # and thaws
            await asyncio.sleep(5)
        await first.__aexit__(None, None, None)

        assert isinstance(outcome, Compensated)
        assert tombstone == [("tombstone", 0)]
        assert left == (tombstone if frozen_seconds < INBOX_SECONDS else [])
        assert shop.booked == 0

    virtually(main())


def test_an_attempt_that_waited_too_long_for_its_database_has_failed_without_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> Any:
        shop, saga = Shop(tmp_path, monkeypatch), booking()
        async with shop.worker(saga) as orchestrator:
            gate = effects_of(orchestrator)._one
            await gate.acquire()
            handle = await orchestrator.start(saga, Order(), id="one")
            await asyncio.sleep(ATTEMPT_SECONDS_MAX + 1)
            gate.release()
            return await handle.outcome(), shop.booked

    outcome, booked = virtually(main())
    assert isinstance(outcome, Compensated)
    assert outcome.reason == "book: it was begun 84 h ago, which is too long for a step with a transaction"
    assert booked == 0
