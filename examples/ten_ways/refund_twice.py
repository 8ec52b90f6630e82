"""1. A compensation that is not idempotent: tried again, it pays back again."""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step
from amends.testing import Exploration


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def refund(order: Order, town: Resource[Town], ctx: Context) -> None:
    if ctx.action_key in town.paid:
        town.move(-order.cents)  # nothing remembers that this was done


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


wrong = Exploration(Saga("sell", charge, hold, input=Order), ORDER, world=Town, invariant=fair)


@step(name="charge")
def charge_once(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge_once.compensation
def refund_once(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)  # takes the payment away with the money


mended = Exploration(Saga("sell", charge_once, hold, input=Order), ORDER, world=Town, invariant=fair)
