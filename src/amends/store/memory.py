"""The in-memory store: for tests, simulations and trying things out.

Several stores may share one `MemoryDatabase`, as processes share a server, so that the
simulation can have many workers, leases and takeovers.

Guarantees: all that `base.py` says, as long as the process lives.
Must not: be used where anything may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from amends.errors import NotEnlisted, StoreUnavailable
from amends.store.base import (
    OPEN,
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
    Retired,
    SagaRow,
    TokenKey,
    WorkerInfo,
    WorkerRow,
    Write,
)
from amends.store.bulk import Bulks
from amends.store.bulk_memory import MemoryBulks
from amends.store.finding import Finder
from amends.store.finding_memory import MemoryFinder
from amends.store.memory_database import MemoryDatabase
from amends.store.rows import id_bound

__all__ = ["MemoryDatabase", "MemoryStore"]


class MemoryStore:
    """A connection to a `MemoryDatabase`."""

    leases = True

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._db = MemoryDatabase() if database is None else database
        self._open = False
        self._listener: Callable[[str], None] | None = None
        self.bulks: Bulks = MemoryBulks(lambda: self._up().bulks, self.now)
        self.finder: Finder = MemoryFinder(self._up)

    async def open(self, *, work: bool) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False
        if self._listener is not None and self._listener in self._db.listeners:
            self._db.listeners.remove(self._listener)

    async def schema(self) -> tuple[int, int, int]:
        return (1, 1, 1)  # made by the code that uses it

    async def upgrade(self) -> list[int]:
        return []

    def now(self) -> float:
        return self._db.clock()

    # Plans

    async def add_plans(self, plans: Sequence[tuple[str, str, str]]) -> list[int]:
        db = self._up()
        numbers: list[int] = []
        for fingerprint, name, body in plans:
            row = next((row for row in db.plans if row.fingerprint == fingerprint), None)
            if row is None:
                row = PlanRow(len(db.plans) + 1, fingerprint, name, body)
                db.plans.append(row)
            numbers.append(row.id)
        return numbers

    async def plans(self) -> list[PlanRow]:
        return list(self._up().plans)

    # Keys of reply tokens

    async def token_keys(self) -> list[TokenKey]:
        return list(self._up().token_keys)

    async def add_token_key(self, name: str, secret: bytes, after: int) -> None:
        keys = self._up().token_keys
        if (keys[0].number if keys else 0) == after:
            keys.insert(0, TokenKey(after + 1, keys[0].name if keys else name, secret))
            del keys[TOKEN_KEYS_KEPT:]

    # Workers

    async def register(self, info: WorkerInfo) -> int:
        db = self._up()
        number, now, lease = next(db.numbers), db.clock(), info.lease_seconds
        db.workers[number] = WorkerRow(number, info.host, info.pid, info.plans, now, now + lease, None, False, None)
        return number

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        db = self._up()
        row = db.workers.get(worker)
        if row is None or row.retired_at is not None:
            return False
        db.workers[worker] = row._replace(expires_at=db.clock() + info.lease_seconds, plans=info.plans)
        return True

    async def deregister(self, worker: int, *, survived: bool) -> None:
        db = self._up()
        row = db.workers[worker]
        retired = row.retired_at or db.clock()
        db.workers[worker] = row._replace(retired_at=retired, left_at=db.clock(), survived=survived or row.survived)

    async def retire_expired(self, worker: int) -> list[int]:
        db = self._up()
        self._alive(worker)
        now = db.clock()
        for row in list(db.workers.values()):
            if row.id != worker and row.retired_at is None and row.expires_at < now:
                db.workers[row.id] = row._replace(retired_at=now)
        owners = {saga.owner for saga in db.open.values() if saga.owner is not None}
        return [number for number in sorted(owners) if db.workers[number].retired_at is not None]

    async def workers(self) -> list[WorkerRow]:
        return list(self._up().workers.values())

    # Work

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        db = self._up()
        if worker is not None:
            self._alive(worker)
        elif any(write.new is None or write.head is None or write.head.owner is not None for write in writes):
            raise ValueError("a client may only add sagas, and own none")
        lost: set[bytes] = set()
        return [db.write(write, lost) for write in writes]

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        return await self.commit(worker, writes)  # nothing is ever HELD here

    async def peek(self) -> Peek:
        db = self._up()
        now = db.clock()
        due = any(saga.owner is None and _is_due(saga, now) for saga in db.open.values())
        owners = {saga.owner for saga in db.open.values() if saga.owner is not None}
        gone = any(row.id in owners if row.retired_at else row.expires_at < now for row in db.workers.values())
        ends = min((row.expires_at for row in db.workers.values() if row.retired_at is None), default=None)
        return Peek(due, any(mail not in db.taken for mail in db.open_mails), gone, ends)

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        db = self._up()
        runs = self._alive(worker).plans
        now = db.clock()
        mailed = {mail.saga for mail in db.open_mails.values() if mail.id not in db.taken}
        free = [saga for saga in db.open.values() if saga.owner is None]
        due = [saga for saga in free if saga.plan in plans and _is_due(saga, now)]
        due.sort(key=lambda saga: saga.wake_at or 0.0)
        rest = [saga for saga in free if saga.plan in plans and saga.id in mailed and not _is_due(saga, now)]
        found = [*due, *(saga for saga in rest if saga.stalled is None)]
        found += [saga for saga in free if saga.stalled is not None and saga.plan in runs]
        return [self._own(saga, worker) for saga in found[:limit]]

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        db = self._up()
        runs = self._alive(worker).plans
        if db.workers[gone].retired_at is None:
            return []
        owned = [saga for saga in db.open.values() if saga.owner == gone and _fits(saga, runs)]
        return [self._own(saga, worker) for saga in owned[:limit]]

    async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
        sagas = self._up().open.values()
        return [self._loaded(saga) for saga in sagas if saga.owner == worker and saga.id not in held]

    async def stall(self, worker: int, saga: bytes, reason: str, gone: int | None = None) -> None:
        db = self._up()
        self._alive(worker)
        row = db.open.get(saga)
        if row is not None and row.owner == worker:
            db.put(row._replace(owner=gone, stalled=reason, wake_at=None, updated_at=db.clock()))

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        db = self._up()
        self._alive(worker)
        for saga, wake_at in sagas:
            row = db.open.get(saga)
            if row is not None and row.owner == worker:
                db.put(row._replace(owner=None, wake_at=wake_at))

    async def unstall(self, plans: Collection[int]) -> int:
        db = self._up()
        held = [saga for saga in db.open.values() if saga.stalled is not None and saga.plan in plans]
        for saga in held:
            db.put(saga._replace(stalled=None, wake_at=db.clock()))
        return len(held)

    async def rouse(self, plans: Collection[int]) -> int:
        db, now = self._up(), self._up().clock()
        idle = [saga for saga in db.open.values() if saga.owner is None and saga.stalled is None and saga.plan in plans]
        late = [saga for saga in idle if saga.status != "parked" and (saga.wake_at is None or saga.wake_at > now)]
        for saga in late:
            db.put(saga._replace(wake_at=now))
        return len(late)

    async def owned_mail(self, worker: int) -> list[MailRow]:
        db = self._up()
        fresh = [mail for mail in db.open_mails.values() if mail.id not in db.taken]
        return [mail for mail in fresh if db.sagas[mail.saga].owner == worker]

    async def answer_ended(self, limit: int) -> int:
        db = self._up()
        late = [mail for mail in db.open_mails.values() if db.sagas[mail.saga].status not in OPEN][:limit]
        for mail in late:
            db.answer(mail, "too late", f"the saga is {db.sagas[mail.saga].status}")
        return len(late)

    # Reading and the outside

    async def send(self, mails: Sequence[NewMail]) -> list[MailRow | None]:
        return [self._up().send(mail) for mail in mails]

    async def sent(self, key: str, message: str) -> MailRow | None:
        db = self._up()
        number = db.mail_ids.get((db.keys.get(key, b""), message))
        return None if number is None else db.mails[number]

    def join(self, within: object) -> Joined:
        raise NotEnlisted("the in-memory store takes part in no transaction; leave within= out")

    async def mail(self, saga: bytes) -> list[MailRow]:
        return [mail for mail in self._up().mails.values() if mail.saga == saga]

    async def head(self, key: str) -> SagaRow | None:
        db = self._up()
        number = db.keys.get(key)
        return None if number is None else db.sagas[number]

    async def load(self, key: str) -> Loaded | None:
        head = await self.head(key)
        return None if head is None else self._loaded(head)

    async def find(self, wanted: Filter) -> list[SagaRow]:
        found = [
            saga
            for saga in self._up().sagas.values()
            if (not wanted.statuses or saga.status in wanted.statuses)
            and (wanted.plans is None or saga.plan in wanted.plans)
            and (not wanted.stuck or saga.stuck is not None or saga.stalled is not None)
            and (wanted.before is None or saga.id < wanted.before)
        ]
        return sorted(found, key=lambda saga: saga.id, reverse=True)[: wanted.limit]

    async def count(self, *, open_only: bool = False) -> dict[tuple[int, str], int]:
        counts: dict[tuple[int, str], int] = {}
        for saga in (self._up().open if open_only else self._up().sagas).values():
            counts[saga.plan, saga.status] = counts.get((saga.plan, saga.status), 0) + 1
        return counts

    async def lengths(self, sagas: Sequence[bytes]) -> list[int]:
        return [len(self._up().journal.get(saga, ())) for saga in sagas]

    async def overdue(self, before: float, limit: int) -> list[SagaRow]:
        late = [saga for saga in self._up().open.values() if saga.owner is None and _is_due(saga, before)]
        return sorted(late, key=lambda saga: saga.wake_at or 0.0)[:limit]

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        sagas = self._up().sagas
        stretch = sorted(saga for saga in sagas if (after or b"") < saga < id_bound(before))[:limit]
        found = tuple(saga for saga in stretch if _ended_before(sagas[saga], before))
        return Ended(found, stretch[-1] if len(stretch) == limit else None)

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        db = self._up()
        old = [db.sagas[saga] for saga in sagas if saga in db.sagas and _ended_before(db.sagas[saga], before)]
        for saga in old:
            db.forget(saga)
        return len(old)

    async def check(self) -> list[Health]:
        return [Health("warning", "store", "in memory: everything is gone when the process ends")]

    # Hints

    def listen(self, callback: Callable[[str], None]) -> None:
        self._listener = callback
        self._db.listeners.append(callback)

    def hint(self, keys: Sequence[str], *, work: bool) -> None:
        for listener in list(self._db.listeners):
            for key in [*keys, "work"] if work else keys:
                listener(key)

    def watch(self, key: str) -> None:
        """Every store of the database hears of every key."""

    # Parts

    def _up(self) -> MemoryDatabase:
        if not self._open:
            raise StoreUnavailable("the store is closed")
        return self._db

    def _alive(self, worker: int) -> WorkerRow:
        row = self._db.workers.get(worker)
        if row is None or row.retired_at is not None:
            raise Retired(f"worker {worker} is not registered any more")
        return row

    def _own(self, saga: SagaRow, worker: int) -> Loaded:
        owned = saga._replace(owner=worker, epoch=saga.epoch + 1, stalled=None)
        self._db.put(owned)
        return self._loaded(owned)

    def _loaded(self, saga: SagaRow) -> Loaded:
        return Loaded(saga, tuple(row for _, row in self._db.journal[saga.id]))


def _fits(saga: SagaRow, runs: tuple[int, ...]) -> bool:
    return saga.stalled is None or saga.plan in runs


def _is_due(saga: SagaRow, now: float) -> bool:
    return saga.wake_at is not None and saga.wake_at <= now


def _ended_before(saga: SagaRow, instant: float) -> bool:
    return saga.status not in OPEN and saga.updated_at < instant
