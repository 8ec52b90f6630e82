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
from amends.decide.wire import Word

POISON_KILLS = 3
LATE_MAX = 100  # late replies that a saga's history keeps, beside the first result of each step
_BETWEEN = frozenset({Action.WAITING, Undo.WAITING})
_KNOWN = frozenset({Action.SUCCEEDED, Action.REJECTED, Undo.COMPENSATED, Undo.VOID})
_OPEN_TO_KNOWLEDGE = frozenset({Action.UNKNOWN, Action.STUCK})  # as in `evolve.py`
_BARRED = {
    Word.EXPIRED: "the command came too late for the service to know whether it did it before",
    Word.FENCED: "the service has undone this, or was told never to do it",
    Word.EARLIER_OPEN: "an earlier round of this still has its effect",
    Word.MISSING: "the service knows of no effect where there should be one",
}
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
    else:
        reject(draft, address, message.reason)


def reject(draft: Draft, address: str, reason: str) -> None:
    """A definite no: back, or a person, past the point of no return."""
    collected = _collected(draft, address)
    if draft.plan.step(address).place is Place.AFTER and not collected:
        draft.emit(e.Stuck(address, ACTION, reason, resolved=True, rejected=True))
        return
    draft.emit(e.Rejected(address, reason))
    if not collected:
        turn_back(draft, Cause.REJECTED, address, reason)


def take_failure(draft: Draft, message: m.Failure, *, lost: bool = False) -> None:
    """The attempt ended without an answer. `lost`: it went down with its worker."""
    address, phase = message.address, message.phase
    attempts = draft.state.step(address).track(phase).attempts
    if message.attempt and (message.attempt != attempts or not _in_flight(draft, address, phase)):
        return  # one that was given up already; another is to say more
    if not _in_flight(draft, address, phase):
        _late(draft, address, phase, message.reason)
        return
    node = draft.plan.step(address)
    policy = node.retry if phase is ACTION else node.undo_retry
    if phase is ACTION and draft.state.status is Status.COMPENSATING:
        draft.emit(e.Unknown(address, message.reason, lost))
    elif message.park or (message.final and (phase is UNDO or node.place is Place.AFTER)):
        draft.emit(e.Stuck(address, phase, message.reason, resolved=message.resolved))
    elif not message.final and policy.allows(attempts):
        due = draft.now if lost else draft.now + _delay(message, policy, attempts)
        draft.emit(e.Failed(address, phase, message.reason, message.resolved, due, lost))
    elif phase is UNDO:
        draft.emit(e.Stuck(address, phase, message.reason, resolved=message.resolved, lost=lost))
    else:
        _unknown(draft, address, message.reason, Cause.UNKNOWN, lost=lost)


def take_barred(draft: Draft, message: m.Barred) -> None:
    """The barrier of a service let a command do nothing."""
    address, phase, word, reason = message
    said = f"{reason or _BARRED[word]} ({word})"
    if not _open(draft, address, phase):
        _late(draft, address, phase, said)
    elif word is Word.EXPIRED:
        first = draft.state.step(address).track(phase).attempts <= 1
        after = 0.0 if first else None  # a service whose clock is wrong says it every time
        take_failure(draft, m.Failure(address, phase, said, resolved=True, after=after))
    elif word is Word.FENCED:
        _unknown(draft, address, said, Cause.UNKNOWN)
    else:
        draft.emit(e.Stuck(address, phase, said, resolved=phase is ACTION))


def take_postpone(draft: Draft) -> None:
    """The broker is away: that is no outcome of the commands that could not go out."""
    for address, phase, node in _unanswered(draft):
        timeout = node.timeout if phase is ACTION else node.undo_timeout
        draft.emit(e.Postponed(address, phase, draft.now + timeout))


def expire_replies(draft: Draft) -> None:
    """No reply came in time: nobody knows how the attempt ended."""
    for address, phase, node in _unanswered(draft):
        timeout = node.timeout if phase is ACTION else node.undo_timeout
        take_failure(draft, m.Failure(address, phase, f"no reply came within {timeout:g} s"))


def remind_of_replies(draft: Draft) -> None:
    """The saga wakes when the next reply is overdue."""
    for address, phase in in_flight(draft.state):
        due = draft.state.step(address).track(phase).due
        if due is not None:
            draft.remind_at(due)


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
    lost = [(address, phase) for address, phase in in_flight(state) if not draft.plan.step(address).remote]
    if message.moves_to:
        draft.emit(e.Moved(message.moves_to))
    take_postpone(draft)  # those go out again now, and a reply may have come while nobody was there to take it
    if not lost:
        return
    careful, begun = state.careful, state.begun
    gone = [*state.adopted, (message.worker, begun is not None)]
    died = [alone for worker, alone in gone if worker not in message.survived]
    kills = sum(died)
    draft.emit(e.Adopted(message.worker, len(died), kills))
    if begun is not None and kills >= POISON_KILLS:
        reason = f"it took its worker down {kills} times, running alone"
        draft.emit(e.Stuck(begun[0], begun[1], reason, lost=True))
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
        elif step.action.status is _RUNNING and step.action.attempts > 1 and draft.plan.step(address).remote:
            draft.emit(e.Stuck(address, ACTION, message.reason))  # sent again at once, each time; its answer is kept


def _unknown(draft: Draft, address: str, reason: str, cause: Cause, *, lost: bool = False) -> None:
    """Nobody knows whether the action worked: go back, unless this is the pivot, or lies
    behind it; there a person decides."""
    place = draft.plan.step(address).place
    if place is Place.AFTER:
        draft.emit(e.Stuck(address, ACTION, reason, lost=lost))
        return
    draft.emit(e.Unknown(address, reason, lost))
    if place is Place.BEFORE:
        turn_back(draft, cause, address, reason)


def _collected(draft: Draft, address: str) -> bool:
    """Whether the step is an item whose rejection goes into the list."""
    group = draft.plan.by_address.get(group_of(address)) if address.endswith("]") else None
    return isinstance(group, EachNode) and group.collect


def _harmless(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether nothing can stay of an attempt, however it ends."""
    return phase is ACTION and draft.plan.step(address).readonly


def _in_flight(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether an attempt of this half of the step is in flight."""
    step = draft.state.step(address)
    if phase is ACTION:
        return step.action.status is _RUNNING
    return step.undo is not None and step.undo.status is _UNDO_RUNNING


def _open(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether an outcome of this half of the step is awaited: of an attempt in flight; of what a service does,
    also where the next attempt is still to come, since a reply speaks for all of a round."""
    if _in_flight(draft, address, phase):
        return True
    status = draft.state.step(address).track(phase).status
    return status in _BETWEEN and draft.plan.step(address).remote


def _unanswered(draft: Draft) -> list[tuple[str, Phase, StepNode]]:
    """The commands whose reply is overdue."""
    found = [(address, phase, draft.plan.step(address)) for address, phase in in_flight(draft.state)]
    return [each for each in found if each[2].remote and _is_due(draft, each[0], each[1])]


def _is_due(draft: Draft, address: str, phase: Phase) -> bool:
    due = draft.state.step(address).track(phase).due
    return due is not None and due <= draft.now


def _delay(message: m.Failure, policy: Policy, attempts: int) -> float:
    return policy.delay(attempts, message.share) if message.after is None else message.after


def _late(draft: Draft, address: str, phase: Phase, outcome: str, result: bytes | None = None) -> None:
    given = result if phase is ACTION else None
    if not draft.plan.step(address).remote or _is_news(draft, address, phase, given):
        draft.emit(e.Late(address, phase, outcome, given))


def _is_news(draft: Draft, address: str, phase: Phase, result: bytes | None) -> bool:
    """Whether a late reply may say something new. Messages come twice, and old ones may be sent again without end."""
    step = draft.state.step(address)
    if step.track(phase).status in _KNOWN:
        return False
    if result is not None and step.result is None and step.action.status in _OPEN_TO_KNOWLEDGE:
        return True
    return (result is None or result != step.result) and draft.state.late < LATE_MAX
