"""Messages as RabbitMQ carries them: CloudEvents' AMQP binding in binary mode, over AMQP 0.9.1.

Attributes are headers whose names begin with `cloudEvents_`; `cloudEvents:` is read, too. Headers of our own, which
are no attributes, say when a message that was put off is due, and how often it was delivered before.

Guarantees: a message fits into one frame of headers, or is refused before it is sent.
Must not: talk to a broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from amends.errors import MessageRefused, TransportRefused
from amends.message import JSON, Message, from_headers, headers
from amends.transport.door import unfit

PREFIX = "cloudEvents_"
_OTHER_PREFIX = "cloudEvents:"
DUE = "amends-due"  # in milliseconds since 1970
TIMES = "amends-times"  # deliveries before it was put off
HEADER_BYTES_MAX = 100_000  # of all together: they travel in one frame, of 131,072 bytes at most by default
_SHORT = 200  # a short string of AMQP has 255 bytes at most
_PERSISTENT = 2
_OWN = (DUE, TIMES, "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")
_COUNTED = "x-delivery-count"

Properties = Basic.Properties


class Letter(NamedTuple):
    """What is published: a body and its properties. dead: of a message that is put into a queue as it came."""

    body: bytes
    properties: Properties


class Arrival(NamedTuple):
    """What came. message: None where it is none of ours, and flaw says why."""

    message: Message | None
    flaw: str
    times: int
    due: float


def letter(message: Message, bytes_max: int) -> Letter | TransportRefused:
    """A message as it is published, or why it never can be."""
    refused = unfit(message, bytes_max)
    if refused is not None:
        return refused
    told = headers(message, PREFIX)
    size = sum(map(len, told.values()))
    if size * 4 > HEADER_BYTES_MAX:
        size = sum(len(value.encode()) for value in told.values())
        if size > HEADER_BYTES_MAX:
            return TransportRefused(f"its attributes have {size} bytes; {HEADER_BYTES_MAX} are allowed")
    return Letter(message.data, _properties(dict(told), message.id))


def arrival(delivered: DeliveredMessage) -> Arrival:
    """What came, read."""
    given: Mapping[str, object] = delivered.header.properties.headers or {}
    times = _number(given.get(_COUNTED)) + _number(given.get(TIMES)) + 1
    if times == 1 and getattr(delivered.delivery, "redelivered", False):
        times = 2
    due = _number(given.get(DUE)) / 1000
    try:
        return Arrival(from_headers(_texts(given), delivered.body, PREFIX), "", times, due)
    except MessageRefused as error:
        return Arrival(None, str(error), times, due)


def put_off(delivered: DeliveredMessage, due: float, times: int) -> Letter:
    """The same message, to come again when it is due."""
    return _as_it_came(delivered, {DUE: int(due * 1000), TIMES: times})


def dead_letter(delivered: DeliveredMessage, told: Mapping[str, str]) -> Letter:
    """The same message, with what a dead letter says."""
    return _as_it_came(delivered, {PREFIX + name: value for name, value in told.items()})


def _as_it_came(delivered: DeliveredMessage, more: Mapping[str, str | int]) -> Letter:
    given = delivered.header.properties
    kept = {name: value for name, value in (given.headers or {}).items() if name not in (*_OWN, _COUNTED)}
    made = _properties({**kept, **more}, given.message_id or "")
    made.content_type = given.content_type
    made.content_encoding = given.content_encoding
    return Letter(delivered.body, made)


def _properties(told: dict[str, object], id_: str) -> Properties:
    made = Properties(content_type=JSON, delivery_mode=_PERSISTENT, message_id=id_ if len(id_) <= _SHORT // 4 else None)
    made.headers = told  # type: ignore[assignment]  # a table of AMQP: texts and numbers
    return made


def _texts(given: Mapping[str, object]) -> dict[str, str]:
    """The headers that are attributes, as texts. Other clients send numbers and instants as such."""
    found: dict[str, str] = {}
    for name, value in given.items():
        key = PREFIX + name[len(_OTHER_PREFIX) :] if name.startswith(_OTHER_PREFIX) else name
        if not key.startswith(PREFIX):
            continue
        if isinstance(value, str):
            found[key] = value
        elif isinstance(value, bool):
            found[key] = "true" if value else "false"
        elif isinstance(value, int):
            found[key] = str(value)
        elif isinstance(value, datetime):
            found[key] = value.isoformat()
    return found


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
