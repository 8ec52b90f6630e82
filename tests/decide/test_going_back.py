"""Going back (rule 4): the plan backwards, and nothing skipped without an operator's word."""

from __future__ import annotations

import pytest
from told import UNDO, Story, each, items, look, parallel, plan, sequence, step

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Word
from amends.decide.plan import SleepNode, WhenNode
from amends.decide.state import Action, Status, StepState, Track, Undo, begin
from amends.errors import ImpossibleTransition


def gone_back(*, undo_attempts: int = 2) -> Story:
    """Three steps have run and the fourth said no."""
    a, b, c = (step(name, undo_attempts=undo_attempts) for name in "abc")
    saga = Story(plan(a, b, c, step("d")))
    saga.succeeds("a", "b", "c")
    saga.rejects("d")
    return saga


def test_undos_run_one_after_the_other_backwards() -> None:
    saga = gone_back()

    assert saga.undoing == {"c"}
    saga.undone("c")
    assert saga.undoing == {"b"}
    saga.undone("b")
    assert saga.undoing == {"a"}
    saga.undone("a")
    assert saga.status == Status.COMPENSATED


def test_a_compensation_that_fails_to_the_end_is_stuck_and_the_saga_is_not_compensated() -> None:
    saga = gone_back()
    saga.fails("c", "no route", phase=UNDO)
    saga.tick()

    saga.fails("c", "no route", phase=UNDO)

    assert saga.undo("c") is Undo.STUCK
    assert saga.status == Status.PARKED
    assert saga.state.parked == "the undo of c: no route"
    assert saga.unsettled == ["a", "b", "c"]


@pytest.mark.parametrize("how", ["rejects", "parks", "never"])
def test_these_make_a_compensation_stuck_at_once(how: str) -> None:
    saga = gone_back(undo_attempts=20)

    if how == "rejects":
        saga.undo_rejects("c")
    else:
        saga.fails("c", phase=UNDO, park=how == "parks", final=how == "never")

    assert saga.undo("c") is Undo.STUCK
    assert saga.status == Status.PARKED


def test_a_stuck_undo_holds_up_what_stands_before_it_in_its_own_sequence_and_before_the_block() -> None:
    block = parallel(sequence(step("a"), step("b")), sequence(step("c"), step("d")))
    saga = Story(plan(step("y"), block, step("z")))
    saga.succeeds("y", "a", "b", "c", "d")
    saga.rejects("z")

    saga.undo_rejects("b")

    assert saga.undoing == {"d"}
    assert saga.status == Status.COMPENSATING
    saga.undone("d")
    saga.undone("c")
    assert saga.status == Status.PARKED
    assert saga.unsettled == ["y", "a", "b"]


def test_a_stuck_undo_holds_up_no_sibling_branch() -> None:
    saga = Story(plan(parallel(step("a"), step("b")), step("z")))
    saga.succeeds("a", "b")
    saga.rejects("z")

    saga.undo_rejects("a")

    assert saga.undoing == {"b"}


def test_items_go_back_independently_and_no_more_than_the_limit_at_a_time() -> None:
    saga = Story(plan(each(step("e"), limit=2), step("z")), answers={"e": items(4)})
    saga.succeeds("e[0]", "e[1]", "e[2]", "e[3]")
    saga.rejects("z")

    assert saga.undoing == {"e[3]", "e[2]"}
    saga.undone("e[2]")
    assert saga.undoing == {"e[3]", "e[1]"}
    saga.undo_rejects("e[3]")
    assert saga.undoing == {"e[1]", "e[0]"}
    saga.undone("e[0]", "e[1]")
    assert saga.status == Status.PARKED
    assert saga.unsettled == ["e[3]"]


def test_an_undo_that_waits_for_its_next_attempt_keeps_its_place() -> None:
    saga = Story(plan(each(step("e"), limit=1), step("z")), answers={"e": items(2)})
    saga.succeeds("e[0]", "e[1]")
    saga.rejects("z")

    saga.fails("e[1]", phase=UNDO)

    assert saga.undoing == set()
    saga.tick()
    assert saga.undoing == {"e[1]"}


def test_a_for_each_of_which_nothing_is_known_yet_has_nothing_to_undo() -> None:
    saga = Story(plan(step("a"), step("b"), each(step("e"))))
    saga.succeeds("a")

    saga.rejects("b")
    saga.undone("a")

    assert saga.status == Status.COMPENSATED


def test_what_was_not_reached_rejected_or_readonly_has_no_undo() -> None:
    saga = Story(plan(look("r"), step("a"), SleepNode("nap", seconds=0.0), step("b"), step("c")))
    saga.succeeds("r", "a")
    saga.rejects("b")

    saga.undone("a")

    assert saga.status == Status.COMPENSATED
    assert [event.address for event in saga.happened(e.Undone)] == ["a"]


@pytest.mark.parametrize("taken", [True, False])
def test_of_a_condition_only_the_branch_taken_is_undone(taken: bool) -> None:
    saga = Story(plan(WhenNode("if", "function f", step("a"), step("b")), step("z")), answers={"if": taken})
    mine = "a" if taken else "b"
    saga.succeeds(mine)

    saga.rejects("z")

    assert saga.undoing == {mine}
    saga.undone(mine)
    assert saga.status == Status.COMPENSATED


def test_a_condition_not_reached_or_without_a_branch_has_nothing_to_undo() -> None:
    first = WhenNode("none", "function f", step("a"))
    last = WhenNode("later", "function f", step("b"))
    saga = Story(plan(first, step("c"), step("d"), last), answers={"none": False})
    saga.succeeds("c")

    saga.rejects("d")
    saga.undone("c")

    assert saga.status == Status.COMPENSATED


# Parking


def test_a_saga_parks_only_when_nothing_in_it_can_move_without_a_person() -> None:
    saga = Story(plan(parallel(step("a"), step("b"), SleepNode("nap", seconds=5.0))))

    saga.fails("a", "credentials", park=True)

    assert saga.status == Status.RUNNING
    saga.succeeds("b")
    assert saga.status == Status.RUNNING
    saga.tick()
    assert saga.status == Status.PARKED


def test_a_parked_saga_waits_for_no_instant() -> None:
    saga = Story(plan(step("a"), deadline=60.0))
    assert saga.due == 60.0

    saga.fails("a", park=True)

    assert saga.status == Status.PARKED
    assert saga.wake is None


def test_a_saga_that_has_ended_or_passed_its_pivot_waits_for_no_deadline() -> None:
    saga = Story(plan(step("a"), deadline=60.0))

    saga.succeeds("a")

    assert saga.status == Status.COMPLETED
    assert saga.wake is None


def test_a_parked_saga_does_not_change_by_itself() -> None:
    saga = Story(plan(step("a"), step("b"), deadline=60.0))
    saga.succeeds("a")
    saga.fails("b", park=True)

    assert saga.tick(1000.0) == []
    assert saga.unsettled == ["a", "b"]


def test_a_parked_saga_is_open_and_takes_mail() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.fails("b", park=True)

    assert saga.cancel() is Word.ACCEPTED
    assert saga.undoing == {"b"}


def test_the_reason_of_a_saga_parked_on_its_way_back_is_the_undo_that_is_stuck() -> None:
    saga = Story(plan(parallel(look("r"), step("a"))))
    saga.fails("r", "no answer", final=True)
    saga.succeeds("a")

    saga.undo_rejects("a", "shipped already")

    assert saga.status == Status.PARKED
    assert saga.state.parked == "the undo of a: shipped already"


def test_a_saga_that_comes_to_rest_with_nothing_stuck_is_a_bug_and_says_so() -> None:
    impossible = begin(e.Started(b"{}"))
    impossible.steps["a"] = StepState(Track(Action.REJECTED))

    with pytest.raises(ImpossibleTransition, match="nothing in it is stuck: this is a bug in amends"):
        decide(plan(step("a")), impossible, m.Tick(), 0.0)


def test_the_reason_of_a_parked_saga_is_the_first_step_that_is_stuck() -> None:
    saga = Story(plan(step("z"), parallel(step("a"), step("b"))))
    saga.succeeds("z")
    saga.fails("b", "second", park=True)

    saga.fails("a", "first", park=True)

    assert saga.state.parked == "a: first"
    assert saga.action("a") is Action.STUCK
