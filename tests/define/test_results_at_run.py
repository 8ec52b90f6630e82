"""Which result reaches a parameter when the saga runs: the branch that ran, the step itself."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import Annotated, Any

from amends import (
    Compensated,
    Completed,
    Context,
    Orchestrator,
    Parked,
    Retry,
    Saga,
    for_each,
    pivot,
    result_of,
    step,
    when,
)


@dataclass(frozen=True)
class Order:
    fast: bool


@dataclass(frozen=True)
class Label:
    text: str


def run(saga: Saga[Any, Any], value: object) -> Any:
    """The outcome of one saga in memory."""

    async def main() -> object:
        async with Orchestrator("memory://", sagas=[saga]) as orchestrator:
            return await orchestrator.run(saga, value)

    return asyncio.run(main())


def is_fast(order: Order) -> bool:
    return order.fast


def numbers(order: Order) -> list[int]:
    return [1, 2]


@step(readonly=True)
async def fast_label(number: int) -> Label:
    return Label(f"fast {number}")


@step(readonly=True)
async def slow_label(number: int) -> Label:
    return Label(f"slow {number}")


@step(readonly=True)
async def join(labels: list[Label]) -> str:
    return ", ".join(label.text for label in labels)


def test_of_two_for_each_in_the_arms_of_a_when_the_one_that_ran_is_read() -> None:
    fast, slow = for_each(fast_label, over=numbers), for_each(slow_label, over=numbers)
    saga = Saga("label", when(is_fast, fast, otherwise=slow), join, input=Order, output=join)

    outcomes = [run(saga, Order(fast=True)), run(saga, Order(fast=False))]

    assert outcomes == [Completed("fast 1, fast 2"), Completed("slow 1, slow 2")]


def test_a_list_and_a_for_each_may_be_the_two_arms_of_a_when() -> None:
    @step(readonly=True)
    async def one_label(order: Order) -> list[Label]:
        return [Label("just one")]

    each = for_each(fast_label, over=numbers)
    saga = Saga("label", when(is_fast, each, otherwise=one_label), join, input=Order, output=join)

    outcomes = [run(saga, Order(fast=True)), run(saga, Order(fast=False))]

    assert outcomes == [Completed("fast 1, fast 2"), Completed("just one")]


def test_a_for_each_that_was_skipped_gives_none() -> None:
    @step(readonly=True)
    async def count(labels: list[Label] | None) -> int:
        return -1 if labels is None else len(labels)

    saga = Saga("label", when(is_fast, for_each(fast_label, over=numbers)), count, input=Order, output=count)

    outcomes = [run(saga, Order(fast=True)), run(saga, Order(fast=False))]

    assert outcomes == [Completed(2), Completed(-1)]


def test_result_of_one_arm_is_never_the_result_of_the_other() -> None:
    @step(readonly=True)
    async def quick(order: Order) -> Label:
        return Label("quick")

    @step(readonly=True)
    async def steady(order: Order) -> Label:
        return Label("steady")

    @step(readonly=True)
    async def tell(label: Annotated[Label | None, result_of(quick)]) -> str:
        return "skipped" if label is None else label.text

    saga = Saga("label", when(is_fast, quick, otherwise=steady), tell, input=Order, output=tell)

    outcomes = [run(saga, Order(fast=True)), run(saga, Order(fast=False))]

    assert outcomes == [Completed("quick"), Completed("skipped")]


def test_a_compensation_of_a_step_used_twice_gets_the_result_of_its_own_use() -> None:
    undone: list[tuple[str, str]] = []

    @step
    async def print_label(order: Order, ctx: Context) -> Label:
        return Label(f"by {ctx.step}")

    @print_label.compensation
    async def tear_up(label: Label | None, ctx: Context) -> None:
        assert label is not None
        undone.append((ctx.step, label.text))

    @step(rejects=(ValueError,))
    async def refuse(order: Order) -> None:
        raise ValueError("no")

    saga = Saga("label", print_label, print_label.named("second"), pivot(refuse), input=Order)

    run(saga, Order(fast=True))

    assert undone == [("second", "by second"), ("print_label", "by print_label")]


def test_a_compensation_whose_decorator_never_awaits_it_is_not_taken_for_done() -> None:
    """A plain wrapper around an async function gives back a coroutine, and nothing was undone."""
    undone: list[str] = []

    def traced(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    @step
    async def book(order: Order) -> None: ...

    @book.compensation(retry=Retry(attempts=1))
    @traced
    async def unbook(order: Order) -> None:
        undone.append("book")

    @step(rejects=(ValueError,))
    async def refuse(order: Order) -> None:
        raise ValueError("no")

    outcome = run(Saga("label", book, pivot(refuse), input=Order), Order(fast=True))

    assert isinstance(outcome, Compensated) == (undone == ["book"])
    assert isinstance(outcome, Parked)
    assert "returned a coroutine" in outcome.unsettled[0].reason
