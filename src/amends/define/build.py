"""From nodes to a program: every check that can be made without running.

Guarantees: whatever is wrong with a saga is found here, and the error names the saga, the
step, what was asked for and what is available.
Must not: run, store or open anything.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from amends.decide import plan as p
from amends.decide.plan import Place, Plan
from amends.define.bind import Binder, Call, Candidate, Kind, merge
from amends.define.hints import bare, canonical, has_type_variable, hints_of, is_nothing, shown
from amends.define.node import Node, Source, check_node
from amends.define.nodes import MISSING, Each, Parallel, Pivot, PivotStep, Sequence, Signal, Sleep, When
from amends.define.outcome import Rejected
from amends.define.policy import Duration, seconds
from amends.define.program import Ask, Program, StepProgram
from amends.define.step import TIMEOUT_SECONDS, UNDO_RETRY, Step, Work
from amends.define.values import codec_for
from amends.errors import DefinitionError

TX_TIMEOUT_SECONDS = 5.0  # a transaction on the store's own file holds its only write lock
NESTING_MAX = 20
NODES_MAX = 1000


class Builder:
    """Builds the program of one saga, node by node in flow order."""

    def __init__(self, name: str, input_type: Any) -> None:
        self._saga = f"saga {name!r}"
        if input_type is None or has_type_variable(input_type) or is_nothing(input_type):
            raise DefinitionError(f"{self._saga}: input={input_type!r}: the class of its input is expected")
        self._input = Candidate(input_type, Kind.INPUT, (), ())
        self._program = Program(Plan(name, p.SequenceNode(())), codec_for(input_type, f"{self._saga}, its input"))
        self._place = Place.BEFORE
        self._has_pivot = False
        self._names: dict[str, Node[Any]] = {}
        self._count = 0
        self._outputs: dict[int, tuple[str, Any, bool]] = {}

    def build(self, nodes: tuple[Any, ...], output: Any, deadline: Duration | None, version: str) -> Program:
        """The finished program. Raises DefinitionError."""
        if not nodes:
            raise DefinitionError(f"{self._saga}: at least one node is expected")
        self._find_pivots(nodes)
        planned, _ = self._sequence(nodes, [self._input], 0, main=True)
        program = self._program
        limit = None if deadline is None else seconds(deadline, f"{self._saga}, deadline=…")
        if limit == 0:
            raise DefinitionError(f"{self._saga}: a deadline of 0 has passed before the saga starts")
        address = self._output(output)
        program.plan = Plan(program.plan.name, p.SequenceNode(planned), version, address, limit, program.input.schema)
        return program

    # The whole saga

    def _find_pivots(self, nodes: tuple[Any, ...]) -> None:
        """Which side of the pivot a node is on must be known before it is reached."""
        found = [node for node in _main_line(nodes) if isinstance(node, (Pivot, PivotStep))]
        if len(found) > 1:
            raise DefinitionError(f"{self._saga}: it has {len(found)} pivots; a saga has one point of no return")
        self._has_pivot = bool(found)

    def _output(self, output: Any) -> str | None:
        if output is None:
            return None
        known = self._outputs.get(id(output))
        if known is None:
            raise DefinitionError(f"{self._saga}: output={output!r} is none of its nodes with a result")
        address, type_, sure = known
        if not sure:
            raise DefinitionError(f"{self._saga}: output={output!r} may be skipped, so the saga may have no result")
        if is_nothing(type_):
            raise DefinitionError(f"{self._saga}: output={output!r} returns None")
        self._program.output = self._program.codecs[address]
        return address

    # Nodes: each gives its plan and what it provides to those after it

    def _node(self, node: Any, known: list[Candidate], depth: int, main: bool) -> tuple[p.Node, list[Candidate]]:
        self._count += 1
        if self._count > NODES_MAX or depth > NESTING_MAX:
            limit = f"{NODES_MAX} nodes" if self._count > NODES_MAX else f"a nesting of {NESTING_MAX}"
            raise DefinitionError(f"{self._saga}: over the limit of {limit}")
        check_node(node, self._saga)
        match node:
            case Step():
                return self._step(node, known, self._place)
            case Sequence():
                planned, given = self._sequence(node.nodes, known, depth + 1, main)
                return p.SequenceNode(planned), given
            case Parallel():
                parts = [self._node(branch, known, depth + 1, False) for branch in node.branches]
                return p.ParallelNode(tuple(part for part, _ in parts)), [c for _, given in parts for c in given]
            case Pivot() | PivotStep():
                return self._pivot(node, known, main)
            case When():
                return self._when(node, known, depth)
            case Each():
                return self._each(node, known)
            case Sleep():
                return self._sleep(node, known), []
            case Signal():
                return self._wait(node)
            case _ if hasattr(node, "program"):
                raise DefinitionError(f"{self._saga}: a saga inside a saga ({node!r}) is not supported yet")
            case _:
                raise DefinitionError(f"{self._saga}: {node!r} is no node that a saga knows")

    def _sequence(
        self, nodes: tuple[Any, ...], known: list[Candidate], depth: int, main: bool
    ) -> tuple[tuple[p.Node, ...], list[Candidate]]:
        planned: list[p.Node] = []
        given: list[Candidate] = []
        for node in nodes:
            part, more = self._node(node, known + given, depth, main)
            planned.append(part)
            given += more
        return tuple(planned), given

    def _pivot(
        self, node: Pivot | PivotStep[Any], known: list[Candidate], main: bool
    ) -> tuple[p.Node, list[Candidate]]:
        if not main:
            raise DefinitionError(
                f"{self._saga}: the pivot stands in a parallel, when or for_each; it must be in the main line"
            )
        if isinstance(node, Pivot):
            self._place = Place.AFTER
            return p.PivotNode(), []
        if not isinstance(node.step, Step):
            raise DefinitionError(f"{self._saga}: {node!r}: only a step can be the pivot")
        if node.step.body.readonly:
            raise DefinitionError(
                f"{self._saga}: {node!r}: a readonly step does nothing that could not be gone back on"
            )
        planned, given = self._step(node.step, known, Place.PIVOT)
        self._place = Place.AFTER
        address = given[0].addresses[0] if given else node.step.stored_name
        self._outputs[id(node)] = self._outputs[id(node.step)]
        return planned, [replace(candidate, nodes=(*candidate.nodes, node)) for candidate in given if address]

    def _step(self, node: Step[..., Any, Any], known: list[Candidate], place: Place) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name)
        planned, result = self._plan_step(node, address, known, place, item=False)
        return planned, self._provides(node, address, result)

    def _plan_step(
        self, node: Step[..., Any, Any], address: str, known: list[Candidate], place: Place, *, item: bool
    ) -> tuple[p.StepNode, Any]:
        body = node.body
        where = f"{self._saga}, step {address}"
        hints = self._hints(body.action, where)
        if "return" not in hints:
            raise DefinitionError(f"{where}: annotate what it returns, `-> None` if that is nothing")
        result_type = hints["return"]
        action = Binder(where, known, None).bind(body.action.fn, hints, item=item)
        undo = self._undo(node, address, known, result_type, action, place, item=item)
        codec = codec_for(result_type, f"{where}, its result")
        item_codec = None
        if item:
            item_codec = codec_for(hints[action.arguments[0].name], f"{where}, its item")
        self._program.steps[address] = StepProgram(node, action, undo, codec, item_codec)
        self._program.codecs[address] = codec
        retry = body.action.retry.policy()
        undo_retry = (UNDO_RETRY if body.undo is None else body.undo.retry).policy()
        planned = p.StepNode(
            address=address,
            place=place,
            work="local" if action.transaction is None else "tx",
            readonly=body.readonly,
            compensated=undo is not None,
            retry=retry if place is not Place.AFTER else replace(retry, attempts=None),
            undo_retry=undo_retry,
            timeout=_timeout(body.action, action),
            undo_timeout=TIMEOUT_SECONDS if body.undo is None or undo is None else _timeout(body.undo, undo),
            reads=tuple(dict.fromkeys((*action.reads, *(undo.reads if undo is not None else ())))),
            result=codec.schema,
        )
        return planned, result_type

    def _undo(
        self,
        node: Step[..., Any, Any],
        address: str,
        known: list[Candidate],
        result_type: Any,
        action: Call,
        place: Place,
        *,
        item: bool,
    ) -> Call | None:
        body = node.body
        where = f"{self._saga}, step {address}"
        if place is not Place.BEFORE:
            return None
        if body.undo is None:
            if body.readonly:
                return None
            raise DefinitionError(
                f"{where}: it stands before the point of no return and has no compensation; add "
                f"`@{node.stored_name}.compensation`, or step(readonly=True) if it changes nothing, or move it behind "
                "the pivot"
            )
        where = f"{self._saga}, the compensation of {address}"
        hints = self._hints(body.undo, where)
        if "return" not in hints or not is_nothing(hints["return"]):
            raise DefinitionError(f"{where}: a compensation returns nothing; annotate `-> None`")
        own = []
        if not is_nothing(result_type):
            sure = action.transaction is not None
            own = [Candidate(result_type, Kind.RESULT, (address,), (node,), sure=sure, own=True)]
        undo = Binder(where, known + own, None).bind(body.undo.fn, hints, item=item)
        if (undo.transaction is None) != (action.transaction is None):
            raise DefinitionError(
                f"{where}: the step and its compensation must both take a transaction, or neither; "
                "the barrier between them lives in it"
            )
        if item:
            first = undo.arguments[0].name
            if canonical(hints[first]) != canonical(self._hints(body.action, where)[action.arguments[0].name]):
                raise DefinitionError(f"{where}: its first parameter is the item, of the same type as the step's")
        return undo

    def _when(self, node: When[Any], known: list[Candidate], depth: int) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or _auto("when", node.condition))
        where = f"{self._saga}, {address}"
        condition = self._ask(node.condition, known, bool, address, where)
        then, given = self._node(node.then, known, depth + 1, False)
        other: p.Node | None = None
        given_other: list[Candidate] | None = None
        if node.otherwise is not None:
            other, given_other = self._node(node.otherwise, known, depth + 1, False)
        for below in p.walk(p.SequenceNode((then, *((other,) if other else ())))):
            self._unsure(getattr(below, "address", ""))
        return p.WhenNode(address, condition, then, other, self._place), merge(given, given_other)

    def _each(self, node: Each[Any, Any], known: list[Candidate]) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or node.step.stored_name)
        where = f"{self._saga}, step {address}"
        planned, result = self._plan_step(node.step, address, known, self._place, item=True)
        over = self._ask(node.over, known, None, address, where)
        self._check_items(node, address, where)
        item = result | Rejected if node.collect and not is_nothing(result) else result
        listed = list[Rejected | None] if node.collect and item is result else list[item]  # type: ignore[valid-type]  # built here
        provided = [] if is_nothing(result) and not node.collect else self._provides(node, address, listed)
        self._program.lists[address] = listed
        if provided:
            self._program.codecs[address] = codec_for(listed, f"{where}, its list of results")
        return p.EachNode(address, planned, over, node.limit, node.collect, self._place), [
            replace(candidate, kind=Kind.ITEMS) for candidate in provided
        ]

    def _check_items(self, node: Each[Any, Any], address: str, where: str) -> None:
        """Where it can be seen, the items must be what the step's first parameter takes."""
        step = self._program.steps[address]
        name = step.action.arguments[0].name
        item = self._hints(node.step.body.action, where)[name]
        given = self._result_type(node.over)
        args = getattr(bare(given), "__args__", None)
        if args and canonical(args[0]) != canonical(item):
            raise DefinitionError(f"{where}: its item {name} is {shown(item)}, but over= gives {shown(given)}")

    def _sleep(self, node: Sleep[Any], known: list[Candidate]) -> p.Node:
        address = self._claim(node, node.stored_name or "sleep")
        if node.seconds is not None:
            return p.SleepNode(address, node.seconds, place=self._place)
        until = self._ask(node.until, known, (timedelta, datetime), address, f"{self._saga}, {address}")
        return p.SleepNode(address, None, until, self._place)

    def _wait(self, node: Signal[Any]) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or "")
        where = f"{self._saga}, the wait for {address}"
        codec = codec_for(node.type, f"{where}, its value")
        default = None
        if node.default is not MISSING:
            default = codec.admit(node.default, f"{where}, its default")[0].decode()
        self._program.signals[address] = self._program.codecs[address] = codec
        if node.reject_if is not None:
            self._program.filters[address] = node.reject_if  # type: ignore[assignment]  # checked to be callable
        planned = p.WaitNode(address, node.timeout, default, node.reject_if is not None, self._place, codec.schema)
        return planned, self._provides(node, address, node.type)

    # Parts

    def _provides(self, node: Node[Any], address: str, type_: Any) -> list[Candidate]:
        self._outputs[id(node)] = (address, type_, True)
        if is_nothing(type_):
            return []
        return [Candidate(bare(type_), Kind.RESULT, (address,), (node,))]

    def _unsure(self, address: str) -> None:
        for known, (name, type_, _) in list(self._outputs.items()):
            if name == address:
                self._outputs[known] = (name, type_, False)

    def _claim(self, node: Node[Any], name: str) -> str:
        """The address of a node: its stored name, unique in the saga."""
        if name in ("pivot", ""):
            raise DefinitionError(f"{self._saga}: the name {name!r} is taken by the pivot; choose another")
        if name in self._names and isinstance(node, (When, Sleep)) and node.stored_name is None:
            count = sum(known.split("-")[0] == name.split("-")[0] for known in self._names)
            name = f"{name}-{count + 1}"
        if name in self._names:
            raise DefinitionError(
                f'{self._saga}: two nodes are called {name}; give one of them another name with .named("…")'
            )
        self._names[name] = node
        return name

    def _ask(self, source: Any, known: list[Candidate], wanted: Any, address: str, where: str) -> str:
        """Who answers: an earlier readonly step, or a function of the input."""
        if not isinstance(source, Source):
            self._check_function(source, where)
            self._program.asks[address] = Ask(fn=source)
            return f"function {getattr(source, '__name__', '?')}"
        found = next((c for c in known if any(node is source for node in c.nodes)), None)
        if found is None:
            raise DefinitionError(f"{where}: {source!r} gives no result before this")
        if not isinstance(source, Step) or not source.body.readonly:
            raise DefinitionError(f"{where}: {source!r} steers the saga, so it must be a readonly step")
        if not found.sure:
            raise DefinitionError(f"{where}: {source!r} may have been skipped, so it cannot steer the saga")
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        if wanted is not None and found.key not in allowed:
            names = " or ".join(kind.__name__ for kind in allowed)
            raise DefinitionError(f"{where}: {source!r} gives {shown(found.type)}, {names} is expected")
        self._program.asks[address] = Ask(of=found.addresses[0])
        return found.addresses[0]

    def _check_function(self, fn: Any, where: str) -> None:
        if inspect.iscoroutinefunction(fn):
            raise DefinitionError(f"{where}: {_name(fn)} is async; what steers a saga is a pure function of its input")
        try:
            inspect.signature(fn).bind(object())
        except TypeError:
            raise DefinitionError(f"{where}: {_name(fn)} must take one argument, the saga's input") from None
        except ValueError:
            return  # a builtin without a signature

    def _result_type(self, source: Any) -> Any:
        if isinstance(source, Step):
            return self._hints(source.body.action, self._saga).get("return")
        return getattr(source, "__annotations__", {}).get("return") if callable(source) else None

    def _hints(self, work: Work, where: str) -> dict[str, Any]:
        return hints_of(work.fn, work.local_names, where)


def _main_line(nodes: tuple[Any, ...]) -> list[Any]:
    """The nodes that always run, one after the other."""
    line: list[Any] = []
    for node in nodes:
        line += _main_line(node.nodes) if isinstance(node, Sequence) else [node]
    return line


def _timeout(work: Work, call: Call) -> float:
    if work.timeout is not None:
        return work.timeout
    return TIMEOUT_SECONDS if call.transaction is None else TX_TIMEOUT_SECONDS


def _auto(kind: str, asked: Any) -> str:
    """A stable name for a node that was given none: after what it asks, where that has a name."""
    name = asked.stored_name if isinstance(asked, Source) else getattr(asked, "__name__", "")
    return f"{kind}-{name}" if name and name.isidentifier() else kind


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", None) or repr(fn)[:80]
