"""What a watcher makes of what it hears: rows in order, each once; who is to act; when silence begins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from told import ACTION, UNDO, Story, go, plan, remote

from amends.decide.watching import (
    GRACE_SECONDS,
    STRANGE_SECONDS,
    Holder,
    Watched,
    fold,
    holder,
    silent_from,
    sketch,
    watched_of,
)

HISTORY = list("abcdefghij")


@given(st.lists(st.integers(0, len(HISTORY))), st.data())
def test_whatever_comes_twice_late_or_never_the_rows_are_the_longest_history_told(
    lengths: list[int], data: st.DataObject
) -> None:
    known: list[str] = []
    left = lengths
    while left:
        size = data.draw(st.integers(1, len(left)))
        told, left = left[:size], left[size:]
        known += fold(len(known), [HISTORY[:length] for length in told])

    assert known == HISTORY[: max(lengths, default=0)]


def test_what_is_known_already_changes_nothing() -> None:
    assert list(fold(3, [HISTORY[:2], HISTORY[:3]])) == []
    assert list(fold(3, [])) == []


def test_the_service_whose_turn_it_is_holds_a_saga() -> None:
    saga = Story(plan(remote("a"), remote("b")))
    assert holder(saga.plan, saga.state) == Holder("a", ACTION, "shop", "shop.a", None, 10.0)
    saga.succeeds("a")
    saga.rejects("b", sure=True)
    assert holder(saga.plan, saga.state) == Holder("a", UNDO, "shop", "shop.a", None, 10.0)


def test_who_has_another_attempt_to_make_holds_a_saga_until_then() -> None:
    saga = Story(plan(remote("a"), remote("b")))
    saga.succeeds("a")
    saga.fails("b", resolved=True)
    held = holder(saga.plan, saga.state)
    assert held is not None
    assert held.again == saga.wake
    assert (held.address, held.phase) == ("b", ACTION)

    back = Story(plan(remote("a"), remote("b")))
    back.succeeds("a")
    back.rejects("b", sure=True)
    back.fails("a", resolved=True, phase=UNDO)
    held = holder(back.plan, back.state)
    assert held is not None
    assert (held.address, held.phase, held.again) == ("a", UNDO, back.wake)


def test_nobody_holds_a_saga_that_rests_and_it_is_never_silent() -> None:
    ended = Story(plan(go("a", work="command:shop/a")))
    ended.succeeds("a")
    parked = Story(plan(remote("a")))
    parked.fails("a", park=True)

    for saga in (ended, parked):
        assert holder(saga.plan, saga.state) is None
        assert silent_from(saga.plan, saga.state, 100.0, 7.0) is None


def test_a_saga_is_silent_once_the_time_of_its_service_is_over_and_a_grace() -> None:
    saga = Story(plan(remote("a"), remote("b")))

    assert silent_from(saga.plan, saga.state, 100.0, None) == 110.0 + GRACE_SECONDS
    assert silent_from(saga.plan, saga.state, 100.0, 2.0) == 102.0 + GRACE_SECONDS


def test_one_that_waits_for_another_attempt_is_silent_only_after_that() -> None:
    saga = Story(plan(remote("a")))
    saga.fails("a", resolved=True)
    assert saga.wake is not None

    assert silent_from(saga.plan, saga.state, saga.wake - 1, None) == saga.wake + 10.0 + GRACE_SECONDS
    assert silent_from(saga.plan, saga.state, saga.wake + 50, None) == saga.wake + 60.0 + GRACE_SECONDS


def test_of_a_plan_that_is_not_known_the_steps_are_told_and_no_service_is_accused() -> None:
    saga = Story(plan(remote("a"), remote("b")))
    saga.succeeds("a")

    told = sketch("told", saga.history)
    held = holder(told, saga.state)

    assert list(told.by_address) == ["a", "b"]
    assert held == Holder("b", ACTION, "", "", None, None)
    assert silent_from(told, saga.state, 100.0, None) == 100.0 + STRANGE_SECONDS + GRACE_SECONDS
    assert holder(sketch("told", ()), saga.state) == held


def test_a_saga_that_nobody_holds_though_it_moves_has_the_time_of_a_strange_one() -> None:
    """None that can be choreographed does; what is heard may be anything."""
    saga = Story(plan(remote("a")))
    state = saga.state.copy()
    state.steps = {}

    assert holder(saga.plan, state) is None
    assert silent_from(saga.plan, state, 1.0, None) == 1.0 + STRANGE_SECONDS + GRACE_SECONDS
    assert silent_from(saga.plan, state, 1.0, 2.0) == 3.0 + GRACE_SECONDS


def test_a_plan_that_is_watched_is_never_taken_for_one_that_is_run() -> None:
    known, strange = Watched("orders", "ab" * 16), Watched("orders", "ab" * 16, known=False)

    assert watched_of(known.text) == known
    assert watched_of(strange.text) == strange
    assert known.text != strange.text
    assert watched_of("ab" * 16) is None
    assert (known.is_flow, Watched("orders", "flow-" + "ab" * 16).is_flow) == (False, True)
