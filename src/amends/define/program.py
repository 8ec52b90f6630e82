"""A saga, built: its plan, and the callables that the plan only names.

Guarantees: a value made by `build.py` alone, complete and checked.
Must not: run, store or open anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amends.decide import plan as p
from amends.decide.plan import Plan
from amends.define.bind import Call
from amends.define.step import Step
from amends.define.values import Codec


@dataclass(frozen=True, slots=True)
class StepProgram:
    """The callables of one step. `item`: the codec of a `for_each`'s items."""

    step: Step[..., Any, Any]
    action: Call
    undo: Call | None
    result: Codec[Any]
    item: Codec[Any] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A function that steers: a condition, the items, an instant. `of`: a step's address where
    the answer is that step's result; else the function is called with the saga's input."""

    fn: Callable[[Any], Any] | None = None
    of: str = ""


@dataclass(slots=True)
class Program:
    """All that the shell needs to run a plan."""

    plan: Plan
    input: Codec[Any]
    output: Codec[Any] | None = None
    steps: dict[str, StepProgram] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)
    signals: dict[str, Codec[Any]] = field(default_factory=dict)
    filters: dict[str, Callable[[Any], bool]] = field(default_factory=dict)
    codecs: dict[str, Codec[Any]] = field(default_factory=dict)
    lists: dict[str, Any] = field(default_factory=dict)

    def step(self, address: str) -> StepProgram:
        """The step at an address, or of an item."""
        found = self.steps.get(address)
        return self.steps[p.group_of(address)] if found is None else found

    def codec_at(self, address: str) -> Codec[Any]:
        """The codec of the value that a node, or an item's step, gives."""
        return self.steps[p.group_of(address)].result if address.endswith("]") else self.codecs[address]

    def marks(self) -> tuple[p.Marked, ...]:
        """Where secrets stand in its payloads."""
        of = p.Payload
        found = [p.Marked(of.INPUT, "", self.input.secrets)]
        found += [p.Marked(of.RESULT, address, codec.secrets) for address, codec in self.signals.items()]
        for address, step in self.steps.items():
            remote = step.step.body.remote
            found.append(p.Marked(of.RESULT, address, step.result.secrets))
            found.append(p.Marked(of.ITEM, address, () if step.item is None else step.item.secrets))
            found.append(p.Marked(of.COMMAND, address, () if remote is None else remote.sent.secrets))
        return tuple(sorted(marked for marked in found if marked.pointers))

    def calls(self) -> list[tuple[str, Call]]:
        """Every function with its place in the saga, for checks of the whole."""
        found: list[tuple[str, Call]] = []
        for address, step in self.steps.items():
            found.append((f"step {address}", step.action))
            if step.undo is not None:
                found.append((f"the compensation of {address}", step.undo))
        return found
