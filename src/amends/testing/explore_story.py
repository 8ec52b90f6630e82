"""A run as lines for people: what was called, what befell it, and what the saga made of it.

Guarantees: one line per thing that happened, in order; a line of the journal has its number.
Must not: be parsed by anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from amends.decide import events as e
from amends.decide.events import Event
from amends.run.journal import Row
from amends.testing.explore_course import CallOf
from amends.testing.explore_excuse import half
from amends.testing.explore_run import Run
from amends.testing.virtual import START

_QUIET = (e.Issued, e.Sent, e.Built, e.Begun, e.Chosen, e.Listed, e.Postponed)


def story_of(run: Run) -> Iterator[str]:
    """The lines of a run."""
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
