"""The head row that a decision calls for: what can be listed and claimed without the journal.

Guarantees: a saga that has nothing to do for a while has a head without an owner, in the commit
that makes it so.
Must not: write.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide.draft import Decision
from amends.decide.fingerprint import fingerprint as fingerprint_of
from amends.decide.fingerprint import step_of, what_went_wrong
from amends.decide.plan import Plan
from amends.decide.state import State, Status, in_flight
from amends.run.outcomes import first_trouble, why_back
from amends.store.base import Head, SagaRow

# Events after which the head's word on trouble may be another.
_TROUBLE = frozenset(
    {e.Stuck, e.Parked, e.Retried, e.Closed, e.Resumed, e.ResumedBack, e.Abandoned, e.Late, e.Undone, e.Unknown}
)
_WRONG = _TROUBLE | {e.TurnedBack}
_PLAIN = frozenset({e.Issued, e.Built, e.Sent, e.Succeeded, e.PivotPassed})
_BEGUN = frozenset({e.Issued, e.Sent})


def goes_on(head: Head | None, decision: Decision) -> bool:
    """Whether a step just goes on, and the head stays as it is: what nearly always happens."""
    if head is None or head.owner is None or not decision.state.running:
        return False
    return _PLAIN.issuperset(map(type, decision.events))


def rests(plan: Plan, decision: Decision, latest: float, *, patient: bool) -> bool:
    """Whether the saga only waits, and beyond an instant, so that it may leave the memory. What services do
    is waited for in memory for a while: `patient` says that this is over."""
    if decision.wake is not None and decision.wake <= latest:
        return False
    if plan.remote and patient:
        if not _BEGUN.isdisjoint(map(type, decision.events)):
            return False
        return all(plan.step(address).remote for address, _ in in_flight(decision.state))
    if decision.state.running or e.Issued in map(type, decision.events):
        return False
    return not in_flight(decision.state)


def head_after(
    saga: str, decision: Decision, old: Head | None, worker: int, *, at_rest: bool, plan: int | None
) -> Head:
    """The head once the decision is written. `saga`: the name of its definition. `plan`: the one it has moved to."""
    state = decision.state
    status = str(state.status)
    stuck, fingerprint, step = (None, None, None) if old is None else (old.stuck, old.fingerprint, old.step)
    said = (state.assigned or None, state.note or None)
    kinds = frozenset(map(type, decision.events))
    if not _TROUBLE.isdisjoint(kinds):
        stuck = first_trouble(state)
    if not _WRONG.isdisjoint(kinds):
        fingerprint, step = mark(saga, state)
    if state.status is Status.PARKED:
        return Head(status, None, None, stuck, state.parked, plan, *said, fingerprint, step)
    owner, wake_at = (None, None) if state.ended else (None, decision.wake) if at_rest else (worker, None)
    return Head(status, owner, wake_at, stuck, why_back(state) or None, plan, *said, fingerprint, step)


def head_of(row: SagaRow, owner: int) -> Head:
    """The head of a saga that a worker has just become the owner of."""
    return Head(row.status, owner, None, row.stuck, row.reason, None, row.assigned, row.note, row.fingerprint, row.step)


def mark(saga: str, state: State) -> tuple[str | None, str | None]:
    """The fingerprint of what went wrong, and the step; None and None where nothing did."""
    wrong = what_went_wrong(state)
    if wrong is None:
        return None, None
    return fingerprint_of(saga, *wrong), step_of(wrong[0])
