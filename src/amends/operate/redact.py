"""What a person is shown of payloads: marked fields masked, sealed ones said to be sealed.

A saga's history is masked before anything is made of it: its state, its steps, its lines, its drawings. So
whatever shows a saga, on a terminal, over HTTP or on a page, has nothing to leave out.

Guarantees: what is marked in the saga's own plan, or in any other of its name, is shown to nobody who has not asked
for it; what is secret as a whole stays secret where its shape is not what the plan says.
Must not: change what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from amends.decide import events as e
from amends.decide.events import Event
from amends.decide.plan import Payload, Plan
from amends.define.secret import MASK, hidden
from amends.run import journal
from amends.run.sealing import key_of, may_be_sealed

_OF: dict[type[Event], Payload] = {
    e.Started: Payload.INPUT,
    e.Built: Payload.COMMAND,
    e.Listed: Payload.ITEM,
}  # of any other it is a result


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


class Veil:
    """What is not shown of one saga. plans: all that are known of its name."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._plans = tuple(plan for plan in plans if plan.secrets)

    def secrets_in(self, payload: Payload, address: str = "") -> tuple[str, ...]:
        """Where secrets stand in a payload."""
        found = (pointer for plan in self._plans for pointer in plan.secrets_in(payload, address))
        return tuple(dict.fromkeys(found))

    def rows(self, rows: Sequence[bytes]) -> list[bytes]:
        """The rows of a history, as they are shown."""
        if not self._plans and not any(map(may_be_sealed, rows)):
            return list(rows)
        return [self._row(row) for row in rows]

    def _row(self, row: bytes) -> bytes:
        at, worker, events = journal.decode(row)
        return journal.encode(at, worker, (journal.remade(event, self._shown) for event in events))

    def _shown(self, event: Event, payload: bytes) -> bytes:
        of = _OF.get(type(event), Payload.RESULT)
        address = "" if of is Payload.INPUT else str(getattr(event, "address", ""))
        return redacted(payload, self.secrets_in(of, address)) or payload
