"""What the home of a choreographed saga knows of it, as the values that operations give.

Guarantees: what is told is what the home was told, and says so; who has a saga is named where that is known.
Must not: read or write a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from time import time
from typing import Any

from amends.decide.baton import Saga, Stand
from amends.decide.evolve import replay
from amends.decide.plan import Plan, StepNode
from amends.decide.state import Action, State, Status, Undo
from amends.decide.watching import holder, sketch
from amends.operate.preview import acts
from amends.operate.redact import Veil, openable
from amends.operate.values import Act, SagaLine
from amends.run import journal, mailbox
from amends.run.heads import mark
from amends.run.journey import Route, rows_of
from amends.run.outcomes import first_trouble, why_back
from amends.store.base import MailRow

_OPEN = frozenset({Action.STUCK, Action.UNKNOWN, Action.WAITING, Undo.STUCK, Undo.WAITING})


class HomeRow:
    """One saga at its home. told: its history, as it was told last. route: of its plan; None where the code has not got
    it. veil: what is not shown of it."""

    def __init__(self, saga: Saga, stand: str, told: bytes, route: Route | None, veil: Veil) -> None:
        self.saga = saga
        self.stand = stand
        self.route = route
        self.rows: list[bytes] = veil.rows(openable(rows_of(told), None if route is None else route.seal(saga)))
        self.state: State = replay(event for row in self.rows for event in journal.decode(row).events)

    @cached_property
    def plan(self) -> Plan:
        """Its plan; where nobody here has it, what its history tells of it."""
        if self.route is not None:
            return self.route.plan
        return sketch(self.saga.plan, (event for row in self.rows for event in journal.decode(row).events))

    @property
    def moves(self) -> bool:
        """Whether it goes on without a person, as far as its home knows."""
        return self.stand == "open"

    @property
    def holder(self) -> str:
        """The service that has it, as far as its home was told; empty of one that has ended, or where nobody knows."""
        if self.state.ended:
            return ""
        held = holder(self.plan, self.state)
        if held is not None:
            return held.service
        for address, step in self.state.steps.items():
            node = self.plan.node(address)
            half = step.action.status if step.undo is None else step.undo.status
            if half in _OPEN and isinstance(node, StepNode) and self.route is not None:
                return node.service
        return ""


def line_of(row: HomeRow) -> SagaLine:
    """A saga as a line of a list."""
    state, stalled = row.state, ""
    if row.stand == Stand.UNKNOWN_PLAN:
        stalled = f"{row.holder or 'a service'} does not know this version of its definition yet, and keeps it"
    parked = row.stand == Stand.PARKED
    fingerprint, step = (None, None) if row.moves and state.status is Status.PARKED else mark(row.saga.plan, state)
    return SagaLine(
        row.saga.key,
        row.saga.plan,
        _status(row),
        journal.decode(row.rows[0]).at,
        journal.decode(row.rows[-1]).at,
        None,
        None,
        state.parked if parked else why_back(state),
        (first_trouble(state) or "") if parked else "",
        stalled,
        "",
        row.saga.home,
        holder=_holder(row),
        fingerprint=fingerprint or "",
        step=step or "",
        version=len(row.rows),
        assigned=state.assigned,
        note=state.note,
    )


def _status(row: HomeRow) -> str:
    if row.state.status is Status.PARKED and row.moves:  # somebody has it go on
        return "running" if row.state.turned is None else "compensating"
    return str(row.state.status)


def _holder(row: HomeRow) -> str:
    """Who has it, in words."""
    service = row.holder
    if row.state.ended:
        return "nobody: it has ended"
    if row.stand == Stand.PARKED:
        return f"{service or 'the service of its last step'}, where it is parked"
    if row.stand == Stand.UNKNOWN_PLAN:
        return f"{service or 'a service'}, which does not know its definition yet"
    if len(row.rows) > 1 or row.state.status is Status.PARKED:
        return f"{service or 'one of its services'} when it was heard of last; it has gone on since"
    return f"{service or 'its first service'} was the first; its home hears of it when it ends or needs a person"


def possible(row: HomeRow) -> tuple[Act, ...]:
    """The acts that would be accepted, if the home knows all. Of one that moves it knows too little to offer more than
    a cancel."""
    if row.state.ended or row.route is None:
        return ()
    found = acts(row.plan, row.state, time(), frozenset())
    if row.stand == Stand.PARKED:
        return found
    return (Act("cancel", ""),) if any(act.verb in ("cancel", "compensate") for act in found) else ()


def mails_of(marks: Iterable[Sequence[Any]]) -> tuple[MailRow, ...]:
    """What people wanted of a saga, as mails: who they were stands in its history."""
    made: list[MailRow] = []
    for number, (id_, verb, address, actor, reason, word, detail, at) in enumerate(marks, 1):
        body = mailbox.write(verb=verb, address=address, actor=actor, reason=reason)
        kind = "cancel" if verb == "cancel" else "act"
        made.append(MailRow(number, b"", id_, kind, body, float(at), word or None, detail or None, None))
    return tuple(made)
