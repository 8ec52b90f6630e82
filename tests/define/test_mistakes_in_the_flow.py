"""Mistakes in how nodes are put together: pivots, branches, what steers, waits, the saga itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from storefront import (
    Order,
    Payment,
    Reservation,
    Shop,
    charge,
    check_part,
    count,
    is_big,
    mistake,
    parts,
    place_order,
    reserve,
    ship,
    untyped,
)

from amends import Saga, for_each, parallel, pivot, sequence, sleep, step, wait_for, when


def many(order: Order) -> list[Order]:
    return [order]


def big(order: Order) -> bool:
    return order.quantity > 10


async def asynchronous(order: Order) -> bool:
    return True


# Pivots


def test_a_saga_has_one_pivot() -> None:
    assert mistake(lambda: place_order(reserve, pivot, ship, pivot(charge))) == (
        "saga 'place-order': it has 2 pivots, pivot and pivot(charge); a saga has one point of no return"
    )


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (parallel(reserve, sequence(pivot(charge))), "parallel(…)"),
        (when(big, pivot(charge)), "when(big)"),
        (when(big, reserve, otherwise=pivot(charge)), "when(big)"),
    ],
)
def test_a_pivot_stands_in_the_main_line(block: Any, shown: str) -> None:
    assert mistake(lambda: place_order(block)) == (
        f"saga 'place-order': pivot(charge) stands in {shown}; the point of no return is the whole saga's, so the "
        "pivot stands in its own list of nodes"
    )


def test_a_bare_pivot_in_a_branch_is_refused_too() -> None:
    assert mistake(lambda: place_order(when(big, reserve, pivot))).startswith(
        "saga 'place-order': pivot stands in when(big); "
    )


def test_a_pivot_in_a_sequence_of_the_main_line_is_fine() -> None:
    assert place_order(sequence(reserve, pivot(charge)), ship).plan.pivot is not None


def test_a_pivot_is_not_the_step_of_a_for_each() -> None:
    assert mistake(lambda: for_each(untyped(pivot(charge)), over=many)) == (
        "for_each(…): a step is expected, not pivot(charge)"
    )


def test_a_readonly_step_is_no_pivot() -> None:
    assert mistake(lambda: place_order(pivot(is_big))) == (
        "saga 'place-order': pivot(is_big): a readonly step changes nothing, so it cannot be the point of no return; "
        "put the bare pivot behind it"
    )


@pytest.mark.parametrize("wrong", [pivot(charge), for_each(check_part, over=parts), wait_for("approval", bool)])
def test_only_a_step_is_a_pivot(wrong: Any) -> None:
    assert mistake(lambda: place_order(parts, pivot(wrong))) == (
        f"saga 'place-order': pivot({wrong!r}): only a step can be the pivot"
    )


def test_a_plain_function_is_no_pivot() -> None:
    assert mistake(lambda: pivot(untyped(big))) == "pivot(…): a step is expected, not big"


# Nodes


def test_a_plain_function_in_a_saga_wants_its_decorator() -> None:
    assert mistake(lambda: place_order(big)) == "saga 'place-order': big is a plain function; put @step above it"
    assert mistake(lambda: parallel(untyped(big))) == "parallel(…): big is a plain function; put @step above it"


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ([reserve], "a node is expected, not a list; write the nodes one by one"),
        ((reserve,), "a node is expected, not a tuple; write the nodes one by one"),
        (Order, "a step or another node is expected, not Order"),
        ("reserve", "a step or another node is expected, not 'reserve'"),
        (None, "a step or another node is expected, not None"),
    ],
)
def test_what_is_no_node_is_refused(wrong: Any, shown: str) -> None:
    assert mistake(lambda: place_order(reserve, wrong)) == f"saga 'place-order': {shown}"


@pytest.mark.parametrize(
    ("build", "name"),
    [(parallel, "parallel(…)"), (sequence, "sequence(…)"), (lambda: when(big), "when(…)"), (place_order, "saga ")],
)
def test_a_block_has_at_least_one_node(build: Any, name: str) -> None:
    message = mistake(build)

    assert message.startswith(name)
    assert message.endswith(": at least one node is expected")


def test_two_nodes_of_one_name_are_refused() -> None:
    assert mistake(lambda: place_order(reserve, parallel(charge, reserve))) == (
        "saga 'place-order': two nodes are called reserve; give one of them another name with .named(\"…\")"
    )


def test_the_name_pivot_is_taken() -> None:
    assert mistake(lambda: place_order(reserve.named("pivot"))) == (
        "saga 'place-order': the name 'pivot' is taken by the pivot; choose another"
    )


@pytest.mark.parametrize(
    ("node", "shown"), [(parallel(reserve), "parallel(…)"), (sequence(reserve), "sequence(…)"), (pivot, "pivot")]
)
def test_blocks_have_no_name_of_their_own(node: Any, shown: str) -> None:
    assert mistake(lambda: node.named("x")) == f"{shown} has no name of its own; name the steps in it"


@pytest.mark.parametrize("block", [parallel, sequence, lambda inner: when(big, inner)])
@pytest.mark.parametrize("depth", [21, 5000])
def test_nodes_are_nested_up_to_a_limit(block: Any, depth: int) -> None:
    node: Any = is_big
    for _ in range(depth):
        node = block(node)

    assert mistake(lambda: place_order(node)) == "saga 'place-order': its nodes are nested more than 20 deep"


def test_a_saga_has_a_limited_number_of_nodes() -> None:
    nodes = [is_big.named(f"look-{number}") for number in range(1001)]

    assert mistake(lambda: place_order(*nodes)) == (
        "saga 'place-order': it has more than 1,000 nodes; use for_each for many items"
    )


# What steers


def test_a_condition_is_not_async() -> None:
    assert mistake(lambda: place_order(when(untyped(asynchronous), reserve))) == (
        "saga 'place-order', when-asynchronous: asynchronous is async; what steers a saga is a plain function of the "
        "saga's input"
    )


@pytest.mark.parametrize("wrong", [lambda: True, lambda order, shop: True])
def test_a_condition_takes_the_input_and_nothing_else(wrong: Any) -> None:
    assert mistake(lambda: place_order(when(wrong, reserve))) == (
        "saga 'place-order', when: <lambda> must take one argument, the saga's input"
    )


def test_a_condition_gives_a_bool() -> None:
    def how_big(order: Order) -> int:
        return order.quantity

    assert mistake(lambda: place_order(when(untyped(how_big), reserve))) == (
        "saga 'place-order', when-how_big: how_big gives int, bool is expected"
    )
    assert mistake(lambda: place_order(count, when(untyped(count), reserve))) == (
        "saga 'place-order', when-count: count gives int, bool is expected"
    )


def test_a_condition_is_not_a_value() -> None:
    assert mistake(lambda: when(untyped(True), reserve)) == (
        "when(…): a function of the saga's input or an earlier step is expected, not True"
    )


def test_a_step_that_steers_is_readonly() -> None:
    @step
    def book(order: Order) -> bool:
        return True

    @book.compensation
    def unbook(order: Order) -> None: ...

    assert mistake(lambda: place_order(book, when(book, charge))) == (
        "saga 'place-order', when-book: book steers the saga, so it must be a readonly step"
    )


def test_a_step_that_steers_ran_before() -> None:
    assert mistake(lambda: place_order(when(is_big, charge), is_big)) == (
        "saga 'place-order', when-is_big: is_big gives no result before this, so it cannot steer it"
    )


def test_a_step_that_steers_surely_ran() -> None:
    assert mistake(lambda: place_order(when(big, is_big), when(is_big, charge))) == (
        "saga 'place-order', when-is_big: is_big may have been skipped, so it cannot steer the saga"
    )


def test_the_items_of_a_for_each_are_what_its_step_takes() -> None:
    def numbers(order: Order) -> list[int]:
        return [1]

    @step(readonly=True)
    def find_numbers(order: Order) -> list[int]:
        return [1]

    expected = "saga 'place-order', step check_part: its item part is Order, but over={} gives list[int]"
    assert mistake(lambda: place_order(for_each(untyped(check_part), over=numbers))) == expected.format("numbers")
    assert mistake(
        lambda: place_order(find_numbers, for_each(untyped(check_part), over=find_numbers))
    ) == expected.format("find_numbers")


def test_what_a_for_each_goes_over_is_a_list() -> None:
    assert mistake(lambda: place_order(count, for_each(check_part, over=untyped(count)))) == (
        "saga 'place-order', step check_part: over=count gives int, a list of items is expected"
    )
    assert mistake(lambda: for_each(check_part, over=untyped([1]))) == (
        "for_each(over=…): a function of the saga's input or an earlier step is expected, not [1]"
    )


def test_over_returns_and_does_not_yield() -> None:
    def lazily(order: Order) -> Iterator[Order]:
        yield order

    assert mistake(lambda: place_order(for_each(check_part, over=lazily))) == (
        "saga 'place-order', step check_part: lazily yields; what steers a saga returns its answer, a list for example"
    )


def test_a_for_each_goes_over_a_readonly_step() -> None:
    @step
    def split(order: Order) -> list[Order]:
        return [order]

    @split.compensation
    def join(order: Order) -> None: ...

    assert mistake(lambda: place_order(split, for_each(check_part, over=split))) == (
        "saga 'place-order', step check_part: split steers the saga, so it must be a readonly step"
    )


def test_the_step_of_a_for_each_has_a_parameter_for_the_item() -> None:
    @step(readonly=True)
    def tick() -> None: ...

    assert mistake(lambda: place_order(for_each(untyped(tick), over=many))) == (
        "saga 'place-order', step tick: in a for_each its first parameter is the item, and it has none"
    )


def test_the_compensation_in_a_for_each_begins_with_the_item_too() -> None:
    @step
    def book(part: Order) -> Reservation:
        return Reservation("r")

    @book.compensation
    def unbook(reservation: Reservation | None) -> None: ...

    assert mistake(lambda: place_order(for_each(book, over=many))) == (
        "saga 'place-order', the compensation of book: in a for_each its first parameter is the item, Order as in the "
        "step, not Reservation | None"
    )


@pytest.mark.parametrize("wrong", [0, -1, 1001, 2.5, True, "20"])
def test_the_limit_of_a_for_each_is_a_sensible_number(wrong: Any) -> None:
    assert mistake(lambda: for_each(check_part, over=many, limit=wrong)) == (
        f"for_each(limit={wrong!r}): how many items run together, 1 to 1000"
    )


def test_on_reject_is_one_of_two_words() -> None:
    assert mistake(lambda: for_each(check_part, over=many, on_reject=untyped("ignore"))) == (
        "for_each(on_reject='ignore'): 'compensate' or 'collect'"
    )


# Waiting


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, timedelta(seconds=-1)])
def test_a_sleep_is_a_finite_time(wrong: Any) -> None:
    assert mistake(lambda: sleep(wrong)) == f"sleep(…): a finite time of 0 or more is expected, not {wrong}"


def test_a_sleep_is_a_time_or_something_that_gives_one() -> None:
    assert mistake(lambda: sleep(untyped("1 h"))) == (
        "sleep(…): a function of the saga's input or an earlier step is expected, not '1 h'"
    )
    assert mistake(lambda: place_order(count, sleep(untyped(count)))) == (
        "saga 'place-order', sleep: count gives int, timedelta or datetime is expected"
    )


def test_a_signal_has_a_type_that_can_be_stored() -> None:
    assert mistake(lambda: place_order(wait_for("approval", Shop))).startswith(
        "saga 'place-order', the wait for approval, its value: values of Shop cannot be stored: Shop is no data class. "
    )


@pytest.mark.parametrize("wrong", ["Approval", Payment("x"), 3])
def test_a_signal_has_a_class_not_its_name_or_a_value(wrong: Any) -> None:
    assert mistake(lambda: wait_for("approval", wrong)) == (
        f"wait_for('approval', {wrong!r}): the class of the value is expected"
    )


def test_a_default_needs_a_timeout() -> None:
    assert mistake(lambda: wait_for("approval", bool, default=False)) == (
        "wait_for('approval'): a default is taken at the timeout, so give a timeout too"
    )


def test_a_default_is_a_value_of_the_signal() -> None:
    assert mistake(lambda: place_order(wait_for("approval", bool, timeout=60, default=untyped("yes")))) == (
        "saga 'place-order', the wait for approval: default=… does not fit bool: Expected `bool`, got `str`"
    )


def test_a_wait_has_a_finite_timeout() -> None:
    assert mistake(lambda: wait_for("approval", bool, timeout=math.nan)) == (
        "wait_for('approval', timeout=…): a finite time of 0 or more is expected, not nan"
    )


def test_reject_if_is_a_plain_function_of_the_value() -> None:
    assert mistake(lambda: wait_for("approval", bool, reject_if=untyped(False))) == (
        "wait_for('approval', reject_if=…): a function of the value is expected"
    )
    assert mistake(lambda: place_order(wait_for("approval", Order, reject_if=untyped(asynchronous)))) == (
        "saga 'place-order', the wait for approval, reject_if=…: asynchronous is async; what steers a saga is a plain "
        "function of the value"
    )
    assert mistake(lambda: place_order(wait_for("approval", Order, reject_if=untyped(lambda: True)))) == (
        "saga 'place-order', the wait for approval, reject_if=…: <lambda> must take one argument, the value"
    )


# The saga


@pytest.mark.parametrize("wrong", ["Order", Order("apple"), None, 3])
def test_the_input_is_a_class(wrong: Any) -> None:
    assert mistake(lambda: place_order(reserve, input=wrong)) == (
        f"saga 'place-order': input={wrong!r}: the class of its input is expected"
    )


def test_the_input_can_be_stored() -> None:
    assert mistake(lambda: place_order(reserve, input=Shop)).startswith(
        "saga 'place-order', its input: values of Shop cannot be stored: Shop is no data class. "
    )


def test_the_output_is_a_node_of_the_saga() -> None:
    expected = "saga 'place-order': output={} is none of its nodes with a result; those are: reserve, is_big"
    assert mistake(lambda: place_order(reserve, is_big, output=charge)) == expected.format("charge")
    assert mistake(lambda: place_order(reserve, is_big, output=parallel(reserve))) == expected.format("parallel(…)")


def test_the_output_surely_ran() -> None:
    assert mistake(lambda: place_order(when(big, reserve), output=reserve)) == (
        "saga 'place-order': output=reserve may be skipped, so the saga may have no result; let a step after it take "
        "Reservation | None and return what the saga gives"
    )


def test_the_output_has_a_result() -> None:
    assert mistake(lambda: place_order(pivot, ship, output=ship)) == (
        "saga 'place-order': output=ship returns None; leave output= away"
    )


@pytest.mark.parametrize("wrong", [math.nan, -1, math.inf])
def test_a_deadline_is_a_finite_time(wrong: float) -> None:
    assert mistake(lambda: place_order(reserve, deadline=wrong)) == (
        f"saga 'place-order', deadline=…: a finite time of 0 or more is expected, not {wrong}"
    )


def test_a_deadline_of_zero_is_refused() -> None:
    assert mistake(lambda: place_order(reserve, deadline=timedelta(0))) == (
        "saga 'place-order': a deadline of 0 has passed before the saga starts"
    )


def test_names_and_versions_can_be_typed_in_a_shell() -> None:
    assert mistake(lambda: Saga("place order", reserve, input=Order)) == (
        "Saga(…): 'place order' is no name; letters, digits, _ - and . are allowed, a letter or _ first, at most 100"
    )
    assert mistake(lambda: place_order(reserve, version="v 2")) == (
        "saga 'place-order', version=…: 'v 2' is no version; letters, digits, _ - and . are allowed, at most 100, such "
        "as '2'"
    )


def test_locks_are_refused_by_name() -> None:
    assert mistake(lambda: place_order(reserve, locks=lambda order: [order.sku])) == (
        "saga 'place-order': locks= is not supported yet"
    )


@pytest.mark.parametrize("wrap", [lambda child: child, pivot, parallel])
def test_a_saga_inside_a_saga_is_refused_by_name(wrap: Any) -> None:
    child = Saga("pay", charge, input=Order)

    assert mistake(lambda: place_order(reserve, wrap(child))) == (
        "saga 'place-order': a saga inside a saga (Saga('pay')) is not supported yet"
    )
