"""Which faults could still be put into a run.

Guarantees: the same run gives the same faults in the same order, each behind all that are in the run already; whatever
is added is met.
Must not: leave out a fault because it is dear.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.decide import events as e
from amends.decide.events import Phase
from amends.decide.state import Status
from amends.testing.explore_faults import MOMENTS, SIGNALS, SIMPLEST, Fault, Kind
from amends.testing.explore_run import Point, Run, may_say_no
from amends.testing.explore_tx import TX

Position = tuple[int, int, int]
_BEFORE_ALL: Position = (-1, -1, -1)
_ONCE = (Kind.FAILS, Kind.TIMES_OUT, Kind.CRASH_BEFORE, Kind.CRASH_AFTER)
_ONCE_TX = (Kind.FAILS, Kind.CRASH_BEFORE, Kind.CRASH_AFTER)  # one that times out is rolled back: it fails


def further(run: Run) -> list[Fault]:
    """The faults that can be added behind those of a run."""
    last = max((_position(run, fault) for fault in run.faults), default=_BEFORE_ALL)
    taken = {fault.name for fault in run.faults if fault.kind in SIGNALS}
    found: list[tuple[Position, Fault]] = []
    for index, point in enumerate(run.points):
        position = (point.line, 0, index)
        if position > last and point.name not in taken:
            found += [(position, Fault(kind, point.name, point.phase, point.number)) for kind in _kinds(run, point)]
    found += [(position, fault) for position, fault in _moments(run) if position > last]
    found.sort(key=lambda one: one[0])
    return [fault for _, fault in found]


def _position(run: Run, fault: Fault) -> Position:
    if fault.kind in MOMENTS:
        return _behind(run, fault)
    for index, point in enumerate(run.points):
        if (point.name, point.phase) == (fault.name, fault.phase) and (
            point.node is None or point.number == fault.number
        ):
            return (point.line, 0, index)
    return _BEFORE_ALL


def _kinds(run: Run, point: Point) -> Iterator[Kind]:
    """What can go wrong at a point."""
    node = point.node
    if node is None:
        yield from (Kind.SIGNAL_LOST, Kind.SIGNAL_EARLY, Kind.SIGNAL_TWICE)
        if point.late:
            yield Kind.SIGNAL_LATE
        return
    if node.remote:
        yield from run.scene.kinds(point, node)
        return
    undo = point.phase is Phase.UNDO
    policy = node.undo_retry if undo else node.retry
    if not undo and _may_say_no(run, point):
        yield Kind.REJECTS
    yield from _ONCE_TX if node.work == TX else _ONCE
    if point.number == 1 and policy.attempts is not None and policy.attempts > 1:
        yield Kind.DOWN
        if not (undo or node.readonly or node.work == TX):
            yield Kind.LOST
    if point.siblings:
        yield Kind.SLOW


def _may_say_no(run: Run, point: Point) -> bool:
    node, step = point.node, run.scene.program.step(point.name)
    return node is not None and may_say_no(node, step.action.fn, step.step.body.rejects)


def _moments(run: Run) -> Iterator[tuple[Position, Fault]]:
    """What can happen behind each line of the journal."""
    state = run.state
    if state is None:
        return
    found = [Fault(Kind.SWAPPED, number=line) for line in run.swappable]
    last = len(run.rows) - 1
    forward = True
    for line, row in enumerate(run.rows):
        kinds = {type(event) for event in row.events}
        forward = forward and e.TurnedBack not in kinds and not (line == last and state.status is not Status.RUNNING)
        if forward:
            found.append(Fault(Kind.CANCEL, number=line))
            if state.deadline is not None:
                found.append(Fault(Kind.DEADLINE, number=line))
        forward = forward and e.PivotPassed not in kinds
        found += [Fault(Kind.ACT, name, number=line) for name in run.scene.acts]
    yield from ((_behind(run, fault), fault) for fault in found)


def _behind(run: Run, fault: Fault) -> Position:
    """Of what happens behind a line, one kind after the other."""
    act = list(run.scene.acts).index(fault.name) if fault.kind is Kind.ACT else 0
    return (fault.number, 1, SIMPLEST[fault.kind] + act)


def simpler(run: Run, fault: Fault) -> Iterator[Fault]:
    """Faults that could stand at the same place and are easier to understand."""
    for point in run.points:
        if point.node is not None and (point.name, point.phase, point.number) == fault[1:]:
            kinds = sorted(_kinds(run, point), key=SIMPLEST.__getitem__)
            yield from (fault._replace(kind=kind) for kind in kinds if SIMPLEST[kind] < SIMPLEST[fault.kind])
            return
