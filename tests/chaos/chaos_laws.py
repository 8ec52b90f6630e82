"""Laws about how sagas came to where they are, for every chaos with a conductor: their journals, read line by line.

What it is: functions from journals, what the sagas say of themselves, and the log of calls, to a list of sentences,
empty if all is well. The numbers are those of `docs/internals/chaos.md`. One pass over each record.
Guarantees: folds no state but what its own rules need; only S18 asks the core, which is what is accused there.
Must not: excuse.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from amends.decide import events as e
from amends.decide.events import Cause, Phase
from amends.decide.evolve import replay
from amends.decide.plan import Node, StepNode
from amends.errors import ImpossibleTransition
from amends.operate.values import SagaView
from amends.run.journal import Row

Journals = Mapping[str, Sequence[Row]]
"""The rows of each saga, by its id, in order."""

KNOWN = (e.Succeeded, e.Unknown, e.Stuck, e.Failed, e.Closed, e.Late)
"""After these of its action it is known how a step stands, or that nobody knows."""


class Takeovers(NamedTuple):
    """How long sagas had nobody: from the last line that the gone worker wrote anywhere to the line of the one who
    took over, in seconds; the shortest first."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all of them, 0 where there is none."""
        return self.seconds[len(self.seconds) // 2] if self.seconds else 0.0

    @property
    def longest(self) -> float:
        """Of all of them, 0 where there is none."""
        return max(self.seconds, default=0.0)


def laws(sagas: Mapping[str, SagaView], journals: Journals) -> list[str]:
    """Everything in these journals that does not hold."""
    found: list[str] = []
    for name, view in sagas.items():
        rows = journals.get(name, ())
        events = [event for row in rows for event in row.events]
        found += (*explained(name, view, events), *asked_back(name, events), *tried(name, view, events))
    return found


def explained(name: str, view: SagaView, events: Sequence[e.Event]) -> Iterator[str]:
    """S18: the history gives the state that is shown, and names why the saga went back or rests."""
    try:
        status = str(replay(events).status)
    except ImpossibleTransition as error:
        yield f"S18 {name}: its history cannot be: {error}"
        return
    if status != view.line.status:
        yield f"S18 {name}: its history makes it {status}, and it is shown as {view.line.status}"
    for event in (event for event in events if isinstance(event, e.TurnedBack)):
        if event.cause not in set(Cause) or not (event.address or event.reason or event.cause == Cause.OPERATOR):
            yield f"S18 {name}: it went back, and its history does not say why: {event}"
    rests = [event for event in events if isinstance(event, e.Parked)]
    if view.line.status == "parked" and not (rests and rests[-1].reason):
        yield f"S18 {name}: it is parked, and its history does not say why"


def asked_back(name: str, events: Iterable[e.Event]) -> Iterator[str]:
    """S8: an undo is asked for once it is known how its action ended, or that nobody knows it; after a no never."""
    known: set[str] = set()
    refused: set[str] = set()
    for event in events:
        if isinstance(event, KNOWN) and getattr(event, "phase", Phase.ACTION) == Phase.ACTION:
            known.add(event.address)
        elif isinstance(event, e.Rejected):
            refused.add(event.address)
        elif isinstance(event, e.Retried) and event.phase == Phase.ACTION:
            known.discard(event.address)
            refused.discard(event.address)
        elif isinstance(event, (e.Issued, e.Sent)) and event.phase == Phase.UNDO:
            if event.address in refused:
                yield f"S8 {name}: {event.address} said no, and its undo was asked for"
            elif event.address not in known:
                yield f"S8 {name}: the undo of {event.address} was asked for before its action had ended"


def tried(name: str, view: SagaView, events: Iterable[e.Event]) -> Iterator[str]:
    """L5: nothing is tried more often than its step says, but for attempts that went down with their worker."""
    times: Counter[tuple[str, Phase]] = Counter()
    for event in events:
        if isinstance(event, (e.Issued, e.Sent)):
            times[event.address, event.phase] += 1
            limit = _limit(view.plan.node(event.address), event.phase)
            if limit is not None and times[event.address, event.phase] == limit + 1:
                yield f"L5 {name}: the {event.phase} of {event.address} is tried more than {limit} times"
        elif isinstance(event, e.Failed) and event.lost:
            times[event.address, event.phase] -= 1
        elif isinstance(event, e.Retried):
            times[event.address, event.phase] = 0


def _limit(node: Node | None, phase: Phase) -> int | None:
    """How often a half of a step may be tried; None where there is no end to it, or it is no step."""
    if not isinstance(node, StepNode):
        return None
    return (node.retry if phase == Phase.ACTION else node.undo_retry).attempts


def calls_were_decided(calls: Iterable[Mapping[str, Any]], journals: Journals) -> Iterator[str]:
    """L5: nothing is called that no line of the history had said before, and not more often. For steps in the workers
    themselves: a broker may hand a command over as often as it likes. op: `do`, or `undo`."""
    decided: dict[tuple[str, str, Phase], int] = defaultdict(int)
    for name, rows in journals.items():
        for event in (event for row in rows for event in row.events):
            if isinstance(event, e.Issued):
                decided[name, event.address, event.phase] += 1
    made = Counter((call["saga"], call["step"], Phase.ACTION if call["op"] == "do" else Phase.UNDO) for call in calls)
    for (name, step, phase), count in made.items():
        if name in journals and count > decided[name, step, phase]:
            asked = decided[name, step, phase]
            yield f"L5 {name}: the {phase} of {step} was called {count} times, and decided {asked} times"


def undone_unasked(calls: Iterable[Mapping[str, Any]], done: Iterable[tuple[str, str]]) -> Iterator[str]:
    """S7: behind the barrier no undo is called of what was never done. done: saga and step of each effect."""
    effects = set(done)
    for call in calls:
        if call["op"] == "undo" and (call["saga"], call["step"]) not in effects:
            yield f"S7 {call['saga']}: the undo of {call['step']} was called, and it never had an effect"


def until_taken_over(journals: Journals) -> Takeovers:
    """L2: how long it took until somebody took over."""
    wrote: dict[int, list[float]] = defaultdict(list)
    taken: list[tuple[int, float]] = []
    for rows in journals.values():
        for row in rows:
            wrote[row.worker].append(row.at)
            gone = (event.worker for event in row.events if isinstance(event, e.Adopted))
            taken += [(worker, row.at) for worker in gone if worker != row.worker]
    gaps = (at - max((said for said in wrote[worker] if said <= at), default=at) for worker, at in taken)
    return Takeovers(tuple(sorted(gaps)))
