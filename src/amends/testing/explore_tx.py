"""Steps that take a transaction, in a run: effect and note are one, behind the barrier.

The transaction is whatever stands in the world for the type that the step asks for: a `sqlite3.Connection` of the
test's own, in memory, or a fake.

Guarantees: what fails left nothing; what was done and not heard of is not done again.
Must not: commit. The world ends with the run.
"""

from __future__ import annotations

from typing import Any

from amends.decide import messages as m
from amends.decide.barrier import Arrival, Entry
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import stem_of
from amends.decide.state import Action
from amends.define.bind import Call, Kind
from amends.define.hints import hints_of
from amends.define.program import Program
from amends.define.step import Work
from amends.testing.explore_barrier import through
from amends.testing.explore_calls import Called, Try, call

TX = "tx"  # the `work` of such a step in a plan


class Transactional:
    """What such steps of a saga ask for, by type."""

    def __init__(self, program: Program) -> None:
        self._wanted: dict[tuple[str, Phase], dict[str, Any]] = {}
        for address, step in program.steps.items():
            body = step.step.body
            self._wanted[address, Phase.ACTION] = _wanted(step.action, body.action)
            if step.undo is not None and body.undo is not None:
                self._wanted[address, Phase.UNDO] = _wanted(step.undo, body.undo)

    def call(self, attempt: Try, instead: Message | None = None) -> Called:
        """Make an attempt, if the barrier lets it through. instead: how it ends without a call. Raises NeedsLoop and
        DefinitionError."""
        run, address, phase = attempt.run, attempt.address, attempt.phase
        step = run.standing.step(address)
        arrival = Arrival(phase, step.round, run.now, step.closed, step.action.status is Action.SUCCEEDED)
        made: list[Called] = []

        def do(_: Entry | None) -> Message:
            if instead is not None:
                return _rolled_back(instead)
            wanted = self._wanted[stem_of(address), phase]
            given = {name: run.scene.worlds.find(run.world, type_) for name, type_ in wanted.items()}
            made.append(call(attempt, given))
            return _rolled_back(made[0].message)

        message, _ = through(run, address, arrival, None, do)
        return Called(message, made[0].seconds, made[0].error) if made else Called(message)


def _wanted(called: Call, work: Work) -> dict[str, Any]:
    names = [argument.name for argument in called.arguments if argument.kind is Kind.TX]
    if not names:
        return {}
    hints = hints_of(work.fn, work.local_names, getattr(work.fn, "__name__", "a step"))
    return {name: hints[name] for name in names}


def _rolled_back(message: Message) -> Message:
    """Nothing stayed of what failed, and a no covers every attempt before."""
    if isinstance(message, m.No):
        return message._replace(sure=True)
    return message._replace(resolved=True) if isinstance(message, m.Failure) else message
