"""A saga's own account, kept from its journal alone, beside the engine and not with its code.

What the engine decided must read as a saga that keeps its rules: steps begin when all before
them is done, undos when all after them are, the pivot holds, nothing follows the end, and who
has been taken over from writes no more.

Guarantees: an account that reads wrongly raises `Misconduct`, with the event that is wrong.
Must not: use `decide/evolve.py`, `forward.py` or `compensate.py`. It is there to contradict them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from amends.decide import events as e
from amends.decide.events import Event, Phase
from amends.decide.plan import (
    EachNode,
    Node,
    ParallelNode,
    PivotNode,
    Plan,
    SequenceNode,
    StepNode,
    WhenNode,
    item_address,
)
from amends.run.journal import Row

FINISHED = frozenset({"succeeded", "closed", "skipped"})
MAYBE_DONE = frozenset({"succeeded", "unknown", "stuck"})
INSTANT_SECONDS = 1e-3
UNDO_SETTLED = frozenset({"undone", "void", "closed"})


class Misconduct(Exception):
    """The engine did what no saga may do."""


@dataclass
class Entry:
    """What is known of one step, sleep, wait or condition."""

    action: str = ""
    undo: str = ""
    tries: int = 0  # of the action, since a person had it tried again
    undo_tries: int = 0
    doubt: bool = False  # an attempt may have worked and nobody heard
    due: dict[Phase, float] = field(default_factory=dict[Phase, float])  # before then it is not tried again


class TakeOver(NamedTuple):
    """One adoption, by whom, and from whom the saga was taken over since it last got on."""

    at: float
    worker: int
    deaths: int
    gone: tuple[int, ...]


@dataclass
class Account:
    """What a journal tells, event by event."""

    plan: Plan
    entries: dict[str, Entry] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    taken: dict[str, bool] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    acts: list[str] = field(default_factory=list)
    take_overs: list[TakeOver] = field(default_factory=list)
    passed: bool = False
    turned: bool = False
    end: str = ""
    parked: bool = False
    _gone: list[int] = field(default_factory=list)  # since the saga last got on
    _silenced: set[int] = field(default_factory=set)

    def read(self, rows: Iterable[Row]) -> Account:
        """Take a journal in. Raises Misconduct."""
        for row in rows:
            if row.worker in self._silenced:
                raise Misconduct(f"worker {row.worker} wrote after the saga was taken over from it")
            for event in row.events:
                if self.end:
                    raise Misconduct(f"{event!r:.200} after the end")
                self._take(row, event)
        return self

    def entry(self, address: str) -> Entry:
        """What is known of an address."""
        return self.entries.setdefault(address, Entry())

    # One event

    def _take(self, row: Row, event: Event) -> None:
        match event:
            case e.Issued(address, Phase.ACTION):
                self._issue(address)
                self._check_try(address, Phase.ACTION, row.at)
            case e.Issued(address, Phase.UNDO):
                self._issue_undo(address)
                self._check_try(address, Phase.UNDO, row.at)
            case e.Adopted(worker, deaths, _):
                self._gone.append(worker)
                self.take_overs.append(TakeOver(row.at, row.worker, deaths, tuple(self._gone)))
                if worker != row.worker:
                    self._silenced.add(worker)
            case e.PivotPassed() | e.TurnedBack() if self.passed or self.turned:
                raise Misconduct(f"{event!r:.200} on the wrong side of the pivot")
            case e.PivotPassed():
                self.passed = True
            case e.TurnedBack():
                self.turned = True
            case e.Parked() | e.Resumed() | e.ResumedBack():
                self.parked = type(event) is e.Parked
            case e.Completed() | e.Compensated():
                self._finish(event)
            case _:
                self._take_step(event)

    def _take_step(self, event: Event) -> None:
        match event:
            case e.Failed(address, phase, _, resolved, due, lost):
                self._set(address, phase, "waiting")
                self.entry(address).due[phase] = due
                self.entry(address).doubt |= phase is Phase.ACTION and not resolved
                self._got_on(not lost)
            case e.Stuck(address, phase, _, resolved):
                self._set(address, phase, "stuck")
                self.entry(address).doubt |= phase is Phase.ACTION and not resolved
            case e.Closed(address, phase):
                self._set(address, phase, "closed")
            case e.Retried(address, Phase.ACTION):
                self.entries[address] = Entry(doubt=self.entry(address).doubt)
            case e.Retried(address, Phase.UNDO):
                self._set(address, Phase.UNDO, "")
                self.entry(address).undo_tries = 0
                self.entry(address).due.pop(Phase.UNDO, None)
            case e.Undone(address):
                self._set(address, Phase.UNDO, "undone")
                self._got_on()
            case e.Voided(address):
                self._set(address, Phase.UNDO, "void")
                self._got_on()
            case e.Operated(verb):
                self.acts.append(verb)
                self._got_on()
            case _:
                self._take_action(event)

    def _take_action(self, event: Event) -> None:
        match event:
            case e.Succeeded(address):
                self._set(address, Phase.ACTION, "succeeded")
                self._got_on()
            case e.Rejected(address):
                if self.entry(address).doubt and not self._is_vouched_for(address):
                    raise Misconduct(f"{address} is rejected, and an earlier attempt may have worked")
                self._set(address, Phase.ACTION, "rejected")
                self._got_on()
            case e.Unknown(address):
                self._set(address, Phase.ACTION, "unknown")
            case e.Skipped(addresses):
                for address in addresses:
                    self._set(address, Phase.ACTION, "skipped")
            case e.Abandoned(address):
                self._set(address, Phase.ACTION, "skipped")
            case e.Chosen(address, taken):
                self.taken[address] = taken
            case e.Listed(address, items):
                self.items[address] = len(items)
            case e.Kept(address):
                self.kept.add(address)

    def _is_vouched_for(self, address: str) -> bool:
        """Whether a no covers all attempts: nothing changes, or a barrier says it, whose row they share."""
        node = self.plan.step(address)
        return node.readonly or node.work != "local"

    def _set(self, address: str, phase: Phase, status: str) -> None:
        if phase is Phase.ACTION:
            self.entry(address).action = status
        else:
            self.entry(address).undo = status

    def _got_on(self, really: bool = True) -> None:
        if really:
            self._gone.clear()

    def _issue(self, address: str) -> None:
        if self.turned:
            raise Misconduct(f"{address} begins in a saga that goes back")
        self._check_before(self.plan.root, address)
        self.entry(address).tries += 1
        self.entry(address).action = "running"

    def _issue_undo(self, address: str) -> None:
        running = [name for name, entry in self.entries.items() if entry.action == "running"]
        if not self.turned or running:
            raise Misconduct(f"the undo of {address} begins while {running or 'the saga goes forward'}")
        self._check_after(self.plan.root, address)
        self.entry(address).undo_tries += 1
        self.entry(address).undo = "running"

    def _check_try(self, address: str, phase: Phase, at: float) -> None:
        """It is not too soon for another attempt, nor one too many, nor too many items at once."""
        node, entry = self.plan.step(address), self.entry(address)
        policy = node.retry if phase is Phase.ACTION else node.undo_retry
        tries = entry.tries if phase is Phase.ACTION else entry.undo_tries
        if policy.attempts is not None and tries > policy.attempts:
            raise Misconduct(f"{address}, {phase}: attempt {tries}, and {policy.attempts} are allowed")
        early = entry.due.pop(phase, 0.0) - at
        if early > INSTANT_SECONDS:
            raise Misconduct(f"{address}, {phase}, is tried again {early:.3f} s too soon")
        group = self.plan.node(address.partition("[")[0])
        if isinstance(group, EachNode):
            words = [
                self.entry(item).action if phase is Phase.ACTION else self.entry(item).undo
                for item in self._items(group)
            ]
            together = sum(word in ("running", "waiting") for word in words)
            if together > group.limit:
                raise Misconduct(f"{together} items of {group.address} at once, and {group.limit} are allowed")

    def _finish(self, event: Event) -> None:
        self.end = "completed" if isinstance(event, e.Completed) else "compensated"
        if self.end == "completed" and (self.turned or not self.finished(self.plan.root)):
            raise Misconduct("completed, and not everything on its path is done")
        if self.end == "compensated" and not (self.turned and self.settled(self.plan.root)):
            raise Misconduct("compensated, and not everything that was done is undone")

    # Order

    def _check_before(self, node: Node, address: str) -> bool:
        """Everything before an address in its sequences is done. True if it stands in this node."""
        if isinstance(node, SequenceNode):
            for place, child in enumerate(node.nodes):
                if self._check_before(child, address):
                    late = [before for before in node.nodes[:place] if not self.finished(before)]
                    if late:
                        raise Misconduct(f"{address} begins before {late[0]!r:.80} is done")
                    return True
            return False
        return _is_at(node, address) or any(self._check_before(child, address) for child in _below(node))

    def _check_after(self, node: Node, address: str) -> bool:
        """The undos of everything after an address in its sequences have settled."""
        if isinstance(node, SequenceNode):
            for place, child in enumerate(node.nodes):
                if self._check_after(child, address):
                    early = [after for after in node.nodes[place + 1 :] if not self.settled(after)]
                    if early:
                        raise Misconduct(f"the undo of {address} begins before that of {early[0]!r:.80} has settled")
                    return True
            return False
        return _is_at(node, address) or any(self._check_after(child, address) for child in _below(node))

    def finished(self, node: Node) -> bool:
        """Whether a node is done, going forward."""
        match node:
            case PivotNode():
                return self.passed
            case SequenceNode() | ParallelNode():
                return all(self.finished(child) for child in _below(node))
            case WhenNode():
                branch = self._branch(node)
                return node.address in self.taken and (branch is None or self.finished(branch))
            case EachNode():
                done = FINISHED | {"rejected"} if node.collect else FINISHED
                return node.address in self.items and all(self.entry(item).action in done for item in self._items(node))
        return self.entry(node.address).action in FINISHED

    def settled(self, node: Node) -> bool:
        """Whether nothing at or below a node is owed an undo."""
        match node:
            case StepNode():
                return self._step_settled(node, node.address)
            case WhenNode():
                branch = self._branch(node) if node.address in self.taken else None
                return branch is None or self.settled(branch)
            case EachNode():
                return all(self._step_settled(node.step, item) for item in self._items(node))
        return all(self.settled(child) for child in _below(node))

    def _step_settled(self, node: StepNode, address: str) -> bool:
        entry = self.entry(address)
        return not node.compensated or entry.action not in MAYBE_DONE or entry.undo in UNDO_SETTLED

    def _branch(self, node: WhenNode) -> Node | None:
        return node.then if self.taken.get(node.address) else node.otherwise

    def _items(self, node: EachNode) -> list[str]:
        return [item_address(node.address, index) for index in range(self.items.get(node.address, 0))]

    # What may be said of it

    def steps(self, node: Node | None = None) -> list[tuple[str, StepNode, bool]]:
        """Every step on the saga's path, items one by one: address, step, and whether its
        rejection is only collected."""
        node = self.plan.root if node is None else node
        match node:
            case StepNode():
                return [(node.address, node, False)]
            case WhenNode():
                branch = self._branch(node) if node.address in self.taken else None
                return [] if branch is None else self.steps(branch)
            case EachNode():
                return [(item, node.step, node.collect) for item in self._items(node)]
        return [found for child in _below(node) for found in self.steps(child)]

    def unsettled(self) -> set[str]:
        """What a parked saga must list, neither more nor less."""
        found: set[str] = set()
        for address, node, collect in self.steps():
            entry = self.entry(address)
            if self.passed:
                open_ = entry.tries > 0 and entry.action not in ("succeeded", "closed")
                open_ = open_ and not (collect and entry.action == "rejected")
            else:
                open_ = not node.readonly and entry.action in MAYBE_DONE and entry.undo not in UNDO_SETTLED
            if open_:
                found.add(address)
        return found


def _is_at(node: Node, address: str) -> bool:
    if isinstance(node, EachNode):
        return address.partition("[")[0] == node.address
    return getattr(node, "address", "") == address


def _below(node: Node) -> tuple[Node, ...]:
    match node:
        case SequenceNode(nodes):
            return nodes
        case ParallelNode(branches):
            return branches
        case WhenNode():
            return tuple(branch for branch in (node.then, node.otherwise) if branch is not None)
    return ()
