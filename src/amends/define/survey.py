"""A look at all nodes of a saga before any of them is planned.

Guarantees: a saga over the limits of size is refused before anything recurses into it.
Must not: read annotations, but to tell where a missing result would come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amends.define.hints import canonical, hints_of, shown
from amends.define.node import check_node
from amends.define.nodes import Each, Parallel, Pivot, PivotStep, Sequence, Signal, When
from amends.define.step import Step
from amends.errors import DefinitionError

NESTING_MAX = 20
NODES_MAX = 1000


def check_size(nodes: tuple[Any, ...], where: str) -> None:
    """Raises DefinitionError for what is no node, and for more nodes than a saga may have."""
    for count, (node, depth) in enumerate(_walk(nodes, where), 1):
        check_node(node, where)
        if count > NODES_MAX:
            raise DefinitionError(f"{where}: it has more than {NODES_MAX:,} nodes; use for_each for many items")
        if depth > NESTING_MAX:
            raise DefinitionError(f"{where}: its nodes are nested more than {NESTING_MAX} deep")


def check_pivots(nodes: tuple[Any, ...], where: str) -> None:
    """Raises DefinitionError for a second pivot, and for one that does not stand in the main line."""
    found = [node for node, _ in _walk(nodes, where) if isinstance(node, (Pivot, PivotStep))]
    if len(found) > 1:
        names = " and ".join(repr(node) for node in found)
        raise DefinitionError(f"{where}: it has {len(found)} pivots, {names}; a saga has one point of no return")
    for node, _ in _walk(nodes, where):
        if isinstance(node, (Parallel, When)):
            inside = next((n for n, _ in _walk((node,), where) if isinstance(n, (Pivot, PivotStep))), None)
            if inside is not None:
                raise DefinitionError(
                    f"{where}: {inside!r} stands in {node!r}; the point of no return is the whole saga's, so the pivot "
                    "stands in its own list of nodes"
                )


def giver(nodes: tuple[Any, ...], wanted: Any) -> str:
    """The name of a node, anywhere in the saga, whose result has a type; empty where none has."""
    key = canonical(wanted)
    for node, _ in _walk(nodes, ""):
        given = _result(node)
        if given is not None and canonical(given) == key:
            return f"{getattr(node, 'stored_name', None) or repr(node)} gives {shown(given)}"
    return ""


def _walk(nodes: tuple[Any, ...], where: str) -> Iterator[tuple[Any, int]]:
    """Every node and how deep it stands, in flow order; without recursion."""
    waiting = [(node, 0) for node in reversed(nodes)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in reversed(_inside(node))]


def _inside(node: Any) -> tuple[Any, ...]:
    if isinstance(node, Sequence):
        return node.nodes
    if isinstance(node, Parallel):
        return node.branches
    if isinstance(node, When):
        return node.then.nodes if node.otherwise is None else (*node.then.nodes, node.otherwise)
    return ()


def _result(node: Any) -> Any:
    """The type of a node's result, as far as it can be told."""
    if isinstance(node, PivotStep):
        node = node.step
    if isinstance(node, Signal):
        return node.type
    step = node.step if isinstance(node, Each) else node
    if not isinstance(step, Step):
        return None
    if step.body.remote is not None:
        given: Any = step.body.remote.replied.type
    else:
        try:
            given = hints_of(step.body.action.fn, step.body.action.local_names, "").get("return")
        except DefinitionError:
            return None
    return given if step is node else list[given]
