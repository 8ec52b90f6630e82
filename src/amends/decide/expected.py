"""How long a saga may take until something of it is written: the "expected" of "no progress".

What is in flight ends by its timeout, and a local function has as long again to return; what waits for its next
attempt, sleeps, or waits for a signal with a timeout has an instant. The earliest of these is when the next line of its
history is expected. A saga that only a person or another service can move on has none.

Guarantees: pure; from the plan and the state alone, so that it is the same wherever it is asked.
Must not: call a saga late that has no time to keep.
"""

from __future__ import annotations

from amends.decide.choreography import NO_REPLY_SECONDS
from amends.decide.events import ACTION, Phase
from amends.decide.plan import Plan, WaitNode
from amends.decide.state import Action, State, Status, Track, Undo

AT_ONCE_SECONDS = 10.0  # what is to be done at once may still wait for its turn
TIMES = 3  # no progress for so many times as long as expected
SPARE_SECONDS = 60.0  # and for so long at least: a worker has other things to do
_MOVING = frozenset({Status.RUNNING, Status.COMPENSATING})


def next_line_at(plan: Plan, state: State, since: float) -> float | None:
    """When the next line of a history is expected at the latest. since: when the last one was written. None where
    nothing is expected in time: it has ended, it is parked, or somebody else has the next word."""
    if state.status not in _MOVING:
        return None
    found: list[float] = []
    awaited = False
    for address, step in state.steps.items():
        for phase, half in ((ACTION, step.action), (Phase.UNDO, step.undo)):
            if half is None or half.status not in (Action.RUNNING, Action.WAITING, Undo.RUNNING, Undo.WAITING):
                continue
            due = _due(plan, address, phase, half, since)
            awaited = awaited or due is None
            found += [] if due is None else [due]
    if found:
        return max(min(found), since)
    return None if awaited else since + AT_ONCE_SECONDS


def overdue_seconds(plan: Plan, state: State, since: float, now: float) -> float:
    """For how long nothing has happened to a saga, if that is much longer than expected; else 0."""
    due = next_line_at(plan, state, since)
    if due is None or now <= max(since + TIMES * (due - since), due + SPARE_SECONDS):
        return 0.0
    return now - since


def _due(plan: Plan, address: str, phase: Phase, half: Track[Action] | Track[Undo], since: float) -> float | None:
    """When a half that is open is to move; None where nobody says."""
    if half.due is not None:
        return half.due if half.due < NO_REPLY_SECONDS else None
    if isinstance(plan.node(address), WaitNode):
        return None
    if half.status in (Action.WAITING, Undo.WAITING):
        return since
    step = plan.step(address)
    timeout = step.timeout if phase is ACTION else step.undo_timeout
    return since + 2 * timeout if timeout < NO_REPLY_SECONDS else None
