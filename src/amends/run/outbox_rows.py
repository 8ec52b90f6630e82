"""What an event is in the outbox, and in whose transaction it is written.

Guarantees: the event exists if and only if the transaction that it was written in commits.
Must not: wait for that transaction, or publish.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from amends.decide.chain import Chain
from amends.decide.wire import KIND, Kind
from amends.define.contract import Event
from amends.define.values import PAYLOAD_BYTES_MAX
from amends.errors import NotEnlisted, ValueRefused
from amends.message import HEADER_UNFIT, Message
from amends.store import effects, effects_postgres
from amends.store.given import PARAMETER
from amends.store.within import recognised

KEY_CHARACTERS = 200
T = TypeVar("T")


class EventRow(NamedTuple):
    """An event in the outbox, or a message to a service's queue, which `to` names. number: 0 until it is written."""

    number: int
    id: str
    type: str
    key: str
    data: str
    attributes: str = "{}"
    at: float = 0.0
    to: str = ""

    @property
    def line(self) -> str:
        """What it is published in order with: the events of its key. What goes to a service's queue stands alone."""
        return "" if self.to else self.key


def row_from(values: Sequence[Any]) -> EventRow:
    """A row as a database gives it."""
    number, id_, type_, key, data, attributes, at, to = values
    return EventRow(int(number), id_, type_, key, data, attributes, float(at), to)


def event_row(
    event: Event[Any],
    value: Any,
    trace: Mapping[str, str],
    limit: int = PAYLOAD_BYTES_MAX,
    chain: Chain | None = None,
) -> EventRow:
    """The row of an event. chain: where it stands; None leaves that open, so that it begins one.

    Raises ValueRefused and LimitExceeded; and what the user's key function raises.
    """
    payload, value = event.told.admit(value, f"the event {event.type}", limit)
    key = "" if event.key is None else event.key(value)
    if not isinstance(key, str) or len(key) > KEY_CHARACTERS:
        raise ValueRefused(
            f"the key of the event {event.type} is {key!r:.80}: a text of at most {KEY_CHARACTERS} characters is "
            "expected"
        )
    if HEADER_UNFIT.search(key):  # it would stay in the outbox for good, and what has the same key behind it
        raise ValueRefused(f"the key of the event {event.type} is {key!r:.80}: no message carries control characters")
    id_ = uuid.uuid4().hex
    attributes = {**trace, **({} if chain is None else chain.attributes(id_))}
    return EventRow(0, id_, event.type, key, payload.decode(), json.dumps(attributes))


def message_of(row: EventRow, service: str) -> Message:
    """The message of an event: the same id however often it is published."""
    attributes = {KIND: Kind.EVENT.value, **json.loads(row.attributes)}
    source = source_of(service)
    return Message(row.id, row.type, source, row.data.encode(), row.at, key=row.key, attributes=attributes)


def row_of_message(message: Message, to: str) -> EventRow:
    """The row of a message to the queue of a service."""
    attributes = json.dumps(dict(message.attributes))
    return EventRow(0, message.id, message.type, message.key, message.data.decode(), attributes, to=to)


def source_of(service: str) -> str:
    """Who a service is, in its messages."""
    return f"/amends/{service}"


def given_to(rows: Sequence[EventRow], service: str) -> str:
    """The parameter of the statement that writes them."""
    return json.dumps(
        [
            {
                "place": place,
                "service": service,
                "id": row.id,
                "type": row.type,
                "key": row.key,
                "data": row.data,
                "attributes": row.attributes,
                "destination": row.to,
            }
            for place, row in enumerate(rows)
        ]
    )


def numbered(rows: Sequence[EventRow], written: Sequence[Sequence[Any]], at: float) -> list[EventRow]:
    """The rows with the numbers that they were given."""
    numbers = {str(id_): int(number) for number, id_ in written}
    return [row._replace(number=numbers[row.id], at=at) for row in rows]


Rows = Sequence[Sequence[Any]]
Writing = Generator[tuple[str, str], Rows, T]  # statements with their parameter, each given its rows


def write_within(writing: Writing[T], within: object) -> tuple[Any, Awaitable[T] | T]:
    """Write into a transaction of a user's; gives the connection as it was recognised, and what the writing gives, or
    what that can be awaited from. Raises NotEnlisted."""
    if isinstance(within, sqlite3.Connection):
        if not within.in_transaction and within.isolation_level is None:
            raise NotEnlisted("within=: the connection is in no transaction: begin one before, or the event goes alone")
        return None, _at_once(writing, lambda name, value: within.execute(effects.SQL[name], (value,)).fetchall())
    given = recognised(within, "a sqlite3.Connection, a connection of asyncpg, psycopg or psycopg2")
    if given.awaited is True:

        async def write() -> T:
            await given.ready()
            rows: Rows | None = None
            while True:
                try:
                    name, value = next(writing) if rows is None else writing.send(rows)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a generator's value is untyped there
                rows = await given.fetch(_statement(name, given.dialect), value)

        return given, write()
    given.ready()
    return given, _at_once(writing, lambda name, value: given.fetch(_statement(name, given.dialect), value))


def _at_once(writing: Writing[T], fetch: Callable[[str, str], Rows]) -> T:
    rows: Rows | None = None
    while True:
        try:
            name, value = next(writing) if rows is None else writing.send(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # as above
        rows = fetch(name, value)


def published(rows: Sequence[EventRow], service: str) -> Writing[Rows]:
    """Write what is to go out."""
    return (yield "publish", given_to(rows, service))


def _statement(name: str, dialect: str) -> str:
    if dialect == "postgresql":
        return effects_postgres.SQL[name]
    if dialect == "sqlite":
        return effects.SQL[name].replace("?1", PARAMETER)
    raise NotEnlisted(f"within=: that is a connection to {dialect}; PostgreSQL or SQLite is expected")
