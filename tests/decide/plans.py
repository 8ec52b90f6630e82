"""Random plans, and what a plan means, written a second time and in another way.

The oracle knows the order of a plan as plain relations between steps, so that a mistake in
the walks of the core is not repeated in its test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from hypothesis import strategies as st

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
    walk,
)
from amends.decide.policy import Policy


def examples(count: int) -> int:
    """How many examples a property is tried with; AMENDS_EXAMPLES=20 means twenty times as many."""
    return max(1, int(count * float(os.environ.get("AMENDS_EXAMPLES", "1"))))


QUICK = Policy(attempts=2, first_delay=1.0)
ENDLESS = Policy(attempts=None, first_delay=1.0)


@dataclass
class Shape:
    """The part of a plan that is being drawn: unique names, and the side of the pivot."""

    names: Iterator[int]
    place: Place

    def name(self, kind: str) -> str:
        return f"{kind}{next(self.names)}"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of up to about a dozen steps, with every kind of node, with or without a pivot."""
    names = count(1)
    before = draw(_nodes(Shape(names, Place.BEFORE), depth=2, least=1))
    kind = draw(st.sampled_from(["none", "marker", "step"]))
    middle: list[Node] = []
    if kind == "marker":
        middle = [PivotNode()]
    elif kind == "step":
        middle = [StepNode("go", Place.PIVOT, retry=QUICK)]
    after = draw(_nodes(Shape(names, Place.AFTER), depth=2, least=0)) if middle else []
    deadline = draw(st.sampled_from([None, 40.0]))
    return Plan("random", SequenceNode((*before, *middle, *after)), deadline=deadline)


def _step(shape: Shape, readonly: bool) -> StepNode:
    undone = shape.place is Place.BEFORE and not readonly
    retry = QUICK if shape.place is Place.BEFORE else ENDLESS
    return StepNode(shape.name("s"), shape.place, readonly=readonly, compensated=undone, retry=retry, undo_retry=QUICK)


@st.composite
def _nodes(draw: st.DrawFn, shape: Shape, depth: int, least: int) -> list[Node]:
    return [draw(_node(shape, depth)) for _ in range(draw(st.integers(least, 3)))]


@st.composite
def _node(draw: st.DrawFn, shape: Shape, depth: int) -> Node:
    kinds = ["step", "step", "readonly", "sleep", "asked sleep", "wait", "each"]
    kind = draw(st.sampled_from(kinds + ["parallel", "sequence", "when"] * (depth > 0)))
    if kind in ("step", "readonly"):
        return _step(shape, kind == "readonly")
    if kind == "sleep":
        return SleepNode(shape.name("z"), seconds=draw(st.sampled_from([0.0, 5.0])), place=shape.place)
    if kind == "asked sleep":
        return SleepNode(shape.name("z"), until="input", place=shape.place)
    if kind == "wait":
        timeout = draw(st.sampled_from([None, 10.0]))
        default = draw(st.sampled_from([None, '"d"'])) if timeout else None
        return WaitNode(shape.name("w"), timeout, default, draw(st.booleans()), shape.place)
    if kind == "each":
        step = _step(shape, readonly=False)
        collect = draw(st.booleans())
        return EachNode(step.address, step, "input", draw(st.integers(1, 3)), collect, shape.place)
    if kind == "when":
        then = SequenceNode(tuple(draw(_nodes(shape, depth - 1, 1))))
        otherwise = draw(st.sampled_from([None, 1])) and draw(_node(shape, depth - 1))
        return WhenNode(shape.name("if"), "input", then, otherwise or None, shape.place)
    below = tuple(draw(_nodes(shape, depth - 1, 1)))
    return ParallelNode(below) if kind == "parallel" else SequenceNode(below)


Pair = tuple[str, str]


def order(node: Node) -> tuple[set[str], set[Pair]]:
    """The addresses at and below a node, and which of them must be done before which."""
    if isinstance(node, SequenceNode):
        names: set[str] = set()
        pairs: set[Pair] = set()
        for child in node.nodes:
            inner, below = order(child)
            pairs |= below | {(first, then) for first in names for then in inner}
            names |= inner
        return names, pairs
    if isinstance(node, ParallelNode):
        parts = [order(branch) for branch in node.branches]
        return set().union(*(names for names, _ in parts)), set().union(*(pairs for _, pairs in parts))
    if isinstance(node, WhenNode):
        parts = [order(branch) for branch in (node.then, node.otherwise) if branch is not None]
        names = set().union(*(inner for inner, _ in parts))
        pairs = {(node.address, inner) for inner in names}
        return names | {node.address}, pairs.union(*(below for _, below in parts))
    if isinstance(node, PivotNode):
        return set(), set()
    return {node.address}, set()


def base(address: str) -> str:
    """An item's `for_each`, anything else's own address."""
    return address.split("[")[0]


def with_policy(plan: Plan, policy: Policy) -> Plan:
    """The same plan with other retries, for changes that must not matter."""
    return replace(plan, root=SequenceNode(tuple(_swap(node, policy) for node in plan.root.nodes)))


def _swap(node: Node, policy: Policy) -> Node:
    if isinstance(node, StepNode):
        return replace(node, retry=policy)
    if isinstance(node, EachNode):
        return replace(node, step=replace(node.step, retry=policy))
    if isinstance(node, SequenceNode):
        return SequenceNode(tuple(_swap(child, policy) for child in node.nodes))
    if isinstance(node, ParallelNode):
        return ParallelNode(tuple(_swap(child, policy) for child in node.branches))
    if isinstance(node, WhenNode):
        other = None if node.otherwise is None else _swap(node.otherwise, policy)
        return replace(node, then=_swap(node.then, policy), otherwise=other)
    return node


def steps_of(plan: Plan) -> list[str]:
    """The addresses of all steps, a `for_each` counted once."""
    return [node.address for node in walk(plan.root) if isinstance(node, (StepNode, EachNode))]
