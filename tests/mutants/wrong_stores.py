"""What is wrong with a store, and with who writes into it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest
from wrong_engine import wrong

from amends.decide.barrier import Ruling, Verdict
from amends.run.lease import Lease
from amends.run.transactions import StepTry
from amends.store import postgres_line, postgres_migrate, sqlite, sqlite_commit, sqlite_file, sqlite_transaction
from amends.store.base import Fate, Loaded, Peek, SagaRow, Write
from amends.store.effects_rows import InboxRow
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.store.postgres import PostgresStore

Patch = pytest.MonkeyPatch
SUITE = "tests/store/test_conformance.py::"
ON_POSTGRES = "tests/store/test_postgres_conformance.py::TestPostgres::"
POSTGRES = ("postgres_databases",)


@wrong(1, "P6", f"{SUITE}TestSqlite::test_a_retired_worker_writes_nothing", "DID NOT RAISE")
def a_retired_worker_still_writes_into_a_file(patch: Patch) -> None:
    """A worker that was retired, since it was frozen perhaps, still writes (SQLite)."""

    def check_alive(connection: sqlite3.Connection, worker: int) -> str:
        plans: str = connection.execute("SELECT plans FROM amends_worker WHERE id = ?", (worker,)).fetchone()[0]
        return plans

    patch.setattr(sqlite_commit, "check_alive", check_alive)
    patch.setattr(sqlite, "check_alive", check_alive)


@wrong(1, "P6", f"{ON_POSTGRES}test_a_retired_worker_writes_nothing", "DID NOT RAISE", POSTGRES, soak=True)
def a_retired_worker_still_writes_on_a_server(patch: Patch) -> None:
    """A worker that was retired, since it was frozen perhaps, still writes (PostgreSQL)."""
    honest = postgres_line.SQL["commit"]
    patch.setitem(postgres_line.SQL, "commit", honest.replace("AND retired_at IS NULL FOR SHARE", "FOR SHARE"))


@wrong(
    6,
    "P6",
    "tests/run/test_registration.py::test_no_attempt_starts_after_the_lease_by_the_workers_own_clock",
    "assert (['one']",
)
def a_worker_judges_its_lease_by_its_wall_clock(patch: Patch) -> None:
    """A worker judges by its wall clock, which may be set back, whether it still has its lease."""
    begin, until = Lease.begin, dict[int, float]()

    def begin_by_the_wall(self: Lease, asked: float) -> None:
        begin(self, asked)
        until[id(self)] = time.time() + self._worker.settings.lease_seconds

    patch.setattr(Lease, "begin", begin_by_the_wall)
    patch.setattr(Lease, "holds", lambda self: time.time() < until[id(self)])


CLOCKS = "test_workers_whose_clocks_are_minutes_off_keep_leases_due_times_and_takeover_right[300--300]"


@wrong(
    6,
    "P6",
    f"tests/run/test_postgres_processes.py::{CLOCKS}",
    "retired_at IS NOT NULL",
    POSTGRES,
    soak=True,
    processes=True,
)
def a_lease_is_judged_by_the_clock_of_who_looks(patch: Patch) -> None:
    """Whose lease is over is judged by the wall clock of whoever looks, and not by the server's (PostgreSQL)."""
    peek, retire = PostgresStore.peek, PostgresStore.retire_expired

    async def over(self: PostgresStore) -> list[int]:
        return [row.id for row in await self.workers() if row.retired_at is None and row.expires_at < time.time()]

    async def peek_by_the_wall(self: PostgresStore) -> Peek:
        seen = await peek(self)
        return seen._replace(gone=seen.gone or bool(await over(self)))

    async def retire_by_the_wall(self: PostgresStore, worker: int) -> list[int]:
        for gone in await over(self):
            if gone != worker:
                await self.deregister(gone, survived=False)
        return await retire(self, worker)

    patch.setattr(PostgresStore, "peek", peek_by_the_wall)
    patch.setattr(PostgresStore, "retire_expired", retire_by_the_wall)


@wrong(9, "P2", f"{SUITE}TestMemory::test_the_same_operation_again_is_the_same_commit", "assert 6 == 3")
def a_decision_whose_commit_got_no_answer_is_written_again(patch: Patch) -> None:
    """A decision that may be written already is written once more, behind what is there (in memory)."""
    honest = MemoryDatabase.write

    def write(self: MemoryDatabase, given: Write, lost: set[bytes]) -> Fate:
        rows = self.journal.get(given.saga, [])
        if any(op == given.op for op, _ in rows):
            given = given._replace(seq=len(rows), new=None)
        return honest(self, given, lost)

    patch.setattr(MemoryDatabase, "write", write)


LOST = "tests/run/test_transactions_trouble.py::test_a_commit_whose_answer_was_lost_is_settled_by_the_inbox[asyncpg]"


@wrong(9, "P2", LOST, "the stored result was found", POSTGRES)
def a_step_whose_commit_got_no_answer_runs_again(patch: Patch) -> None:
    """A step whose transaction may be committed already runs once more, without a look at the inbox (PostgreSQL)."""
    honest = StepTry.ruling

    def ruling(self: StepTry, rows: list[InboxRow]) -> Ruling:
        return Ruling(Verdict.RUN) if self.tries else honest(self, rows)

    patch.setattr(StepTry, "ruling", ruling)


AT_ONCE = "test_of_many_processes_that_start_one_key_at_once_one_wins"


@wrong(13, "P2", f"{SUITE}TestMemory::{AT_ONCE}", "'written' != 'exists'")
def a_key_is_looked_for_and_then_taken(patch: Patch) -> None:
    """A start looks whether its id is free, and takes it a moment later (in memory)."""
    honest = MemoryStore.commit

    async def commit(self: MemoryStore, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        free = [write.new.key for write in writes if write.new is not None and write.new.key not in self._db.keys]
        await asyncio.sleep(0)
        for key in free:
            self._db.keys.pop(key, None)
        return await honest(self, worker, writes)

    patch.setattr(MemoryStore, "commit", commit)


@wrong(13, "P2", f"{ON_POSTGRES}{AT_ONCE}", "'written' != 'exists'", POSTGRES, soak=True)
def a_key_is_looked_for_and_then_taken_on_a_server(patch: Patch) -> None:
    """A start looks whether its id is free, and takes it a moment later; no index sees to it (PostgreSQL)."""
    honest = PostgresStore.commit
    (number, script), *more = postgres_migrate.MIGRATIONS
    indexed = script.replace("CREATE UNIQUE INDEX saga_key", "CREATE INDEX saga_key")

    async def commit(self: PostgresStore, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        taken = [write.new is not None and await self.head(write.new.key) is not None for write in writes]
        await asyncio.sleep(0.2)
        free = [write for write, known in zip(writes, taken, strict=True) if not known]
        fates = iter(await honest(self, worker, free) if free else [])
        return [Fate.EXISTS if known else next(fates) for known in taken]

    patch.setattr(postgres_migrate, "MIGRATIONS", [(number, indexed), *more])
    patch.setattr(PostgresStore, "commit", commit)


@wrong(14, "P1", f"{SUITE}TestSqlite::test_claims_made_at_once_never_hand_one_saga_to_two", "is locked by")
def writes_are_deferred(patch: Patch) -> None:
    """A transaction that reads and then writes takes the lock of the file only when it writes (SQLite)."""
    honest = sqlite_transaction.in_turn

    def in_turn(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> Any:
        row = honest(connection, statement.replace("BEGIN IMMEDIATE", "BEGIN"), values)
        if statement == "BEGIN IMMEDIATE":
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # it reads first
            time.sleep(0.002)
        return row

    patch.setattr(sqlite_transaction, "in_turn", in_turn)


@wrong(15, "P2", f"{SUITE}TestMemory::test_a_claimed_saga_is_claimed_by_nobody_else", "Left contains one more item")
def a_due_timer_is_handed_out_again_at_each_look(patch: Patch) -> None:
    """Who finds a saga whose timer is due does not own it, so that the next look finds it again (in memory)."""

    def own(self: MemoryStore, saga: SagaRow, worker: int) -> Loaded:
        self._db.put(saga._replace(epoch=saga.epoch + 1, stalled=None))
        return self._loaded(saga._replace(owner=worker, epoch=saga.epoch + 1, stalled=None))

    patch.setattr(MemoryStore, "_own", own)


OWN = "UPDATE amends_saga SET epoch = epoch + (?1 > 0), stalled = NULL WHERE ns = ?2 AND id = ?3"


@wrong(15, "P2", f"{SUITE}TestSqlite::test_a_claimed_saga_is_claimed_by_nobody_else", "Left contains one more item")
def a_due_timer_is_handed_out_again_from_a_file(patch: Patch) -> None:
    """The same (SQLite)."""
    patch.setitem(sqlite_file.SQL, "saga_own", OWN)


@wrong(16, "P1", f"{SUITE}TestMemory::test_whoever_looks_again_sees_what_has_changed_since", "'running' != 'completed'")
def the_status_comes_from_a_cache(patch: Patch) -> None:
    """What a process has once read of a saga's status is told for as long as it lives (in memory)."""
    honest, kept = MemoryStore.head, dict[tuple[MemoryStore, str], SagaRow | None]()

    async def head(self: MemoryStore, key: str) -> SagaRow | None:
        if (self, key) not in kept:
            kept[self, key] = await honest(self, key)
        return kept[self, key]

    patch.setattr(MemoryStore, "head", head)
