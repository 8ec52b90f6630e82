"""Writing into a user's own PostgreSQL transaction, over whatever driver it is.

Guarantees: what is written exists if and only if the user's transaction commits; nothing is
committed or rolled back here. What can be refused is refused before anything that would make
PostgreSQL give the transaction up.
Must not: write into another database than the sagas are in.

What is written stays invisible, and unowned, until the user commits; it refers to no other row, so
that nobody waits for the user but who wants the very same id.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import WeakSet

import msgspec

from amends.errors import NotEnlisted, StoreUnavailable
from amends.store.base import NewMail, SagaRow, Write
from amends.store.given import Given, GivenAsync, Row, Tell, refuse_failed
from amends.store.sql import statements
from amends.store.within import recognised, refuse

SQL = statements("postgres_enlist")
DRIVERS = "a connection of asyncpg, psycopg or psycopg2"
TRIES = 3
FAILED, READ_ONLY, CONFLICTS = "25P02", "25006", ("40001", "40P01")

T = TypeVar("T")
Asks: TypeAlias = Generator[tuple[str, object], Sequence[Row], T]  # named statements and their values; their rows


class Identity(NamedTuple):
    """Which database this is. server: None where this role may not ask. database: its number there."""

    server: str | None
    database: str


class PostgresJoin:
    """How one store joins the transactions of users of its database.

    place: the database, in words. namespace: its number. identity: as `postgres_enlist.sql` gives it
    on the store's own connection. heard: called with the server's time whenever it is said.
    """

    def __init__(self, place: str, namespace: int, identity: Identity, heard: Callable[[float], None]) -> None:
        self._place = place
        self._namespace = namespace
        self._identity = identity
        self._heard = heard
        self._known: WeakSet[Any] = WeakSet()  # the drivers' connections that were found to be on it

    def join(self, within: object) -> PostgresTransaction | PostgresTransactionAsync:
        """The user's transaction, to write into. Raises NotEnlisted."""
        given = recognised(within, DRIVERS)
        return PostgresTransactionAsync(self, given) if given.awaited is True else PostgresTransaction(self, given)

    def add(self, given: Given | GivenAsync, write: Write) -> Asks[SagaRow | None]:
        """Add a saga. A key that is taken by what this statement could not see yet is read by the next."""
        yield from self._look(given)
        value = _start_of(write, self._namespace)
        key = {"ns": self._namespace, "key": value["key"]}
        for _ in range(TRIES):
            added, instant = (yield "start", value)[0]
            self._heard(float(instant))
            if added:
                return None
            found = yield "head", key
            if found:
                return _saga_row(found[0])
        raise StoreUnavailable(f"the id {value['key']!r} is taken and freed all the time; try again")

    def send(self, given: Given | GivenAsync, mail: NewMail) -> Asks[bool]:
        """Add a mail."""
        yield from self._look(given)
        value = {"ns": self._namespace, **mail._asdict(), "body": mail.body.decode()}
        rows = yield "send", value
        for row in rows:
            self._heard(float(row[0]))
        return bool(rows)

    def _look(self, given: Given | GivenAsync) -> Asks[None]:
        """See once for each connection that it is on this database. Raises NotEnlisted."""
        if given.dialect != "postgresql":
            raise refuse(f"a connection to {given.dialect}", DRIVERS)
        if given.raw in self._known:
            return
        number, name, user, standby, there, writable, may_ask = (yield "place", None)[0]
        server = str((yield "server", None)[0][0]) if may_ask and self._identity.server is not None else None
        if not there or number != self._identity.database or (server is not None and server != self._identity.server):
            raise NotEnlisted(f"within=: the connection is on another database, {name}; the sagas: {self._place}")
        if standby:
            raise NotEnlisted("within=: that connection is to a standby, which takes no writes")
        if not writable:
            raise NotEnlisted(
                f"within=: the role {user} may not write the tables of amends. As their owner: GRANT USAGE ON SCHEMA "
                f"amends TO {user}; GRANT SELECT, INSERT ON amends.saga, amends.journal, amends.mail TO {user}"
            )
        self._known.add(given.raw)


class PostgresTransaction:
    """An open transaction of the user's, on the thread that calls."""

    awaited: Literal[False] = False

    def __init__(self, join: PostgresJoin, given: Given) -> None:
        self._join = join
        self._given = given
        given.ready()

    def add(self, write: Write) -> SagaRow | None:
        """Add a saga; the one that is there where its key is taken."""
        return self._run(self._join.add(self._given, write))

    def send(self, mail: NewMail) -> bool:
        """Add a mail; False where there is no such saga."""
        return self._run(self._join.send(self._given, mail))

    def after_commit(self, tell: Tell) -> bool:
        """Have `tell` called about when the transaction commits; False where nobody can."""
        return self._given.after_commit(tell)

    def _run(self, asks: Asks[T]) -> T:
        try:
            request = next(asks)
            while True:
                request = asks.send(self._given.fetch(SQL[request[0]], _text(request[1])))
        except StopIteration as end:
            value: T = end.value
            return value
        except Exception as error:
            _tell_apart(error)
            raise


class PostgresTransactionAsync:
    """An open transaction of the user's, on the loop that calls."""

    awaited: Literal[True] = True

    def __init__(self, join: PostgresJoin, given: GivenAsync) -> None:
        self._join = join
        self._given = given

    async def add(self, write: Write) -> SagaRow | None:
        """As `PostgresTransaction.add`."""
        await self._given.ready()
        return await self._run(self._join.add(self._given, write))

    async def send(self, mail: NewMail) -> bool:
        """As `PostgresTransaction.send`."""
        await self._given.ready()
        return await self._run(self._join.send(self._given, mail))

    def after_commit(self, tell: Tell) -> bool:
        """As `PostgresTransaction.after_commit`."""
        return self._given.after_commit(tell)

    async def _run(self, asks: Asks[T]) -> T:
        try:
            request = next(asks)
            while True:
                request = asks.send(await self._given.fetch(SQL[request[0]], _text(request[1])))
        except StopIteration as end:
            value: T = end.value
            return value
        except Exception as error:
            _tell_apart(error)
            raise


def _start_of(write: Write, namespace: int) -> dict[str, Any]:
    new, head = write.new, write.head
    if new is None or head is None or head.owner is not None or head.status != "running" or write.seq != 0:
        raise ValueError("a transaction of a user's may only add sagas that nobody owns")
    return {
        "ns": namespace,
        "plan": new.plan,
        "id": write.saga.hex(),
        "key": new.key,
        "input_hash": new.input_hash.hex(),
        "op": write.op,
        "row": write.row.decode(),
    }


def _text(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _saga_row(row: Row) -> SagaRow:
    return SagaRow._make((bytes.fromhex(row[0].replace("-", "")), *row[1:12], bytes.fromhex(row[12]), *row[13:]))


def _tell_apart(error: Exception) -> None:
    """The driver's own error is left as it is, since the transaction and its retries are the user's,
    but for what says that there was nothing to join. Raises NotEnlisted."""
    state = _state_of(error)
    if state == FAILED:
        raise refuse_failed("connection") from error
    if state == READ_ONLY:
        raise NotEnlisted("within=: the transaction is read-only; begin one that may write") from error
    if state in CONFLICTS:
        error.add_note(
            "amends: this transaction and another are in each other's way, as PostgreSQL has it happen now and then. "
            "Nothing of it will exist: roll it back, and do all of it again"
        )


def _state_of(error: Exception) -> str | None:
    """PostgreSQL's code, where it is below one library or two."""
    for one in (error, getattr(error, "orig", None), error.__cause__):
        state = getattr(one, "sqlstate", None) or getattr(one, "pgcode", None)
        if state:
            return str(state)
    return None
