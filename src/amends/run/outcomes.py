"""What a saga's state means to the caller.

Guarantees: says "compensated" only of a saga that is.
Must not: touch the store.
"""

from __future__ import annotations

from typing import Any

from amends.decide.compensate import closed_by_hand, not_reached, unsettled
from amends.decide.plan import Plan
from amends.decide.state import Action, State, Status, Undo
from amends.define.outcome import Compensated, Completed, Parked, Rejected, Unsettled
from amends.define.program import Program

Outcome = Completed[Any] | Compensated | Parked


def outcome_of(program: Program, state: State) -> Outcome | None:
    """The outcome, or None while the saga moves."""
    closed = closed_by_hand(state)
    if state.status is Status.COMPLETED:
        return Completed(output(program, state), closed)
    if state.status is Status.COMPENSATED and state.turned is not None:
        return Compensated(why_back(state), str(state.turned.cause), state.turned.address, closed)
    if state.status is Status.PARKED:
        return parked(program.plan, state)
    return None


def parked(plan: Plan, state: State) -> Parked:
    """A parked saga's outcome."""
    entries = tuple(
        Unsettled(entry.step, str(entry.action), None if entry.undo is None else str(entry.undo), entry.reason)
        for entry in unsettled(plan, state)
    )
    return Parked(state.parked, entries, not_reached(plan, state), closed_by_hand(state))


def why_back(state: State) -> str:
    """Why a saga turned back, in one line."""
    if state.turned is None:
        return ""
    cause, address, reason = state.turned
    if address:
        return f"{address}: {reason}"
    return f"{cause}: {reason}" if reason else str(cause)


def output(program: Program, state: State) -> Any:
    """The value of the saga's output."""
    address = program.plan.output
    if address is None:
        return None
    return result_of(program, state, address)


def result_of(program: Program, state: State, address: str) -> Any:
    """The value that a node gave, None where it gave none. Raises ValueRefused."""
    if address in program.lists:
        return list_of(program, state, address)
    payload = state.step(address).result
    return None if payload is None else program.codecs[address].decode(payload)


def list_of(program: Program, state: State, address: str) -> list[Any] | None:
    """The results of a `for_each`, in item order."""
    group = state.groups.get(address)
    if group is None:
        return None
    codec = program.steps[address].result
    values: list[Any] = []
    for index in range(len(group.items)):
        step = state.step(f"{address}[{index}]")
        if step.action.status is Action.REJECTED:
            values.append(Rejected(step.action.reason))
        else:
            values.append(None if step.result is None else codec.decode(step.result))
    return values


def first_trouble(state: State) -> str | None:
    """The first stuck step and why, for the head row; None where nothing is stuck."""
    for address, step in state.steps.items():
        if step.undo is not None:
            if step.undo.status is Undo.STUCK:
                return f"the undo of {address}: {step.undo.reason}"
        elif step.action.status is Action.STUCK:
            return f"{address}: {step.action.reason}"
    if state.status is Status.PARKED:
        return state.parked
    return None
