"""Forward: what may start now that everything before it is done.

Guarantees: steps start in plan order, branches of a `parallel` together, items of a
`for_each` in order and at most `limit` at a time; a walk that changes nothing emits nothing.
Must not: judge an outcome (`outcome.py`) or undo anything (`compensate.py`).
"""

from __future__ import annotations

from itertools import chain, islice

from amends.decide import events as e
from amends.decide.draft import Draft, Question
from amends.decide.events import ACTION, Cause
from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    PivotNode,
    Place,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    item_address,
)
from amends.decide.state import Action, Status

# An enum's member is looked up in 200 ns on Python 3.11, a module's name in 20; this is the hottest path.
_PENDING, _WAITING, _RUNNING = Action.PENDING, Action.WAITING, Action.RUNNING
_new = tuple.__new__  # as in `evolve.py`
_UNFINISHED = frozenset({Action.PENDING, Action.WAITING, Action.STUCK})
FINISHED = frozenset({Action.SUCCEEDED, Action.CLOSED, Action.SKIPPED})


def advance(draft: Draft, node: Node) -> bool:
    """Start what can start at or below a node; True once the node is done."""
    if isinstance(node, SequenceNode):
        for child in node.nodes:  # a frame less for each step that is done: this is the hottest path
            if not (_step(draft, child, child.address) if isinstance(child, StepNode) else advance(draft, child)):
                return False
        return True
    if isinstance(node, StepNode):
        return _step(draft, node, node.address)
    return _advance_other(draft, node)


def _advance_other(draft: Draft, node: PivotNode | ParallelNode | WhenNode | EachNode | SleepNode | WaitNode) -> bool:
    match node:
        case PivotNode():
            if not draft.state.passed:
                draft.pass_pivot(node.address)
            return True
        case ParallelNode():
            done = [advance(draft, branch) for branch in node.branches]  # every branch, not until the first
            return all(done)
        case WhenNode():
            return _when(draft, node)
        case EachNode():
            return _each(draft, node)
        case SleepNode():
            return _sleep(draft, node)
        case _:
            return _wait(draft, node)


def expire_waits(draft: Draft) -> None:
    """End the waits whose time is up: by their default, by a rejection before the pivot, by
    a person after it."""
    for node in draft.plan.waits:
        track = draft.state.step(node.address).action
        if track.status is not _WAITING or track.due is None or track.due > draft.now:
            continue
        reason = "no signal came in time"
        if node.default is not None:
            draft.emit(e.Succeeded(node.address, node.default.encode()))
        elif node.place is Place.AFTER:
            draft.emit(e.Stuck(node.address, ACTION, reason, resolved=True))
        else:
            draft.emit(e.Rejected(node.address, reason))
            turn_back(draft, Cause.REJECTED, node.address, reason)
            return


def turn_back(draft: Draft, cause: Cause, address: str, reason: str) -> None:
    """Start going back. What waited for another attempt is not tried again, and counts as
    unknown; what waited for time or a signal is abandoned; what is in flight is awaited."""
    if draft.state.status is Status.COMPENSATING:
        return
    draft.turn(cause, address, reason)
    for waiting, step in list(draft.state.steps.items()):
        status = step.action.status
        if status not in _UNFINISHED:
            continue
        if not isinstance(draft.plan.node(waiting), StepNode):
            if status is not _PENDING:
                draft.emit(e.Abandoned(waiting))
        elif status is _WAITING or (status is _PENDING and step.action.doubt):
            draft.emit(e.Unknown(waiting, "the saga went back before another attempt"))


def _step(draft: Draft, node: StepNode, address: str) -> bool:
    """Issue a step whose turn it is; also an item of a `for_each`."""
    step = draft.state.steps.get(address)
    status = _PENDING if step is None else step.action.status
    if status in FINISHED:
        return True
    if status is _PENDING or (status is _WAITING and step is not None and _due(draft, step.action.due)):
        if not node.remote:
            draft.emit(_new(e.Issued, (address, ACTION)))
        elif step is None or step.command is None:
            draft.ask(Question("request", address))
        else:
            draft.emit(e.Sent(address, ACTION, draft.now + node.timeout))
        draft.moving = True
    elif status is _RUNNING:
        draft.moving = True
    return False


def _due(draft: Draft, due: float | None) -> bool:
    """Whether an instant has come; if it has not, the saga wakes for it."""
    if due is not None and due > draft.now:
        draft.wake_at(due)
        return False
    return True


def _when(draft: Draft, node: WhenNode) -> bool:
    taken = draft.state.chosen.get(node.address)
    if taken is None:
        if draft.state.step(node.address).action.status is _PENDING:
            draft.ask(Question("condition", node.address))
        return False
    branch = node.then if taken else node.otherwise
    return branch is None or advance(draft, branch)


def _each(draft: Draft, node: EachNode) -> bool:
    group = draft.state.groups.get(node.address)
    if group is None:
        if draft.state.step(node.address).action.status is _PENDING:
            draft.ask(Question("over", node.address))
        return False
    for index in group.forward.open:
        _step(draft, node.step, item_address(node.address, index))
    lane = group.forward
    free = max(node.limit - len(lane.open), 0)  # a changed definition may have lowered the limit
    for index in islice(chain(lane.again, range(lane.begun, len(group.items))), free):
        _step(draft, node.step, item_address(node.address, index))
    lane = draft.state.groups[node.address].forward
    return lane.begun == len(group.items) and not (lane.open or lane.again or lane.held)


def _sleep(draft: Draft, node: SleepNode) -> bool:
    track = draft.state.step(node.address).action
    if track.status is _PENDING:
        if node.seconds is None:
            draft.ask(Question("until", node.address))
            return False
        draft.emit(e.Waiting(node.address, draft.now + node.seconds))
        track = draft.state.step(node.address).action
    if track.status is _WAITING and _due(draft, track.due):
        draft.emit(e.Succeeded(node.address, b"null"))
        return True
    return track.status in FINISHED


def _wait(draft: Draft, node: WaitNode) -> bool:
    track = draft.state.step(node.address).action
    if track.status is _PENDING:
        until = None if node.timeout is None else draft.now + node.timeout
        draft.emit(e.Waiting(node.address, until))
        early = draft.state.kept.get(node.address)
        if early is not None:
            take_signal(draft, node, early)
        track = draft.state.step(node.address).action
    if track.status is _WAITING:
        draft.moving = True
        if track.due is not None:
            draft.wake_at(track.due)
    return track.status in FINISHED


def take_signal(draft: Draft, node: WaitNode, value: bytes) -> None:
    """Give an open wait its value, or ask whether the value is a yes."""
    if node.filtered:
        draft.ask(Question("accept", node.address, value))
    else:
        draft.emit(e.Succeeded(node.address, value))
