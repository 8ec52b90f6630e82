"""Backward: what may be undone now, and what is left unsettled.

Guarantees: an undo starts only when the undos of all nodes after it in its own sequence have
settled; branches of a `parallel` and items of a `for_each` go back independently; nothing is
skipped without a person's word.
Must not: start an undo while an action is still in flight.
"""

from __future__ import annotations

from typing import NamedTuple

from amends.decide import events as e
from amends.decide.draft import Draft
from amends.decide.events import UNDO
from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    Plan,
    SequenceNode,
    StepNode,
    WhenNode,
    item_address,
    walk,
)
from amends.decide.state import EFFECT_POSSIBLE, UNDO_PENDING, Action, State, Undo

# An enum's member is looked up in 200 ns on Python 3.11, a module's name in 20; this is the hottest path.
_RUNNING, _WAITING, _STUCK = Undo.RUNNING, Undo.WAITING, Undo.STUCK


class Unsettled(NamedTuple):
    """One step that a person must know about, and why it is not settled."""

    step: str
    action: Action
    undo: Undo | None
    reason: str


def retreat(draft: Draft, node: Node) -> bool:
    """Undo what can be undone at or below a node; True once the node is settled."""
    match node:
        case StepNode():
            return _undo(draft, node, node.address)
        case SequenceNode():
            for child in reversed(node.nodes):  # noqa: SIM110  # as in `advance`
                if not retreat(draft, child):
                    return False
            return True
        case ParallelNode():
            settled = [retreat(draft, branch) for branch in node.branches]  # every branch, not until the first
            return all(settled)
        case WhenNode():
            taken = draft.state.chosen.get(node.address)
            branch = node.then if taken else node.otherwise
            return taken is None or branch is None or retreat(draft, branch)
        case EachNode():
            return _undo_items(draft, node)
        case _:
            return True


def _undo(draft: Draft, node: StepNode, address: str) -> bool:
    step = draft.state.steps.get(address)
    if step is None or step.settled or not node.compensated:
        return True
    undo = step.undo or UNDO_PENDING
    if undo.status is _RUNNING:
        draft.moving = True
    elif undo.status is _WAITING and undo.due is not None and undo.due > draft.now:
        draft.wake_at(undo.due)
    elif undo.status is not _STUCK and not step.action.overdue:
        draft.emit(e.Sent(address, UNDO, draft.now + node.undo_timeout) if node.remote else e.Issued(address, UNDO))
        draft.moving = True
    return False


def _undo_items(draft: Draft, node: EachNode) -> bool:
    """The last items first, at most `limit` at a time; one that is stuck holds up no other."""
    group = draft.state.groups.get(node.address)
    if group is None:
        return True
    for index in group.undoing:
        _undo(draft, node.step, item_address(node.address, index))
    settled = True
    for index in range(len(group.items) - group.cleared - 1, -1, -1):
        undoing = draft.state.groups[node.address].undoing
        if index in undoing:
            settled = False
        elif len(undoing) >= node.limit:
            return False
        elif not _undo(draft, node.step, item_address(node.address, index)):
            settled = False
    return settled


def unsettled(plan: Plan, state: State) -> tuple[Unsettled, ...]:
    """The steps whose effect stands, or may stand, against what the saga came to.

    Before the pivot: every step that is not readonly, whose action succeeded, is unknown or
    stuck, and whose undo is not settled. After it: every step that was issued and has not
    succeeded.
    """
    found: list[Unsettled] = []
    for node in walk(plan.root):
        if isinstance(node, StepNode):
            _collect(found, state, node, node.address)
        elif isinstance(node, EachNode):
            group = state.groups.get(node.address)
            for index in range(0 if group is None else group.forward.begun):
                address = item_address(node.address, index)
                if not (node.collect and state.step(address).action.status is Action.REJECTED):
                    _collect(found, state, node.step, address)
    return tuple(found)


def not_reached(plan: Plan, state: State) -> tuple[str, ...]:
    """The steps that never started, and are not in a branch that was not taken. A `for_each` whose
    items could not be asked for is one of them."""
    steps = (node for node in walk(plan.root) if isinstance(node, (StepNode, EachNode)))
    return tuple(node.address for node in steps if _untouched(node, state))


def _untouched(node: StepNode | EachNode, state: State) -> bool:
    status = state.step(node.address).action.status
    if isinstance(node, EachNode):
        return node.address not in state.groups and status in (Action.PENDING, Action.STUCK)
    return status is Action.PENDING


def closed_by_hand(state: State) -> tuple[str, ...]:
    """The steps that a person settled, by skip or resolve."""
    closed = [
        address
        for address, step in state.steps.items()
        if step.action.status is Action.CLOSED or (step.undo is not None and step.undo.status is Undo.CLOSED)
    ]
    return tuple(closed)


def _collect(found: list[Unsettled], state: State, node: StepNode, address: str) -> None:
    step = state.step(address)
    action, undo = step.action, step.undo
    if state.passed:
        open_ = action.attempts > 0 and action.status not in (Action.SUCCEEDED, Action.CLOSED)
    else:
        open_ = not node.readonly and action.status in EFFECT_POSSIBLE and not step.settled
    if open_:
        reason = action.reason if undo is None else undo.reason
        found.append(Unsettled(address, Action(action.status), undo and Undo(undo.status), reason))
