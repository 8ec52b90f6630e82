"""The inbox of transactional steps in a PostgreSQL database, through whatever driver the steps use.

A `Lender` lends connections of one library, an `Opened` is a transaction on one of them; there is one
module for each library. All are written as coroutines, those of synchronous libraries too: theirs
never wait, and `complete` runs them in the thread that the step runs in.

Guarantees: the row is made or locked before it is read, so an action and its compensation exclude each
other; whoever is frozen in the middle loses its session, and with it the transaction.
Must not: know what the rows mean; `decide/barrier.py` does. Nor import a driver.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from amends.errors import SchemaMismatch
from amends.store.effects_errors import EndedItself, no_savepoint
from amends.store.effects_rows import InboxRow, Key, row_from, text_of
from amends.store.sql import migrations, refuse_newer, split, statements

T = TypeVar("T")
Row = Sequence[Any]

SQL = statements("postgres_effects")
MIGRATIONS = migrations("postgres_effects")
CODE_VERSION = MIGRATIONS[-1][0]
LIMIT_MS_MAX = 2**31 - 1
SAVEPOINT = "SAVEPOINT amends_step"
CHECK = "SET CONSTRAINTS ALL IMMEDIATE"  # what is deferred fails here, not in COMMIT
RELEASE = "RELEASE SAVEPOINT amends_step"
KEEP = (CHECK, RELEASE)
UNDO = ("ROLLBACK TO SAVEPOINT amends_step",)


class Opened(Protocol):
    """A connection that is lent for one step, and the transaction on it. given: what the step gets."""

    given: Any

    @property
    def lost(self) -> bool:
        """Whether there is no connection any more."""
        ...

    async def begin(self) -> None:
        """Open the transaction."""
        ...

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        """The rows of a statement of `SQL`; none where it gives none."""
        ...

    async def execute(self, *texts: str) -> None:
        """Run statements without parameters."""
        ...

    async def flush(self) -> None:
        """Write what the step has changed and the library has not written yet."""
        ...

    async def commit(self, *texts: str) -> None:
        """Run these statements, and commit: in one way to the server, where the library can."""
        ...

    @property
    def open(self) -> bool:
        """Whether the transaction is not over, though it may have failed."""
        ...

    async def rollback(self) -> None:
        """Roll back."""
        ...

    async def give_back(self, *, sound: bool) -> None:
        """The step is over, and what it left behind cannot use the connection any more. One that is
        not sound is closed."""
        ...

    def interrupt(self) -> None:
        """Have the statement that runs stopped; from any thread, without waiting."""
        ...


class Lender(Protocol):
    """Lends connections of one library. awaited: whether it is one for event loops."""

    awaited: bool

    async def open(self) -> None:
        """Make ready, without connecting."""
        ...

    async def close(self) -> None:
        """Let go of what is its own. May be called twice."""
        ...

    async def lend(self) -> Opened:
        """A connection. Raises what the library raises."""
        ...

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        """Run a statement of ours that is a transaction by itself, in one way to the server and back; gives its rows,
        and None where the library, or whose the connections are, does not allow that. Raises what the library
        raises."""
        ...


class Found(NamedTuple):
    """What the inbox says of a step. torn: a row is there that only an open transaction has. own: of one that is new,
    the number of the transaction that has made its row."""

    rows: list[InboxRow]
    torn: bool
    own: str = ""


class Limits(NamedTuple):
    """How long a transaction waits for locks, and how long its client may be silent."""

    lock_seconds: float
    idle_seconds: float

    @property
    def counted(self) -> tuple[str, str]:
        """As the server takes them."""
        return _counted(self.lock_seconds), _counted(self.idle_seconds)


class Made(NamedTuple):
    """The rows that were made, by place. new: of those nothing else is known. now: the server's time. own: the number
    of the transaction."""

    now: float
    new: set[int]
    also: set[int]
    own: str


LIMITS = Limits(1.0, 10.0)  # of what is no handler's


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    coroutine.close()
    raise RuntimeError("this waits, and runs where nothing may")


async def limit(tx: Opened, limits: Limits) -> float:
    """Bound the transaction. Gives the server's time."""
    rows = await tx.fetch("limit", *limits.counted)
    return float(rows[0][-1])


async def arrive(tx: Opened, key: Key, first: int, last: int) -> Found:
    """Make or lock the rows of these rounds, and read all rounds. Those that were made here are not
    among the rows: nothing is known of them yet."""
    made = {row[0] for row in await tx.fetch("make", *_values(key), first, last)}
    return await _held(tx, key, made)


async def arrive_first(tx: Opened, key: Key, limits: Limits) -> tuple[float, Found]:
    """The same of the first round of a step of which probably nothing is known, within limits; and the server's
    time."""
    made = await make_first(tx, [key], limits)
    if 0 in made.new:
        return made.now, Found([], torn=False, own=made.own)
    if 0 in made.also:
        return made.now, await _held(tx, key, {1})
    return made.now, await arrive(tx, key, 1, 1)


async def _held(tx: Opened, key: Key, made: set[int]) -> Found:
    held = await tx.fetch("hold", *_values(key))
    rows = [row_from(tuple(row)) for row in held if row[1] is not None]
    return Found(rows, any(row[1] is None and row[0] not in made for row in held))


async def make_first(tx: Opened, keys: Sequence[Key], limits: Limits) -> Made:
    """Bound the transaction, and make the rows of the first round of these steps."""
    rows = await tx.fetch("make_first", _listed(keys), *limits.counted)
    new = {int(row[0]) for row in rows if row[1] and row[2]}
    also = {int(row[0]) for row in rows if row[1] and not row[2]}
    return Made(float(rows[0][3]), new, also, str(rows[0][4]))


async def keep_first(tx: Opened, rows: Sequence[tuple[Key, InboxRow]], own: str) -> None:
    """Say what became of those. Raises EndedItself where this is not the transaction that has made them."""
    if rows:
        outcomes = [
            {
                "action": row.action,
                "result": text_of(row.result),
                "reason": _storable(row.reason),
                "command": text_of(row.command),
            }
            for _, row in rows
        ]
        kept = await tx.fetch("keep_first", _listed([key for key, _ in rows], outcomes), own)
        if len(kept) != len(rows):
            raise EndedItself


async def clear_first(tx: Opened, keys: Sequence[Key]) -> None:
    """Forget those, of which nothing stays."""
    if keys:
        await tx.fetch("clear_first", _listed(keys))


def _listed(keys: Sequence[Key], more: Sequence[dict[str, Any]] = ()) -> str:
    listed: list[dict[str, Any]] = [
        {"place": place, "ns": namespace, "saga": saga.hex(), "address": address}
        for place, (namespace, saga, address) in enumerate(keys)
    ]
    for one, other in zip(listed, more, strict=False):
        one.update(other)
    return json.dumps(listed)


async def keep(tx: Opened, key: Key, row: InboxRow) -> None:
    """Say what became of a round."""
    round_, action, compensated, missing, result, reason, command = row
    given = (round_, action, compensated, missing, text_of(result), _storable(reason), text_of(command))
    await tx.fetch("keep", *_values(key), *given)


async def keep_new(tx: Opened, key: Key, row: InboxRow, own: str) -> None:
    """Say what became of one that is new. Raises EndedItself where its row was made in another transaction."""
    outcome = (row.action, text_of(row.result), _storable(row.reason), text_of(row.command))
    if not await tx.fetch("keep_new", *_values(key), *outcome, own):
        raise EndedItself


async def bury(tx: Opened, key: Key, below: int) -> None:
    """The rounds below one never had an action, and never will."""
    if below > 1:
        await tx.fetch("bury", *_values(key), below)


async def clear(tx: Opened, key: Key) -> None:
    """Forget what a step left that ended its transaction itself."""
    await tx.fetch("clear", *_values(key))


async def forget(tx: Opened, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
    """Forget the rows of sagas, of each all or nothing; gives those that have one that is younger than so many
    seconds."""
    wanted = "{" + ",".join(saga.hex() for saga in sagas) + "}"
    rows = await tx.fetch("forget", namespace, wanted, round(seconds))
    return frozenset(uuid.UUID(row[0]).bytes for row in rows)


async def keep_step(tx: Opened) -> None:
    """Make what the step did part of the transaction. Raises EndedItself, and what a deferred
    constraint raises."""
    await _on_savepoint(tx, KEEP)


async def undo_step(tx: Opened) -> None:
    """Take back what the step did, and keep the transaction. Raises EndedItself."""
    await _on_savepoint(tx, UNDO)


async def _on_savepoint(tx: Opened, texts: tuple[str, ...]) -> None:
    try:
        await tx.execute(*texts)
    except Exception as error:
        if no_savepoint(error):
            raise EndedItself from error
        raise


@asynccontextmanager
async def _lent(lender: Lender) -> AsyncGenerator[Opened, None]:
    """A transaction that is no step's, for whoever ends it. Raises what the library raises."""
    tx = await lender.lend()
    sound = False
    try:
        await tx.begin()
        yield tx
        sound = True
    finally:
        await tx.give_back(sound=sound)


async def look(lender: Lender) -> tuple[int, int]:
    """The version of the inbox's schema and its floor; 0 where there is none. Raises what the library
    raises."""
    async with _lent(lender) as tx:
        await tx.execute(SAVEPOINT)  # an engine in autocommit mode has no transactions
        found = await _schema(tx)
        await tx.rollback()
        return found


async def clear_up(lender: Lender, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
    """The same as `forget`, in a transaction of its own. Raises what the library raises."""
    async with _lent(lender) as tx:
        kept = await forget(tx, namespace, sagas, seconds)
        await tx.commit()
        return kept


async def ask(lender: Lender, name: str, values: Sequence[object]) -> Sequence[Row]:
    """A statement of the services' own, in a transaction of its own; gives its rows. Raises what the library raises."""
    at_once = await lender.once(name, *values)
    if at_once is not None:
        return at_once
    async with _lent(lender) as tx:
        await limit(tx, LIMITS)
        rows = await tx.fetch(name, *values)
        await tx.commit()
        return rows


async def free(lender: Lender) -> None:
    """End the steps' transactions of clients that have been silent for longer than they may, where no
    time-out of the server's reaches. Raises what the library raises."""
    async with _lent(lender) as tx:
        await tx.fetch("free")
        await tx.commit()


async def upgrade(lender: Lender) -> list[int]:
    """Apply the migrations that are missing; gives their numbers. Raises what the library raises."""
    applied: list[int] = []
    for number, script in MIGRATIONS:
        async with _lent(lender) as tx:
            await tx.fetch("wait_for_schema")
            await tx.fetch("schema_lock")
            if (await _schema(tx))[0] < number:
                await tx.execute(*split(script))
                applied.append(number)
            await tx.commit()
    return applied


def check(version: int, floor: int, place: str) -> None:
    """Raises SchemaMismatch where this code cannot work with the inbox."""
    if version < CODE_VERSION:
        there = f"inbox schema {version}" if version else "no inbox for steps with a transaction"
        raise SchemaMismatch(f"{place} has {there}, and this amends needs {CODE_VERSION}: run `amends db upgrade`")
    refuse_newer(place, "inbox schema", version, floor, CODE_VERSION)


async def _schema(tx: Opened) -> tuple[int, int]:
    if not (await tx.fetch("schema_there"))[0][0]:
        return 0, 0
    rows = await tx.fetch("schema")
    if not rows:
        raise SchemaMismatch("the inbox has no schema row; restore it from a backup")
    return int(rows[0][0]), int(rows[0][1])


def _counted(seconds: float) -> str:
    """A limit as the server counts it; 0 would mean without end."""
    return f"{min(max(round(seconds * 1000), 1), LIMIT_MS_MAX)}ms"


def _storable(reason: str) -> str:
    return reason.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _values(key: Key) -> tuple[str, str, str]:
    namespace, saga, address = key
    return namespace, saga.hex(), address
