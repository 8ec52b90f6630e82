"""Outcomes: what an attempt's end means for its step and for the saga.

Guarantees: an action ends succeeded, rejected or unknown, or waits for a person; a rejection
after an unresolved attempt is unknown unless a barrier vouches for it; a late answer is
recorded and moves nothing.
Must not: start anything; the walks do.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Draft
from amends.decide.events import ACTION, UNDO, Cause, Phase
from amends.decide.forward import turn_back
from amends.decide.plan import EachNode, Place, StepNode, group_of
from amends.decide.policy import Policy
from amends.decide.state import Action, Status, Undo, in_flight

POISON_KILLS = 3
# An enum's member is looked up in 200 ns on Python 3.11, a module's name in 20; this is the hottest path.
_RUNNING, _UNDO_RUNNING = Action.RUNNING, Undo.RUNNING
_new = tuple.__new__  # as in `evolve.py`


def take_done(draft: Draft, message: m.Done) -> None:
    """The attempt returned."""
    address, phase, result, void = message
    if not _open(draft, address, phase):
        _late(draft, address, phase, "succeeded", result)
    elif phase is UNDO:
        draft.emit(e.Voided(address) if void else e.Undone(address))
    else:
        draft.emit(_new(e.Succeeded, (address, result)))
        pivot = draft.plan.pivot
        if pivot is not None and pivot.address == address:
            draft.pass_pivot(address)


def take_no(draft: Draft, message: m.No) -> None:
    """The attempt said `Reject`."""
    address = message.address
    if not _open(draft, address, message.phase):
        _late(draft, address, message.phase, f"rejected: {message.reason}")
    elif message.phase is UNDO:
        draft.emit(e.Stuck(address, UNDO, message.reason))
    elif draft.state.step(address).action.doubt and not message.sure:
        _unknown(draft, address, f"{message.reason} (but an earlier attempt may have worked)", Cause.REJECTED)
    elif draft.plan.step(address).place is Place.AFTER and not _collected(draft, address):
        draft.emit(e.Stuck(address, ACTION, message.reason, resolved=True, rejected=True))
    else:
        draft.emit(e.Rejected(address, message.reason))
        if not _collected(draft, address):
            turn_back(draft, Cause.REJECTED, address, message.reason)


def take_failure(draft: Draft, message: m.Failure, *, lost: bool = False) -> None:
    """The attempt ended without an answer. `lost`: it went down with its worker."""
    address, phase = message.address, message.phase
    if not _open(draft, address, phase):
        _late(draft, address, phase, message.reason)
        return
    node = draft.plan.step(address)
    attempts = draft.state.step(address).track(phase).attempts
    policy = node.retry if phase is ACTION else node.undo_retry
    if phase is ACTION and draft.state.status is Status.COMPENSATING:
        draft.emit(e.Unknown(address, message.reason))
    elif message.park or (message.final and (phase is UNDO or node.place is Place.AFTER)):
        draft.emit(e.Stuck(address, phase, message.reason, resolved=message.resolved))
    elif not message.final and policy.allows(attempts):
        due = draft.now if lost else draft.now + _delay(message, policy, attempts)
        draft.emit(e.Failed(address, phase, message.reason, message.resolved, due, lost))
    elif phase is UNDO:
        draft.emit(e.Stuck(address, phase, message.reason, resolved=message.resolved))
    else:
        _unknown(draft, address, message.reason, Cause.UNKNOWN)


def take_overdue(draft: Draft, message: m.Overdue) -> None:
    """The attempt does not stop when asked: a person must know."""
    address, phase = message.address, message.phase
    if _open(draft, address, phase):
        harmless = _harmless(draft, address, phase)
        draft.emit(e.Stuck(address, phase, "still running", resolved=harmless, overdue=message.worker))


def take_begin(draft: Draft, message: m.Begin) -> None:
    """Careful running: this attempt is next."""
    if _open(draft, message.address, message.phase):
        draft.emit(e.Begun(message.address, message.phase))


def take_adopt(draft: Draft, message: m.Adopt) -> None:
    """The worker that ran the saga is gone. What it had in flight is unresolved.

    A saga that already runs carefully had one attempt in flight at most, the one it had
    recorded as begun. When that attempt has taken its worker with it too often, a person
    must look.
    """
    state = draft.state
    lost = in_flight(state)
    if not lost:
        return
    careful, begun = state.careful, state.begun
    gone = [*state.adopted, (message.worker, begun is not None)]
    died = [alone for worker, alone in gone if worker not in message.survived]
    kills = sum(died)
    draft.emit(e.Adopted(message.worker, len(died), kills))
    if begun is not None and kills >= POISON_KILLS:
        reason = f"it took its worker down {kills} times, running alone"
        draft.emit(e.Stuck(begun[0], begun[1], reason))
        return
    if careful:
        lost = [] if begun is None else [begun]
    for address, phase in lost:
        harmless = _harmless(draft, address, phase)
        take_failure(draft, m.Failure(address, phase, "its worker died", harmless), lost=True)


def take_halt(draft: Draft, message: m.Halt) -> None:
    """Nothing waits for another attempt any more."""
    for address, step in list(draft.state.steps.items()):
        if step.undo is not None and step.undo.status is Undo.WAITING:
            draft.emit(e.Stuck(address, UNDO, message.reason))
        elif step.action.status is Action.WAITING and isinstance(draft.plan.node(address), StepNode):
            draft.emit(e.Stuck(address, ACTION, message.reason, resolved=not step.action.doubt))


def _unknown(draft: Draft, address: str, reason: str, cause: Cause) -> None:
    """Nobody knows whether the action worked: go back, unless this is the pivot, or lies
    behind it; there a person decides."""
    place = draft.plan.step(address).place
    if place is Place.AFTER:
        draft.emit(e.Stuck(address, ACTION, reason))
        return
    draft.emit(e.Unknown(address, reason))
    if place is Place.BEFORE:
        turn_back(draft, cause, address, reason)


def _collected(draft: Draft, address: str) -> bool:
    """Whether the step is an item whose rejection goes into the list."""
    group = draft.plan.by_address.get(group_of(address)) if address.endswith("]") else None
    return isinstance(group, EachNode) and group.collect


def _harmless(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether nothing can stay of an attempt, however it ends."""
    return phase is ACTION and draft.plan.step(address).readonly


def _open(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether an outcome of this half of the step is awaited."""
    step = draft.state.step(address)
    if phase is ACTION:
        return step.action.status is _RUNNING
    return step.undo is not None and step.undo.status is _UNDO_RUNNING


def _delay(message: m.Failure, policy: Policy, attempts: int) -> float:
    return policy.delay(attempts, message.share) if message.after is None else message.after


def _late(draft: Draft, address: str, phase: Phase, outcome: str, result: bytes | None = None) -> None:
    draft.emit(e.Late(address, phase, outcome, result if phase is ACTION else None))
