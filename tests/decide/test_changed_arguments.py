"""A step is tried again with what a person changed: in a new round, once nothing stayed of the last one (rule 5)."""

from __future__ import annotations

import pytest
from told import ACTION, COMMAND, PIVOT, Refusal, Story, after, each, go, items, plan, remote, step

from amends.decide import events as e
from amends.decide.draft import Word
from amends.decide.plan import Place, StepNode, WaitNode
from amends.decide.state import Action
from amends.decide.upgrade import obstacle

OTHER = b'{"order":{"street":"Quay 1"}}'


def rejected() -> Story:
    """A step behind the pivot said no: nothing stayed."""
    saga = Story(plan(PIVOT, after("a"), after("b")))
    saga.rejects("a")
    return saga


def in_doubt() -> Story:
    """A step behind the pivot may have worked."""
    saga = Story(plan(PIVOT, after("a")))
    saga.fails("a", "its connection broke", park=True)
    return saga


def remote_rejected() -> Story:
    """The same of a step that a service does."""
    saga = Story(plan(PIVOT, remote("a", place=Place.AFTER)))
    saga.rejects("a", sure=True)
    return saga


def test_a_step_that_said_no_is_asked_otherwise_under_new_keys() -> None:
    saga = rejected()

    assert saga.operate("retry", "a", arguments=OTHER) is Word.ACCEPTED

    assert saga.state.given == {"a": OTHER}
    assert saga.state.step("a").round == 2
    assert saga.doing == {"a"}
    assert saga.history[-5:] == [
        e.Operated("retry", "a", "bob", "he knows"),
        e.Retried("a", ACTION, 2),
        e.Given("a", OTHER),
        e.Resumed(),
        e.Issued("a", ACTION),
    ]


def test_what_was_changed_holds_for_every_later_attempt_and_round() -> None:
    saga = rejected()
    saga.operate("retry", "a", arguments=OTHER)
    saga.fails("a")
    saga.tick()
    saga.adopted_from(1)
    saga.rejects("a", sure=True)

    saga.operate("retry", "a")

    assert saga.state.given == {"a": OTHER}
    assert saga.state.step("a").round == 3


def test_the_command_of_a_step_that_a_service_does_is_another_from_then_on() -> None:
    saga = remote_rejected()
    assert saga.state.step("a").command == COMMAND

    assert saga.operate("retry", "a", arguments=OTHER) is Word.ACCEPTED

    assert saga.state.step("a").command == OTHER
    assert saga.state.step("a").round == 2
    assert saga.state.given == {}
    assert saga.asked == ["request a"]
    assert saga.doing == {"a"}


def test_what_may_have_worked_is_not_done_otherwise_beside_that() -> None:
    saga = in_doubt()

    assert saga.operate("retry", "a", arguments=OTHER) is Word.REFUSED

    assert "may have had its effect" in saga.said
    assert saga.state.given == {}
    assert saga.operate("retry", "a") is Word.ACCEPTED


def test_a_person_who_knows_that_nothing_stayed_closes_the_last_round() -> None:
    saga = in_doubt()

    assert saga.operate("retry", "a", arguments=OTHER, settled=True) is Word.ACCEPTED

    assert saga.happened(e.Retried) == [e.Retried("a", ACTION, 2, closed=True)]
    after_it = saga.state.step("a")
    assert (after_it.round, after_it.closed, after_it.action.doubt) == (2, 1, False)


def test_nobodys_word_is_needed_for_what_is_known() -> None:
    saga = rejected()

    saga.operate("retry", "a", arguments=OTHER, settled=True)

    assert saga.happened(e.Retried) == [e.Retried("a", ACTION, 2)]
    assert saga.state.step("a").closed == 0


def test_a_step_of_which_it_is_known_that_nothing_stayed_needs_no_word_either() -> None:
    saga = Story(plan(step("a")))
    saga.fails("a", "no such street", resolved=True, park=True)

    assert saga.operate("retry", "a", arguments=OTHER) is Word.ACCEPTED
    assert saga.doing == {"a"}


def test_a_pivot_that_did_not_happen_is_tried_otherwise() -> None:
    saga = Story(plan(step("a"), go(attempts=1)))
    saga.succeeds("a")
    saga.fails("go")
    assert saga.operate("retry", "go", arguments=OTHER) is Word.REFUSED

    assert saga.operate("retry", "go", arguments=OTHER, settled=True) is Word.ACCEPTED

    assert saga.doing == {"go"}
    saga.succeeds("go")
    assert saga.status == "completed"


def test_a_command_on_its_way_is_not_changed() -> None:
    saga = Story(plan(remote("a")))

    assert saga.operate("retry", "a", arguments=OTHER, settled=True) is Word.REFUSED
    assert saga.said == "a command of a is on its way; wait for its reply, or until it is given up"


def test_a_request_that_has_built_nothing_has_nothing_to_change() -> None:
    saga = Story(plan(PIVOT, remote("a", place=Place.AFTER)), answers={"a": Refusal("no street")})

    assert saga.operate("retry", "a", arguments=OTHER) is Word.REFUSED
    assert saga.said.startswith("the request of a has built no command yet")


def test_an_undo_takes_what_its_step_had() -> None:
    saga = Story(plan(step("a"), step("b")))
    saga.succeeds("a")
    saga.rejects("b")
    saga.undo_rejects("a")

    assert saga.operate("retry", "a", arguments=OTHER) is Word.REFUSED
    assert saga.said.startswith("the saga goes back: a is not done again")


def test_a_step_that_runs_no_more_in_a_saga_that_goes_back_is_not_done_again() -> None:
    saga = Story(plan(step("a")))
    saga.hangs("a", worker=7)
    saga.cancel()

    assert saga.operate("retry", "a", arguments=OTHER, settled=True) is Word.REFUSED
    assert saga.said.startswith("the saga goes back")


def test_a_wait_takes_no_arguments() -> None:
    saga = Story(plan(WaitNode("w", filtered=True)), answers={"w": ValueError("broken")})
    saga.signal("w")

    assert saga.operate("retry", "w", arguments=OTHER) is Word.REFUSED
    assert saga.said == "w is no step, so it takes no arguments"


def test_arguments_that_do_not_fit_are_refused_with_why() -> None:
    saga = rejected()

    assert saga.operate("retry", "a", arguments=OTHER, flaw="a has no parameter 'oder'") is Word.REFUSED
    assert saga.said == "a has no parameter 'oder'"


@pytest.mark.parametrize("limit", [1, 20])
def test_one_item_is_asked_otherwise_and_the_others_are_not(limit: int) -> None:
    saga = Story(plan(PIVOT, each(after("e"), limit=limit)), answers={"e": items(2)})
    saga.rejects("e[0]")

    assert saga.operate("retry", "e[0]", arguments=b'{"item":7}') is Word.ACCEPTED

    assert saga.state.given == {"e[0]": b'{"item":7}'}
    saga.succeeds("e[1]")
    assert saga.doing == {"e[0]"}
    saga.succeeds("e[0]")
    assert saga.status == "completed"


def test_an_item_that_a_service_does_waits_for_its_place_with_its_changed_command() -> None:
    node = each(remote("e", place=Place.AFTER), limit=1)
    saga = Story(plan(PIVOT, node), answers={"e": items(2), "e[0]": [COMMAND], "e[1]": [COMMAND]})
    saga.rejects("e[0]", sure=True)
    assert saga.doing == {"e[1]"}

    saga.operate("retry", "e[0]", arguments=OTHER)

    assert saga.doing == {"e[1]"}
    saga.succeeds("e[1]")
    assert saga.doing == {"e[0]"}
    assert saga.state.step("e[0]").command == OTHER


def test_a_saga_whose_local_step_was_changed_stays_with_a_plan_that_has_it_there() -> None:
    node = each(after("e"), limit=1)
    saga = Story(plan(PIVOT, node), answers={"e": items(2)})
    saga.rejects("e[0]")
    saga.operate("retry", "e[0]", arguments=b'{"item":7}')
    assert saga.action("e[0]") is Action.PENDING

    moved = plan(PIVOT, each(StepNode("e", Place.AFTER, work="command:shop/e"), limit=1))

    assert obstacle(saga.plan, moved, saga.state) != ""
