"""What a person is shown of payloads: marked fields masked, sealed ones said to be sealed.

A saga's history is masked before anything is made of it: its state, its steps, its lines, its drawings. So
whatever shows a saga, on a terminal, over HTTP or on a page, has nothing to leave out.

Guarantees: what is marked in the saga's own plan, or in any other of its name, is shown to nobody who has not asked
for it; of a saga whose plan is not known, no payload is.
Must not: change what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import msgspec

from amends.decide import events as e
from amends.decide.events import Event
from amends.decide.plan import Payload, Plan
from amends.define.secret import MASK, hidden
from amends.errors import KeyMissing, StoreDamaged
from amends.run import journal
from amends.run.sealing import Seal, key_of, may_be_sealed

_OF: dict[type[Event], Payload] = {
    e.Started: Payload.INPUT,
    e.Built: Payload.COMMAND,
    e.Listed: Payload.ITEM,
}  # of any other it is a result
_log = logging.getLogger("amends.operate")


def redacted(payload: bytes | None, secrets: Sequence[str]) -> bytes | None:
    """A payload as it is shown. secrets: where its marked fields stand, as JSON pointers."""
    if payload is None:
        return None
    key = key_of(payload)
    if key is not None:
        return msgspec.json.encode(f"sealed with the key {key}")
    if not secrets:
        return payload
    try:
        return msgspec.json.encode(hidden(msgspec.json.decode(payload), tuple(secrets)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return msgspec.json.encode(MASK)


def openable(rows: Sequence[bytes], seal: Seal | None) -> Sequence[bytes]:
    """The rows of a saga with what is sealed opened, where that can be; else they stay as they are."""
    if seal is None:
        return rows
    try:
        return seal.rows(rows)
    except (KeyMissing, StoreDamaged) as error:
        _log.warning("a history is shown without what is sealed in it: %s", error)
        return rows


def log_reveal(saga_id: str, reader: str, *, reveal: bool) -> None:
    """Reading is no act, so no history has it: the log does."""
    if reveal:
        _log.warning("payloads of the saga %r are revealed to %s", saga_id, reader or "somebody")


class Veil:
    """What is not shown of one saga. plans: all that are known of its name; of one that has none, nothing is shown of
    payloads. reveal: nothing is masked, and what is sealed is said to be."""

    def __init__(self, plans: Iterable[Plan], *, reveal: bool = False) -> None:
        known = tuple(plans)
        self._unknown = not known and not reveal
        self._plans = () if reveal else tuple(plan for plan in known if plan.secrets)

    def secrets_in(self, payload: Payload, address: str = "") -> tuple[str, ...]:
        """Where secrets stand in a payload."""
        if self._unknown:
            return ("",)
        found = (pointer for plan in self._plans for pointer in plan.secrets_in(payload, address))
        return tuple(dict.fromkeys(found))

    def rows(self, rows: Sequence[bytes]) -> list[bytes]:
        """The rows of a history, as they are shown."""
        if not (self._plans or self._unknown or any(map(may_be_sealed, rows))):
            return list(rows)
        return [self._row(row) for row in rows]

    def _row(self, row: bytes) -> bytes:
        at, worker, events = journal.decode(row)
        return journal.encode(at, worker, (journal.remade(event, self._shown) for event in events))

    def _shown(self, event: Event, payload: bytes) -> bytes:
        if isinstance(event, e.Given) and self._plans:  # by names of parameters, which no plan has
            return redacted(payload, ("",)) or payload
        of = _OF.get(type(event), Payload.RESULT)
        address = "" if of is Payload.INPUT else str(getattr(event, "address", ""))
        return redacted(payload, self.secrets_in(of, address)) or payload
