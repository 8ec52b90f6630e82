"""What stands in the box of a node: its name, what it is, how it stands, and what became of its undo.

Guarantees: pure; a node's words are those of the drawing in a terminal.
Must not: know where a box is.
"""

from __future__ import annotations

from typing import NamedTuple

from amends.decide.plan import EachNode, Node, PivotNode, SleepNode, StepNode, WaitNode, WhenNode
from amends.decide.state import State
from amends.operate.drawing import asked, kind_of, lasting
from amends.operate.sight import command_of, items_of
from amends.operate.values import StepLine

_TROUBLED = ("stuck", "unknown", "running", "waiting", "rejected", "pending", "compensated")


class Content(NamedTuple):
    """The words of one node.

    kind: step, pivot, each, wait, sleep, when or marker. facts: what it is, one a line. status: of the action, empty
    where nothing is known. note: beside it. undo, undo_note: of the compensation, once there is one. more: for a
    tooltip.
    """

    kind: str
    address: str
    title: str
    facts: tuple[str, ...]
    status: str = ""
    note: str = ""
    undo: str = ""
    undo_note: str = ""
    more: str = ""
    turned: bool = False

    @property
    def words(self) -> str:
        """The same as a sentence, for those who do not see the drawing."""
        said = [self.title, *self.facts[:1]]
        if self.status:
            said.append(" ".join(part for part in (self.status, self.note) if part))
        if self.undo:
            said.append(" ".join(part for part in (f"undo {self.undo}", self.undo_note) if part))
        if self.turned:
            said.append("here the saga turned back")
        return ", ".join(said) + (f": {self.more}" if self.more else "")


class Facts:
    """What is known of the nodes of one saga, or only of a plan."""

    def __init__(self, state: State | None, steps: tuple[StepLine, ...]) -> None:
        self.state = state
        self._steps = {step.address: step for step in steps}
        self._turned = "" if state is None or state.turned is None else state.turned.address

    def of(self, node: Node) -> Content:
        """The words of a node that has a box."""
        made = self._plain(node)
        if self.state is None:
            return made
        if isinstance(node, PivotNode):
            return made._replace(status="succeeded" if self.state.passed else "pending")
        return self._with_state(node, made)

    def _plain(self, node: Node) -> Content:
        match node:
            case StepNode(address):
                kind = "pivot" if kind_of(node) == "pivot" else "step"
                work = ", in a transaction" if node.work == "tx" else ""
                return Content(kind, address, address, (kind_of(node) + work, *_service(node)))
            case EachNode(address):
                said = f"for each of {asked(node.over)}"
                return Content("each", address, address, (said, f"{node.limit} at a time", *_service(node)))
            case WaitNode(address, timeout):
                limit = "for a signal" if timeout is None else f"for a signal, {lasting(timeout)} at most"
                return Content("wait", address, address, (limit,))
            case SleepNode(address, seconds):
                until = f"sleeps {asked(node.until)}" if seconds is None else f"sleeps {lasting(seconds)}"
                return Content("sleep", address, address, (until,))
            case WhenNode(address, condition):
                return Content("when", address, address, (f"when {asked(condition)}",))
            case PivotNode(address):
                return Content("marker", address, address, ("the point of no return",))
            case _:
                raise TypeError(f"{node!r} is drawn from its parts")

    def _with_state(self, node: Node, made: Content) -> Content:
        line = self._steps.get(made.address)
        if self.state is None or line is None:
            return made
        made = made._replace(
            status=line.action,
            note=_attempts(line.attempts, line.action),
            undo=line.undo,
            undo_note=_attempts(line.undo_attempts, line.undo),
            more=line.reason,
            turned=line.address == self._turned,
        )
        if isinstance(node, EachNode):
            return self._items(node, made)
        if isinstance(node, WhenNode) and made.address in self.state.chosen:
            return made._replace(note="yes" if self.state.chosen[made.address] else "no")
        return made

    def _items(self, node: EachNode, made: Content) -> Content:
        if self.state is None:
            return made
        counts = dict(items_of(node, self.state))
        if not counts:
            return made
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        status = next((word for word in _TROUBLED if word in counts), "succeeded")
        turned = made.turned or self._turned.startswith(f"{node.address}[")
        return made._replace(status=status, note="", undo="", facts=(*made.facts, told), turned=turned)


def _service(node: Node) -> tuple[str, ...]:
    command = command_of(node)
    return (f"→ {command}",) if command else ()


def _attempts(count: int, status: str) -> str:
    return f"attempt {count}" if count > 1 and status not in ("succeeded", "skipped") else ""
