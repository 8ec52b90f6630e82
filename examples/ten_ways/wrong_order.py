"""4. A wrong order: the bank keeps a fee of every refund, and what most often says no comes after the charge."""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, pivot, step
from amends.testing import Exploration

FEE = 30


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    if ctx.action_key in town.paid:
        town.paid[ctx.action_key] -= FEE
        town.pay_back(ctx.action_key)


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


wrong = Exploration(Saga("sell", charge, hold, input=Order), ORDER, world=Town, invariant=fair)

# What is cheap to undo comes first; what is dear comes last, where nothing behind it can send the saga back.
mended = Exploration(Saga("sell", hold, pivot(charge), input=Order), ORDER, world=Town, invariant=fair)
