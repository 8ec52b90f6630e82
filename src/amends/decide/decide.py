"""The heart: what follows from one message.

`decide(plan, state, message, now) -> Decision`. Given equal arguments it gives equal results.

Guarantees: the decision's state is the old state evolved by the decision's events; an ended
saga never changes; a saga that is neither ended nor parked has something that moves it.
Must not: do anything. The shell commits the events, then acts on them.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.acts import answer, pivot_in_doubt
from amends.decide.compensate import retreat
from amends.decide.draft import Decision, Draft, Reply, Word
from amends.decide.events import Cause
from amends.decide.forward import advance, expire_waits, turn_back
from amends.decide.mail import take_mail
from amends.decide.messages import Message
from amends.decide.outcome import (
    expire_replies,
    remind_of_replies,
    take_adopt,
    take_barred,
    take_begin,
    take_done,
    take_failure,
    take_halt,
    take_no,
    take_overdue,
    take_postpone,
)
from amends.decide.plan import Plan
from amends.decide.state import ENDED, Action, State, Status, Undo, begin
from amends.errors import ImpossibleTransition

# An enum's member is looked up in 200 ns on Python 3.11, a module's name in 20; this is the hottest path.
_RUNNING, _COMPENSATING = Status.RUNNING, Status.COMPENSATING


def decide(plan: Plan, state: State | None, message: Message, now: float) -> Decision:
    """What follows from a message.

    state: what the history gives so far, None for a new saga. now: an instant, in seconds.
    """
    if state is None:
        return _start(plan, message, now)
    draft = Draft(plan, state.copy(), now)
    if state.status in ENDED:
        _answer_ended(draft, message)
        return draft.decision()
    if isinstance(message, m.Done):
        take_done(draft, message)
    else:
        _take(draft, message)
    if not draft.questions:  # else the saga moves once it is known what the message means
        _move(draft)
    return draft.decision()


def _start(plan: Plan, message: Message, now: float) -> Decision:
    if not isinstance(message, m.Start):
        raise ImpossibleTransition(f"a saga begins with a start, not with {message!r}: this is a bug in amends")
    deadline = None if plan.deadline is None else now + plan.deadline
    started = e.Started(message.input, deadline, message.hops)
    draft = Draft(plan, begin(started), now)
    draft.events.append(started)
    if not message.hold:
        _move(draft)
    return draft.decision()


def _take(draft: Draft, message: Message) -> None:
    match message:
        case m.Tick():
            pass
        case m.No():
            take_no(draft, message)
        case m.Failure():
            take_failure(draft, message)
        case m.Answers():
            answer(draft, message)
        case m.Barred():
            take_barred(draft, message)
        case m.Postpone():
            take_postpone(draft)
        case m.Overdue():
            take_overdue(draft, message)
        case m.Begin():
            take_begin(draft, message)
        case m.Adopt():
            take_adopt(draft, message)
        case m.Signal() | m.Cancel() | m.Operate() | m.Assign() | m.Note():
            take_mail(draft, message)
        case m.Halt():
            take_halt(draft, message)
        case m.Move():
            draft.emit(e.Moved(message.fingerprint))
        case _:
            raise ImpossibleTransition("a saga starts once: this is a bug in amends")


def _move(draft: Draft) -> None:
    """Let the saga go as far as it goes by itself."""
    state = draft.state
    if draft.plan.waits and state.status is _RUNNING:
        expire_waits(draft)
    if draft.plan.remote:
        expire_replies(draft)
    if state.status is _RUNNING and not state.passed and (state.deadline is not None or state.cancels):
        _turn_if_asked(draft)
    if state.status is _RUNNING:
        if advance(draft, draft.plan.root):
            draft.emit(e.Completed())
        elif not draft.moving:
            draft.park(_stuck_reason(state))
    elif state.status is _COMPENSATING and not state.running:
        if retreat(draft, draft.plan.root):
            draft.emit(e.Compensated())
        elif not draft.moving:
            draft.park(_stuck_reason(state))
    if state.deadline is not None:
        _remind_of_deadline(draft)
    if draft.plan.remote:
        remind_of_replies(draft)


def _remind_of_deadline(draft: Draft) -> None:
    """The deadline wakes the saga once; from then on the pivot's outcome is waited for."""
    state = draft.state
    before_pivot = state.status is _RUNNING and not state.passed
    if before_pivot and state.deadline is not None and draft.now < state.deadline:
        draft.remind_at(state.deadline)


def _turn_if_asked(draft: Draft) -> None:
    """A deadline or a noted cancel takes effect before the pivot, unless it is being decided."""
    state = draft.state
    late = state.deadline is not None and draft.now >= state.deadline
    if not (late or state.cancels) or pivot_in_doubt(draft):
        return
    if state.cancels:
        turn_back(draft, Cause.CANCELLED, "", state.cancels[0].reason)
    else:
        turn_back(draft, Cause.DEADLINE, "", "its deadline passed")


def _stuck_reason(state: State) -> str:
    """Why nothing moves, in the words of the first step that is stuck: an undo, where the saga
    goes back and there is one."""
    for address, step in state.steps.items():
        if step.undo is not None and step.undo.status is Undo.STUCK:
            return f"the undo of {address}: {step.undo.reason}"
    for address, step in state.steps.items():
        if step.undo is None and step.action.status in (Action.STUCK, Action.UNKNOWN):
            return f"{address}: {step.action.reason}"
    raise ImpossibleTransition("a saga came to rest and nothing in it is stuck: this is a bug in amends")


def _answer_ended(draft: Draft, message: Message) -> None:
    """Nothing changes any more; whoever asked is told."""
    if isinstance(message, (m.Signal, m.Cancel, m.Operate, m.Assign, m.Note)):
        draft.replies.append(Reply(message.mail, Word.TOO_LATE, f"the saga is {draft.state.status}"))
