"""Keys and rounds (rule 5): a new round, with new keys, only once the last one is settled."""

from __future__ import annotations

from told import PIVOT, Story, after, each, items, plan, step

from amends.decide import events as e
from amends.decide.state import Action


def test_retries_replays_and_adoptions_stay_in_the_round() -> None:
    saga = Story(plan(step("a", attempts=9)))
    saga.fails("a")
    saga.tick()
    saga.adopted_from(1)
    saga.fails("a", park=True)
    saga.operate("retry", "a")

    assert saga.state.step("a").round == 1
    assert saga.doing == {"a"}


def test_a_retry_after_a_definite_no_opens_a_new_round() -> None:
    saga = Story(plan(PIVOT, after("a")))
    saga.rejects("a")

    saga.operate("retry", "a")

    assert saga.state.step("a").round == 2
    assert saga.happened(e.Retried) == [e.Retried("a", e.ACTION, 2)]
    assert saga.doing == {"a"}


def test_a_retry_in_doubt_stays_in_its_round_since_the_last_is_not_settled() -> None:
    saga = Story(plan(PIVOT, after("a")))
    saga.fails("a")
    saga.tick()
    saga.rejects("a")

    saga.operate("retry", "a")

    assert saga.state.step("a").round == 1


def test_a_new_round_keeps_no_doubt_and_no_result_of_the_old_one() -> None:
    saga = Story(plan(PIVOT, after("a")))
    saga.fails("a")
    saga.tick()
    saga.rejects("a", sure=True)
    saga.succeeds("a", result=b'"late"')
    assert saga.state.step("a").result == b'"late"'

    saga.operate("retry", "a")

    assert saga.state.step("a").result is None
    assert not saga.state.step("a").action.doubt
    assert saga.state.step("a").action.attempts == 1


def test_a_rejection_in_a_later_round_is_definite_again() -> None:
    saga = Story(plan(PIVOT, after("a")))
    saga.fails("a")
    saga.tick()
    saga.rejects("a", sure=True)
    saga.operate("retry", "a")

    saga.rejects("a")
    saga.operate("retry", "a")

    assert saga.state.step("a").round == 3


def test_items_have_rounds_of_their_own() -> None:
    saga = Story(plan(PIVOT, each(after("e"))), answers={"e": items(2)})
    saga.rejects("e[0]")
    saga.succeeds("e[1]")

    saga.operate("retry", "e[0]")

    assert saga.state.step("e[0]").round == 2
    assert saga.state.step("e[1]").round == 1
    assert saga.action("e[0]") is Action.RUNNING
