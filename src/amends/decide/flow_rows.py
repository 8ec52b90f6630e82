"""A flow as a watcher keeps it: the events of one correlation as the rows of a saga that nobody runs.

Each line of the flow is a step: it runs from when its event is seen until one of the expected events is. Every event
that is seen stands in the history, so that what is open can be judged anew with each that comes.

Guarantees: the history of a flow is one that a saga could have, so whatever shows sagas shows flows.
Must not: judge what is open; `flows.py` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from amends.decide.events import ACTION, Completed, Event, Kept, Sent, Started, Succeeded
from amends.decide.flows import Expectation, FlowPlan, Open, Seen, open_expectations
from amends.decide.plan import REMOTE, Plan, SequenceNode, StepNode
from amends.decide.state import Action, State


def plan_of(flow: FlowPlan) -> Plan:
    """A step for each line: done by whoever should react."""
    nodes = [
        StepNode(address, work=REMOTE + _expected(line), readonly=True, timeout=line.within)
        for address, line in _lines(flow)
    ]
    return Plan(flow.name, SequenceNode(tuple(nodes)))


def _lines(flow: FlowPlan) -> Iterator[tuple[str, Expectation]]:
    """Each line with the address of its step: the event's name, and a number behind it where it has several."""
    times: dict[str, int] = {}
    for line in flow.expectations:
        type_ = line.event.type
        times[type_] = times.get(type_, 0) + 1
        yield (type_ if times[type_] == 1 else f"{type_}-{times[type_]}"), line


def _expected(line: Expectation) -> str:
    return f"{' or '.join(line.services)}/{' or '.join(one.name for one in line.expected)}"


def following(flow: FlowPlan, state: State | None, known: Sequence[Seen], new: Seen, correlation: str) -> list[Event]:
    """What an event adds to the history; nothing where it is there. known: those that were seen before."""
    if any(one.id == new.id for one in known):
        return []
    made: list[Event] = [] if state is not None else [Started(json.dumps({"correlation": correlation}).encode())]
    made.append(Kept(new.type, json.dumps(new).encode()))
    if state is not None and state.ended:
        return made
    seen = (*known, new)
    found = open_expectations(flow, seen)
    for address, line in _lines(flow):
        status = Action.PENDING if state is None else state.step(address).action.status
        if any(one.type == line.event.type for one in seen) and status is not Action.SUCCEEDED:
            made += _moves(address, status, _of(line, found), new.at)
    if not found and any(one.type == flow.first.type for one in seen):
        made.append(Completed())
    return made


def _moves(address: str, status: Action, found: list[Open], at: float) -> Iterator[Event]:
    if status is Action.PENDING:
        yield Sent(address, ACTION, found[0].until if found else at)
    if not found:
        yield Succeeded(address, b"null")


def _of(line: Expectation, found: Iterable[Open]) -> list[Open]:
    return [one for one in found if (one.after.type, one.types) == (line.event.type, line.types)]


def seen_in(history: Iterable[Event]) -> list[Seen]:
    """The events that a history tells of. Raises ValueError, TypeError for what none has written here."""
    return [Seen(*json.loads(event.value)) for event in history if isinstance(event, Kept)]
