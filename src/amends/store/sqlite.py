"""The SQLite store: one file, one worker, any number of clients.

Guarantees: all that `base.py` says. What is acknowledged is on disk (`synchronous=FULL`);
every write stands in an IMMEDIATE transaction.
Must not: run anything on the loop's thread but what the hints need.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from amends import fault
from amends.errors import StoreDamaged
from amends.store.base import (
    TOKEN_KEYS_KEPT,
    Ended,
    Fate,
    Filter,
    Health,
    Joined,
    Loaded,
    MailRow,
    NewMail,
    Peek,
    PlanRow,
    SagaRow,
    TokenKey,
    WorkerInfo,
    WorkerRow,
    Write,
)
from amends.store.bulk import Bulks
from amends.store.bulk_sqlite import SqliteBulks
from amends.store.clock import Clock
from amends.store.finding import Finder
from amends.store.finding_sqlite import SqliteFinder
from amends.store.hints import Hints
from amends.store.rows import mail_of
from amends.store.sqlite_check import check_file
from amends.store.sqlite_commit import check_alive, due_for_all, write_batch
from amends.store.sqlite_errors import moved
from amends.store.sqlite_file import CODE_VERSION, MIGRATIONS, SQL, check_place, connect, schema_at
from amends.store.sqlite_join import SqliteTransaction
from amends.store.sqlite_lock import WorkerLock
from amends.store.sqlite_read import find_rows, forget, lengths, look_for_old
from amends.store.sqlite_thread import ConnectionThread
from amends.store.sqlite_transaction import in_turn, reading, writing

T = TypeVar("T")
TIDY_SECONDS = 24 * 3600.0


class SqliteStore:
    """One namespace of one file."""

    leases = False

    def __init__(self, path: Path, namespace: str, clock: Clock | None = None) -> None:
        self.path: Path = Path(os.path.realpath(path))  # one name for one file: the lock stands beside it
        self._namespace = namespace
        self._number = 0
        self._identity = (0, 0)
        self._clock = clock or Clock()
        self._lock = WorkerLock(self.path)
        self._thread = ConnectionThread(self.path)
        self._hints: Hints | None = None
        self._work = False
        self.bulks: Bulks = SqliteBulks(self._read, self._write, lambda: self._number, self.now)
        self.finder: Finder = SqliteFinder(self._read, lambda: self._number)

    async def open(self, *, work: bool) -> None:
        self._work = work
        check_place(self.path)
        if work:
            self._lock.take()
        try:
            await self._thread.start(lambda: connect(self.path, self._lock, work=work))
            there = os.stat(self.path)
            self._identity = (there.st_dev, there.st_ino)
            self._number = await self._read(self._namespace_number) or await self._write(self._add_namespace)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._hints is not None:
            self._hints.close()
        await self._thread.stop()
        self._lock.release()

    async def schema(self) -> tuple[int, int, int]:
        return (*schema_at(self.path), CODE_VERSION)

    async def upgrade(self) -> list[int]:
        before, _ = schema_at(self.path)
        connect(self.path, self._lock, work=False).close()
        return [number for number, _ in MIGRATIONS if number > before]

    def now(self) -> float:
        return self._clock.now()

    # Plans

    async def add_plans(self, plans: Sequence[tuple[str, str, str]]) -> list[int]:
        def look(connection: sqlite3.Connection) -> list[int]:
            return [_plan_number(connection, self._number, fingerprint) for fingerprint, _, _ in plans]

        def add(connection: sqlite3.Connection) -> list[int]:
            connection.executemany(SQL["plan_add"], [(self._number, *plan) for plan in plans])
            return look(connection)

        known = await self._read(look)
        return known if all(known) else await self._write(add)

    async def plans(self) -> list[PlanRow]:
        return [PlanRow(*row) for row in await self._rows("plans", self._number)]

    # Keys of reply tokens

    async def token_keys(self) -> list[TokenKey]:
        return [TokenKey(*row) for row in await self._rows("token_keys", self._number)]

    async def add_token_key(self, name: str, secret: bytes, after: int) -> None:
        await self._write(lambda connection: _add_token_key(connection, (self._number, name, secret), after))

    # Workers

    async def register(self, info: WorkerInfo) -> int:
        return await self._write(lambda connection: _add_worker(connection, self._number, info, self.now()))

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        values = (self.now() + info.lease_seconds, json.dumps(info.plans), worker)
        return await self._change("worker_renew", *values) == 1

    async def deregister(self, worker: int, *, survived: bool) -> None:
        await self._change("worker_leave", self.now(), int(survived), worker)

    async def retire_expired(self, worker: int) -> list[int]:
        def job(connection: sqlite3.Connection) -> list[int]:
            check_alive(connection, worker)
            connection.execute(SQL["worker_retire_others"], (self.now(), worker))
            return [row[0] for row in connection.execute(SQL["worker_owners"], (self._number,))]

        return await self._write(job)

    async def workers(self) -> list[WorkerRow]:
        return _workers_of(await self._rows("workers", self._number), self.path)

    # Work

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        now = self.now()
        if worker is None:  # the worker's clock says when they are due
            writes = due_for_all(writes, self._clock.lead())
        return await self._thread.run(lambda connection: write_batch(connection, self._number, worker, writes, now))

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await self.commit(worker, writes)  # nothing is ever HELD here

    async def peek(self) -> Peek:
        now = self.now()

        def job(connection: sqlite3.Connection) -> Peek:
            self._check_there()
            self._lock.keep()
            due, mail = in_turn(connection, SQL["peek"], (self._number, now)) or (False, False)
            return Peek(bool(due), bool(mail))

        return await self._thread.run(job)

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        mine = json.dumps(sorted(plans))

        def find(connection: sqlite3.Connection, runs: str) -> list[SagaRow]:
            now = self.now()
            found = connection.execute(SQL["claim_due"], (self._number, now, mine, limit)).fetchall()
            if len(found) < limit:
                found += connection.execute(SQL["claim_mailed"], (self._number, now, mine, limit - len(found)))
            if len(found) < limit:
                found += connection.execute(SQL["claim_stalled"], (self._number, runs, limit - len(found)))
            return [SagaRow(*row) for row in found]

        return await self._thread.run(lambda connection: self._own(connection, worker, find))

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        def find(connection: sqlite3.Connection, runs: str) -> list[SagaRow]:
            if connection.execute(SQL["worker_alive"], (gone,)).fetchone() is not None:
                return []
            return [SagaRow(*row) for row in connection.execute(SQL["adoptable"], (gone, self._number, limit, runs))]

        return await self._thread.run(lambda connection: self._own(connection, worker, find))

    async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
        def job(connection: sqlite3.Connection) -> list[Loaded]:
            rows = connection.execute(SQL["owned_by"], (worker, self._number, -1)).fetchall()
            return [self._loaded(connection, SagaRow(*row)) for row in rows if row[0] not in held]

        return await self._read(job)

    async def stall(self, worker: int, saga: bytes, reason: str, gone: int | None = None) -> None:
        def job(connection: sqlite3.Connection) -> None:
            check_alive(connection, worker)
            connection.execute(SQL["saga_stall"], (reason, self.now(), self._number, saga, worker, gone))

        await self._write(job)

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        def job(connection: sqlite3.Connection) -> None:
            check_alive(connection, worker)
            rows = [(wake_at, self._number, saga, worker) for saga, wake_at in sagas]
            connection.executemany(SQL["saga_release"], rows)

        await self._write(job)

    async def unstall(self, plans: Collection[int]) -> int:
        return await self._change("saga_unstall", self.now(), self._number, json.dumps(sorted(plans)))

    async def rouse(self, plans: Collection[int]) -> int:
        return await self._change("saga_rouse", self.now(), self._number, json.dumps(sorted(plans)))

    async def owned_mail(self, worker: int) -> list[MailRow]:
        return [mail_of(row) for row in await self._rows("mail_owned", self._number, worker)]

    async def answer_ended(self, limit: int) -> int:
        return await self._change("mail_answer_ended", self.now(), self._number, limit)

    # Reading and the outside

    async def send(self, mails: Sequence[NewMail]) -> list[MailRow | None]:
        now = self.now()
        sent = await self._write(lambda connection: [_send(connection, self._number, mail, now) for mail in mails])
        fault.point("mail.after")
        return sent

    async def sent(self, key: str, message: str) -> MailRow | None:
        rows = await self._rows("mail_sent", self._number, key, message)
        return mail_of(rows[0]) if rows else None

    def join(self, within: object) -> Joined:
        return SqliteTransaction(within, self.path, self._number, self._clock)

    async def mail(self, saga: bytes) -> list[MailRow]:
        return [mail_of(row) for row in await self._rows("mail_of", self._number, saga)]

    async def head(self, key: str) -> SagaRow | None:
        def job(connection: sqlite3.Connection) -> SagaRow | None:
            self._check_there()
            row = connection.execute(SQL["head"], (self._number, key)).fetchone()
            return None if row is None else SagaRow(*row)

        return await self._read(job)

    async def load(self, key: str) -> Loaded | None:
        def job(connection: sqlite3.Connection) -> Loaded | None:
            row = connection.execute(SQL["head"], (self._number, key)).fetchone()
            return None if row is None else self._loaded(connection, SagaRow(*row))

        return await self._read(job)

    async def find(self, wanted: Filter) -> list[SagaRow]:
        return await self._read(lambda connection: find_rows(connection, self._number, wanted))

    async def count(self, *, open_only: bool = False) -> dict[tuple[int, str], int]:
        rows = await self._rows("count_open" if open_only else "count", self._number)
        return {(row[0], row[1]): row[2] for row in rows}

    async def lengths(self, sagas: Sequence[bytes]) -> list[int]:
        return await self._read(partial(lengths, self._number, sagas))

    async def overdue(self, before: float, limit: int) -> list[SagaRow]:
        return [SagaRow(*row) for row in await self._rows("overdue", self._number, before, limit)]

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        return await self._read(partial(look_for_old, self._number, before, after, limit))

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        return await self._write(partial(forget, self._number, before, sagas)) if sagas else 0

    async def check(self) -> list[Health]:
        return await self._read(lambda connection: check_file(connection, self.path, self._number, self.now()))

    # Hints

    def listen(self, callback: Callable[[str], None]) -> None:
        self._hints = Hints(self.path, work=self._work)
        self._hints.open(callback)

    def hint(self, keys: Sequence[str], *, work: bool) -> None:
        if self._hints is not None:
            self._hints.announce(keys)
            if work:
                self._hints.wake_worker()

    def watch(self, key: str) -> None:
        if self._hints is not None:
            self._hints.watch(key)

    # Parts

    def _check_there(self) -> None:
        """Whoever only reads would never notice that the file was taken away."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            raise moved(self.path) from None
        if (there.st_dev, there.st_ino) != self._identity:
            raise moved(self.path)

    def _namespace_number(self, connection: sqlite3.Connection) -> int:
        row = connection.execute(SQL["namespace"], (self._namespace,)).fetchone()
        return 0 if row is None else int(row[0])

    def _add_namespace(self, connection: sqlite3.Connection) -> int:
        connection.execute(SQL["namespace_add"], (self._namespace,))
        return self._namespace_number(connection)

    def _own(
        self,
        connection: sqlite3.Connection,
        worker: int,
        find: Callable[[sqlite3.Connection, str], list[SagaRow]],
    ) -> list[Loaded]:
        """Make the worker the owner of what `find` finds, if it finds anything."""

        def look(connection: sqlite3.Connection) -> list[SagaRow]:
            return find(connection, check_alive(connection, worker))

        def own(connection: sqlite3.Connection) -> list[Loaded]:
            found = look(connection)
            connection.executemany(SQL["saga_own"], [(worker, self._number, saga.id) for saga in found])
            owned = [saga._replace(owner=worker, epoch=saga.epoch + 1, stalled=None) for saga in found]
            return [self._loaded(connection, saga) for saga in owned]

        return writing(connection, own) if reading(connection, look) else []

    def _loaded(self, connection: sqlite3.Connection, saga: SagaRow) -> Loaded:
        rows = connection.execute(SQL["journal_rows"], (self._number, saga.id))
        return Loaded(saga, tuple(row[0].encode() for row in rows))

    async def _rows(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._read(lambda connection: connection.execute(SQL[name], values).fetchall())

    async def _change(self, name: str, *values: object) -> int:
        return await self._write(lambda connection: connection.execute(SQL[name], values).rowcount)

    def _read(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return self._thread.run(lambda connection: reading(connection, job))

    def _write(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        return self._thread.run(lambda connection: writing(connection, job))


def _plan_number(connection: sqlite3.Connection, namespace: int, fingerprint: str) -> int:
    row = connection.execute(SQL["plan_number"], (namespace, fingerprint)).fetchone()
    return 0 if row is None else int(row[0])


def _add_worker(connection: sqlite3.Connection, namespace: int, info: WorkerInfo, now: float) -> int:
    connection.execute(SQL["worker_tidy"], (namespace, now - TIDY_SECONDS))
    row = (namespace, info.host, info.pid, json.dumps(info.plans), now, now + info.lease_seconds)
    return int(connection.execute(SQL["worker_add"], row).lastrowid or 0)


def _send(connection: sqlite3.Connection, namespace: int, mail: NewMail, now: float) -> MailRow | None:
    values = (namespace, mail.key, mail.message, mail.kind, mail.body.decode(), now)
    connection.execute(SQL["mail_add"], values)
    row = connection.execute(SQL["mail_sent"], (namespace, mail.key, mail.message)).fetchone()
    return None if row is None else mail_of(row)


def _add_token_key(connection: sqlite3.Connection, row: tuple[int, str, bytes], after: int) -> None:
    newest = connection.execute(SQL["token_keys"], row[:1]).fetchone()
    if (newest[0] if newest else 0) == after:
        connection.execute(SQL["token_key_add"], row)
        connection.execute(SQL["token_key_tidy"], (row[0], after + 1 - TOKEN_KEYS_KEPT))


def _workers_of(rows: Sequence[tuple[Any, ...]], path: Path) -> list[WorkerRow]:
    try:
        found = [(*row[:3], tuple(json.loads(row[3])), *row[4:7], bool(row[7]), row[8]) for row in rows]
    except (TypeError, ValueError, RecursionError):
        raise StoreDamaged(f"{path}: a worker's row cannot be read; was it written by a newer amends?") from None
    return [WorkerRow._make(row) for row in found]
