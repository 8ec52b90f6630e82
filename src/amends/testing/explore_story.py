"""A run as lines for people: what was called, what befell it, and what the saga made of it.

Guarantees: things in the order in which they happened; a line of the journal has its number.
Must not: be parsed by anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from amends.decide import events as e
from amends.decide.events import Event
from amends.run.journal import Row
from amends.testing.explore_course import CallOf
from amends.testing.explore_excuse import half
from amends.testing.explore_run import Run
from amends.testing.virtual import START

REPEATS_TOLD = 5
PERIOD_MAX = 4  # lines
_NUMBER = re.compile(r"[\d.\s]+")  # and the room before it
_QUIET = (e.Issued, e.Sent, e.Built, e.Begun, e.Chosen, e.Listed, e.Postponed)


def story_of(run: Run) -> Iterator[str]:
    """The lines of a run. What goes on and on is told at its beginning and its end."""
    lines = list(_lines(run))
    shapes = [_NUMBER.sub("", line) for line in lines]
    place = 0
    while place < len(lines):
        period, times = _repeated(shapes, place)
        if times > REPEATS_TOLD:
            yield from lines[place : place + 2 * period]
            yield f"{'…':>11}         the same again, {times - 3} times"
            place += (times - 1) * period
        yield lines[place]
        place += 1


def _repeated(shapes: Sequence[str], place: int) -> tuple[int, int]:
    """How long what is repeated from here on is, and how often it is there."""
    best = (1, 1)
    for period in range(1, PERIOD_MAX + 1):
        first, times = shapes[place : place + period], 1
        while shapes[place + times * period : place + (times + 1) * period] == first:
            times += 1
        if times > REPEATS_TOLD and times > best[1]:
            best = (period, times)
    return best


def _lines(run: Run) -> Iterator[str]:
    line = -1
    for at, entry in run.story:
        when = f"{at - START:9.1f} s"
        if isinstance(entry, Row):
            line += 1
            words = [word for event in entry.events if (word := _word(event))]
            if words:
                yield f"{when}  @{line:<3} {'; '.join(words)}"
        elif isinstance(entry, CallOf):
            name = half(entry.address, entry.phase)
            again = f" (attempt {entry.attempt})" if entry.attempt > 1 else ""
            yield f"{when}         {name}{again} {entry.word}"
        else:
            yield f"{when}         {entry.text}"


def _word(event: Event) -> str:
    """What an event says; nothing where the next line says it."""
    match event:
        case _ if isinstance(event, _QUIET):
            return ""
        case e.Started():
            return "the saga starts"
        case e.Succeeded(address):
            return f"{address} succeeded"
        case e.Rejected(address):
            return f"{address} is rejected"
        case e.Failed(address, phase, reason):
            return f"{half(address, phase)} failed ({reason}) and is tried again"
        case e.Unknown(address, reason):
            return f"{address} is unknown ({reason})"
        case e.Stuck(address, phase, reason):
            return f"{half(address, phase)} is stuck ({reason})"
        case e.Undone(address):
            return f"the undo of {address} succeeded"
        case e.Voided(address):
            return f"the undo of {address} found nothing"
        case e.Waiting(address):
            return f"it waits for {address}"
        case _:
            return _word_of_saga(event)


def _word_of_saga(event: Event) -> str:  # one word for each
    match event:
        case e.TurnedBack(cause):
            return f"the saga goes back ({cause})"
        case e.PivotPassed():
            return "the pivot is passed"
        case e.Completed():
            return "COMPLETED"
        case e.Compensated():
            return "COMPENSATED"
        case e.Parked(reason):
            return f"PARKED: {reason}"
        case e.CancelNoted():
            return "the cancel waits for the pivot"
        case e.Refused(verb, _, why):
            return f"the {verb} is refused: {why}"
        case e.Adopted(worker):
            return f"taken over from worker {worker}"
        case e.Late(address, phase, outcome):
            return f"{half(address, phase)}: late, {outcome}"
        case e.Operated(verb, _, actor):
            return f"{verb} by {actor}"
        case e.Resumed() | e.ResumedBack():
            return "the saga goes on"
        case e.Retried(address, phase):
            return f"{half(address, phase)} is tried anew"
        case e.Kept(address):
            return f"the signal {address} is kept"
        case e.Abandoned(address):
            return f"{address} is given up"
        case _:
            return type(event).__name__.lower()
