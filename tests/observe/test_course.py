"""Each line of a history that means something to whoever looks on is told in one word, and the others in none."""

from __future__ import annotations

from typing import get_args

import pytest
from asked import placed

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import Phase
from amends.observe import events as o
from amends.observe.course import Course, Sent
from amends.observe.events import About

ABOUT = About("default", "placed", "one", bytes(16))
PLAN = placed.plan
STATE = decide(PLAN, None, m.Start(b'{"cents":100}'), 1.0).state
ACTION, UNDO = Phase.ACTION, Phase.UNDO


def told(*lines: e.Event, sent: Sent | None = None) -> list[o.Event]:
    """What is told of some lines."""
    course = Course(ABOUT, PLAN)
    if sent is not None:
        course.sent["reserve", ACTION] = course.sent["reserve", UNDO] = sent
    return list(course.told(lines, STATE, 10.0))


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (e.Moved("f1"), o.SagaMoved(ABOUT, 10.0, "f1")),
        (e.Late("reserve", ACTION, "no"), o.AnswerLate(ABOUT, 10.0, "reserve", ACTION)),
        (e.Refused("cancel", "mail-1", "it has ended"), o.AskRefused(ABOUT, 10.0, "cancel")),
        (e.Operated("skip", "pack", "ada", "why"), o.ActTaken(ABOUT, 10.0, "skip", "pack")),
        (e.Kept("word", b"1"), o.SignalTaken(ABOUT, 10.0, "word", True)),
        (e.Adopted(3, 2, 1), o.SagaAdopted(ABOUT, 10.0, 3, 2)),
        (e.Resumed(), o.SagaResumed(ABOUT, 10.0, False)),
        (e.ResumedBack(), o.SagaResumed(ABOUT, 10.0, True)),
        (e.Parked("because"), o.SagaParked(ABOUT, 10.0)),
        (e.TurnedBack("deadline", "", "it is over"), o.SagaTurnedBack(ABOUT, 10.0, "deadline", "")),
        (e.Compensated(), o.SagaEnded(ABOUT, 10.0, "compensated", 10.0)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_line_of_the_saga_is_told_in_a_word(line: e.Event, event: o.Event) -> None:
    assert told(line) == [event]


@pytest.mark.parametrize(
    ("line", "phase", "outcome"),
    [
        (e.Succeeded("reserve", b"1"), ACTION, "succeeded"),
        (e.Rejected("reserve", "no"), ACTION, "rejected"),
        (e.Unknown("reserve", "no reply"), ACTION, "unresolved"),
        (e.Failed("reserve", ACTION, "busy", True, 12.0), ACTION, "failed"),
        (e.Failed("reserve", ACTION, "no reply", False, 12.0), ACTION, "unresolved"),
        (e.Stuck("reserve", UNDO, "missing"), UNDO, "unresolved"),
        (e.Stuck("reserve", UNDO, "busy", resolved=True), UNDO, "failed"),
        (e.Stuck("reserve", ACTION, "no", resolved=True, rejected=True), ACTION, "rejected"),
        (e.Undone("reserve"), UNDO, "succeeded"),
        (e.Voided("reserve"), UNDO, "void"),
    ],
)
def test_the_end_of_a_remote_attempt_is_told_with_its_command(line: e.Event, phase: Phase, outcome: str) -> None:
    first = told(line, sent=Sent(4.0, 3, 2))[0]

    assert isinstance(first, o.AttemptEnded)
    assert (first.phase, first.outcome, first.command) == (phase, outcome, "stock.reserve")
    assert (first.seconds, first.attempt, first.round) == (6.0, 3, 2)
    assert not [event for event in told(line) if isinstance(event, o.AttemptEnded)], "of what never went out"


@pytest.mark.parametrize(
    "line",
    [
        e.Succeeded("pack", b"1"),
        e.Rejected("pack", "odd"),
        e.Unknown("pack", "x"),
        e.Undone("pack"),
        e.Failed("pack", ACTION, "x", False, 12.0),
        e.Stuck("pack", ACTION, "x"),
    ],
)
def test_the_end_of_a_local_attempt_is_left_to_whoever_made_it(line: e.Event) -> None:
    assert not [event for event in told(line) if isinstance(event, o.AttemptEnded)]


def test_a_local_attempt_that_is_lost_is_told_here_and_when_the_next_is_due() -> None:
    lost, retry = told(e.Failed("pack", ACTION, "its worker died", False, 12.5, lost=True))

    assert isinstance(lost, o.AttemptEnded)
    assert isinstance(retry, o.RetryScheduled)
    assert (lost.lost, lost.seconds, retry.delay_seconds) == (True, None, 2.5)


@pytest.mark.parametrize(
    ("line", "phase", "outcome"),
    [
        (e.Unknown("pack", "its worker died", lost=True), ACTION, "unresolved"),
        (e.Stuck("pack", ACTION, "its worker died", lost=True), ACTION, "unresolved"),
        (e.Stuck("pack", ACTION, "its worker died", resolved=True, lost=True), ACTION, "failed"),
        (e.Stuck("pack", UNDO, "its worker died", lost=True), UNDO, "unresolved"),
    ],
)
def test_one_that_is_lost_is_told_where_there_is_no_next_too(line: e.Event, phase: Phase, outcome: str) -> None:
    lost = told(line)[0]

    assert isinstance(lost, o.AttemptEnded)
    assert (lost.step, lost.phase, lost.outcome, lost.lost, lost.seconds) == ("pack", phase, outcome, True, None)


def test_an_attempt_that_was_given_up_does_not_end_again_where_its_answer_comes_in_the_pause() -> None:
    failed, succeeded = e.Failed("reserve", ACTION, "no reply", False, 12.0), e.Succeeded("reserve", b"1")

    first, second = told(failed, succeeded, sent=Sent(4.0, 3, 2))

    assert isinstance(first, o.AttemptEnded)
    assert isinstance(second, o.RetryScheduled)


def test_an_attempt_has_its_own_number_also_where_the_next_begins_at_once() -> None:
    """The state is after both lines, and knows of the next one."""
    state = decide(PLAN, None, m.Start(b'{"cents":100}'), 1.0).state
    course = Course(ABOUT, PLAN)
    step = state.step("reserve")
    state.steps["reserve"] = step._replace(action=step.action._replace(attempts=2))

    [retry] = course.told((e.Failed("reserve", ACTION, "x", True, 10.0), e.Sent("reserve", ACTION, 20.0)), state, 10.0)

    assert isinstance(retry, o.RetryScheduled)
    assert retry.attempt == 1


def test_every_line_is_told_in_a_way_that_was_thought_of() -> None:
    """A line that is new is either told or listed here."""
    silent = {
        *(e.Issued, e.Built, e.Sent, e.Postponed, e.Begun, e.Waiting, e.Chosen, e.Skipped, e.Listed, e.Abandoned),
        *(e.PivotPassed, e.CancelNoted, e.Retried, e.Closed, e.Given, e.Assigned, e.Noted),
    }
    from amends.observe.course import _TOLD

    assert silent | set(_TOLD) == set(get_args(e.Event))
    assert not silent & set(_TOLD)
