"""When something of a saga is expected to be written, and when it is overdue."""

from __future__ import annotations

import pytest
from told import Story, after, each, go, items, parallel, plan, remote, step

from amends.decide.choreography import travelling
from amends.decide.expected import AT_ONCE_SECONDS, SPARE_SECONDS, next_line_at, overdue_seconds
from amends.decide.plan import Plan, SleepNode, WaitNode
from amends.decide.state import State


def due(told: Story, plan: Plan | None = None) -> float | None:
    """When the next line of a story is expected."""
    return next_line_at(plan or told.plan, told.state, told.now)


def test_a_local_attempt_has_its_timeout_and_as_long_again_to_return() -> None:
    told = Story(plan(step("a", timeout=7.0), go()))

    assert due(told) == 14.0


def test_a_command_is_answered_or_sent_again_when_its_reply_is_due() -> None:
    told = Story(plan(remote("reserve"), go()))

    assert due(told) == 10.0


def test_an_undo_has_the_timeout_of_the_undo() -> None:
    told = Story(plan(step("a", undo_timeout=4.0), go()))
    told.succeeds("a")
    told.rejects("go")

    assert due(told) == 8.0


def test_the_next_attempt_is_due_when_its_pause_is_over() -> None:
    told = Story(plan(step("a"), go()))
    told.fails("a")

    assert due(told) == 1.0


def test_of_several_the_first_counts() -> None:
    told = Story(plan(parallel(step("a", timeout=50.0), step("b", timeout=2.0)), go()))

    assert due(told) == 4.0


def test_an_item_of_a_list_has_the_timeout_of_its_step() -> None:
    told = Story(plan(each(step("erase", timeout=3.0)), go()), answers={"erase": items(2)})

    assert due(told) == 6.0


def test_a_sleep_and_a_wait_with_a_timeout_end_by_themselves() -> None:
    assert due(Story(plan(SleepNode("nap", seconds=500.0), go()))) == 500.0
    assert due(Story(plan(WaitNode("approval", timeout=90.0), go()))) == 90.0


def test_a_wait_without_a_timeout_has_no_time_to_keep() -> None:
    told = Story(plan(WaitNode("approval"), go()))

    assert due(told) is None
    assert overdue_seconds(told.plan, told.state, 0.0, 1e9) == 0.0


def test_who_travels_with_the_baton_is_waited_for_without_end() -> None:
    flow = travelling(plan(remote("reserve"), go()))

    assert due(Story(flow)) is None
    assert due(Story(travelling(plan(step("a"), go())))) is None


def test_a_saga_that_has_ended_or_is_parked_has_no_time_to_keep() -> None:
    ended = Story(plan(go()))
    ended.succeeds("go")
    parked = Story(plan(go(), after("ship")))
    parked.succeeds("go")
    parked.rejects("ship")

    assert (due(ended), due(parked)) == (None, None)


def test_where_nothing_is_open_the_next_thing_is_to_be_done_at_once() -> None:
    told = Story(plan(step("a"), go()), hold=True)

    assert due(told) == AT_ONCE_SECONDS


@pytest.mark.parametrize(
    ("timeout", "now", "late"),
    [
        (50.0, 299.0, 0.0),
        (50.0, 300.0, 0.0),
        (50.0, 301.0, 301.0),
        (1.0, 2.0 + SPARE_SECONDS, 0.0),
        (1.0, 3.0 + SPARE_SECONDS, 3.0 + SPARE_SECONDS),
    ],
)
def test_no_progress_is_three_times_as_long_as_expected_and_a_minute_at_least(
    timeout: float, now: float, late: float
) -> None:
    told = Story(plan(step("a", timeout=timeout), go()))

    assert overdue_seconds(told.plan, told.state, 0.0, now) == late


def test_a_pause_whose_end_nobody_knows_is_over_at_once() -> None:
    told = Story(plan(step("a"), go()))
    told.fails("a")
    state: State = told.state.copy()
    state.steps["a"] = state.steps["a"]._replace(action=state.steps["a"].action._replace(due=None))

    assert next_line_at(told.plan, state, 5.0) == 5.0
