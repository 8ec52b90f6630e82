"""2. A compensation that assumes its result is there. It also runs where nobody knows whether the action happened."""

from dataclasses import dataclass

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step
from amends.testing import Exploration


@dataclass(frozen=True)
class Payment:
    number: str


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> Payment:
    town.pay(order.cents, ctx.key)
    return Payment(ctx.key)


@charge.compensation
def refund(payment: Payment | None, town: Resource[Town]) -> None:
    assert payment is not None  # "we would not be here without one"
    town.pay_back(payment.number)


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


wrong = Exploration(Saga("sell", charge, hold, input=Order), ORDER, world=Town, invariant=fair)


@step(name="charge")
def charge_by_key(order: Order, town: Resource[Town], ctx: Context) -> Payment:
    town.pay(order.cents, ctx.key)
    return Payment(ctx.key)


@charge_by_key.compensation
def refund_by_key(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)  # the key is known, whatever became of the answer


mended = Exploration(Saga("sell", charge_by_key, hold, input=Order), ORDER, world=Town, invariant=fair)
