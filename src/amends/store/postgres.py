"""The PostgreSQL store: one database, any number of workers and clients.

Guarantees: all that `base.py` says. Every write is one statement that commits by itself, so a
process that is frozen or killed at any point holds no lock; instants are the server's.
Must not: keep anything that another process could have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from amends import fault
from amends.errors import DefinitionError, NotEnlisted, StoreUnavailable
from amends.store import postgres_migrate
from amends.store.base import (
    TOKEN_KEYS_KEPT,
    Ended,
    Fate,
    Filter,
    Health,
    Joined,
    JoinedAsync,
    Loaded,
    MailRow,
    NewMail,
    Peek,
    PlanRow,
    Retired,
    SagaRow,
    TokenKey,
    WorkerInfo,
    WorkerRow,
    Write,
)
from amends.store.bulk import Bulks
from amends.store.bulk_postgres import PostgresBulks
from amends.store.finding import Finder
from amends.store.finding_postgres import PostgresFinder
from amends.store.postgres_batch import fit
from amends.store.postgres_check import check_server
from amends.store.postgres_clock import ServerClock
from amends.store.postgres_commit import BatchWriter
from amends.store.postgres_errors import LockNotHad
from amends.store.postgres_hints import PostgresHints
from amends.store.postgres_join import Identity, PostgresJoin
from amends.store.postgres_line import Line, Lines, Record
from amends.store.postgres_place import COMMIT_SETTINGS, SETTINGS, Place, place_of
from amends.store.rows import id_bound, mail_of

VERSION_MIN = 140000
LINES = 3  # for all that is neither committing nor looking for work: reads, mails
OLD_WORKERS_KEPT = 1000
TIDY_SECONDS = 24 * 3600.0
CHANGE_ROWS = 5000


class PostgresStore:
    """One namespace of one database."""

    leases = True

    def __init__(self, url: str, namespace: str, *, migrate: bool = False) -> None:
        self.place: Place = place_of(url)
        self._namespace = namespace
        self._migrate = migrate
        self._number = 0
        self._clock = ServerClock()
        self._work = False
        self._commits = Line(self.place, "amends commits", {**SETTINGS, **COMMIT_SETTINGS})
        self._aside = Line(self.place, "amends commits aside", {**SETTINGS, **COMMIT_SETTINGS})
        self._looks = Line(self.place, "amends looks", SETTINGS)  # a worker's own: slow reads must not cost its lease
        self._lines = Lines(self.place, "amends", SETTINGS, LINES)
        self._hints: PostgresHints | None = None
        self._join: PostgresJoin | None = None
        self.bulks: Bulks = PostgresBulks(self._lines.fetch, lambda: self._number)
        self.finder: Finder = PostgresFinder(self._lines.fetch, lambda: self._number)

    async def open(self, *, work: bool) -> None:
        self._work = work
        try:
            if self._migrate:
                await self.upgrade()
            version, floor, _ = await self.schema()
            postgres_migrate.check(version, floor, str(self.place))
            await self._look_at_server()
            self._number = await self._namespace_number()
            self._join = PostgresJoin(str(self.place), self._number, await self._identity(), self._clock.heard)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._hints is not None:
            await self._hints.close()
        parts = (self._commits, self._aside, self._looks, self._lines)
        await asyncio.gather(*(part.close() for part in parts))

    async def upgrade(self) -> list[int]:
        """Apply the migrations that are missing; gives their numbers. Raises StoreError."""
        return await postgres_migrate.upgrade(self._commits)

    async def schema(self) -> tuple[int, int, int]:
        """The version of the schema that is there, its floor, and the version of this code."""
        return await postgres_migrate.schema(self._commits)

    def now(self) -> float:
        return self._clock.now()

    # Plans

    async def add_plans(self, plans: Sequence[tuple[str, str, str]]) -> list[int]:
        fingerprints = [fingerprint for fingerprint, _, _ in plans]
        numbers = await self._plan_numbers(fingerprints)
        if len(numbers) < len(set(fingerprints)):
            columns = [[plan[place] for plan in plans] for place in range(3)]
            await self._lines.fetch("plan_add", self._number, *columns)
            numbers = await self._plan_numbers(fingerprints)
        return [numbers[fingerprint] for fingerprint in fingerprints]

    async def plans(self) -> list[PlanRow]:
        return [PlanRow(*row) for row in await self._looks.fetch("plans", self._number)]

    # Keys of reply tokens

    async def token_keys(self) -> list[TokenKey]:
        return [TokenKey(*row) for row in await self._lines.fetch("token_keys", self._number)]

    async def add_token_key(self, name: str, secret: bytes, after: int) -> None:
        keys = await self.token_keys()
        if (keys[0].number if keys else 0) == after:
            await self._lines.fetch("token_key_add", self._number, name, secret)
            await self._lines.fetch("token_key_tidy", self._number, after + 1 - TOKEN_KEYS_KEPT)

    # Workers

    async def register(self, info: WorkerInfo) -> int:
        for part in (self._commits, self._aside, self._looks, self._lines):
            part.idle_at_most(info.lease_seconds / 3)
        old = await self._lines.fetch("worker_old", self._number, TIDY_SECONDS)
        if old[0][0] > OLD_WORKERS_KEPT:
            with suppress(StoreUnavailable):  # several come at once after a deploy, and one of them is enough
                await self._lines.fetch("worker_tidy", self._number, TIDY_SECONDS)
        row = (self._number, info.host, info.pid, list(info.plans), info.lease_seconds)
        number, instant = (await self._commits.fetch("worker_add", *row))[0]
        self._clock.heard(instant)
        return int(number)

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        """Between two batches, not beside them: behind one share lock after the other it would starve."""
        async with self._aside.alone, self._commits.alone:
            values = (worker, info.lease_seconds, list(info.plans))
            rows = await self._commits.fetch_held("worker_renew", *values)
        if rows:
            self._clock.heard(rows[0][0])
        return bool(rows)

    async def deregister(self, worker: int, *, survived: bool) -> None:
        async with self._aside.alone, self._commits.alone:
            await self._commits.fetch_held("worker_leave", worker, survived)

    async def retire_expired(self, worker: int) -> list[int]:
        if not await self._looks.fetch("worker_alive", worker):
            raise Retired(f"worker {worker} is not registered any more")
        for (gone,) in await self._looks.fetch("worker_expired", self._number, worker):
            with suppress(LockNotHad):  # what it has on the way is waited for next time; the others are gone now
                await self._looks.fetch("worker_retire", gone)
        return [row[0] for row in await self._looks.fetch("worker_owners", self._number)]

    async def workers(self) -> list[WorkerRow]:
        rows = await self._looks.fetch("workers", self._number)
        return [WorkerRow._make((*row[:3], tuple(row[3]), *row[4:])) for row in rows]

    # Work

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await BatchWriter(self._commits, self._number, self._clock).write(worker, writes)

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await BatchWriter(self._aside, self._number, self._clock).write(worker, writes)

    async def peek(self) -> Peek:
        *seen, instant = (await self._looks.fetch("peek", self._number))[0]
        self._clock.heard(instant)
        return Peek(*seen)

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        return await self._own("claim", worker, sorted(plans), limit)

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        return await self._own("adopt", worker, gone, limit)

    async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
        return [_loaded(row) for row in await self._looks.fetch("owned", self._number, worker, list(held))]

    async def stall(self, worker: int, saga: bytes, reason: str, gone: int | None = None) -> None:
        await self._guarded("stall", worker, saga, fit(reason), gone)

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        ordered = sorted(sagas)
        await self._guarded("release", worker, [saga for saga, _ in ordered], [wake_at for _, wake_at in ordered])

    async def unstall(self, plans: Collection[int]) -> int:
        return await self._change_all("unstall", sorted(plans))

    async def rouse(self, plans: Collection[int]) -> int:
        return await self._change_all("rouse", sorted(plans))

    async def owned_mail(self, worker: int) -> list[MailRow]:
        return [mail_of(row) for row in await self._looks.fetch("mail_owned", self._number, worker)]

    async def answer_ended(self, limit: int) -> int:
        return int((await self._looks.fetch("mail_answer_ended", self._number, limit))[0][0])

    # Reading and the outside

    async def send(self, mails: Sequence[NewMail]) -> list[MailRow | None]:
        keys, messages = [mail.key for mail in mails], [mail.message for mail in mails]
        kinds, bodies = [mail.kind for mail in mails], [mail.body.decode() for mail in mails]
        await self._lines.fetch("mail_add", self._number, keys, messages, kinds, bodies)
        fault.point("mail.after")
        found = await self._sent(keys, messages)
        return [found.get(place) for place in range(1, len(mails) + 1)]

    async def sent(self, key: str, message: str) -> MailRow | None:
        return (await self._sent([key], [message])).get(1)

    def join(self, within: object) -> Joined | JoinedAsync:
        if self._join is None:
            raise NotEnlisted("within=: the store is not open")
        return self._join.join(within)

    async def mail(self, saga: bytes) -> list[MailRow]:
        return [mail_of(row) for row in await self._lines.fetch("mail_of", self._number, saga)]

    async def head(self, key: str) -> SagaRow | None:
        line = self._looks if self._work else self._lines  # a worker looks for those who watch, too
        rows = await line.fetch("head", self._number, key)
        return SagaRow(*rows[0]) if rows else None

    async def load(self, key: str) -> Loaded | None:
        rows = await self._lines.fetch("load", self._number, key)
        return _loaded(rows[0]) if rows else None

    async def find(self, wanted: Filter) -> list[SagaRow]:
        statuses = list(wanted.statuses) or None
        plans = None if wanted.plans is None else list(wanted.plans)
        rows = await self._lines.fetch(wanted.statement, self._number, wanted.before, statuses, plans, wanted.limit)
        return [SagaRow(*row) for row in rows]

    async def count(self, *, open_only: bool = False) -> dict[tuple[int, str], int]:
        rows = await (
            self._looks.fetch("count_open", self._number) if open_only else self._lines.fetch("count", self._number)
        )
        return {(plan, status): number for plan, status, number in rows}

    async def lengths(self, sagas: Sequence[bytes]) -> list[int]:
        found = {row[0]: row[1] for row in await self._lines.fetch("lengths", self._number, list(sagas))}
        return [found.get(saga) or 0 for saga in sagas]

    async def overdue(self, before: float, limit: int) -> list[SagaRow]:
        return [SagaRow(*row) for row in await self._lines.fetch("overdue", self._number, before, limit)]

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        values = (after or bytes(16), before, limit, id_bound(before))
        rows = await self._lines.fetch("prunable", self._number, *values)
        return Ended(tuple(row[0] for row in rows if row[1]), rows[-1][0] if len(rows) == limit else None)

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        return int((await self._lines.fetch("prune", self._number, sorted(sagas), before))[0][0]) if sagas else 0

    async def check(self) -> list[Health]:
        version, floor, _ = await self.schema()
        return await check_server(self._lines, self.place, self._number, (version, floor))

    # Hints

    def listen(self, callback: Callable[[str], None]) -> None:
        if self._hints is None:
            self._hints = PostgresHints(self.place, f"amends_{self._number}", work=self._work)
            self._hints.open(callback)

    def hint(self, keys: Sequence[str], *, work: bool) -> None:
        if self._hints is not None:
            self._hints.announce(keys, work=work)

    def watch(self, key: str) -> None:
        if self._hints is not None:
            self._hints.watch(key)

    # Parts

    async def _look_at_server(self) -> None:
        version, standby, durable, instant = (await self._lines.fetch("server"))[0]
        if version < VERSION_MIN:
            raise DefinitionError(f"{self.place} is PostgreSQL {version // 10000}; 14 or later is needed")
        if standby:
            raise StoreUnavailable(f"{self.place} is a standby and takes no writes; point the URL at the primary")
        if durable == "off":
            raise StoreUnavailable(
                f"{self.place} has synchronous_commit = off: what is acknowledged could be lost. Turn it on for this "
                "user: ALTER ROLE … SET synchronous_commit = on"
            )
        self._clock.heard(instant)

    async def _namespace_number(self) -> int:
        rows = await self._lines.fetch("namespace", self._namespace)
        if not rows:
            await self._lines.fetch("namespace_add", self._namespace)
            rows = await self._lines.fetch("namespace", self._namespace)
        return int(rows[0][0])

    async def _identity(self) -> Identity:
        number, may_ask = (await self._lines.fetch("database_number"))[0]
        return Identity((await self._lines.fetch("server_number"))[0][0] if may_ask else None, number)

    async def _plan_numbers(self, fingerprints: list[str]) -> dict[str, int]:
        rows = await self._lines.fetch("plan_numbers", self._number, fingerprints)
        return {row[0]: row[1] for row in rows}

    async def _own(self, name: str, worker: int, *values: object) -> list[Loaded]:
        """Own what the statement finds. The journals are read when that is done: they hold what the
        owner before had on the way."""
        rows = await self._looks.fetch(name, self._number, worker, *values)
        if not rows[0][0]:
            raise Retired(f"worker {worker} is not registered any more")
        heads = [SagaRow(*tuple(row)[1:]) for row in rows if row[1] is not None]
        if not heads:
            return []
        journal: dict[bytes, list[bytes]] = {head.id: [] for head in heads}
        for saga, line in await self._looks.fetch("journal_rows", self._number, list(journal)):
            journal[saga].append(line.encode())
        return [Loaded(head, tuple(journal[head.id])) for head in heads]

    async def _guarded(self, name: str, worker: int, *values: object) -> None:
        if not (await self._looks.fetch(name, self._number, worker, *values))[0][0]:
            raise Retired(f"worker {worker} is not registered any more")

    async def _change_all(self, name: str, plans: list[int]) -> int:
        """In bounded batches, each its own transaction."""
        changed = 0
        while True:
            found: int = (await self._looks.fetch(name, self._number, plans, CHANGE_ROWS))[0][0]
            changed += found
            if found < CHANGE_ROWS:
                return changed

    async def _sent(self, keys: list[str], messages: list[str]) -> dict[int, MailRow]:
        rows = await self._lines.fetch("mail_sent", self._number, keys, messages)
        return {row[0]: mail_of(tuple(row)[1:]) for row in rows}


def _loaded(row: Record) -> Loaded:
    *head, rows = row
    return Loaded(SagaRow(*head), tuple(line.encode() for line in rows))
