"""Sagas that are wrong in other ways than ten, and right ones that look strange: what explore says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from amends import (
    Compensated,
    Completed,
    Context,
    Park,
    Parked,
    Reject,
    Resource,
    Retry,
    Saga,
    Service,
    for_each,
    parallel,
    pivot,
    sleep,
    step,
    wait_for,
    when,
)
from amends.define.step import Step
from amends.errors import Refused, TooLate
from amends.testing import Beside, Clock, Exploration

RUNS = 250


@dataclass(frozen=True)
class Order:
    pieces: int = 2


@dataclass
class Town:
    till: int = 0
    paid: dict[str, int] = field(default_factory=dict[str, int])
    letters: list[str] = field(default_factory=list[str])

    def pay(self, key: str) -> None:
        if key not in self.paid:
            self.paid[key] = 5
            self.till += 5

    def back(self, key: str) -> None:
        self.till -= self.paid.pop(key, 0)


def worth(cents: int) -> Callable[[Town, object], None]:
    def law(town: Town, outcome: object) -> None:
        assert town.till == (cents if isinstance(outcome, Completed) else 0), f"{town.till} in the till"

    return law


def paying(name: str, *, undone: bool = True, retry: Retry = Retry(attempts=3)) -> Step[..., Any, None]:  # noqa: B008
    """A step that is right."""

    @step(name=name, retry=retry)
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    if undone:

        @pay.compensation
        def pay_back(town: Resource[Town], ctx: Context) -> None:
            town.back(ctx.action_key)

    return pay


@step(readonly=True)
def check(order: Order) -> None: ...


@step(readonly=True)
def yes(order: Order) -> bool:
    return True


def pieces(order: Order) -> list[int]:
    return list(range(order.pieces))


def told(made: Exploration) -> tuple[str, str]:
    """The faults of the counterexample, and what is wrong."""
    found = made.run(runs=RUNS).counterexample
    assert found is not None
    return ", ".join(map(str, found.faults)), found.wrong


def explored(saga: Saga[Order, Any], cents: int, **more: Any) -> Exploration:
    return Exploration(saga, Order(), **{"world": Town, "invariant": worth(cents), **more})


# Wrong


def test_an_undo_of_items_that_forgets_some() -> None:
    @step
    def book(piece: int, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @book.compensation
    def unbook(piece: int, town: Resource[Town], ctx: Context) -> None:
        if piece == 0:
            town.back(ctx.action_key)

    faults, wrong = told(explored(Saga("s", for_each(book, over=pieces), check, input=Order), 10))

    assert faults == "book[0]:rejects"
    assert "5 in the till" in wrong


def test_an_undo_that_asks_for_its_own_key() -> None:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.key)

    assert told(explored(Saga("s", pay, check, input=Order), 5))[0] == "check:rejects"


def test_an_undo_that_says_no_where_there_is_nothing_to_undo() -> None:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        if ctx.action_key not in town.paid:
            raise Reject("there is no such payment")
        town.back(ctx.action_key)

    faults, wrong = told(explored(Saga("s", pay, check, input=Order), 5))

    assert faults == "pay:down"
    assert "the undo of pay failed by itself: there is no such payment" in wrong


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_a_handler_whose_undo_says_no(style: str) -> None:
    bank = Service("bank")
    charge = bank.command("charge", Order)
    look = bank.command("look", Order, readonly=True)
    asked = charge.request(name="charge")(same)
    then = look.request(name="look")(same)

    def pay(order: Order, town: Town) -> None:
        town.till += 5

    def pay_back(order: Order, reply: None, town: Town) -> None:
        raise Reject("not after eight")

    def nothing(order: Order, town: Town) -> None: ...

    saga = Saga("s", asked, then, input=Order)
    faults, wrong = told(explored(saga, 5, services={charge: (pay, pay_back), look: nothing}, style=style))

    assert faults == "look:rejects"
    assert "the undo of charge failed by itself: not after eight" in wrong


def same(order: Order) -> Order:
    return order


def test_a_step_behind_the_pivot_that_does_nothing_once_the_deadline_is_over() -> None:
    def world(clock: Clock) -> dict[type, object]:
        return {Town: Town(), Clock: clock}

    @step
    def ship(order: Order, town: Resource[Town], clock: Resource[Clock], ctx: Context) -> None:
        if ctx.deadline is None or clock.now() < ctx.deadline:
            town.pay(ctx.key)

    def law(world: dict[type, Any], outcome: object) -> None:
        worth(10)(world[Town], outcome)

    saga = Saga("s", paying("pay"), pivot, ship, input=Order, deadline=3600)
    faults, _ = told(explored(saga, 10, world=world, invariant=law))

    assert faults == "ship:fails, deadline@1"


def test_who_tells_the_customer_before_the_signal_was_taken() -> None:
    approval = wait_for("approval", str, timeout=3600)

    async def approve(town: Town, saga: Beside) -> None:
        town.letters.append("approved")
        await saga.signal(approval, "yes")

    def law(town: Town, outcome: object) -> None:
        assert not town.letters or isinstance(outcome, Completed), "he was told, and it came to nothing"

    saga = Saga("s", paying("pay"), approval, pivot, paying("ship", undone=False), input=Order)
    _, wrong = told(explored(saga, 10, invariant=law, meanwhile=[approve]))

    assert "it came to nothing" in wrong


def test_who_takes_a_cancel_that_was_refused_for_one_that_was_not() -> None:
    async def customer_cancels(town: Town, saga: Beside) -> None:
        with suppress(Refused, TooLate):
            await saga.cancel(reason="rain")
        town.letters.append("cancelled")

    def law(town: Town, outcome: object) -> bool:
        return not (town.letters and isinstance(outcome, Completed))

    saga = Saga("s", paying("pay"), pivot, paying("ship", undone=False), input=Order)
    faults, _ = told(explored(saga, 10, invariant=law, meanwhile=[customer_cancels]))

    assert faults == "customer_cancels@1"


def test_retries_without_end_of_what_can_never_work_again() -> None:
    @step(retry=Retry(attempts=None))
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        if ctx.attempt > 1:
            raise ConnectionError("seen already")
        town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    _, wrong = told(explored(Saga("s", pay, input=Order), 5))

    assert "pay failed by itself: ConnectionError: seen already" in wrong


def test_an_undo_that_takes_back_its_siblings_effect_too() -> None:
    @step
    def left(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay("left")

    @left.compensation
    def undo_left(town: Resource[Town]) -> None:
        town.till = 0
        town.paid.clear()

    @step
    def right(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay("right")

    @right.compensation
    def undo_right(town: Resource[Town]) -> None:
        town.till -= town.paid.pop("right")

    _, wrong = told(explored(Saga("s", parallel(left, right), check, input=Order), 10))

    assert "the undo of right failed by itself: KeyError" in wrong


def test_a_time_out_that_is_taken_for_a_no() -> None:
    """Its function catches the request to stop, and says no, though the money has moved."""

    @step(timeout=5)
    async def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)
        town.letters.append("asked")
        try:
            await asyncio.sleep(0 if len(town.letters) > 1 else 3600)
        except asyncio.CancelledError:
            raise Reject("too slow") from None

    @pay.compensation
    async def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    faults, wrong = told(explored(Saga("s", pay, check, input=Order), 5))

    assert faults == ""
    assert "5 in the till" in wrong


def test_a_branch_that_is_not_always_taken_and_is_not_undone() -> None:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @pay.compensation
    def forget(town: Resource[Town]) -> None: ...

    assert told(explored(Saga("s", yes, when(yes, pay), check, input=Order), 5))[0] == "check:rejects"


def test_a_rejection_that_is_collected_and_never_looked_at() -> None:
    @step
    def book(piece: int, town: Resource[Town], ctx: Context) -> str:
        town.pay(ctx.key)
        return "booked"

    @book.compensation
    def unbook(piece: int, town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    saga = Saga("s", for_each(book, over=pieces, on_reject="collect"), check, input=Order)

    assert told(explored(saga, 10))[0] == "book[0]:rejects"


def test_what_is_kept_outside_of_the_world_is_said_to_be() -> None:
    seen: set[str] = set()

    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        if "paid" not in seen:
            seen.add("paid")
            town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    _, wrong = told(explored(Saga("s", pay, check, input=Order), 5))

    assert "the same run was right before: something is kept outside of the world" in wrong


# Right


def items() -> Exploration:
    @step
    def book(piece: int, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @book.compensation
    def unbook(piece: int, town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    return explored(Saga("s", for_each(book, over=pieces, limit=2), check, input=Order), 10)


def silence_that_means_no() -> Exploration:
    answer = wait_for("answer", str, timeout=60, default="no")
    return explored(Saga("s", paying("pay"), answer, check, input=Order), 5, signals={answer: "yes"})


def retries_without_end() -> Exploration:
    patient = paying("pay", retry=Retry(attempts=None))
    return explored(Saga("s", patient, check, input=Order, deadline=timedelta(days=1)), 5)


def one_attempt_of_everything() -> Exploration:
    once = Retry(attempts=1)
    nodes = [paying("a", retry=once), pivot(paying("b", undone=False, retry=once)), paying("c", undone=False)]
    return explored(Saga("s", *nodes, input=Order), 15)


def what_clears_up_when_it_is_stopped() -> Exploration:
    @step(timeout=5)
    async def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        try:
            await asyncio.sleep(1)
            town.pay(ctx.key)
        except asyncio.CancelledError:
            town.back(ctx.key)
            raise

    @pay.compensation
    async def pay_back(town: Resource[Town], ctx: Context) -> None:
        await asyncio.sleep(1)
        town.back(ctx.action_key)

    return explored(Saga("s", pay, check, input=Order), 5)


def a_person_who_pays_back() -> Exploration:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        if ctx.action_key in town.paid:
            raise Park("refunds are made by hand")

    def law(town: Town, outcome: object) -> None:
        assert town.till == (0 if isinstance(outcome, Compensated) else 5)

    return explored(Saga("s", pay, check, input=Order), 5, invariant=law)


def one_branch_or_the_other() -> Exploration:
    return explored(Saga("s", yes, when(yes, paying("a"), otherwise=paying("b")), check, input=Order), 5)


def what_comes_back_later() -> Exploration:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        if ctx.attempt < 3:
            raise Retry.after(10)
        town.pay(ctx.key)

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    return explored(Saga("s", pay, check, input=Order), 5)


def sleeps_under_a_deadline() -> Exploration:
    nodes = [paying("a"), sleep(60), paying("b"), sleep(timedelta(hours=1)), pivot, paying("c", undone=False)]
    return explored(Saga("s", *nodes, input=Order, deadline=7200), 15)


def who_asks_and_is_told() -> Exploration:
    async def customer_cancels(town: Town, saga: Beside) -> None:
        try:
            await saga.cancel(reason="rain")
            town.letters.append("cancelled")
        except TooLate:
            town.letters.append("too late")

    def law(town: Town, outcome: object) -> None:
        worth(10)(town, outcome)
        assert town.letters != ["cancelled"] or isinstance(outcome, Compensated)

    saga = Saga("s", paying("a"), pivot, paying("b", undone=False), input=Order)
    return explored(saga, 10, invariant=law, meanwhile=[customer_cancels])


def a_no_that_takes_its_effect_back() -> Exploration:
    @step
    def pay(order: Order, town: Resource[Town], ctx: Context) -> None:
        town.pay(ctx.key)
        town.back(ctx.key)
        raise Reject("always")

    @pay.compensation
    def pay_back(town: Resource[Town], ctx: Context) -> None:
        town.back(ctx.action_key)

    return explored(Saga("s", pay, check, input=Order), 5)


def siblings_behind_the_pivot() -> Exploration:
    both = parallel(paying("b", undone=False), paying("c", undone=False))
    return explored(Saga("s", paying("a"), pivot, both, input=Order), 15)


@pytest.mark.parametrize(
    "right",
    [
        items,
        silence_that_means_no,
        retries_without_end,
        one_attempt_of_everything,
        what_clears_up_when_it_is_stopped,
        a_person_who_pays_back,
        one_branch_or_the_other,
        what_comes_back_later,
        sleeps_under_a_deadline,
        who_asks_and_is_told,
        a_no_that_takes_its_effect_back,
        siblings_behind_the_pivot,
    ],
)
def test_what_is_right_is_not_complained_about(right: Callable[[], Exploration]) -> None:
    report = right().run(runs=RUNS)

    assert report.ok, str(report)


def test_a_look_that_was_cut_short_does_not_keep_a_saga_that_goes_back() -> None:
    @step(readonly=True, retry=Retry(attempts=1))
    def look(order: Order) -> None: ...

    saga = Saga("s", paying("a"), parallel(look, paying("b", retry=Retry(attempts=1))), input=Order)
    report = explored(saga, 10).run(only="b:crash-after-effect, undo:a:down")

    assert report.ok, str(report)


def test_a_saga_that_asks_for_a_person_without_any_fault_is_told() -> None:
    @step
    def pay(order: Order) -> None:
        raise Park("the credentials are wrong")

    @pay.compensation
    def pay_back() -> None: ...

    assert (
        "without any fault, pay asks for a person: the credentials are wrong"
        in told(explored(Saga("s", pay, input=Order), 0))[1]
    )


def test_the_law_is_asked_of_a_saga_that_asked_for_a_person() -> None:
    seen: list[object] = []
    made = a_person_who_pays_back()

    Exploration(made.saga, made.input, world=Town, invariant=lambda _, outcome: seen.append(outcome)).run(runs=RUNS)

    assert any(isinstance(outcome, Parked) for outcome in seen)
