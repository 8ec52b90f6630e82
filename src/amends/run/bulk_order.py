"""What a bulk operation is to do, and what happened to it, as they are kept.

Guarantees: what was given as a result or as arguments is sealed where sagas' payloads are; the rest can be read.
Must not: do it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from amends.decide.bulk import PER_SECOND
from amends.errors import StoreDamaged
from amends.run.sealing import Seals, opened_payload
from amends.store.bulk import BulkRow


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be done to every saga: the body of a bulk operation. text: the person for assign, the text of a
    note. nothing_stayed: of earlier attempts.
    search: what was looked for. named: where sagas were named instead, a digest of their ids. mark: of this beginning
    of it, for the ids of its acts; empty in one from before there were marks."""

    verb: str
    actor: str
    reason: str = ""
    step: str = ""
    text: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")
    arguments: msgspec.Raw = msgspec.Raw(b"null")
    search: msgspec.Raw = msgspec.Raw(b"null")
    per_second: float = PER_SECOND
    even_if_changed: bool = False
    nothing_stayed: bool = False
    named: str = ""
    mark: str = ""


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a log."""

    move: str
    actor: str
    reason: str = ""


encode: Callable[[Order | LogLine], bytes] = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(Order).decode
_line = msgspec.json.Decoder(LogLine).decode


def order_of(row: BulkRow) -> Order:
    """What is to be done. What is sealed of it stays so. Raises StoreDamaged."""
    try:
        return _order(row.body)
    except msgspec.DecodeError as error:
        raise damaged(f"the bulk operation {row.key!r}", error) from None


def damaged(what: str, error: Exception) -> StoreDamaged:
    """What is kept cannot be read."""
    return StoreDamaged(f"{what} cannot be read ({error}); was it written by a newer amends?")


def marked(order: Order, mark: str) -> Order:
    """An order with another mark."""
    return replace(order, mark=mark)


def act_id(order: Order, key: str, n: int) -> str:
    """The id under which the n-th saga is asked. It has the mark in it: the id of a bulk operation may be used again
    when that is forgotten, and its acts are others then than those whose answers the sagas may still have."""
    return f"bulk/{key}/{order.mark}/{n}" if order.mark else f"bulk/{key}/{n}"


def sealed(order: Order, seals: Seals | None, key: str) -> Order:
    """An order as it is kept."""
    if seals is None:
        return order
    seal, shut = seals.mail(f"bulk/{key}"), _payloads(order)
    return replace(order, **{name: msgspec.Raw(seal.sealed(payload, f"bulk {name}")) for name, payload in shut.items()})


def opened(order: Order, seals: Seals | None, key: str) -> Order:
    """An order as it was given. Raises KeyMissing and StoreDamaged."""
    seal, shut = None if seals is None else seals.mail(f"bulk/{key}"), _payloads(order)
    made = {name: msgspec.Raw(opened_payload(payload, seal, f"bulk {name}")) for name, payload in shut.items()}
    return replace(order, **made)


def _payloads(order: Order) -> dict[str, bytes]:
    found = {"result": given(order.result), "arguments": given(order.arguments)}
    return {name: payload for name, payload in found.items() if payload is not None}


def line_of(line: bytes) -> LogLine:
    """A line of a log, as it was written. Raises StoreDamaged."""
    try:
        return _line(line)
    except msgspec.DecodeError as error:
        raise damaged("a line of the log of a bulk operation", error) from None


def given(value: msgspec.Raw) -> bytes | None:
    """A payload in an order; None where there is none."""
    data = bytes(value)
    return None if data in (b"", b"null") else data
