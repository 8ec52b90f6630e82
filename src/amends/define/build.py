"""From nodes to a program: every check that can be made without running.

Guarantees: whatever is wrong with a saga is found here, and the error names the saga, the
step, what was asked for and what is available.
Must not: run, store or open anything.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from amends.decide import plan as p
from amends.decide.plan import Place, Plan
from amends.define.bind import Candidate, Kind, merge
from amends.define.build_step import Spot, plan_step
from amends.define.hints import bare, has_type_variable, is_nothing, is_type, shown
from amends.define.node import Node, Source
from amends.define.nodes import MISSING, Each, Parallel, Pivot, PivotStep, Sequence, Signal, Sleep, When, is_same
from amends.define.outcome import Rejected
from amends.define.policy import Duration, seconds
from amends.define.program import Ask, Program
from amends.define.secret import holds
from amends.define.steer import CONDITION, UNTIL, ask_of, check_function, check_items
from amends.define.step import Step
from amends.define.survey import check_pivots, check_size, giver
from amends.define.values import codec_for
from amends.errors import AmendsError, DefinitionError


class _Given(NamedTuple):
    """A node with a result, for `output=`."""

    node: object
    address: str
    type: Any
    sure: bool = True


class Builder:
    """Builds the program of one saga, node by node in flow order."""

    def __init__(self, name: str, input_type: Any) -> None:
        self._saga = f"saga {name!r}"
        if not is_type(input_type) or is_nothing(input_type) or has_type_variable(input_type):
            raise DefinitionError(f"{self._saga}: input={input_type!r:.80}: the class of its input is expected")
        self._input = Candidate(input_type, Kind.INPUT, (), ())
        self._program = Program(Plan(name, p.SequenceNode(())), codec_for(input_type, f"{self._saga}, its input"))
        self._place = Place.BEFORE
        self._nodes: tuple[Any, ...] = ()
        self._names: dict[str, Node[Any]] = {}
        self._given: list[_Given] = []

    def build(self, nodes: tuple[Any, ...], output: Any, deadline: Duration | None, version: str) -> Program:
        """The finished program. Raises DefinitionError."""
        if not nodes:
            raise DefinitionError(f"{self._saga}: at least one node is expected")
        check_size(nodes, self._saga)
        check_pivots(nodes, self._saga)
        self._nodes = nodes
        planned, _ = self._sequence(nodes, [self._input])
        program = self._program
        limit = None if deadline is None else seconds(deadline, f"{self._saga}, deadline=…")
        if limit == 0:
            raise DefinitionError(f"{self._saga}: a deadline of 0 has passed before the saga starts")
        address = self._output(output)
        schema, marks = program.input.schema, program.marks()
        program.plan = Plan(program.plan.name, p.SequenceNode(planned), version, address, limit, schema, marks)
        return program

    def _output(self, output: Any) -> str | None:
        if output is None:
            return None
        found = next((given for given in self._given if is_same(given.node, output)), None)
        if found is None:
            names = ", ".join(given.address for given in self._given if not is_nothing(given.type)) or "none"
            raise DefinitionError(
                f"{self._saga}: output={output!r:.80} is none of its nodes with a result; those are: {names}"
            )
        if not found.sure:
            raise DefinitionError(
                f"{self._saga}: output={output!r} may be skipped, so the saga may have no result; let a step after it "
                f"take {shown(found.type)} | None and return what the saga gives"
            )
        if is_nothing(found.type):
            raise DefinitionError(f"{self._saga}: output={output!r} returns None; leave output= away")
        self._program.output = self._program.codecs[found.address]
        return found.address

    # Nodes: each gives its plan and what it provides to those after it

    def _node(self, node: Any, known: list[Candidate]) -> tuple[p.Node, list[Candidate]]:
        match node:
            case Step():
                return self._step(node, known, self._place)
            case Sequence():
                planned, given = self._sequence(node.nodes, known)
                return p.SequenceNode(planned), given
            case Parallel():
                parts = [self._node(branch, known) for branch in node.branches]
                return p.ParallelNode(tuple(part for part, _ in parts)), [c for _, given in parts for c in given]
            case Pivot():
                self._place = Place.AFTER
                return p.PivotNode(), []
            case PivotStep():
                return self._pivot(node, known)
            case When():
                return self._when(node, known)
            case Each():
                return self._each(node, known)
            case Sleep():
                return self._sleep(node, known), []
            case Signal():
                return self._wait(node)
            case _:
                if hasattr(node, "program"):
                    raise DefinitionError(f"{self._saga}: a saga inside a saga ({node!r}) is not supported yet")
                raise DefinitionError(f"{self._saga}: {node!r} is no node that a saga knows")

    def _sequence(self, nodes: tuple[Any, ...], known: list[Candidate]) -> tuple[tuple[p.Node, ...], list[Candidate]]:
        planned: list[p.Node] = []
        given: list[Candidate] = []
        for node in nodes:
            part, more = self._node(node, known + given)
            planned.append(part)
            given += more
        return tuple(planned), given

    def _pivot(self, node: PivotStep[Any], known: list[Candidate]) -> tuple[p.Node, list[Candidate]]:
        if hasattr(node.step, "program"):
            raise DefinitionError(f"{self._saga}: a saga inside a saga ({node.step!r}) is not supported yet")
        if not isinstance(node.step, Step):
            raise DefinitionError(f"{self._saga}: {node!r}: only a step can be the pivot")
        if node.step.body.readonly:
            raise DefinitionError(
                f"{self._saga}: {node!r}: a readonly step changes nothing, so it cannot be the point of no return; "
                "put the bare pivot behind it"
            )
        planned, given = self._step(node.step, known, Place.PIVOT)
        self._place = Place.AFTER
        return planned, given

    def _step(self, node: Step[..., Any, Any], known: list[Candidate], place: Place) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name)
        planned, result = self._plan_step(node, address, known, place)
        return planned, self._provides(node, address, result)

    def _plan_step(
        self, node: Step[..., Any, Any], address: str, known: list[Candidate], place: Place, *, item: bool = False
    ) -> tuple[p.StepNode, Any]:
        spot = Spot(self._saga, address, place, known, partial(giver, self._nodes), item)
        planned, program, result = plan_step(node, spot)
        self._program.steps[address] = program
        self._program.codecs[address] = program.result
        return planned, result

    def _when(self, node: When[Any], known: list[Candidate]) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or _auto("when", node.condition))
        condition = self._ask(node.condition, known, CONDITION, address, f"{self._saga}, {address}")
        before = len(self._given)
        then, given = self._node(node.then, known)
        other, given_other = (None, None) if node.otherwise is None else self._node(node.otherwise, known)
        self._given[before:] = [inside._replace(sure=False) for inside in self._given[before:]]
        return p.WhenNode(address, condition, then, other, self._place), merge(given, given_other)

    def _each(self, node: Each[Any, Any], known: list[Candidate]) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or node.step.stored_name)
        where = f"{self._saga}, step {address}"
        planned, result = self._plan_step(node.step, address, known, self._place, item=True)
        over = self._ask(node.over, known, (), address, where)
        item = self._program.steps[address]
        check_items(item.item.type if item.item else None, item.action.arguments[0].name, node.over, where)
        listed = _listed(result, node.collect)
        self._program.lists[address] = listed
        provided = [] if is_nothing(result) and not node.collect else self._provides(node, address, listed)
        if provided:
            self._program.codecs[address] = codec_for(listed, f"{where}, its list of results")
        return p.EachNode(address, planned, over, node.limit, node.collect, self._place), [
            replace(candidate, kind=Kind.ITEMS) for candidate in provided
        ]

    def _sleep(self, node: Sleep[Any], known: list[Candidate]) -> p.Node:
        address = self._claim(node, node.stored_name or "sleep")
        if node.seconds is not None:
            return p.SleepNode(address, node.seconds, place=self._place)
        until = self._ask(node.until, known, UNTIL, address, f"{self._saga}, {address}")
        return p.SleepNode(address, None, until, self._place)

    def _wait(self, node: Signal[Any]) -> tuple[p.Node, list[Candidate]]:
        address = self._claim(node, node.stored_name or "")
        where = f"{self._saga}, the wait for {address}"
        codec = codec_for(node.type, f"{where}, its value")
        default = None
        if node.default is not MISSING:
            try:
                default = codec.admit(node.default, "default=…")[0].decode()
            except AmendsError as error:
                raise DefinitionError(f"{where}: {error}") from None
            if holds(json.loads(default), codec.secrets):
                raise DefinitionError(
                    f"{where}: default=… has a value in a field that is marked as secret, and would stand in the plan, "
                    "which everybody may read"
                )
        self._program.signals[address] = self._program.codecs[address] = codec
        if node.reject_if is not None:
            check_function(node.reject_if, f"{where}, reject_if=…", "the value")
            self._program.filters[address] = node.reject_if
        planned = p.WaitNode(address, node.timeout, default, node.reject_if is not None, self._place, codec.schema)
        return planned, self._provides(node, address, node.type)

    # Parts

    def _provides(self, node: Node[Any], address: str, type_: Any) -> list[Candidate]:
        self._given.append(_Given(node, address, type_))
        if is_nothing(type_):
            return []
        return [Candidate(bare(type_), Kind.RESULT, (address,), (node,))]

    def _claim(self, node: Node[Any], name: str) -> str:
        """The address of a node: its stored name, unique in the saga."""
        if name in ("pivot", ""):
            raise DefinitionError(f"{self._saga}: the name {name!r} is taken by the pivot; choose another")
        if name in self._names and isinstance(node, (When, Sleep)) and node.stored_name is None:
            free = (f"{name}-{count}" for count in range(2, len(self._names) + 3))
            name = next(candidate for candidate in free if candidate not in self._names)
        if name in self._names:
            raise DefinitionError(
                f'{self._saga}: two nodes are called {name}; give one of them another name with .named("…")'
            )
        self._names[name] = node
        return name

    def _ask(self, source: Any, known: list[Candidate], wanted: tuple[Hashable, ...], address: str, where: str) -> str:
        """Who answers: an earlier readonly step, or a function of the input."""
        ask: Ask
        ask, name = ask_of(source, known, wanted, where)
        self._program.asks[address] = ask
        return name


def _listed(result: Any, collect: bool) -> Any:
    """The type of a `for_each`'s list of results."""
    item = (result if is_nothing(result) else bare(result)) | Rejected if collect else result
    return list[item]  # type: ignore[valid-type]  # built here


def _auto(kind: str, asked: Any) -> str:
    """A stable name for a node that was given none: after what it asks, where that has a name."""
    name = asked.stored_name if isinstance(asked, Source) else getattr(asked, "__name__", "")
    return f"{kind}-{name}" if name and name.isidentifier() else kind
