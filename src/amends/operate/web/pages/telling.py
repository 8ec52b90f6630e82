"""What a page says of one saga in sentences: where it stands, why, and what happens next.

Guarantees: pure; says only what the view says, and names who is to act; a saga that waits for nobody is told so too.
Must not: offer an act; what may be done is in the view.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from amends.operate.values import OpenStep, SagaLine, SagaView, StepLine
from amends.operate.web.pages.words import count, listed, span, whole

NAMED_MAX = 6


class Stand(NamedTuple):
    """Where a saga stands. tone, shape: of how it is shown. title: in a few words. lines: the sentences."""

    tone: str
    shape: str
    title: str
    lines: tuple[str, ...]


def stand(view: SagaView, now: float) -> Stand:
    """What is said at the top of a saga's page."""
    line = view.line
    if line.home and not line.holder:
        text = f"It is choreographed and only watched here. Its home is the service {line.home}; act there."
        return _moving(view, now, (*_trouble(line), text))
    match line.status:
        case "completed":
            return Stand("good", "check", "Completed", ("It did everything, and has ended.", *_closed(view)))
        case "compensated":
            return Stand("undone", "undone", "Compensated", (*_reason(line), "What it did is undone.", *_closed(view)))
        case "parked":
            return _parked(view)
        case _:
            return _moving(view, now, tuple(_trouble(line)))


def _parked(view: SagaView) -> Stand:
    line = view.line
    where = f"At {line.step}: " if line.step and line.step not in line.reason else ""
    lines = [f"{where}{line.reason or 'nobody said why'}"]
    lines.append("Nothing in it moves until somebody acts; what may be done is listed under “What you can do”.")
    if line.holder:
        lines.append(f"It is with {line.holder}.")
    return Stand("bad", "pause", "Parked: a person is needed", (*lines, *_mail(view)))


def _moving(view: SagaView, now: float, trouble: tuple[str, ...]) -> Stand:
    line = view.line
    lines = (*trouble, *_next(view, now), *_mail(view))
    if trouble and not (line.home and not line.holder):
        return Stand("bad", _shape(line), _title(line), lines)
    if line.status == "compensating":
        return Stand("compensating", "back", "Going back", (*_reason(line), *lines))
    waits = [step for step in view.steps if step.kind == "wait" and step.status == "waiting"]
    if waits:
        return Stand("waiting", "clock", "Waiting for a signal", lines)
    return Stand("running", "run", "Going forward", lines)


def _shape(line: SagaLine) -> str:
    return "mute" if line.silent else "plug" if line.stalled or line.stranded else "pause"


def _title(line: SagaLine) -> str:
    if line.silent:
        return "Silent: a service did not react"
    if line.stalled:
        return "Stalled: no worker has a definition that fits"
    if line.stranded:
        return "Stranded: no live worker runs it"
    return "One step is stuck, the rest goes on"


def _trouble(line: SagaLine) -> Iterator[str]:
    """Why it does not move as it should."""
    if line.silent:
        yield f"{_capital(line.silent)}."
    if line.stalled:
        yield f"{_capital(line.stalled)}. It goes on when a worker with a fitting definition comes."
    if line.stranded:
        yield f"{_capital(line.stranded)}."
    if line.stuck and line.status in ("running", "compensating"):
        yield f"Stuck: {line.stuck}. That step waits for a person."


def _next(view: SagaView, now: float) -> Iterator[str]:
    """What happens next, as far as the steps tell."""
    told = [text for step in view.steps if (text := _of_step(step, now))]
    yield from told[:NAMED_MAX]
    if len(told) > NAMED_MAX:
        yield f"{count(len(told) - NAMED_MAX, 'more step')} are under way."
    if told or view.line.stalled or view.line.stranded:
        return
    if view.line.holder:
        yield f"It is with {view.line.holder}."
    elif view.line.due_at is not None and view.line.due_at > now:
        yield f"A worker takes it up again in {span(view.line.due_at - now)}."
    elif view.line.worker is None:
        yield "The next worker that is free takes it up."
    else:
        yield f"Worker {view.line.worker} has it in hand."


def _of_step(step: StepLine, now: float) -> str:
    undo = bool(step.undo)
    half = f"the undo of {step.address}" if undo else step.address
    attempt = step.undo_attempts if undo else step.attempts
    nth = f" (attempt {attempt})" if attempt > 1 else ""
    if step.status == "running":
        return _capital(_in_hand(step, half, nth, now))
    if step.status != "waiting":
        return ""
    if step.kind == "wait":
        limit = "" if step.due_at is None else f", until {whole(step.due_at)}"
        return f"It waits for the signal {step.address}{limit}."
    if step.kind == "sleep":
        return f"It sleeps at {step.address}{_until(step.due_at, now)}."
    again = "" if step.due_at is None else f" {_in(step.due_at, now)}"
    why = f"; the last attempt: {step.reason}" if step.reason else ""
    return f"{_capital(half)} is tried again{again}{nth}{why}."


def _in_hand(step: StepLine, half: str, nth: str, now: float) -> str:
    if step.contract:
        limit = "" if step.due_at is None else f"; if no reply comes, it is asked again {_in(step.due_at, now)}"
        return f"{half} is with {step.contract.partition('.')[0]}{nth}{limit}."
    if step.items:
        told = listed([f"{number} {word}" for word, number in step.items])
        return f"{half}: {told}."
    return f"{half} is being done{nth}."


def _in(at: float, now: float) -> str:
    return "now" if at <= now else f"in {span(at - now)}"


def _until(at: float | None, now: float) -> str:
    return "" if at is None else f" until {whole(at)}, {span(at - now)} from now"


def _reason(line: SagaLine) -> tuple[str, ...]:
    return (f"It went back because: {line.reason}",) if line.reason else ()


def _closed(view: SagaView) -> tuple[str, ...]:
    if not view.closed:
        return ()
    return (f"Settled by hand: {listed(list(view.closed), NAMED_MAX)}.",)


def _mail(view: SagaView) -> tuple[str, ...]:
    if not view.waiting_mail:
        return ()
    return (
        f"{count(view.waiting_mail, 'message')} for it {'is' if view.waiting_mail == 1 else 'are'} not answered yet.",
    )


def unsettled(entry: OpenStep) -> str:
    """One step that is not settled, in a line."""
    half = f"its undo is {entry.undo}" if entry.undo else f"its action is {entry.action}"
    return f"{half}{f': {entry.reason}' if entry.reason else ''}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the undo of ") else text
