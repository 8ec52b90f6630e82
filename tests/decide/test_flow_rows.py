"""A flow as a watcher keeps it: a history that a saga could have."""

from __future__ import annotations

import itertools

import pytest

from amends.decide import events as e
from amends.decide.evolve import replay
from amends.decide.flow_rows import following, plan_of, seen_in
from amends.decide.flows import EventName, Expectation, FlowPlan, Seen
from amends.decide.plan import StepNode, from_json
from amends.decide.state import State, Status

PLACED, RESERVED, SHORT = (
    EventName("orders", "placed"),
    EventName("inventory", "reserved"),
    EventName("inventory", "short"),
)
PAID, INVOICED = EventName("billing", "paid"), EventName("accounts", "invoiced")
FLOW = FlowPlan(
    "order",
    (
        Expectation(PLACED, (RESERVED, SHORT), 30.0),
        Expectation(PLACED, (INVOICED, PAID), 90.0),
        Expectation(RESERVED, (PAID,), 60.0),
    ),
)
TOLD = (
    Seen("orders.placed", "p", 1.0),
    Seen("inventory.reserved", "r", 2.0, "p"),
    Seen("billing.paid", "b", 3.0, "r"),
)


def history_of(*told: Seen) -> list[list[e.Event]]:
    """What each event adds."""
    rows: list[list[e.Event]] = []
    for one in told:
        history = [event for row in rows for event in row]
        state = replay(history) if history else None
        rows.append(following(FLOW, state, seen_in(history), one, "o-1"))
    return rows


def state_of(rows: list[list[e.Event]]) -> State:
    """How it stands."""
    return replay(event for row in rows for event in row)


def test_a_flow_is_a_plan_whose_steps_are_its_lines_done_by_whoever_should_react() -> None:
    steps = [node for node in plan_of(FLOW).root.nodes if isinstance(node, StepNode)]

    assert [(step.address, step.service, step.command, step.timeout) for step in steps] == [
        ("orders.placed", "inventory", "inventory.reserved or short", 30.0),
        ("orders.placed-2", "accounts or billing", "accounts or billing.invoiced or paid", 90.0),
        ("inventory.reserved", "billing", "billing.paid", 60.0),
    ]
    assert from_json(plan_of(FLOW).json) == plan_of(FLOW)


def test_a_line_runs_until_its_time_and_succeeds_with_what_was_expected() -> None:
    first, second, third = history_of(*TOLD)

    assert first == [
        e.Started(b'{"correlation": "o-1"}'),
        e.Kept("orders.placed", b'["orders.placed", "p", 1.0, ""]'),
        e.Sent("orders.placed", e.ACTION, 31.0),
        e.Sent("orders.placed-2", e.ACTION, 91.0),
    ]
    assert second[1:] == [e.Succeeded("orders.placed", b"null"), e.Sent("inventory.reserved", e.ACTION, 62.0)]
    assert third[1:] == [
        e.Succeeded("orders.placed-2", b"null"),
        e.Succeeded("inventory.reserved", b"null"),
        e.Completed(),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_whatever_order_its_events_come_a_flow_comes_to_its_end_once(order: tuple[int, ...]) -> None:
    rows = history_of(*(TOLD[index] for index in order))

    assert [e.Completed() in row for row in rows] == [False, False, True]
    assert seen_in([event for row in rows for event in row]) == [TOLD[index] for index in order]


def test_without_its_first_event_a_flow_is_not_over() -> None:
    assert state_of(history_of(TOLD[2])).status is Status.RUNNING


def test_an_event_that_comes_again_adds_nothing() -> None:
    assert history_of(TOLD[0], TOLD[0])[1] == []


def test_what_comes_after_the_end_is_kept_and_opens_nothing() -> None:
    late = Seen("orders.placed", "q", 9.0)

    rows = history_of(*TOLD, late)

    assert rows[-1] == [e.Kept("orders.placed", b'["orders.placed", "q", 9.0, ""]')]
    assert state_of(rows).status is Status.COMPLETED


def test_a_second_event_of_a_kind_keeps_the_flow_open_until_it_is_answered_too() -> None:
    again = Seen("orders.placed", "q", 1.5)
    paid_too = Seen("billing.paid", "c", 5.0, "s")

    rows = history_of(TOLD[0], again, *TOLD[1:], Seen("inventory.reserved", "s", 4.0, "q"), paid_too)

    assert [e.Completed() in row for row in rows] == [False, False, False, False, False, True]
