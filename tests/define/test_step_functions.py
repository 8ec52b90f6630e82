"""A step stays a function that can be called and tested without the library; and what its context tells it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from typing import Any

import pytest
from storefront import Order, Payment, Reservation, charge, refund, release, reserve

from amends import Context, Orchestrator, Saga, pivot, step
from amends.decide.events import Phase
from amends.define.context import StillAttempt

SAGA = bytes(range(16))


def context(**given: Any) -> Context:
    """A context as a worker would make it."""
    values: dict[str, Any] = {
        "namespace": "default",
        "saga_id": "order-42",
        "internal_id": SAGA,
        "address": "charge",
        "phase": Phase.ACTION,
        "attempt": 1,
        "round": 1,
        "epoch": 0,
        "deadline": None,
        "running": StillAttempt(),
    }
    return Context(**{**values, **given})


# Functions


def test_a_step_is_called_like_the_function_it_is() -> None:
    assert charge(Order("apple")) == Payment("apple")
    assert charge(order=Order("apple")) == Payment("apple")
    assert asyncio.run(reserve(Order("apple"))) == Reservation("apple")


def test_a_compensation_stays_the_plain_function() -> None:
    assert inspect.isfunction(refund)
    assert inspect.iscoroutinefunction(release)
    assert refund(None) is None


def test_a_step_looks_like_its_function() -> None:
    @step
    def book(order: Order) -> None:
        """Book it."""

    assert (book.__name__, book.__doc__, book.__module__) == ("book", "Book it.", __name__)
    assert list(inspect.signature(book).parameters) == ["order"]


def test_what_a_function_raises_is_raised() -> None:
    @step
    def book(order: Order) -> None:
        raise LookupError(order.sku)

    with pytest.raises(LookupError, match="apple"):
        book(Order("apple"))


# Keys


def test_a_key_is_the_same_in_every_attempt() -> None:
    keys = {context(attempt=attempt, epoch=epoch).key for attempt in (1, 2, 9) for epoch in (0, 3)}

    assert len(keys) == 1


def test_no_two_actions_or_compensations_share_a_key() -> None:
    varied: dict[str, list[Any]] = {
        "namespace": ["default", "other"],
        "internal_id": [SAGA, bytes(16)],
        "address": ["charge", "charge[0]", "charge[1]", "refund"],
        "round": [1, 2],
        "phase": [Phase.ACTION, Phase.UNDO],
    }
    contexts = [context(**dict(zip(varied, values, strict=True))) for values in itertools.product(*varied.values())]

    assert len({one.key for one in contexts}) == len(contexts) == 64


def test_the_users_id_is_no_part_of_the_key() -> None:
    assert context(saga_id="order-42").key == context(saga_id="order-43").key


def test_a_compensation_knows_the_key_of_its_action() -> None:
    action, undo = context(phase=Phase.ACTION), context(phase=Phase.UNDO)

    assert undo.action_key == action.key == action.action_key
    assert undo.key != action.key


def test_a_key_is_text_that_every_service_takes() -> None:
    key = context(namespace="a-b", address="charge[7]").key

    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


# What else it tells


def test_the_step_is_the_name_without_the_item() -> None:
    assert context(address="register[12]").step == "register"
    assert context(address="charge").step == "charge"


def test_the_log_says_whose_line_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        context(attempt=3).log.info("charged %d cents", 499, extra={"cents": 499})

    record = caplog.records[0]
    assert record.getMessage() == "[order-42 charge] charged 499 cents"
    fields = {name: getattr(record, name) for name in ("saga_id", "step", "phase", "attempt", "cents")}
    assert fields == {"saga_id": "order-42", "step": "charge", "phase": "action", "attempt": 3, "cents": 499}


def test_a_heartbeat_and_a_cancel_reach_the_attempt() -> None:
    attempt = StillAttempt()
    ctx = context(running=attempt)

    ctx.heartbeat()
    attempt.cancelled = True

    assert attempt.heartbeats == 1
    assert ctx.cancelled


def test_a_retried_step_sees_one_key_and_its_compensation_another() -> None:
    seen: list[tuple[str, int, str, str]] = []

    @step
    async def book(order: Order, ctx: Context) -> None:
        seen.append(("book", ctx.attempt, ctx.key, ctx.action_key))
        if ctx.attempt == 1:
            raise ConnectionError

    @book.compensation
    async def unbook(ctx: Context) -> None:
        seen.append(("unbook", ctx.attempt, ctx.key, ctx.action_key))

    @step(rejects=(ValueError,))
    async def refuse(order: Order) -> None:
        raise ValueError

    saga = Saga("book", book, pivot(refuse), input=Order)

    async def main() -> None:
        async with Orchestrator("memory://", sagas=[saga]) as orchestrator:
            await orchestrator.run(saga, Order("apple"))

    asyncio.run(main())

    (first, _, key, _), (second, _, again, _), (last, _, undo_key, action_key) = seen
    assert (first, second, last) == ("book", "book", "unbook")
    assert key == again == action_key
    assert undo_key != key
