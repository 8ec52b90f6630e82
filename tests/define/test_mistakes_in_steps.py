"""Mistakes in one step: each is refused where it stands, by name, with what to write instead."""

from __future__ import annotations

import functools
import math
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from storefront import (
    Order,
    Reservation,
    charge,
    is_big,
    mistake,
    place_order,
    release,
    reserve,
    ship,
    untyped,
)

from amends import Retry, step


def test_a_step_before_the_point_of_no_return_needs_a_compensation() -> None:
    assert mistake(lambda: place_order(ship)) == (
        "saga 'place-order', step ship: it stands before the point of no return and has no compensation; add "
        "`@ship.compensation`, or step(readonly=True) if it changes nothing, or move it behind the pivot"
    )


def test_a_renamed_step_without_compensation_is_told_the_name_of_its_function() -> None:
    message = mistake(lambda: place_order(ship.named("second")))

    assert message.startswith("saga 'place-order', step second: ")
    assert "`@ship.compensation`" in message


def test_a_compensation_takes_its_own_result_as_optional() -> None:
    @step
    def book(order: Order) -> Reservation:
        return Reservation("r")

    @book.compensation
    def unbook(reservation: Reservation) -> None: ...

    assert mistake(lambda: place_order(book)) == (
        "saga 'place-order', the compensation of book, parameter reservation: a compensation also runs when it is not "
        "known whether its step worked, and then there is no result: take Reservation | None"
    )


def test_a_compensation_returns_nothing() -> None:
    @step
    def book(order: Order) -> Reservation:
        return Reservation("r")

    def unbook(order: Order) -> bool:
        return True

    book.compensation(untyped(unbook))

    assert mistake(lambda: place_order(book)) == (
        "saga 'place-order', the compensation of book: a compensation returns nothing; annotate `-> None`"
    )


def test_a_step_has_one_compensation() -> None:
    assert (
        mistake(lambda: reserve.compensation(release)) == "the compensation of reserve: there is one already, release"
    )


def test_a_readonly_step_has_no_compensation() -> None:
    assert mistake(lambda: is_big.compensation(release)) == (
        "the compensation of is_big: the step is readonly, so there is nothing to undo"
    )


@pytest.mark.parametrize("forgotten", ["step", "compensation"])
def test_a_step_and_its_compensation_both_take_a_transaction_or_neither(forgotten: str) -> None:
    def with_tx(order: Order, tx: sqlite3.Connection) -> None: ...
    def without(order: Order) -> None: ...

    book = step(without if forgotten == "step" else with_tx, **untyped({}))
    book.compensation(with_tx if forgotten == "step" else without)
    other = {"step": "compensation", "compensation": "step"}[forgotten]

    assert mistake(lambda: place_order(book)).endswith(
        f": the {other} takes a transaction and the {forgotten} does not; both must, or neither, because what keeps "
        "them apart lives in it"
    )


def test_a_parameter_without_annotation_is_refused() -> None:
    def book(order):  # type: ignore[no-untyped-def]
        return None

    assert mistake(lambda: step(untyped(book))) == (
        "step book: the parameter order has no annotation, and parameters are filled by type"
    )


def test_an_unannotated_tx_lists_the_accepted_classes() -> None:
    def book(tx) -> None:  # type: ignore[no-untyped-def]
        return None

    assert mistake(lambda: step(untyped(book))) == (
        "step book: the parameter tx has no annotation; accepted: sqlite3.Connection, asyncpg.Connection, "
        "psycopg.Connection, psycopg.AsyncConnection, sqlalchemy.Connection, sqlalchemy.orm.Session, "
        "sqlalchemy.ext.asyncio.AsyncConnection, sqlalchemy.ext.asyncio.AsyncSession, django's BaseDatabaseWrapper"
    )


def test_a_missing_return_annotation_is_asked_for() -> None:
    def book(order: Order):  # type: ignore[no-untyped-def]
        return None

    saga = step(readonly=True)(untyped(book))

    assert mistake(lambda: place_order(saga)) == (
        "saga 'place-order', step book: annotate what it returns, `-> None` if that is nothing"
    )


def test_variable_arguments_are_refused() -> None:
    def first(*orders: Order) -> None: ...
    def second(**orders: Order) -> None: ...

    assert mistake(lambda: step(first)) == ("step first: *orders cannot be filled by type; write the parameters out")
    assert mistake(lambda: step(second)) == ("step second: **orders cannot be filled by type; write the parameters out")


def test_positional_only_parameters_are_refused() -> None:
    def book(order: Order, /) -> None: ...

    assert mistake(lambda: step(book)) == "step book: order is positional-only; write the parameters without the /"


def test_generators_are_refused() -> None:
    def first(order: Order) -> Iterator[int]:
        yield 1

    async def second(order: Order) -> AsyncIterator[int]:
        yield 1

    assert (
        mistake(lambda: step(first)) == "step first: it yields, and a step returns once; use `for_each` for many items"
    )
    assert mistake(lambda: step(untyped(second))).startswith("step second: it yields")


def test_methods_are_refused() -> None:
    class Booking:
        def book(self, order: Order) -> None: ...

        @staticmethod
        def static(order: Order) -> None: ...

    expected = "it looks like a method; a step is a function, and what it needs comes as a Resource"
    assert mistake(lambda: step(untyped(Booking.book))) == f"step book: {expected}"
    assert mistake(lambda: step(Booking().book)).startswith(
        "step book: a plain function is expected, not <bound method"
    )
    assert mistake(lambda: step(untyped(Booking.__dict__["static"]))).startswith("step static: a plain function is")


@pytest.mark.parametrize("wrong", [len, Order, functools.partial(print, 1), "reserve", None, 3])
def test_only_plain_functions_are_steps(wrong: Any) -> None:
    if wrong is None:
        wrong = object()

    assert ": a plain function is expected, not " in mistake(lambda: step(wrong))


def test_a_step_of_a_step_is_refused() -> None:
    assert mistake(lambda: step(untyped(charge))) == "step charge: it is a step already; one @step is enough"


def test_rejects_is_a_tuple_of_exception_classes() -> None:
    def book(order: Order) -> None: ...

    for wrong in map(untyped, (ValueError, [ValueError], (int,), (ValueError("x"),), (KeyboardInterrupt,))):
        decorate = functools.partial(step, rejects=wrong)

        message = mistake(functools.partial(_decorated, decorate, book))

        assert message == f"step book: rejects={wrong!r}: a tuple of exception classes, such as (Declined,)"


def test_retry_is_a_policy() -> None:
    def book(order: Order) -> None: ...

    assert mistake(lambda: step(retry=untyped(3))(book)) == (
        "step book: retry=3: a Retry is expected, such as Retry(attempts=3)"
    )
    assert mistake(lambda: step(book).compensation(retry=untyped(3))(release)) == (
        "the compensation of book: retry=3: a Retry is expected, such as Retry(attempts=3)"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, "Retry(attempts=0): a whole number from 1 on, or None for no end"),
        ({"attempts": 1.5}, "Retry(attempts=1.5): a whole number from 1 on, or None for no end"),
        ({"attempts": "3"}, "Retry(attempts='3'): a whole number from 1 on, or None for no end"),
        ({"attempts": True}, "Retry(attempts=True): a whole number from 1 on, or None for no end"),
        ({"factor": 0.5}, "Retry(factor=0.5): a number from 1 on"),
        ({"factor": math.inf}, "Retry(factor=inf): a number from 1 on"),
        ({"factor": "2"}, "Retry(factor='2'): a number from 1 on"),
        ({"jitter": 1.1}, "Retry(jitter=1.1): a number from 0 to 1"),
        ({"jitter": math.nan}, "Retry(jitter=nan): a number from 0 to 1"),
        ({"first_delay": -1}, "Retry(first_delay=…): a finite time of 0 or more is expected, not -1"),
        ({"cap": "1 min"}, "Retry(cap=…): seconds or a timedelta is expected, not str"),
        (
            {"first_delay": timedelta(minutes=2), "cap": 60},
            "Retry(first_delay=120, cap=60): the first delay is longer than the longest; give a cap of 120 s or more",
        ),
        (
            {"only": ValueError},
            "Retry(only=<class 'ValueError'>): a tuple of exception classes, such as (TimeoutError,)",
        ),
        ({"never": (int,)}, "Retry(never=(<class 'int'>,)): a tuple of exception classes, such as (TimeoutError,)"),
    ],
)
def test_nonsense_in_a_retry_is_refused(wrong: dict[str, Any], message: str) -> None:
    assert mistake(lambda: Retry(**wrong)) == message


def test_retry_after_needs_a_time() -> None:
    assert mistake(lambda: Retry.after(math.nan)) == ("Retry.after(…): a finite time of 0 or more is expected, not nan")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, timedelta(seconds=-1)])
def test_a_timeout_is_a_finite_time(wrong: Any) -> None:
    def book(order: Order) -> None: ...

    expected = f"timeout=…: a finite time of 0 or more is expected, not {wrong}"
    assert mistake(lambda: step(timeout=wrong)(book)) == f"step book, {expected}"
    assert mistake(lambda: step(book).compensation(timeout=wrong)(release)) == (f"the compensation of book, {expected}")


@pytest.mark.parametrize("wrong", [0, 0.0, timedelta(0)])
def test_a_timeout_of_zero_is_refused(wrong: Any) -> None:
    def book(order: Order) -> None: ...

    assert mistake(lambda: step(timeout=wrong)(book)) == "step book: a timeout of 0 leaves no time to do anything"


@pytest.mark.parametrize("wrong", ["10", True])
def test_a_timeout_is_a_number_or_a_timedelta(wrong: Any) -> None:
    def book(order: Order) -> None: ...

    assert mistake(lambda: step(timeout=wrong)(book)) == (
        f"step book, timeout=…: seconds or a timedelta is expected, not {type(wrong).__name__}"
    )


@pytest.mark.parametrize("wrong", ["", "a b", "9lives", "a/b", "a[1]", "é", "a\n", "x" * 101, 3, None])
def test_a_stored_name_can_be_typed_in_a_shell(wrong: Any) -> None:
    def book(order: Order) -> None: ...

    rule = "is no name; letters, digits, _ - and . are allowed, a letter or _ first, at most 100"
    assert mistake(lambda: charge.named(wrong)) == f"named(…): {wrong!r} {rule}"
    if wrong is not None:
        assert mistake(lambda: step(name=wrong)(book)) == f"step book: {wrong!r} {rule}"


def test_a_result_that_cannot_be_stored_is_refused() -> None:
    @step(readonly=True)
    def connect(order: Order) -> sqlite3.Cursor:
        raise NotImplementedError

    assert mistake(lambda: place_order(connect)).startswith(
        "saga 'place-order', step connect, its result: values of Cursor cannot be stored: Cursor is no data class. Use "
        "dataclasses, msgspec Structs, attrs classes"
    )


def _decorated(decorator: Any, fn: Any) -> object:
    return decorator()(fn)
