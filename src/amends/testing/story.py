"""A saga's history as a story for people who read a failed test.

Guarantees: one line per thing that happened, in order, with the time since the start; no
payload is shown.
Must not: be parsed by anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from amends.decide import events as e
from amends.decide.events import Event, Phase
from amends.run import journal


def story(rows: Iterable[bytes]) -> list[str]:
    """The lines of some journal rows."""
    lines: list[str] = []
    start: float | None = None
    tries: dict[tuple[str, Phase], int] = {}
    for row in rows:
        at, _, events = journal.decode(row)
        start = at if start is None else start
        lines += [f"{passed(at - start):>14}  {text}" for event in events if (text := _line(event, tries))]
    return lines


def passed(seconds: float) -> str:
    """A time that passed: `0.2 s`, `1:30:00`, `3 days, 0:00:00`."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f} s"
    return str(timedelta(seconds=round(seconds)))


def _line(event: Event, tries: dict[tuple[str, Phase], int]) -> str:
    match event:
        case e.Issued(address, phase):
            number = tries[address, phase] = tries.get((address, phase), 0) + 1
            return f"{_half(address, phase)}: attempt {number}"
        case e.Failed(address, phase, reason):
            return f"{_half(address, phase)}: failed, to be tried again: {reason}"
        case e.Stuck(address, phase, reason):
            return f"{_half(address, phase)}: stuck: {reason}"
        case e.Late(address, phase, outcome):
            return f"{_half(address, phase)}: a late answer, noted: {outcome}"
        case e.Retried(address, phase, round_):
            tries.pop((address, phase), None)
            return f"{_half(address, phase)}: to be tried again by a person" + (f", round {round_}" * (round_ > 1))
        case e.Closed(address, phase, reason):
            return f"{_half(address, phase)}: settled by a person: {reason}"
        case e.Begun(address, phase):
            return f"{_half(address, phase)}: begun alone"
    return _line_of_step(event)


def _line_of_step(event: Event) -> str:
    match event:
        case e.Succeeded(address):
            return f"{address}: succeeded"
        case e.Rejected(address, reason):
            return f"{address}: rejected: {reason}"
        case e.Unknown(address, reason):
            return f"{address}: unknown: {reason}"
        case e.Undone(address):
            return f"undo of {address}: done"
        case e.Voided(address):
            return f"undo of {address}: nothing to undo"
        case e.Waiting(address, until):
            return f"{address}: waiting" + ("" if until is not None else ", without end")
        case e.Kept(address):
            return f"{address}: a signal came"
        case e.Chosen(address, taken):
            return f"{address}: the condition is {taken}"
        case e.Listed(address, items):
            return f"{address}: {len(items)} items"
        case e.Skipped(addresses):
            return f"skipped: {', '.join(addresses)}"
        case e.Abandoned(address):
            return f"{address}: no longer waited for"
    return _line_of_saga(event)


def _line_of_saga(event: Event) -> str:
    match event:
        case e.Started():
            return "started"
        case e.PivotPassed():
            return "the point of no return"
        case e.TurnedBack(cause, address, reason):
            return f"goes back: {cause}" + (f", {address}" * bool(address)) + (f": {reason}" * bool(reason))
        case e.CancelNoted(_, reason):
            return f"a cancel waits for the pivot: {reason}"
        case e.Parked(reason):
            return f"parked: {reason}"
        case e.Resumed() | e.ResumedBack():
            return "goes on"
        case e.Completed():
            return "completed"
        case e.Compensated():
            return "compensated"
        case e.Adopted():
            return "taken over from a worker that was gone"
        case e.Operated(verb, address, actor, reason):
            return f"{verb}{' ' * bool(address)}{address} by {actor}: {reason}"
        case e.Refused(verb, _, why):
            return f"{verb} refused: {why}"
        case e.Moved():
            return "goes on with a changed definition"
    return type(event).__name__


def _half(address: str, phase: Phase) -> str:
    return f"undo of {address}" if phase is Phase.UNDO else address
