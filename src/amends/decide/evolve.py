"""How an event changes a state.

Guarantees: `evolve` gives a new state and leaves the old one alone; a transition that the
tables do not have raises `ImpossibleTransition`, in production too.
Must not: decide. An event has happened; it is only written down here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from amends.decide import events as e
from amends.decide.events import ACTION, UNDO, Event, Phase
from amends.decide.lanes import count_item, count_undo
from amends.decide.plan import group_of, index_of
from amends.decide.state import (
    ACTION_TABLE,
    NEW,
    PENDING,
    SAGA_TABLE,
    UNDO_PENDING,
    UNDO_TABLE,
    Action,
    Group,
    State,
    Status,
    StepState,
    Track,
    Turn,
    Undo,
    begin,
    in_flight,
)
from amends.errors import ImpossibleTransition

OnStep = (
    e.Issued
    | e.Sent
    | e.Succeeded
    | e.Undone
    | e.Voided
    | e.Rejected
    | e.Failed
    | e.Unknown
    | e.Stuck
    | e.Waiting
    | e.Chosen
    | e.Listed
    | e.Abandoned
    | e.Retried
    | e.Closed
)
_OPEN_TO_KNOWLEDGE = frozenset({Action.UNKNOWN, Action.STUCK})
# An enum's member is looked up in 200 ns on Python 3.11, a module's name in 20; this is the hottest path.
_RUNNING, _UNDO_RUNNING = Action.RUNNING, Undo.RUNNING
_new = tuple.__new__  # the constructor of a named tuple is Python code and takes 300 ns; what it calls takes 130


def evolve(state: State | None, event: Event) -> State:
    """The state after one more event. `None` is the state before `Started`.

    Raises ImpossibleTransition for an event that the tables do not allow here.
    """
    if state is None:
        if not isinstance(event, e.Started):
            raise ImpossibleTransition(f"a history begins with Started, not with {event!r}: this is a bug in amends")
        return begin(event)
    after = state.copy()
    apply(after, event)
    return after


def replay(history: Iterable[Event]) -> State:
    """The state that a whole history gives. Raises ImpossibleTransition, for one without events too."""
    events = iter(history)
    first = next(events, None)
    if first is None:
        raise ImpossibleTransition("a history without events tells of no saga")
    state = evolve(None, first)
    for event in events:
        apply(state, event)
    return state


def apply(state: State, event: Event) -> None:
    """Change a state that nobody else holds by one event."""
    state.length += 1
    if isinstance(event, e.Issued):
        _issue(state, event)
    elif isinstance(event, e.Succeeded):
        _succeed(state, event)
    elif type(event) in SAGA_TABLE:
        _turn(state, event)
    else:
        _apply_other(state, event)


def _issue(state: State, event: e.Issued) -> None:
    address, phase = event
    old = state.steps.get(address, NEW)
    if phase is ACTION:
        track = old.action
        now = _next(ACTION_TABLE, event, track.status)
        _put_action(state, address, old, _plain(now, track.attempts + 1, track.doubt), old.result)
    else:
        _set_undo(state, event, (old.undo or UNDO_PENDING).attempts + 1)


def _send(state: State, event: e.Sent) -> None:
    """A command goes out: its reply is due."""
    address, phase, until = event
    if phase is ACTION:
        old = state.step(address).action
        _set_action(state, event, Track(old.status, old.attempts + 1, old.doubt, until))
    else:
        _set_undo(state, event, _undo(state, address).attempts + 1, until)


def _postpone(state: State, event: e.Postponed) -> None:
    """The command in flight is as it was, and its reply due later."""
    address, phase, until = event
    step = state.step(address)
    if (address, phase) not in in_flight(state):
        raise ImpossibleTransition(f"{event!r:.200} of what is not in flight: this is a bug in amends")
    if phase is ACTION:
        state.steps[address] = step._replace(action=step.action._replace(due=until))
    else:
        state.steps[address] = step._replace(undo=_undo(state, address)._replace(due=until))
    state.length -= 1  # a saga is not too long for a broker that is away


def _build(state: State, address: str, command: bytes) -> None:
    """A command is there. An item with one waits for its place, however far those behind it have come by then."""
    step = state.step(address)
    state.steps[address] = step._replace(command=command)
    if address[-1] == "]":
        count_item(state, group_of(address), index_of(address), step.action.status)


def _succeed(state: State, event: e.Succeeded) -> None:
    address, result = event
    old = state.steps.get(address, NEW)
    track = old.action
    now = _next(ACTION_TABLE, event, track.status)
    _put_action(state, address, old, _plain(now, track.attempts, track.doubt), result)
    if state.adopted:
        _forgive(state)


def _plain(status: Action, attempts: int, doubt: bool) -> Track[Action]:
    """A track of which there is no more to say."""
    return _new(Track, (status, attempts, doubt, None, "", False, 0))


def _apply_other(state: State, event: Event) -> None:
    match event:
        case e.Undone(address) | e.Voided(address):
            _set_undo(state, event, _undo(state, address).attempts)
            _progress(state)
        case e.Sent():
            _send(state, event)
        case e.Postponed():
            _postpone(state, event)
        case e.Built(address, command):
            _build(state, address, command)
        case e.Rejected() | e.Failed() | e.Unknown() | e.Stuck():
            _apply_trouble(state, event)
        case e.Waiting(address, until):
            _set_action(state, event, Track(Action.PENDING, due=until))
        case e.Chosen(address, taken):
            _set_action(state, event, PENDING)
            state.chosen = {**state.chosen, address: taken}
        case e.Listed(address, items):
            _set_action(state, event, PENDING)
            state.groups = {**state.groups, address: Group(items)}
        case e.PivotPassed():
            _check_side(state, event)
            state.passed, state.cancels = True, ()
        case _:
            _apply_rare(state, event)


def _apply_trouble(state: State, event: e.Rejected | e.Failed | e.Unknown | e.Stuck) -> None:
    match event:
        case e.Rejected(address, reason):
            old = state.step(address).action
            _set_action(state, event, Track(old.status, old.attempts, old.doubt, None, reason))
            _progress(state)
        case e.Unknown(address, reason):
            old = state.step(address).action
            _set_action(state, event, Track(old.status, old.attempts, True, None, reason))
        case e.Failed(address, phase, reason, resolved, due, lost):
            if phase is ACTION:
                old = state.step(address).action
                _set_action(state, event, Track(old.status, old.attempts, old.doubt or not resolved, due, reason))
            else:
                _set_undo(state, event, _undo(state, address).attempts, due, reason)
            if not lost:
                _progress(state)
        case _:
            _stick(state, event)


def _stick(state: State, event: e.Stuck) -> None:
    address, phase, reason, resolved, rejected, overdue, _ = event
    if phase is ACTION:
        old = state.step(address).action
        doubt = old.doubt or not resolved
        _set_action(state, event, Track(old.status, old.attempts, doubt, None, reason, rejected, overdue))
    else:
        _set_undo(state, event, _undo(state, address).attempts, None, reason, overdue)


def _apply_rare(state: State, event: Event) -> None:
    match event:
        case e.Skipped(addresses):
            for address in addresses:
                status = _next(ACTION_TABLE, event, state.step(address).action.status)
                state.steps[address] = StepState(Track(status))
        case e.Abandoned(address):
            _set_action(state, event, state.step(address).action._replace(due=None))
        case e.Kept(address, value):
            state.kept = {**state.kept, address: value}
        case e.CancelNoted():
            state.cancels = (*state.cancels, event)
        case e.Begun(address, phase):
            state.begun = (address, phase)
        case e.Adopted(worker, deaths, kills):
            state.adopted = (*state.adopted, (worker, state.begun is not None))
            state.deaths, state.kills, state.begun = deaths, kills, None
        case e.Moved(fingerprint):
            state.fingerprint = fingerprint
        case e.Retried() | e.Closed() | e.Late() | e.Operated() | e.Refused():
            _apply_word(state, event)
        case e.Given(address, arguments):
            state.given = {**state.given, address: arguments}
        case e.Assigned(person):
            state.assigned = person
        case e.Noted(text):
            state.note = text
        case _:
            raise ImpossibleTransition(f"a history has one start, and this is another: {event!r:.200}")


def _apply_word(state: State, event: e.Retried | e.Closed | e.Late | e.Operated | e.Refused) -> None:
    match event:
        case e.Retried():
            _retry(state, event)
        case e.Closed(address, phase, reason, result):
            doubt, old = _given_up(state, event), state.step(address)
            if phase is ACTION:
                _set_action(state, event, Track(old.action.status, old.action.attempts, doubt, reason=reason), result)
            else:
                _set_undo(state, event, _undo(state, address).attempts, None, reason)
            state.steps[address] = state.steps[address]._replace(closed=old.round)
        case e.Late(address, phase, _, result):
            _learn(state, address, phase, result)
        case e.Operated():
            state.length = 0
            _forgive(state)
        case _:
            pass  # a refusal changes nothing


def _given_up(state: State, event: e.Retried | e.Closed) -> bool:
    """Whether something may still come of what was tried: a person gives up a command, never a function that runs."""
    track = state.step(event.address).track(event.phase)
    runs = track.status in (_RUNNING, _UNDO_RUNNING)
    if runs and track.due is None:
        raise ImpossibleTransition(f"{event!r:.200} of what runs in a worker: this is a bug in amends")
    return runs or track.doubt


def _turn(state: State, event: Event) -> None:
    if isinstance(event, e.TurnedBack):
        _check_side(state, event)
        state.turned = Turn(*event)
    state.status = _next(SAGA_TABLE, event, state.status)
    state.parked = event.reason if isinstance(event, e.Parked) else ""
    state.cancels = ()


def _check_side(state: State, event: e.PivotPassed | e.TurnedBack) -> None:
    """The pivot holds: a saga that has passed it never turns back, and one that has turned back
    never passes it."""
    if state.passed or state.turned is not None:
        raise ImpossibleTransition(f"{event!r:.200} on the wrong side of the pivot: this is a bug in amends")


def _retry(state: State, event: e.Retried) -> None:
    """The attempts begin anew. A new round keeps nothing of the old one, the answer that a wait
    had no less."""
    address, phase, round_, closed = event
    doubt = _given_up(state, event)
    if phase is UNDO:
        _set_undo(state, event, 0)
        return
    step = state.step(address)
    same = round_ == step.round
    _set_action(state, event, Track(step.action.status, doubt=doubt and same))
    if not same:
        last = step.round if closed else step.closed
        state.steps[address] = state.steps[address]._replace(round=round_, result=None, closed=last)
        state.kept = {name: value for name, value in state.kept.items() if name != address}


def _learn(state: State, address: str, phase: Phase, result: bytes | None) -> None:
    """A late answer: what a compensation may want to know, and that nothing runs any more. A
    result that others may have read, or that a person gave or withheld, stays as it is."""
    state.late += 1
    step = state.step(address)
    if phase is ACTION:
        open_ = step.action.status in _OPEN_TO_KNOWLEDGE and step.result is None
        known = result if open_ else step.result
        state.steps[address] = step._replace(action=step.action._replace(overdue=0), result=known)
    elif step.undo is not None:
        state.steps[address] = step._replace(undo=step.undo._replace(overdue=0))


def _progress(state: State) -> None:
    if state.adopted:
        _forgive(state)


def _forgive(state: State) -> None:
    state.adopted, state.deaths, state.kills, state.begun = (), 0, 0, None


def _undo(state: State, address: str) -> Track[Undo]:
    return state.step(address).undo or UNDO_PENDING


def _set_action(state: State, event: OnStep, track: Track[Action], result: bytes | None = None) -> None:
    """Move an action by its table; `track` is all else as it will be."""
    address = event.address
    old = state.steps.get(address, NEW)
    now = _next(ACTION_TABLE, event, old.action.status)
    _put_action(state, address, old, Track(now, *track[1:]), old.result if result is None else result)


def _put_action(state: State, address: str, old: StepState, track: Track[Action], result: bytes | None) -> None:
    """Write an action's new track down, and keep the counts that follow from it."""
    state.steps[address] = _new(StepState, (track, old.undo, old.round, result, old.command, old.closed))
    if track.status is _RUNNING:
        state.running += 1
    elif old.action.status is _RUNNING:
        state.running -= 1
        if state.begun == (address, ACTION):
            state.begun = None
    if address[-1] == "]":
        count_item(state, group_of(address), index_of(address), track.status)


def _set_undo(
    state: State, event: OnStep, attempts: int, due: float | None = None, reason: str = "", overdue: int = 0
) -> None:
    """Move an undo by its table; the rest is as it will be."""
    address = event.address
    old = state.steps.get(address, NEW)
    was = (old.undo or UNDO_PENDING).status
    now = _next(UNDO_TABLE, event, was)
    undo = _new(Track, (now, attempts, False, due, reason, False, overdue))
    state.steps[address] = _new(StepState, (old.action, undo, old.round, old.result, old.command, old.closed))
    if was is _UNDO_RUNNING and state.begun == (address, UNDO):
        state.begun = None
    if address[-1] == "]":
        count_undo(state, group_of(address), index_of(address), now)


_S = TypeVar("_S", Status, Action, Undo)


def _next(table: Mapping[type[Event], Mapping[_S, _S]], event: Event, status: _S) -> _S:
    try:
        return table[type(event)][status]
    except KeyError:
        raise ImpossibleTransition(
            f"{type(event).__name__} cannot happen to what is {status}: {event!r:.200}. "
            "This is a bug in amends: please report it with the saga's history"
        ) from None
