"""Whether a parked run is parked because of what was put into it.

Guarantees: a function that fails by itself is never excused by a fault that came before; one that asks for a person is.
Must not: know the user's invariant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.decide.events import Phase
from amends.decide.state import Action, State, Status, Undo
from amends.testing.explore_faults import Kind

if TYPE_CHECKING:
    from amends.testing.explore_run import Run


def unexplained(run: Run) -> str:
    """The first step that keeps the saga where it is, and that no fault does."""
    state = run.state
    if state is None:
        return ""
    said_no = {fault.name for fault in run.met if fault.kind is Kind.REJECTS}
    stuck = _stuck(state)
    goes_back = any(phase is Phase.UNDO for _, phase, _ in stuck)  # then what has no undo keeps it nowhere
    for address, phase, reason in stuck:
        if (address, phase) in run.own_parks:
            continue  # it asked for a person, in words
        if (address, phase) in run.own_errors:
            return f"{half(address, phase)} failed by itself: {run.own_errors[address, phase]}"
        if phase is Phase.ACTION and address in said_no and state.passed:
            return f"{address} said no behind the pivot, where nothing is undone: {reason}"
        if phase is Phase.ACTION and not goes_back and not any(fault.name == address for fault in run.met):
            return f"{address}: {reason}"
    return ""


def half(address: str, phase: Phase) -> str:
    """A step's action or its undo, in words."""
    return f"the undo of {address}" if phase is Phase.UNDO else address


def _stuck(state: State) -> list[tuple[str, Phase, str]]:
    found: list[tuple[str, Phase, str]] = []
    for address, step in state.steps.items():
        if step.undo is not None and step.undo.status is Undo.STUCK:
            found.append((address, Phase.UNDO, step.undo.reason))
        elif step.undo is None and step.action.status in (Action.STUCK, Action.UNKNOWN):
            found.append((address, Phase.ACTION, step.action.reason))
    return found if state.status is Status.PARKED else []
