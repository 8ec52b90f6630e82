"""Journal rows: a decision's events as JSON, and back.

A row is `[at, worker, [[name, field, …], …]]`. Payloads stand in it as the JSON they are, so a
row can be read with any tool. Names and the order of fields never change; fields are added at
the end, with a default.

Guarantees: what is encoded decodes to equal events; what decodes has the types of its fields, wherever it came from.
Must not: look into payloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Union, get_args, get_type_hints

import msgspec

from amends.decide import events as e
from amends.decide.events import Event, Phase
from amends.decide.evolve import replay
from amends.decide.mail import changed_by
from amends.decide.state import State
from amends.errors import StoreDamaged
from amends.store.base import Loaded


class Row(NamedTuple):
    """One journal row: when, by which worker (0: a client), and what happened."""

    at: float
    worker: int
    events: tuple[Event, ...]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


_NAMES: dict[type[Event], str] = {kind: _snake(kind.__name__) for kind in get_args(Event)}
_KINDS: dict[str, type[Event]] = {name: kind for kind, name in _NAMES.items()}
# Which field of an event is a payload.
_PAYLOAD: dict[type[Event], int] = {
    e.Started: 0,
    e.Built: 1,
    e.Succeeded: 1,
    e.Kept: 1,
    e.Closed: 3,
    e.Late: 3,
    e.Given: 1,
}
_encode = msgspec.json.Encoder().encode


def _form(kind: type[Event]) -> type[msgspec.Struct]:
    """What an event is in a row: its name and its fields, a payload as it stands."""
    hints, payload = get_type_hints(kind), _PAYLOAD.get(kind)
    fields: list[Any] = []
    for index, name in enumerate(kind._fields):
        type_ = msgspec.Raw if index == payload else tuple[msgspec.Raw, ...] if name == "items" else hints[name]
        default = kind._field_defaults.get(name, msgspec.NODEFAULT)
        fields.append((name, type_, msgspec.Raw(b"") if index == payload and default is None else default))
    return msgspec.defstruct(
        kind.__name__, fields, tag=_NAMES[kind], array_like=True, forbid_unknown_fields=True, frozen=True, gc=False
    )


_FORMS: dict[type[msgspec.Struct], type[Event]] = {_form(kind): kind for kind in _NAMES}
_union: Any = Union[tuple(_FORMS)]  # noqa: UP007  # built here
_decode: Callable[[bytes], tuple[float, int, list[msgspec.Struct]]]
_decode = msgspec.json.Decoder(tuple[float, int, list[_union]]).decode


def encode(at: float, worker: int, events: Iterable[Event]) -> bytes:
    """A row's bytes. Nearly all events are of the first two kinds, which are put together from what
    they were before: that makes a row a third cheaper."""
    parts: list[bytes] = []
    for event in events:
        if type(event) is e.Succeeded:
            parts.append(b'["succeeded",%b,%b]' % (_address(event[0]), event[1]))
        elif type(event) is e.Issued:
            parts.append(_issued(*event))
        else:
            parts.append(_encode(_to_list(event)))
    return b"[%b,%d,[%b]]" % (_encode(at), worker, b",".join(parts))


def decode(row: bytes) -> Row:
    """The row of some bytes. Raises StoreDamaged for what is none."""
    try:
        at, worker, events = _decode(row)
        return Row(at, worker, tuple(map(_event, events)))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StoreDamaged(f"a journal row cannot be read ({error}); was it written by a newer amends?") from None


def name_of(event: Event) -> str:
    """The stable name that an event has in a row."""
    return _NAMES[type(event)]


def remade(event: Event, made: Callable[[Event, bytes], bytes]) -> Event:
    """An event with its payloads made into others. made: of the event and the payload."""
    kind = type(event)
    if isinstance(event, e.Listed):
        return event._replace(items=tuple(made(event, item) for item in event.items))
    at = _PAYLOAD.get(kind)
    if at is None or event[at] is None:
        return event
    values: list[Any] = list(event)
    values[at] = made(event, values[at])
    return kind(*values)


def state_of(loaded: Loaded) -> State:
    """The state that a saga's journal tells. Raises StoreDamaged."""
    return replay(event for row in loaded.rows for event in decode(row).events)


def changed_in(rows: Sequence[bytes]) -> int:
    """The version with which a saga changed last: how many rows it had by then. Raises StoreDamaged."""
    return next((seq for seq in range(len(rows), 0, -1) if changed_by(decode(rows[seq - 1]).events)), 0)


@lru_cache(maxsize=10_000)
def _address(address: str) -> bytes:
    return _encode(address)


@lru_cache(maxsize=10_000)
def _issued(address: str, phase: Phase) -> bytes:
    return _encode(_to_list(e.Issued(address, phase)))


def _to_list(event: Event) -> list[object]:
    kind = type(event)
    values: list[object] = [_NAMES[kind], *event]
    if kind in _PAYLOAD:
        at = _PAYLOAD[kind] + 1
        payload = values[at]
        if isinstance(payload, bytes):
            values[at] = msgspec.Raw(payload)
        elif payload is None:
            del values[at]  # the last one, and not the payload `null`
        if isinstance(event, e.Started) and not event.hops:
            values.pop()  # nearly every saga is led to by no event
    elif (isinstance(event, e.Retried) and not event.closed) or (
        isinstance(event, (e.Unknown, e.Stuck)) and not event.lost
    ):
        values.pop()  # so most are as they were written before there was such a field
    elif isinstance(event, e.Listed):
        values[2] = [msgspec.Raw(item) for item in event.items]
    return values


def _event(form: msgspec.Struct) -> Event:
    kind = _FORMS[type(form)]
    values: list[Any] = list(msgspec.structs.astuple(form))
    if kind in _PAYLOAD:
        at = _PAYLOAD[kind]
        values[at] = bytes(values[at]) or kind._field_defaults.get(kind._fields[at])
    elif kind is e.Listed:
        values[1] = tuple(map(bytes, values[1]))
    return kind(*values)
