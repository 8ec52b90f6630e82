"""given, when, then: a saga reads as a specification, and one that does not hold shows what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from amends import (
    Compensated,
    Completed,
    Context,
    Parked,
    Resource,
    Retry,
    Saga,
    Service,
    for_each,
    parallel,
    pivot,
    step,
    wait_for,
    when,
)
from amends.errors import DefinitionError
from amends.testing import (
    cancels,
    compensates,
    fails,
    given,
    rejects,
    replies,
    runs,
    signals,
    undo,
)
from amends.testing.specification import SpecificationFailed


@dataclass(frozen=True)
class Order:
    cents: int


@dataclass(frozen=True)
class Payment:
    receipt: str


class Shop:
    """Never there: nothing is called."""


@step(retry=Retry(attempts=3))
async def reserve(order: Order, shop: Resource[Shop], ctx: Context) -> int:
    raise AssertionError("a specification calls no step")


@reserve.compensation
async def release(shop: Resource[Shop]) -> None:
    raise AssertionError("a specification calls no compensation")


@step(retry=Retry(attempts=2))
async def charge(order: Order, shop: Resource[Shop]) -> Payment:
    raise AssertionError("a specification calls no step")


@charge.compensation
async def refund(shop: Resource[Shop]) -> None: ...


@step
async def ship(order: Order, shop: Resource[Shop]) -> str:
    raise AssertionError("a specification calls no step")


@step
def thank(payment: Payment, shop: Resource[Shop]) -> None: ...


place_order = Saga("place-order", reserve, charge, pivot, parallel(ship, thank), input=Order, output=ship)
ORDER = Order(5)
ALL_WELL = (replies(reserve, 1), replies(charge, Payment("r")), replies(ship, "parcel"))


def test_a_saga_completes_with_what_its_steps_reply() -> None:
    outcome = (
        given(place_order, ORDER)
        .when(*ALL_WELL)
        .then(runs(reserve, charge, ship, thank), compensates(), status="completed")
    )

    assert outcome == Completed("parcel")


def test_a_rejection_compensates_what_was_done_before() -> None:
    given(place_order, ORDER).when(replies(reserve, 1), rejects(charge, "declined")).then(
        runs(reserve, charge),
        compensates(reserve),
        status="compensated",
        outcome=Compensated("charge: declined", "rejected", "charge"),
    )


def test_a_step_that_fails_some_times_is_tried_again() -> None:
    given(place_order, ORDER).when(fails(reserve, times=2), *ALL_WELL).then(compensates(), status="completed")


def test_a_step_that_always_fails_is_unknown_and_is_undone_too() -> None:
    given(place_order, ORDER).when(replies(reserve, 1), fails(charge, "no line")).then(
        compensates(charge, reserve), status="compensated", reason="no line"
    )


def test_a_no_after_a_failure_is_undone_too() -> None:
    given(place_order, ORDER).when(replies(reserve, 1), fails(charge, times=1), rejects(charge, "declined")).then(
        compensates(charge, reserve), status="compensated", reason="an earlier attempt may have worked"
    )


def test_an_undo_that_fails_is_tried_again_and_one_that_says_no_parks() -> None:
    late = given(place_order, ORDER).when(replies(reserve, 1), rejects(charge))

    late.when(fails(undo(reserve), times=2)).then(compensates(reserve), status="compensated")
    outcome = late.when(rejects(undo(reserve), "gone")).then(status="parked", reason="gone")

    assert isinstance(outcome, Parked)
    assert [entry.step for entry in outcome.unsettled] == ["reserve"]


def test_a_cancel_before_the_pivot_goes_back_and_behind_it_comes_too_late() -> None:
    given(place_order, ORDER).when(cancels(after=reserve), *ALL_WELL).then(
        compensates(charge, reserve), status="compensated", reason="cancelled"
    )
    given(place_order, ORDER).when(cancels(after=ship), *ALL_WELL).then(status="completed")


approval = wait_for("approval", str, timeout=timedelta(days=3))
wait_then_charge = Saga("wait", reserve, approval, charge, input=Order)


def test_a_wait_is_answered_or_its_timeout_comes() -> None:
    waiting = given(wait_then_charge, ORDER).when(replies(reserve, 1), replies(charge, Payment("r")))

    waiting.when(signals(approval, "yes")).then(runs(reserve, charge), status="completed")
    waiting.then(runs(reserve), compensates(reserve), reason="no signal came in time")


def test_a_deadline_comes_where_steps_take_that_long() -> None:
    saga = Saga("slow", reserve, charge, input=Order, deadline=60)

    given(saga, ORDER).when(replies(reserve, 1, after=61)).then(
        runs(reserve), compensates(reserve), status="compensated", reason="deadline"
    )


def test_conditions_are_asked_and_items_answered_one_by_one() -> None:
    @step
    async def pick(item: int, shop: Resource[Shop]) -> str:
        raise AssertionError("a specification calls no step")

    @pick.compensation
    async def unpick(item: int, shop: Resource[Shop]) -> None: ...

    def is_dear(order: Order) -> bool:
        return order.cents > 3

    def items(order: Order) -> list[int]:
        return [1, 2, 3]

    picks = for_each(pick, over=items)
    saga = Saga("steered", picks, when(is_dear, reserve), input=Order, output=picks)

    well = given(saga, ORDER).when(replies(pick, "a", "b", "c"), replies(reserve, 1))

    assert well.then(runs(pick, reserve)) == Completed(["a", "b", "c"])
    given(saga, Order(1)).when(replies(pick, "a", "b", "c")).then(runs(pick), status="completed")


inventory = Service("inventory")
take = inventory.command("take", Order, reply=int)


@take.request(name="take")
def ask(order: Order) -> Order:
    return order


def test_a_command_is_replied_to_like_a_step() -> None:
    saga = Saga("remote", ask, charge, input=Order)

    given(saga, ORDER).when(replies(ask, 7), rejects(charge)).then(compensates(ask), status="compensated")
    given(saga, ORDER).when(rejects(ask, "none left")).then(compensates(), reason="none left")
    given(saga, ORDER).when(fails(ask, times=1), replies(ask, 7), replies(charge, Payment("r"))).then(
        status="completed"
    )


def test_a_step_that_gives_something_must_be_answered_for() -> None:
    with pytest.raises(DefinitionError, match=r"charge gives a Payment; say which: replies\(charge, …\)"):
        given(place_order, ORDER).when(replies(reserve, 1)).then(status="completed")


def test_a_step_of_another_saga_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the saga 'wait' has no 'ship'"):
        given(wait_then_charge, ORDER).when(replies(ship, "x")).then()


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"status": "completed"}, "expected: completed; it is compensated"),
        ({"reason": "weather"}, "expected: 'weather' in the reason; it is 'charge: declined'"),
        ({"outcome": Completed("parcel")}, r"expected: Completed\(.*; the outcome is Compensated\("),
    ],
)
def test_what_does_not_hold_is_told_with_what_happened(expected: dict[str, object], words: str) -> None:
    specified = given(place_order, ORDER).when(replies(reserve, 1), rejects(charge, "declined"))

    with pytest.raises(SpecificationFailed, match=words) as caught:
        specified.then(**expected)  # type: ignore[arg-type]  # one of several keywords

    assert "what happened:" in str(caught.value)
    assert "charge says no: declined" in str(caught.value)


def test_what_is_named_of_a_kind_is_all_of_it_and_in_order() -> None:
    specified = given(place_order, ORDER).when(replies(reserve, 1), fails(charge))

    for wrong in (compensates(reserve), compensates(reserve, charge), compensates()):
        with pytest.raises(SpecificationFailed, match="it compensates charge, reserve"):
            specified.then(wrong)
