"""What is still expected of a flow of events, and who should have told it."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.decide.flows import (
    EventName,
    Expectation,
    FlowPlan,
    Open,
    Seen,
    flaws,
    flow_from,
    open_expectations,
    overdue,
    silent,
)

PLACED = EventName("orders", "placed")
RESERVED = EventName("inventory", "reserved")
SHORT = EventName("inventory", "short")
PAID = EventName("billing", "paid")
DECLINED = EventName("billing", "declined")
RELEASED = EventName("inventory", "released")
INVOICED = EventName("accounts", "invoiced")
ORDER = FlowPlan(
    "order",
    (
        Expectation(PLACED, (RESERVED, SHORT), 30.0),
        Expectation(RESERVED, (PAID, DECLINED), 60.0),
        Expectation(DECLINED, (RELEASED,), 10.0),
    ),
)


def seen(event: EventName, id_: str, at: float, cause: str = "") -> Seen:
    """An event that was seen."""
    return Seen(event.type, id_, at, cause)


def waiting(plan: FlowPlan, *events: Seen) -> list[tuple[str, float]]:
    """The events that have led to nothing, and until when."""
    return [(one.after.id, one.until) for one in open_expectations(plan, events)]


def test_an_event_opens_what_it_leads_to_until_its_time_is_up_and_names_who_should_react() -> None:
    placed = seen(PLACED, "p", 100.0)

    found = open_expectations(ORDER, [placed])

    assert found == (Open(placed, ("inventory.reserved", "inventory.short"), ("inventory",), 130.0),)
    assert overdue(found, 129.9) == ()
    assert overdue(found, 130.0) == found
    assert silent(found) == ("inventory",)


@pytest.mark.parametrize("answer", [RESERVED, SHORT])
def test_any_of_the_expected_events_meets_an_expectation(answer: EventName) -> None:
    assert ("p", 130.0) not in waiting(ORDER, seen(PLACED, "p", 100.0), seen(answer, "a", 101.0, "p"))


def test_a_flow_goes_on_from_event_to_event_and_ends_where_nothing_more_is_expected() -> None:
    told = [
        seen(PLACED, "p", 0.0),
        seen(RESERVED, "r", 1.0, "p"),
        seen(DECLINED, "d", 2.0, "r"),
        seen(RELEASED, "l", 3.0, "d"),
    ]

    assert [waiting(ORDER, *told[:count]) for count in range(5)] == [
        [],
        [("p", 30.0)],
        [("r", 61.0)],
        [("d", 12.0)],
        [],
    ]


def test_an_answer_that_comes_late_closes_what_was_overdue() -> None:
    told = [seen(PLACED, "p", 0.0), seen(SHORT, "s", 500.0, "p")]

    assert open_expectations(ORDER, told) == ()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_in_which_events_are_seen_means_nothing(order: tuple[int, ...]) -> None:
    told = [seen(PLACED, "p", 0.0), seen(RESERVED, "r", -5.0, "p"), seen(PAID, "b", -9.0, "r")]

    assert waiting(ORDER, *(told[index] for index in order)) == []


def test_an_event_that_comes_twice_counts_once_from_when_it_was_first_told() -> None:
    placed = seen(PLACED, "p", 0.0)

    assert waiting(ORDER, placed._replace(at=9.0), placed) == [("p", 30.0)]
    assert waiting(ORDER, placed, seen(PLACED, "q", 5.0), seen(SHORT, "s", 6.0), seen(SHORT, "s", 7.0)) == [("q", 35.0)]


def test_an_answer_meets_the_event_that_caused_it_and_no_other() -> None:
    first, second = seen(PLACED, "p1", 0.0), seen(PLACED, "p2", 1.0)

    assert waiting(ORDER, first, second, seen(SHORT, "s", 2.0, "p2")) == [("p1", 30.0)]
    assert waiting(ORDER, first, second, seen(SHORT, "s", 2.0, "p2"), seen(SHORT, "t", 3.0, "p2")) == [("p1", 30.0)]


def test_an_answer_may_come_of_an_event_by_way_of_others() -> None:
    other = Seen("inventory.counted", "c", 2.0, "p2")
    told = [seen(PLACED, "p1", 0.0), seen(PLACED, "p2", 1.0), other, seen(SHORT, "s", 3.0, "c")]

    assert waiting(ORDER, *told) == [("p1", 30.0)]


def test_an_answer_whose_cause_nobody_knows_meets_the_earliest_that_waits() -> None:
    told = [seen(PLACED, "p1", 0.0), seen(PLACED, "p2", 1.0), seen(PLACED, "p3", 2.0), seen(SHORT, "s", 3.0, "p1")]

    assert waiting(ORDER, *told, seen(SHORT, "t", 4.0)) == [("p3", 32.0)]
    assert waiting(ORDER, *told, seen(SHORT, "t", 4.0, "never seen")) == [("p3", 32.0)]


def test_what_led_to_an_event_is_no_answer_to_it() -> None:
    retried = FlowPlan("retry", (Expectation(DECLINED, (PLACED,), 10.0), Expectation(PLACED, (DECLINED, PAID), 20.0)))

    assert waiting(retried, seen(DECLINED, "d", 0.0), seen(PLACED, "p", 1.0, "d")) == [("p", 21.0)]


def test_in_a_cycle_an_answer_meets_the_nearest_event_that_led_to_it() -> None:
    again = FlowPlan("again", (Expectation(PLACED, (PLACED, PAID), 10.0),))
    told = [seen(PLACED, "a", 0.0), seen(PLACED, "b", 1.0, "a"), seen(PAID, "c", 2.0, "b")]

    assert [waiting(again, *told[:count]) for count in (1, 2, 3)] == [[("a", 10.0)], [("b", 11.0)], []]


def test_an_event_is_no_answer_to_itself() -> None:
    again = FlowPlan("again", (Expectation(PLACED, (PLACED, PAID), 10.0),))

    assert waiting(again, seen(PLACED, "a", 0.0)) == [("a", 10.0)]
    assert waiting(again, seen(PLACED, "a", 0.0, "a")) == [("a", 10.0)]


def test_each_line_of_an_event_is_to_be_met_the_earliest_first() -> None:
    both = FlowPlan("both", (Expectation(PLACED, (RESERVED, SHORT), 30.0), Expectation(PLACED, (INVOICED,), 5.0)))
    placed = seen(PLACED, "p", 0.0)

    found = open_expectations(both, [placed])

    assert [one.until for one in found] == [5.0, 30.0]
    assert silent(found) == ("accounts", "inventory")
    assert silent(overdue(found, 6.0)) == ("accounts",)
    assert [one.types for one in open_expectations(both, [placed, seen(INVOICED, "i", 1.0, "p")])] == [
        ("inventory.reserved", "inventory.short")
    ]


def test_causes_that_go_round_are_followed_once() -> None:
    told = [Seen("a.a", "1", 0.0, "2"), Seen("a.b", "2", 0.0, "1"), seen(SHORT, "s", 0.0, "1"), seen(PLACED, "p", 0.0)]

    assert waiting(ORDER, *told) == []


@given(
    st.lists(
        st.builds(
            seen,
            st.sampled_from([PLACED, RESERVED, SHORT, PAID, DECLINED]),
            st.sampled_from("abcdefg"),
            st.integers(0, 9).map(float),
            st.sampled_from("abcdefgx"),
        ),
        max_size=7,
        unique_by=lambda one: one.id,
    )
)
def test_more_answers_never_open_more_of_the_same_event(events: list[Seen]) -> None:
    before = {one.after.id for one in open_expectations(ORDER, events) if one.after.type == "orders.placed"}

    after = open_expectations(ORDER, [*events, seen(SHORT, "new", 99.0)])

    assert {one.after.id for one in after if one.after.type == "orders.placed"} <= before
    assert open_expectations(ORDER, reversed(events)) == open_expectations(ORDER, events)


def test_a_flow_knows_its_events_its_services_and_its_ends() -> None:
    assert ORDER.first == PLACED
    assert ORDER.events == (PLACED, RESERVED, SHORT, PAID, DECLINED, RELEASED)
    assert ORDER.services == ("orders", "inventory", "billing")
    assert ORDER.ends == (SHORT, PAID, RELEASED)
    assert flaws(ORDER) == ()


def test_what_is_stored_of_a_flow_is_the_flow() -> None:
    dotted = FlowPlan("dotted", (Expectation(EventName("a.b", "c"), (EventName("a", "b.d"),), 1.5),))

    assert [flow_from(plan.json) for plan in (ORDER, dotted)] == [ORDER, dotted]
    assert flow_from(ORDER.json).fingerprint == ORDER.fingerprint != dotted.fingerprint
    assert json.loads(ORDER.json)["expectations"][2] == [["billing", "declined"], [["inventory", "released"]], 10]


@pytest.mark.parametrize("text", ["[]", "{}", '{"name": "a", "expectations": [1]}', "no"])
def test_a_text_that_is_no_flow_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        flow_from(text)


def test_an_outcome_that_two_lines_of_an_event_name_is_a_flaw() -> None:
    twice = FlowPlan("twice", (Expectation(PLACED, (SHORT, RESERVED), 1.0), Expectation(PLACED, (SHORT,), 2.0)))

    assert flaws(twice) == ("inventory.short is expected twice after orders.placed",)


def test_an_event_that_nothing_leads_to_is_a_flaw() -> None:
    apart = FlowPlan("apart", (Expectation(PLACED, (SHORT,), 1.0), Expectation(DECLINED, (RELEASED,), 1.0)))

    assert flaws(apart) == ("nothing leads from orders.placed, which begins it, to billing.declined",)


def test_a_flow_that_cannot_come_to_an_end_is_a_flaw() -> None:
    cycle = FlowPlan("cycle", (Expectation(PLACED, (RESERVED,), 1.0), Expectation(RESERVED, (PLACED,), 1.0)))
    way_out = FlowPlan("out", (*cycle.expectations[:1], Expectation(RESERVED, (PLACED, PAID), 1.0)))
    one_of_two_lines = FlowPlan("two", (*cycle.expectations, Expectation(PLACED, (PAID,), 1.0)))

    words = "after {} something is expected for ever: no way leads to an end"
    assert flaws(cycle) == (words.format("orders.placed"), words.format("inventory.reserved"))
    assert flaws(way_out) == ()
    assert flaws(one_of_two_lines) == flaws(cycle)
