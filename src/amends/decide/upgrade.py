"""Changing a flow in flight: may a saga go over to a changed plan?

Both plans are cut down to what the saga has touched. If the cuts are equal as trees, and
whatever else the new plan has comes after them, the saga goes over; else it stays on its old
plan, and if nobody runs that any more it is stalled, with the reason given here.

Guarantees: an answer, and its reason in words, from the two plans and the state alone.
Must not: look at values; whether stored ones can still be read is the shell's to try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    PivotNode,
    Plan,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    addresses,
    stem_of,
    walk,
)
from amends.decide.policy import Policy
from amends.decide.state import Action, State

_POLICY = Policy()


def obstacle(old: Plan, new: Plan, state: State) -> str:
    """Why a saga cannot go over to the new plan; empty if it can."""
    if old.name != new.name:
        return f"{new.name} is another saga"
    touched = _touched(old, new, state)
    before, after = _cut(old.root, touched), _cut(new.root, touched)
    if before != after:
        return _difference(before, after)
    wrong = "" if state.turned is not None else _too_early(new.root, touched, state.chosen, closed=False)
    return f"{wrong} is new and stands before what has run already" if wrong else ""


def _touched(old: Plan, new: Plan, state: State) -> frozenset[str]:
    """What was executed, is in flight or waits. What stood in a branch not taken may be gone, but
    must not stand elsewhere: the saga holds it for done."""
    found = set()
    for address, step in state.steps.items():
        status, stem = step.action.status, stem_of(address)
        gone = status is Action.SKIPPED and stem not in new.by_address
        if (status is not Action.PENDING or address in state.given) and not gone:
            found.add(stem)
    if state.passed:
        found |= {node.address for node in walk(old.root) if isinstance(node, PivotNode)}
    return frozenset(found)


def _cut(node: Node, touched: frozenset[str]) -> Node | None:
    """The tree without what was not touched, and without what may change freely."""
    match node:
        case StepNode():
            return _core(node) if node.address in touched else None
        case SequenceNode():
            kept = _cut_all(node.nodes, touched)
            return SequenceNode(kept) if len(kept) > 1 else next(iter(kept), None)
        case ParallelNode():
            kept = _cut_all(node.branches, touched)
            return ParallelNode(kept) if kept else None
        case WhenNode():
            if node.address not in touched:
                return None
            then = _cut(node.then, touched)
            other = None if node.otherwise is None else _cut(node.otherwise, touched)
            return replace(node, condition="", then=then or SequenceNode(()), otherwise=other)
        case EachNode():
            return replace(node, step=_core(node.step), over="", limit=1) if node.address in touched else None
        case SleepNode():
            return SleepNode(node.address, place=node.place) if node.address in touched else None
        case WaitNode():
            return WaitNode(node.address, place=node.place) if node.address in touched else None
        case _:
            return node if node.address in touched else None


def _cut_all(nodes: tuple[Node, ...], touched: frozenset[str]) -> tuple[Node, ...]:
    cuts = (_cut(node, touched) for node in nodes)
    return tuple(cut for cut in cuts if cut is not None)


def _core(node: StepNode) -> StepNode:
    """What must stay of a step: who does it, its side of the pivot, whether it is undone."""
    return replace(node, retry=_POLICY, undo_retry=_POLICY, timeout=0.0, undo_timeout=0.0, reads=(), result="")


def _difference(before: Node | None, after: Node | None) -> str:
    mine = {node.address: node for node in _addressed(before)}
    theirs = {node.address: node for node in _addressed(after)}
    for address, node in mine.items():
        other = theirs.get(address)
        if other is None:
            return f"{address} has run and is gone"
        if type(node) is not type(other):
            return f"{address} has run and is another kind of node now"
        if isinstance(node, (StepNode, EachNode)) and node != other:
            return f"{address} has run and changed its side of the pivot, its worker or its compensation"
    return "what has run stands in another order or grouping now"


def _addressed(node: Node | None) -> list[StepNode | EachNode | WhenNode | SleepNode | WaitNode | PivotNode]:
    if node is None:
        return []
    return [below for below in walk(node) if not isinstance(below, (SequenceNode, ParallelNode))]


def _too_early(node: Node, touched: frozenset[str], chosen: Mapping[str, bool], *, closed: bool) -> str:
    """The first node that has not run and stands before one that has. `closed`: something
    behind this node has run. Of a condition that was answered only the branch taken counts."""
    if not _holds(node, touched):
        return _name(node) if closed else ""
    match node:
        case SequenceNode():
            last = max(index for index, child in enumerate(node.nodes) if _holds(child, touched))
            parts = [(child, closed or index < last) for index, child in enumerate(node.nodes)]
        case ParallelNode():
            parts = [(branch, closed) for branch in node.branches]
        case WhenNode() if node.address in chosen:
            branch = node.then if chosen[node.address] else node.otherwise
            parts = [] if branch is None else [(branch, closed)]
        case _:
            parts = []
    return next((wrong for child, shut in parts if (wrong := _too_early(child, touched, chosen, closed=shut))), "")


def _holds(node: Node, touched: frozenset[str]) -> bool:
    return any(address in touched for address in addresses(node))


def _name(node: Node) -> str:
    return next(addresses(node), "")
