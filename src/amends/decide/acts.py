"""What people and other programs ask of a saga: signals, cancels, an operator's acts.

Guarantees: each is answered, `accepted`, `refused` or `too late`; the answer is what
happened; whatever a person does is in the history with who and why.
Must not: start or undo anything; the walks do, from what is recorded here.
"""

from __future__ import annotations

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Draft, Word
from amends.decide.events import Cause, Phase
from amends.decide.forward import take_signal, turn_back
from amends.decide.outcome import reject
from amends.decide.plan import (
    EachNode,
    Node,
    Place,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    addresses,
    stem_of,
    walk,
)
from amends.decide.state import Action, Status, StepState, Undo

_OPEN_PIVOT = frozenset({Action.RUNNING, Action.WAITING, Action.UNKNOWN, Action.STUCK})
_RETRIABLE_ACTION = frozenset({Action.STUCK, Action.UNKNOWN, Action.WAITING})
_RETRIABLE_UNDO = frozenset({Undo.STUCK, Undo.WAITING})
_ASKED_ACTION = _RETRIABLE_ACTION | {Action.RUNNING}
_ASKED_UNDO = _RETRIABLE_UNDO | {Undo.RUNNING}


def take_signal_mail(draft: Draft, message: m.Signal) -> None:
    """A value for a wait: taken, kept for later, or refused."""
    node = draft.plan.node(message.address)
    state = draft.state
    track = state.step(message.address).action
    if not isinstance(node, WaitNode):
        known = ", ".join(wait.address for wait in draft.plan.waits) or "none"
        draft.refuse("signal", message.mail, f"the saga waits for no signal {message.address!r}; it knows: {known}")
    elif state.turned is not None:
        draft.refuse("signal", message.mail, "the saga is going back", Word.TOO_LATE)
    elif message.address in state.kept or track.status in (Action.SUCCEEDED, Action.CLOSED):
        draft.refuse("signal", message.mail, f"{message.address!r} has its value already")
    elif track.status not in (Action.PENDING, Action.WAITING):
        draft.refuse("signal", message.mail, f"{message.address!r} is {track.status}", Word.TOO_LATE)
    elif message.flaw:
        draft.refuse("signal", message.mail, message.flaw)
    else:
        if node.filtered or track.status is Action.PENDING:
            draft.emit(e.Kept(message.address, message.value))
        if track.status is Action.WAITING:
            take_signal(draft, node, message.value)
        draft.accept(message.mail)


def take_cancel(draft: Draft, message: m.Cancel) -> None:
    """Go back, if the point of no return is not behind; wait while that is being decided."""
    state = draft.state
    if state.passed:
        draft.refuse("cancel", message.mail, "the saga has passed its pivot", Word.TOO_LATE)
    elif state.turned is not None:
        draft.accept(message.mail, "the saga was going back already")
    elif state.status is Status.PARKED and pivot_in_doubt(draft):
        draft.refuse("cancel", message.mail, "it is not known whether the pivot happened; resolve it, or compensate")
    else:
        draft.emit(e.Operated("cancel", "", message.actor, message.reason))
        if state.status is not Status.PARKED and pivot_in_doubt(draft):
            draft.emit(e.CancelNoted(message.mail, message.reason))
        else:
            turn_back(draft, Cause.CANCELLED, "", message.reason)
            draft.accept(message.mail)


def pivot_in_doubt(draft: Draft) -> bool:
    """Whether the pivot step was ever tried and has not said yes or no. A retry that is still
    to come counts: a copy of the command before it may be on its way."""
    if draft.plan.pivot is None:
        return False
    track = draft.state.step(draft.plan.pivot.address).action
    return track.status in _OPEN_PIVOT or (track.doubt and track.status is Action.PENDING)


def take_operate(draft: Draft, message: m.Operate) -> None:
    """An operator's act: done and recorded, or refused with the reason."""
    act = _ACTS.get(message.verb)
    why = message.flaw or (f"there is no act {message.verb!r}" if act is None else act(draft, message))
    if why:
        draft.refuse(message.verb, message.mail, why)
    else:
        draft.accept(message.mail)


def _retry(draft: Draft, message: m.Operate) -> str:
    phase, why = _movable(draft, message.address)
    if phase is None:
        return why
    if phase is Phase.ACTION and _past_deadline(draft) and not pivot_in_doubt(draft):
        return "its deadline has passed, so it can only go back: compensate, or resolve the step by hand"
    if _still_running(draft, message.address, phase, message.live):
        return "its function is still running; it can be retried once that has returned"
    if not _retriable(draft, message.address, phase):
        return f"there is nothing to try again at {message.address} now"
    if message.arguments is None:
        _record(draft, message)
        _try_again(draft, message.address, phase)
    elif why := _unfit_for_change(draft, message, phase):
        return why
    else:
        _record(draft, message)
        _try_otherwise(draft, message, message.arguments)
    _resume(draft)
    return ""


def _unfit_for_change(draft: Draft, message: m.Operate, phase: Phase) -> str:
    """Why a step cannot be tried with other arguments: that is a new round, under new keys, so nothing may have stayed
    of the last one; a person may know that it has not."""
    address, node = message.address, draft.plan.node(message.address)
    if phase is Phase.UNDO or draft.state.turned is not None:
        return f"the saga goes back: {address} is not done again, and its undo takes what it had; retry it as it is"
    if not isinstance(node, StepNode):
        return f"{address} is no step, so it takes no arguments"
    step = draft.state.step(address)
    if node.remote and step.command is None:
        return f"the request of {address} has built no command yet, so there is none to change: retry it as it is"
    if step.action.status is Action.RUNNING:
        return f"a command of {address} is on its way; wait for its reply, or until it is given up"
    if _may_have_stayed(step) and not message.settled:
        return (
            f"an earlier attempt of {address} may have had its effect, and other arguments get a key of their own, so "
            "both could happen. Find out; where it did not, say that nothing stayed; where it did, resolve the step"
        )
    return ""


def _may_have_stayed(step: StepState) -> bool:
    """Whether the round of a step is open: a definite no closed it, and so does what is known to have had no effect."""
    return step.action.doubt and not step.action.rejected


def _try_otherwise(draft: Draft, message: m.Operate, arguments: bytes) -> None:
    """A new round with what a person changed: the step is what it was, what it is asked is not."""
    address = message.address
    step = draft.state.step(address)
    closed = message.settled and _may_have_stayed(step)
    draft.emit(e.Retried(address, Phase.ACTION, step.round + 1, closed))
    remote = draft.plan.step(address).remote
    draft.emit(e.Built(address, arguments) if remote else e.Given(address, arguments))


def _skip(draft: Draft, message: m.Operate) -> str:
    reader = _reader(draft, message.address)
    if reader and _movable(draft, message.address)[0] is Phase.ACTION:
        return f"{reader} needs its result: resolve it with a result instead"
    return _close(draft, message, None)


def _resolve(draft: Draft, message: m.Operate) -> str:
    phase, _ = _movable(draft, message.address)
    reader = _reader(draft, message.address)
    if phase is Phase.ACTION and message.result is None and reader:
        return f"{reader} needs its result: give one"
    return _close(draft, message, message.result if phase is Phase.ACTION else None)


def _close(draft: Draft, message: m.Operate, result: bytes | None) -> str:
    phase, why = _movable(draft, message.address)
    if phase is None:
        return why
    node = draft.plan.node(message.address)
    if not isinstance(node, (StepNode, WaitNode)):
        return "only a step or a wait can be settled by hand; `unpark` asks the saga's own function again"
    _record(draft, message)
    draft.emit(e.Closed(message.address, phase, message.reason, result))
    if phase is Phase.ACTION and isinstance(node, StepNode) and node.place is Place.PIVOT:
        draft.pass_pivot(message.address)
    _resume(draft)
    return ""


def _compensate(draft: Draft, message: m.Operate) -> str:
    state, pivot = draft.state, draft.plan.pivot
    if state.passed:
        return "the saga has passed its pivot and can only go forward: retry, skip or resolve what is stuck"
    if state.turned is not None:
        return "the saga is going back already: retry, skip or resolve what is stuck"
    if pivot is not None and pivot_in_doubt(draft):
        if state.status is not Status.PARKED:
            return "the pivot is being tried; wait for its outcome, or for the saga to park"
        if _still_running(draft, pivot.address, Phase.ACTION, message.live):
            return "the function of the pivot is still running; wait until that has returned"
        _record(draft, message)
        draft.emit(e.Closed(pivot.address, Phase.ACTION, message.reason))
    else:
        _record(draft, message)
    turn_back(draft, Cause.OPERATOR, "", message.reason)
    return ""


def _unpark(draft: Draft, message: m.Operate) -> str:
    if draft.state.status is not Status.PARKED:
        return f"the saga is {draft.state.status}, not parked"
    stuck = [(address, phase) for address in draft.state.steps if (phase := _movable(draft, address)[0]) is not None]
    for address, phase in stuck:
        if _still_running(draft, address, phase, message.live):
            return f"the function of {address} is still running; unpark once that has returned"
    _record(draft, message)
    for address, phase in stuck:
        _try_again(draft, address, phase)
    _resume(draft)
    return ""


_ACTS = {"retry": _retry, "skip": _skip, "resolve": _resolve, "compensate": _compensate, "unpark": _unpark}


def _movable(draft: Draft, address: str) -> tuple[Phase | None, str]:
    """Which half of a step a person may act on now; None and the reason if neither."""
    state, node = draft.state, draft.plan.node(address)
    if node is None:
        known = ", ".join(sorted(draft.plan.by_address))
        return None, f"the saga has no step {address!r}; it has: {known}"
    step = state.step(address)
    asked = isinstance(node, StepNode) and node.remote  # no function runs here that would go on beside what they do
    actions, undos = (_ASKED_ACTION, _ASKED_UNDO) if asked else (_RETRIABLE_ACTION, _RETRIABLE_UNDO)
    if state.turned is not None:
        if step.undo is not None and step.undo.status in undos:
            return Phase.UNDO, ""
        if step.undo is None and step.action.status is Action.STUCK:
            return Phase.ACTION, ""
        status = str(step.action.status if step.undo is None else step.undo.status)
        return None, f"the saga is going back and the undo of {address} is {status}, so there is nothing to do here"
    if step.action.status in actions:
        return Phase.ACTION, ""
    if step.action.status is Action.RUNNING:
        return None, f"an attempt of {address} is in flight"
    return None, f"{address} is {step.action.status}, so there is nothing to do here"


def _try_again(draft: Draft, address: str, phase: Phase) -> None:
    """Attempts begin anew; a command that is on its way goes out once more. A definite no is not asked
    again under the same key: a service that keeps its answers would repeat it. In a saga that goes
    back no action is tried again; one whose function was still running is over, and may be undone."""
    step = draft.state.step(address)
    if phase is Phase.ACTION and draft.state.turned is not None:
        if step.action.overdue:
            draft.emit(e.Late(address, phase, "it is no longer running"))
        return
    fresh = phase is Phase.ACTION and step.action.rejected
    draft.emit(e.Retried(address, phase, step.round + 1 if fresh else step.round))


def _resume(draft: Draft) -> None:
    if draft.state.status is Status.PARKED:
        draft.emit(e.Resumed() if draft.state.turned is None else e.ResumedBack())


def _record(draft: Draft, message: m.Operate) -> None:
    draft.emit(e.Operated(message.verb, message.address, message.actor, message.reason))


def _reader(draft: Draft, address: str) -> str:
    """Who needs the result of a step: a later step, or the saga's output."""
    group = stem_of(address)
    for node in walk(draft.plan.root):
        if group in _read_by(node):
            return getattr(node, "address", "")
    return "the saga's output" if draft.plan.output == group else ""


def _read_by(node: Node) -> tuple[str, ...]:
    """Whose results a node takes, or is steered by."""
    match node:
        case StepNode():
            return node.reads
        case EachNode():
            return (*node.step.reads, node.over)
        case WhenNode():
            return (node.condition,)
        case SleepNode():
            return (node.until,)
        case _:
            return ()


def _past_deadline(draft: Draft) -> bool:
    state = draft.state
    before = not state.passed and state.turned is None
    return before and state.deadline is not None and state.deadline <= draft.now


def _retriable(draft: Draft, address: str, phase: Phase) -> bool:
    """Whether trying again means anything: a sleep or a wait that has begun keeps its instant, and
    in a saga that goes back an action is at most known to run no more."""
    track = draft.state.step(address).action
    if phase is Phase.UNDO:
        return True
    if draft.state.turned is not None:
        return track.overdue != 0
    return track.status is not Action.WAITING or isinstance(draft.plan.node(address), StepNode)


def _still_running(draft: Draft, address: str, phase: Phase, live: frozenset[int]) -> bool:
    return draft.state.step(address).track(phase).overdue in live


def answer(draft: Draft, message: m.Answers) -> None:
    """The shell's answers to the questions of the decision before. An answer that turns the saga
    back is the last that counts."""
    for given in message.answers:
        if draft.state.turned is not None:
            return
        if given.kind == "request":
            _send(draft, given)
        elif given.error is not None:
            draft.emit(e.Stuck(given.address, Phase.ACTION, given.error, resolved=True))
        elif given.kind == "condition":
            _choose(draft, given)
        elif given.kind == "over":
            draft.emit(e.Listed(given.address, given.items))
        elif given.kind == "until":
            draft.emit(e.Waiting(given.address, given.instant))
        else:
            _judge(draft, given)


def _send(draft: Draft, given: m.Answer) -> None:
    """A command was built, or a no was said before anything was sent."""
    address = given.address
    if given.error is None:
        draft.emit(e.Built(address, given.items[0]))
    elif given.flag:
        reject(draft, address, given.error)
    else:
        draft.emit(e.Stuck(address, Phase.ACTION, given.error, resolved=True))


def _choose(draft: Draft, given: m.Answer) -> None:
    node = draft.plan.by_address[given.address]
    draft.emit(e.Chosen(given.address, given.flag))
    branch = getattr(node, "otherwise" if given.flag else "then")
    if branch is not None:
        draft.emit(e.Skipped(tuple(addresses(branch))))


def _judge(draft: Draft, given: m.Answer) -> None:
    """A signal's value was looked at: a yes is the wait's result, a no is a rejection."""
    node = draft.plan.node(given.address)
    if given.flag:
        draft.emit(e.Succeeded(given.address, draft.state.kept[given.address]))
        return
    reason = "the signal said no"
    if isinstance(node, WaitNode) and node.place is Place.AFTER:
        draft.emit(e.Stuck(given.address, Phase.ACTION, reason, resolved=True, rejected=True))
    else:
        draft.emit(e.Rejected(given.address, reason))
        turn_back(draft, Cause.REJECTED, given.address, reason)
