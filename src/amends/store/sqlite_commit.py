"""Writing a batch into SQLite: fast where nothing conflicts, saga by saga where something does.

Guarantees: `base.py`'s for `commit`, inside one IMMEDIATE transaction.
Must not: leave the transaction open; the thread rolls back what raises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from amends import fault
from amends.store.base import Fate, Retired, Write
from amends.store.sqlite_file import SQL
from amends.store.sqlite_transaction import begin, commit


def write_batch(
    connection: sqlite3.Connection, namespace: int, worker: int | None, writes: Sequence[Write], now: float
) -> list[Fate]:
    """Write all, in order. Raises Retired, and sqlite3.Error; then nothing was written."""
    if worker is None:
        _check_only_adds(writes)
    begin(connection)
    if worker is not None:
        check_alive(connection, worker)
    try:
        _write_all(connection, namespace, writes, now)
        fates = [Fate.WRITTEN] * len(writes)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK")
        begin(connection)
        if worker is not None:
            check_alive(connection, worker)
        fates = _write_each(connection, namespace, writes, now)
    fault.point("commit.inside")
    commit(connection)
    return fates


def check_alive(connection: sqlite3.Connection, worker: int) -> str:
    """The first guard: the worker's registration stands. Gives the plans it runs."""
    row = connection.execute(SQL["worker_alive"], (worker,)).fetchone()
    if row is None:
        raise Retired(f"worker {worker} is not registered any more")
    plans: str = row[0]
    return plans


def add_new(connection: sqlite3.Connection, namespace: int, write: Write, now: float) -> None:
    """Add one saga inside whatever transaction is open."""
    _write_all(connection, namespace, [write], now)


def due_for_all(writes: Sequence[Write], lead: float) -> Sequence[Write]:
    """What a client adds, due as processes see it whose clock does not lead as its own does."""
    if lead <= 0:
        return writes
    return [
        write._replace(head=write.head._replace(wake_at=write.head.wake_at - lead))
        if write.head is not None and write.head.wake_at is not None
        else write
        for write in writes
    ]


def _check_only_adds(writes: Sequence[Write]) -> None:
    if any(write.new is None or write.head is None or write.head.owner is not None for write in writes):
        raise ValueError("a client may only add sagas, and own none")


def _write_all(connection: sqlite3.Connection, namespace: int, writes: Sequence[Write], now: float) -> None:
    """All rows of one kind together: fewer statements, fewer turns of the interpreter's lock."""
    new = [_new_row(namespace, write, now) for write in writes if write.new is not None]
    if new:
        connection.executemany(SQL["saga_add"], new)
    first = [_journal_row(namespace, write) for write in writes if write.seq == 0]
    if first:
        connection.executemany(SQL["journal_begin"], first)
    further = [_journal_row(namespace, write) for write in writes if write.seq > 0]
    if further:
        connection.executemany(SQL["journal_add"], further)
    changed = [_change_row(namespace, write, now) for write in writes if write.head is not None and write.new is None]
    if changed:
        connection.executemany(SQL["saga_change"], changed)
    answers = [
        (answer.word, answer.detail, now if answer.word else None, namespace, write.saga, answer.message)
        for write in writes
        for answer in write.answers
    ]
    if answers:
        connection.executemany(SQL["mail_answer"], answers)


def _write_each(connection: sqlite3.Connection, namespace: int, writes: Sequence[Write], now: float) -> list[Fate]:
    """One at a time: what is there already under the same number is success; what has lost
    takes all that follows of its saga with it."""
    lost: dict[bytes, Fate] = {}
    fates: list[Fate] = []
    for write in writes:
        fate = lost.get(write.saga) or _write_one(connection, namespace, write, now)
        if fate is not Fate.WRITTEN:
            lost[write.saga] = Fate.LOST
        fates.append(fate)
    return fates


def _write_one(connection: sqlite3.Connection, namespace: int, write: Write, now: float) -> Fate:
    there = connection.execute(SQL["journal_op"], (namespace, write.saga, write.seq)).fetchone()
    if there is not None:
        return Fate.WRITTEN if there[0] == write.op else Fate.LOST
    connection.execute("SAVEPOINT one")
    try:
        _write_all(connection, namespace, [write], now)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO one")
        return Fate.LOST if write.new is None else Fate.EXISTS
    finally:
        connection.execute("RELEASE one")
    return Fate.WRITTEN


def _journal_row(namespace: int, write: Write) -> tuple[object, ...]:
    return (namespace, write.saga, write.seq, write.op, write.row.decode())


def _new_row(namespace: int, write: Write, now: float) -> tuple[object, ...]:
    new, head = write.new, write.head
    if new is None or head is None:
        raise TypeError("a new saga comes with its head")
    return (
        namespace,
        write.saga,
        new.key,
        new.plan,
        head.status,
        head.owner,
        head.wake_at,
        new.created_at,
        now,
        head.stuck,
        head.reason,
        new.input_hash,
        head.fingerprint,
        head.step,
    )


def _change_row(namespace: int, write: Write, now: float) -> tuple[object, ...]:
    head = write.head
    if head is None:
        raise TypeError("only a write with a head changes it")
    return (*head, now, namespace, write.saga)  # the statement has a head's fields in their order
