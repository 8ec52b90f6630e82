"""A saga's flow, drawn with lines in a terminal, with what is known of each step.

Guarantees: pure; every node of the plan is drawn once, in flow order; the same plan and state
give the same drawing.
Must not: know about colours or widths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    PivotNode,
    Place,
    Plan,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from amends.decide.state import Action, State
from amends.operate.sight import command_of, items_of


class Drawn(NamedTuple):
    """One line of a drawing. stem: the lines of the tree. name, kind, note: of the node.
    status: empty where nothing is known."""

    stem: str
    name: str
    kind: str
    status: str
    note: str


class Strokes(NamedTuple):
    """What a tree is drawn with."""

    branch: str
    last: str
    along: str
    arrow: str
    blank: str = "   "


LINES = Strokes("├─ ", "└─ ", "│  ", "→")
ASCII = Strokes("|- ", "`- ", "|  ", "->")
SIGNS = {  # of a status, with what stands for it where it cannot be written
    "pending": ("·", "."),
    "running": ("▶", ">"),
    "waiting": ("◷", "~"),
    "succeeded": ("✓", "+"),
    "completed": ("✓", "+"),
    "rejected": ("✗", "x"),
    "unknown": ("?", "?"),
    "stuck": ("!", "!"),
    "parked": ("!", "!"),
    "skipped": ("-", "-"),
    "closed": ("✎", "*"),
    "compensated": ("↩", "<"),
    "compensating": ("↩", "<"),
    "void": ("∅", "0"),
}


def draw(plan: Plan, state: State | None = None, strokes: Strokes = LINES) -> tuple[Drawn, ...]:
    """The drawing of a flow. state: where a saga that runs it stands."""
    status = "" if state is None else str(state.status)
    facts = [f"version {plan.version}"] if plan.version else []
    facts += [] if plan.deadline is None else [f"deadline {lasting(plan.deadline)}"]
    head = Drawn("", plan.name, ", ".join(facts), status, "")
    return (head, *_nodes(plan.root.nodes, state, "", strokes))


def _nodes(nodes: tuple[Node, ...], state: State | None, stem: str, strokes: Strokes) -> Iterator[Drawn]:
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        here = stem + (strokes.last if last else strokes.branch)
        below = stem + (strokes.blank if last else strokes.along)
        drawn = _drawn(node, state, here)
        yield drawn._replace(kind=f"{drawn.kind} {strokes.arrow} {command}") if (command := command_of(node)) else drawn
        yield from _below(node, state, below, strokes)


def _below(node: Node, state: State | None, stem: str, strokes: Strokes) -> Iterator[Drawn]:
    match node:
        case SequenceNode(nodes) | ParallelNode(nodes):
            yield from _nodes(nodes, state, stem, strokes)
        case WhenNode(_, _, then, otherwise):
            arms = [("yes", then)] if otherwise is None else [("yes", then), ("otherwise", otherwise)]
            for index, (word, arm) in enumerate(arms):
                last = index == len(arms) - 1
                yield Drawn(stem + (strokes.last if last else strokes.branch), word, "", "", "")
                inner = stem + (strokes.blank if last else strokes.along)
                yield from _nodes(arm.nodes if isinstance(arm, SequenceNode) else (arm,), state, inner, strokes)
        case _:
            return


def _drawn(node: Node, state: State | None, stem: str) -> Drawn:
    match node:
        case StepNode():
            return _step(node, state, stem)
        case PivotNode():
            status = "" if state is None else ("succeeded" if state.passed else "pending")
            return Drawn(stem, "pivot", "the point of no return", status, "")
        case SequenceNode():
            return Drawn(stem, "sequence", "", "", "")
        case ParallelNode():
            return Drawn(stem, "parallel", "", "", "")
        case WhenNode(address, condition):
            return Drawn(stem, address, f"when {asked(condition)}", _status(state, address), _chosen(state, address))
        case EachNode():
            counts = "" if state is None else ", ".join(f"{count} {word}" for word, count in items_of(node, state))
            kind = f"for each of {asked(node.over)}, {node.limit} at a time"
            return Drawn(stem, node.address, kind, _each_status(state, node), counts)
        case SleepNode(address, seconds):
            kind = f"sleep {asked(node.until)}" if seconds is None else f"sleep {lasting(seconds)}"
            return Drawn(stem, address, kind, _status(state, address), _note(state, address))
        case WaitNode(address, timeout):
            kind = "signal" if timeout is None else f"signal, {lasting(timeout)} at most"
            return Drawn(stem, address, kind, _status(state, address), _note(state, address))


def lasting(seconds: float) -> str:
    """A duration for a person: in the largest unit that divides it."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(seconds, length)
        if count and not rest:
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} s"


def asked(source: str) -> str:
    """Who answers a question of the flow: a function of the input, or a step."""
    name = source.removeprefix("function ")
    if name == source:
        return f"the result of {source}"
    return f"{name}(input)" if name.isidentifier() else "a function of the input"


def kind_of(node: StepNode) -> str:
    """What kind of step it is, in the words of the field."""
    if node.place is Place.PIVOT:
        return "pivot"
    if node.readonly:
        return "readonly"
    if node.place is Place.AFTER:
        return "retriable"
    return "compensatable"


def _step(node: StepNode, state: State | None, stem: str) -> Drawn:
    transaction = ", in a transaction" if node.work == "tx" else ""
    return Drawn(
        stem, node.address, kind_of(node) + transaction, _status(state, node.address), _note(state, node.address)
    )


def _status(state: State | None, address: str) -> str:
    if state is None:
        return ""
    step = state.step(address)
    return str(step.action.status if step.undo is None else step.undo.status)


def _each_status(state: State | None, node: EachNode) -> str:
    if state is None:
        return ""
    counts = dict(items_of(node, state))
    if not counts:
        return _status(state, node.address)
    troubled = ("stuck", "unknown", "running", "waiting", "rejected", "pending", "compensated")
    return next((word for word in troubled if word in counts), "succeeded")


def _chosen(state: State | None, address: str) -> str:
    taken = None if state is None else state.chosen.get(address)
    return "" if taken is None else ("yes" if taken else "no")


def _note(state: State | None, address: str) -> str:
    if state is None:
        return ""
    step = state.step(address)
    if step.undo is not None:
        attempts = f"undo attempt {step.undo.attempts}" if step.undo.attempts > 1 else ""
        return ", ".join(part for part in (attempts, step.undo.reason) if part)
    track = step.action
    if track.status in (Action.SUCCEEDED, Action.SKIPPED):
        return ""
    attempts = f"attempt {track.attempts}" if track.attempts > 1 else ""
    return ", ".join(part for part in (attempts, track.reason) if part)
