"""What a parked saga lists (the word `unsettled`): exactly what stands against its end, and why."""

from __future__ import annotations

from told import PIVOT, UNDO, Story, after, each, go, items, look, parallel, plan, step

from amends.decide.compensate import Unsettled, closed_by_hand, not_reached, unsettled
from amends.decide.plan import Place, StepNode, WhenNode
from amends.decide.state import Action, Status, Undo


def test_before_the_pivot_every_step_with_a_possible_effect_is_listed_with_its_reason() -> None:
    saga = Story(plan(step("a"), parallel(step("b"), step("c"), step("d"), look("r")), step("z")))
    saga.succeeds("a", "r")
    saga.fails("c", "stuck", park=True)
    saga.rejects("d")

    saga.fails("b", "lost")
    saga.undo_rejects("b", "no way back")
    saga.undone("c")

    assert saga.status == Status.PARKED
    assert unsettled(saga.plan, saga.state) == (
        Unsettled("a", Action.SUCCEEDED, None, ""),
        Unsettled("b", Action.UNKNOWN, Undo.STUCK, "no way back"),
    )


def test_before_the_pivot_what_is_rejected_undone_void_or_closed_is_settled() -> None:
    saga = Story(plan(step("a"), step("b"), step("c")))
    saga.succeeds("a", "b")
    saga.rejects("c")
    saga.undo_rejects("b")
    saga.operate("skip", "b")
    saga.undo_rejects("a")

    assert saga.unsettled == ["a"]
    assert closed_by_hand(saga.state) == ("b",)


def test_behind_the_pivot_every_step_that_was_issued_and_has_not_succeeded_is_listed() -> None:
    saga = Story(plan(step("a"), PIVOT, parallel(after("b"), after("c"), after("d")), after("z")))
    saga.succeeds("a", "b")
    saga.rejects("c", "closed")
    saga.fails("d", "credentials", park=True)

    assert unsettled(saga.plan, saga.state) == (
        Unsettled("c", Action.STUCK, None, "closed"),
        Unsettled("d", Action.STUCK, None, "credentials"),
    )
    assert not_reached(saga.plan, saga.state) == ("z",)


def test_behind_the_pivot_a_step_closed_by_hand_is_settled() -> None:
    saga = Story(plan(PIVOT, parallel(after("b"), after("c"))))
    saga.rejects("b")
    saga.rejects("c")

    saga.operate("skip", "b")

    assert saga.unsettled == ["c"]
    assert closed_by_hand(saga.state) == ("b",)


def test_items_are_listed_one_by_one_and_collected_rejections_are_not() -> None:
    saga = Story(plan(PIVOT, each(after("e"), collect=True, limit=3)), answers={"e": items(4)})
    saga.rejects("e[0]")
    saga.succeeds("e[1]")
    saga.fails("e[2]", park=True)
    saga.fails("e[3]", park=True)

    assert saga.unsettled == ["e[2]", "e[3]"]


def test_items_of_a_readonly_step_are_never_unsettled() -> None:
    saga = Story(plan(step("a"), each(look("e")), step("z")), answers={"e": items(2)})
    saga.succeeds("a", "e[0]", "e[1]")
    saga.rejects("z")
    saga.undo_rejects("a")

    assert saga.unsettled == ["a"]


def test_steps_not_reached_are_listed_apart_and_those_of_a_branch_not_taken_are_not() -> None:
    choice = WhenNode("if", "function f", step("x"), step("y"))
    saga = Story(plan(choice, step("a"), each(step("e")), step("z")), answers={"if": True})
    saga.succeeds("x")

    saga.fails("a", park=True)

    assert not_reached(saga.plan, saga.state) == ("e", "z")


def test_a_for_each_whose_list_could_not_be_asked_is_not_reached() -> None:
    saga = Story(plan(PIVOT, each(after("e")), after("z")), answers={"e": ValueError("broken")})

    assert saga.status == Status.PARKED
    assert saga.unsettled == []
    assert not_reached(saga.plan, saga.state) == ("e", "z")


def test_a_pivot_in_doubt_is_listed() -> None:
    saga = Story(plan(step("a"), go(attempts=1)))
    saga.succeeds("a")

    saga.fails("go", "no answer")

    assert [(entry.step, entry.action) for entry in unsettled(saga.plan, saga.state)] == [
        ("a", Action.SUCCEEDED),
        ("go", Action.UNKNOWN),
    ]


def test_a_readonly_step_is_listed_behind_the_pivot_only() -> None:
    last = StepNode("r", Place.AFTER, readonly=True)
    saga = Story(plan(look("q"), PIVOT, last))
    saga.succeeds("q")

    saga.rejects("r")

    assert saga.unsettled == ["r"]


def test_a_compensation_in_flight_is_not_settled() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")

    saga.rejects("b")
    assert saga.unsettled == ["a"]
    saga.fails("a", phase=UNDO)
    assert saga.unsettled == ["a"]
    saga.tick()
    saga.undone("a")
    assert saga.unsettled == []
