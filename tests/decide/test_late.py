"""Late messages (rule 6): knowledge, counted, and never a move forward."""

from __future__ import annotations

import pytest
from told import PIVOT, UNDO, Story, after, go, parallel, plan, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.state import Action, Status, Undo


def unknown() -> Story:
    """A saga that goes back because its only step gave no answer."""
    saga = Story(plan(step("a", attempts=1), step("b")))
    saga.fails("a")
    return saga


@pytest.mark.parametrize(
    "message",
    [
        m.Done("a", e.ACTION, b'"late"'),
        m.No("a", e.ACTION, "late"),
        m.Failure("a", e.ACTION, "late"),
        m.Failure("a", e.ACTION, "late", park=True),
    ],
)
def test_a_late_answer_is_recorded_counted_and_moves_nothing(message: m.Message) -> None:
    saga = unknown()
    before = saga.state

    events = saga.tell(message)

    assert [type(event) for event in events] == [e.Late]
    assert saga.state.late == 1
    assert saga.state.status is before.status
    assert saga.action("a") is Action.UNKNOWN
    assert saga.undoing == {"a"}


def test_a_late_success_gives_the_compensation_the_result() -> None:
    saga = unknown()

    saga.succeeds("a", result=b'"r1"')

    assert saga.state.step("a").result == b'"r1"'


def test_a_late_answer_changes_no_result_that_others_may_have_read() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a", result=b'"first"')

    saga.succeeds("a", result=b'"second"')

    assert saga.state.step("a").result == b'"first"'


def test_a_late_success_changes_nothing_of_what_a_person_resolved() -> None:
    saga = Story(plan(PIVOT, after("a"), after("b")))
    saga.hangs("a")
    saga.operate("resolve", "a", result=b'"by hand"')

    saga.succeeds("a", result=b'"late"')

    assert saga.action("a") is Action.CLOSED
    assert saga.state.step("a").result == b'"by hand"'
    assert saga.doing == {"b"}


def test_a_late_success_of_a_skipped_step_gives_it_no_result() -> None:
    saga = Story(plan(PIVOT, after("a"), after("b")))
    saga.hangs("a")
    saga.operate("skip", "a")

    saga.succeeds("a", result=b'"late"')

    assert saga.state.step("a").result is None


def test_a_late_success_of_the_pivot_is_knowledge_and_no_point_of_no_return() -> None:
    saga = Story(plan(step("a"), go()))
    saga.succeeds("a")
    saga.hangs("go")

    saga.succeeds("go")

    assert not saga.state.passed
    assert saga.status == Status.PARKED


def test_a_late_answer_of_a_compensation_leaves_it_stuck() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.hangs("a", UNDO)

    saga.undone("a")

    assert saga.undo("a") is Undo.STUCK
    assert saga.state.late == 1


def test_a_late_answer_for_what_never_began_changes_nothing_but_the_count() -> None:
    saga = Story(plan(step("a"), step("b")))

    saga.succeeds("b")
    saga.tell(m.Done("b", UNDO))

    assert saga.state.late == 2
    assert saga.action("b") is Action.PENDING
    assert saga.doing == {"a"}


def test_a_parked_saga_stays_parked_when_what_was_still_running_returns() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.succeeds("b")
    saga.hangs("a")

    saga.succeeds("a")

    assert saga.status == Status.PARKED
    assert saga.action("a") is Action.STUCK
    assert saga.state.step("a").action.overdue == 0
