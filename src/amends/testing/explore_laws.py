"""What must hold of every run, beside the user's invariant.

Guarantees: a run that is wrong has one sentence that says why.
Must not: change the run.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from amends.decide.state import Action
from amends.define.outcome import Parked
from amends.define.values import describe
from amends.run.outcomes import Outcome, outcome_of
from amends.testing.account import Account, Misconduct
from amends.testing.explore_excuse import half, unexplained
from amends.testing.explore_run import Run

ACCOUNTED_MAX = 200  # journals of one saga; the simulation reads them by the hundred thousand
Invariant = Callable[[Any, Any], Any]


def outcome_in(run: Run) -> Outcome | None:
    """How the run ended; None where it did not."""
    return None if run.state is None else outcome_of(run.scene.program, run.state)


def broken(run: Run, invariant: Invariant | None) -> str:
    """What is wrong with a run; empty if nothing is."""
    if run.problem:
        return run.problem
    if run.endless:
        return "it does not come to an end"
    outcome = outcome_in(run)
    if outcome is None:
        return _waits(run)
    if run.own_errors and not run.faults:  # else every other run would be about that alone
        (address, phase), reason = next(iter(run.own_errors.items()))
        return f"without any fault, {half(address, phase)} failed by itself: {reason}"
    if run.own_parks and not run.faults:
        (address, phase), reason = next(iter(run.own_parks.items()))
        return f"without any fault, {half(address, phase)} asks for a person: {reason}"
    misconduct = _misconduct(run)
    if misconduct:
        return f"amends broke a rule of its own, which is a bug: {misconduct}"
    if isinstance(outcome, Parked):
        why = unexplained(run)
        if why:
            return f"it parks, and nothing that was put into the run explains it: {why}"
    return "" if invariant is None else _judged(invariant, run.world, outcome)


def _misconduct(run: Run) -> str:
    """What amends' own account says against the journal. One that differs from another in times only is not read, and
    none once enough were."""
    accounted = run.scene.accounted
    if len(accounted) >= ACCOUNTED_MAX:
        return ""
    shape = tuple((row.worker, *[(event.__class__, event[:2]) for event in row.events]) for row in run.rows)
    if shape in accounted:
        return ""
    try:
        Account(run.plan).read(run.rows)
    except Misconduct as wrong:
        return str(wrong)
    accounted.add(shape)
    return ""


def _waits(run: Run) -> str:
    state = run.state
    waiting = (
        [] if state is None else [name for name, step in state.steps.items() if step.action.status is Action.WAITING]
    )
    names = ", ".join(waiting) or "something"
    answered = dict(run.scene.signals)
    if any(name not in answered for name in waiting):
        return f"it waits for {names} for ever: say what it gets, with signals={{{names}: …}}, or give it a timeout"
    return f"it waits for {names} for ever: give the wait a timeout, and say with `default=` what silence means"


def _judged(invariant: Invariant, world: Any, outcome: Outcome) -> str:
    """The user's law: it raises, or returns False or a text, where it is broken."""
    try:
        said = invariant(world, outcome)
    except AssertionError as error:
        return f"the invariant does not hold: {describe(error) if str(error) else _line(error)}"
    except Exception as error:  # noqa: BLE001  # a law that cannot be applied does not hold
        return f"the invariant raised {type(error).__name__}: {describe(error)}"
    if said is False:
        return f"the invariant does not hold: {getattr(invariant, '__name__', 'it')} says False"
    return f"the invariant does not hold: {said}" if isinstance(said, str) and said else ""


def _line(error: BaseException) -> str:
    """The assertion itself, where it says nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "assert") if frames else "assert"
