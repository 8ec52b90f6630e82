"""A saga's flow as a Mermaid flowchart.

Guarantees: pure; names stand in quotes with what Mermaid would obey written out, so that any name
draws.
Must not: lay anything out; Mermaid does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

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
)
from amends.decide.state import State
from amends.operate.drawing import asked, kind_of
from amends.operate.sight import command_of

_CLASSES = {
    "succeeded": "fill:#d9f2e1,stroke:#2e8b57,color:#113322",
    "compensated": "fill:#d6eef5,stroke:#2a7f98,color:#11303a",
    "stuck": "fill:#f8d7da,stroke:#b02a37,color:#3a1114",
    "unknown": "fill:#fbe3e4,stroke:#b02a37,color:#3a1114",
    "rejected": "fill:#fbe3e4,stroke:#b02a37,color:#3a1114",
    "running": "fill:#dbe7ff,stroke:#2f5fc4,color:#101f42",
    "waiting": "fill:#fff3cd,stroke:#997404,color:#332701",
}


class _Chart:
    def __init__(self, state: State | None) -> None:
        self.lines: list[str] = []
        self.used: dict[str, list[str]] = {}
        self._state = state
        self._numbers = count(1)

    def node(self, label: str, shape: tuple[str, str] = ("[", "]"), address: str = "") -> str:
        name = f"n{next(self._numbers)}"
        self.lines.append(f'    {name}{shape[0]}"{escaped(label)}"{shape[1]}')
        if self._state is not None and address:
            step = self._state.step(address)
            status = str(step.action.status if step.undo is None else step.undo.status)
            if status in _CLASSES:
                self.used.setdefault(status, []).append(name)
        return name

    def edge(self, start: str, end: str, label: str = "") -> None:
        word = f'|"{escaped(label)}"|' if label else ""
        self.lines.append(f"    {start} -->{word} {end}")


def mermaid(plan: Plan, state: State | None = None) -> str:
    """The flowchart's text. state: where a saga that runs it stands."""
    chart = _Chart(state)
    ends = _add(chart, plan.root, [(chart.node(plan.name, ("([", "])")), "")])
    done = chart.node("completed", ("([", "])"))
    _join(chart, ends, done)
    return "\n".join(["flowchart TD", *chart.lines, *_styles(chart)]) + "\n"


Ends = list[tuple[str, str]]  # nodes with a loose end, and what stands at it


def _add(chart: _Chart, node: Node, ends: Ends) -> Ends:
    """Draw a node behind some loose ends; gives its own."""
    match node:
        case SequenceNode(nodes):
            for child in nodes:
                ends = _add(chart, child, ends)
            return ends
        case ParallelNode(branches):
            return [end for branch in branches for end in _add(chart, branch, ends)]
        case WhenNode(address, condition, then, otherwise):
            name = chart.node(f"{address}: {asked(condition)}", ("{", "}"), address)
            _join(chart, ends, name)
            no: Ends = [(name, "no")]
            return _add(chart, then, [(name, "yes")]) + (no if otherwise is None else _add(chart, otherwise, no))
        case _:
            name = _single(chart, node)
            _join(chart, ends, name)
            return [(name, "")]


def _single(chart: _Chart, node: Node) -> str:
    match node:
        case StepNode():
            undo = " ↩" if node.compensated else ""
            shape = ("{{", "}}") if kind_of(node) == "pivot" else ("[", "]")
            return chart.node(f"{node.address}{undo}{_command(node)}", shape, node.address)
        case PivotNode():
            return chart.node("pivot", ("{{", "}}"))
        case EachNode():
            undo = " ↩" if node.step.compensated else ""
            return chart.node(f"for each: {node.address}{undo}{_command(node)}", ("[[", "]]"), node.address)
        case SleepNode(address, seconds):
            label = address if seconds is None else f"{address}, {seconds:g} s"
            return chart.node(label, ("([", "])"), address)
        case WaitNode(address):
            return chart.node(f"signal: {address}", ("[/", "/]"), address)
        case _:
            raise TypeError(f"{node!r} is drawn from its parts")


def _command(node: Node) -> str:
    return f" → {command}" if (command := command_of(node)) else ""


def _join(chart: _Chart, ends: Ends, name: str) -> None:
    for start, label in ends:
        chart.edge(start, name, label)


def _styles(chart: _Chart) -> Iterator[str]:
    for status, names in chart.used.items():
        yield f"    classDef {status} {_CLASSES[status]}"
        yield f"    class {','.join(names)} {status}"


def escaped(label: str) -> str:
    """Quotes, brackets and the like as the entities that Mermaid takes."""
    return "".join(c if c.isalnum() or c in " _-.,:/[]()↩→" else f"#{ord(c)};" for c in label)
