"""Choreography: which plans can go from service to service with nobody in the middle, and who is next.

Guarantees: a plan without obstacles is always with exactly one service, until it rests.
Must not: send anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from amends.decide.events import Phase
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
    walk,
)
from amends.decide.state import State, in_flight


def obstacles(plan: Plan) -> tuple[str, ...]:
    """Why a plan cannot be choreographed, each with what would help; empty if it can."""
    found = list(_obstacles(plan))
    if not found and not plan.remote:
        found.append("it has no step that a service does")
    return tuple(found)


def _obstacles(plan: Plan) -> Iterator[str]:
    for node in walk(plan.root):
        if isinstance(node, (SequenceNode, PivotNode)):
            continue
        why = _obstacle(node)
        if why:
            yield why


def _obstacle(node: Node) -> str:
    match node:
        case StepNode() if node.remote:
            return ""
        case StepNode():
            return f"{node.address} is a local step: make it a command of a service"
        case ParallelNode():
            names = ", ".join(step.address for step in walk(node) if isinstance(step, StepNode))
            return f"parallel(…) would be with several services at once ({names}): put its branches in a row"
        case EachNode():
            return f"{node.address} is a for_each: have one command take the whole list, or use an orchestrator"
        case SleepNode():
            return f"{node.address} is a sleep(…): nobody holds the saga meanwhile; use an orchestrator"
        case WaitNode():
            return f"{node.address} waits for a signal: nobody holds the saga meanwhile; use an orchestrator"
        case _:
            return ""


NO_REPLY_SECONDS = 3_000_000_000.0  # nobody waits for a reply: who has the saga is who says how it went


def travelling(plan: Plan) -> Plan:
    """The plan as its services decide by it: nothing in it is overdue because of a message that took its time."""
    return replace(plan, root=SequenceNode(tuple(map(_travelling, plan.root.nodes))))


def _travelling(node: Node) -> Node:
    match node:
        case StepNode():
            return replace(node, timeout=NO_REPLY_SECONDS, undo_timeout=NO_REPLY_SECONDS)
        case SequenceNode():
            return SequenceNode(tuple(map(_travelling, node.nodes)))
        case WhenNode():
            otherwise = None if node.otherwise is None else _travelling(node.otherwise)
            return replace(node, then=_travelling(node.then), otherwise=otherwise)
        case _:
            return node


def next_hop(state: State) -> tuple[str, Phase] | None:
    """The half of a step that is next, and so who holds the saga; None where it rests, or waits for another attempt."""
    flying = in_flight(state)
    return flying[0] if flying else None
