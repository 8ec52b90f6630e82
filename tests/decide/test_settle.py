"""Settle before going back (rule 2): nothing is left running unobserved."""

from __future__ import annotations

import pytest
from told import UNDO, Story, each, items, look, parallel, plan, sequence, step

from amends.decide import events as e
from amends.decide.plan import SleepNode, WaitNode
from amends.decide.state import Action, Status, Undo


def test_siblings_in_flight_are_awaited_before_any_undo_starts() -> None:
    saga = Story(plan(step("z"), parallel(step("a"), step("b"), step("c"))))
    saga.succeeds("z", "a")

    saga.rejects("b")

    assert saga.status == Status.COMPENSATING
    assert saga.doing == {"c"}
    assert saga.undoing == set()
    saga.succeeds("c")
    assert saga.undoing == {"a", "c"}


@pytest.mark.parametrize("attempts", [2, None])
def test_a_sibling_that_fails_while_the_saga_goes_back_is_unknown_and_not_tried_again(attempts: int | None) -> None:
    saga = Story(plan(parallel(step("a"), step("b", attempts=attempts))))
    saga.rejects("a")

    saga.fails("b")

    assert saga.action("b") is Action.UNKNOWN
    assert saga.undoing == {"b"}


def test_a_sibling_that_is_rejected_while_the_saga_goes_back_has_nothing_to_undo() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.rejects("a")

    saga.rejects("b")

    assert saga.action("b") is Action.REJECTED
    assert saga.status == Status.COMPENSATED
    assert saga.state.turned is not None
    assert saga.state.turned.address == "a"


def test_a_sibling_that_waits_for_its_next_attempt_is_unknown_when_the_saga_goes_back() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.fails("b")

    saga.rejects("a")

    assert saga.action("b") is Action.UNKNOWN
    assert saga.undoing == {"b"}


def test_sleeps_and_waits_are_abandoned_when_the_saga_goes_back() -> None:
    saga = Story(plan(parallel(step("a"), SleepNode("nap", seconds=9.0), WaitNode("w"))))

    saga.rejects("a")

    assert saga.happened(e.Abandoned) == [e.Abandoned("nap"), e.Abandoned("w")]
    assert saga.status == Status.COMPENSATED


def test_a_question_that_raised_is_abandoned_when_the_saga_goes_back() -> None:
    saga = Story(plan(parallel(step("a"), each(step("e")))), answers={"e": ValueError("broken")})

    saga.rejects("a")

    assert saga.action("e") is Action.SKIPPED
    assert saga.status == Status.COMPENSATED


def test_items_not_yet_started_never_start_once_the_saga_goes_back() -> None:
    saga = Story(plan(each(step("e"), limit=2)), answers={"e": items(5)})
    saga.rejects("e[0]")

    saga.succeeds("e[1]")

    assert saga.undoing == {"e[1]"}
    saga.undone("e[1]")
    assert saga.status == Status.COMPENSATED
    assert {event.address for event in saga.happened(e.Issued)} == {"e[0]", "e[1]"}


# A function that does not stop


def test_an_action_that_does_not_stop_parks_the_saga_as_still_running() -> None:
    saga = Story(plan(step("a")))

    saga.hangs("a")

    assert saga.status == Status.PARKED
    assert saga.state.parked == "a: still running"
    assert saga.unsettled == ["a"]


def test_the_next_attempt_does_not_start_before_the_function_has_returned() -> None:
    saga = Story(plan(parallel(step("a"), step("b"))))
    saga.hangs("a")

    saga.tick(1000.0)

    assert saga.doing == {"b"}
    assert saga.status == Status.RUNNING


def test_its_own_compensation_does_not_start_before_the_function_has_returned() -> None:
    saga = Story(plan(step("z"), parallel(step("a"), step("b"))))
    saga.succeeds("z")
    saga.hangs("a")

    saga.rejects("b")

    assert saga.status == Status.PARKED
    assert saga.state.parked == "a: still running"
    assert saga.undo("z") is None


def test_siblings_of_a_function_that_does_not_stop_are_undone_meanwhile() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c"))))
    saga.hangs("a")
    saga.succeeds("c")

    saga.rejects("b")

    assert saga.undoing == {"c"}


def test_a_late_return_lets_its_own_compensation_start() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), step("c"))))
    saga.hangs("a")
    saga.succeeds("c")
    saga.rejects("b")

    saga.succeeds("a")

    assert saga.undoing == {"a", "c"}
    assert saga.state.step("a").result == b'"done"'


def test_a_compensation_that_does_not_stop_is_stuck() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")

    saga.hangs("a", UNDO)

    assert saga.undo("a") is Undo.STUCK
    assert saga.state.parked == "the undo of a: still running"


def test_it_is_too_late_to_say_that_an_attempt_does_not_stop_when_it_has_ended() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    saga.hangs("a")

    assert saga.action("a") is Action.SUCCEEDED
    assert saga.doing == {"b"}


def test_a_readonly_step_that_does_not_stop_leaves_no_doubt() -> None:
    saga = Story(plan(look("r"), step("a")))
    saga.hangs("r", worker=7)
    saga.operate("retry", "r")

    saga.rejects("r")

    assert saga.action("r") is Action.REJECTED


def test_a_sequence_inside_a_parallel_goes_back_on_its_own() -> None:
    saga = Story(plan(parallel(sequence(step("a"), step("b")), sequence(step("c"), step("d")))))
    saga.succeeds("a", "b", "c")

    saga.rejects("d")

    assert saga.undoing == {"b", "c"}
