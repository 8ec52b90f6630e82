"""What a person does about a step that a service was asked to do and has not answered."""

from __future__ import annotations

import pytest
from told import ACTION, UNDO, Story, go, plan, remote, step

from amends.decide import events as e
from amends.decide.draft import Word
from amends.decide.evolve import evolve
from amends.decide.state import Action, Undo
from amends.errors import ImpossibleTransition


def undoing() -> Story:
    """The undo of `a` is with its service."""
    saga = Story(plan(remote("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    assert saga.undoing == {"a"}
    return saga


def test_a_command_in_flight_is_sent_again_at_once_and_uses_up_no_attempt() -> None:
    saga = Story(plan(remote("a")))

    assert saga.operate("retry", "a") is Word.ACCEPTED

    assert saga.doing == {"a"}
    assert [event for event in saga.history if isinstance(event, e.Sent)] == [
        e.Sent("a", ACTION, 10.0),
        e.Sent("a", ACTION, 10.0),
    ]
    assert saga.state.step("a").action.attempts == 1


def test_the_answer_to_the_command_before_a_retry_is_as_good_as_that_to_the_one_after_it() -> None:
    saga = Story(plan(remote("a")))
    saga.operate("retry", "a")

    saga.succeeds("a")

    assert saga.status == "completed"


def test_a_no_after_a_retry_of_what_was_in_flight_is_no_certainty_unless_the_barrier_says_so() -> None:
    saga, vouched = Story(plan(remote("a"))), Story(plan(remote("a")))

    for story, sure in ((saga, False), (vouched, True)):
        story.operate("retry", "a")
        story.rejects("a", sure=sure)

    assert saga.action("a") is Action.UNKNOWN
    assert vouched.action("a") is Action.REJECTED


def test_a_person_gives_the_result_of_a_step_that_a_service_does_not_answer() -> None:
    saga = Story(plan(remote("a"), step("b")))

    assert saga.operate("resolve", "a", result=b'"by hand"') is Word.ACCEPTED

    assert saga.state.step("a").action.status is Action.CLOSED
    assert saga.state.step("a").result == b'"by hand"'
    assert saga.state.step("a").closed == saga.state.step("a").round
    assert saga.doing == {"b"}


def test_what_the_service_says_after_a_person_did_is_late() -> None:
    saga = Story(plan(remote("a"), step("b")))
    saga.operate("resolve", "a", result=b'"by hand"')

    saga.succeeds("a", result=b'"after all"')

    assert saga.state.step("a").result == b'"by hand"'
    assert any(isinstance(event, e.Late) for event in saga.history)


def test_the_pivot_is_passed_when_a_person_says_that_it_happened() -> None:
    saga = Story(plan(remote("a"), go("p", work="command:shop/p", timeout=10.0), step("z")))
    saga.succeeds("a")

    assert saga.operate("resolve", "p", result=b"null") is Word.ACCEPTED

    assert saga.state.passed
    assert saga.doing == {"z"}


def test_a_compensation_in_flight_is_sent_again_at_once() -> None:
    saga = undoing()

    assert saga.operate("retry", "a") is Word.ACCEPTED

    assert saga.undoing == {"a"}
    undo = saga.state.step("a").undo
    assert undo is not None
    assert undo.attempts == 1


def test_a_person_says_that_a_compensation_is_done() -> None:
    saga = undoing()

    assert saga.operate("resolve", "a") is Word.ACCEPTED

    undo = saga.state.step("a").undo
    assert undo is not None
    assert undo.status is Undo.CLOSED
    assert saga.status == "compensated"


def test_a_function_that_runs_in_a_worker_is_never_given_up_by_hand() -> None:
    saga, back = Story(plan(step("a"))), Story(plan(step("a"), step("b")))
    back.succeeds("a")
    back.rejects("b")

    for story, phase in ((saga, ACTION), (back, UNDO)):
        assert story.operate("resolve", "a", result=b"1") is Word.REFUSED
        for event in (e.Retried("a", phase, 0), e.Closed("a", phase, "by hand")):
            with pytest.raises(ImpossibleTransition, match="runs in a worker"):
                evolve(story.state, event)
