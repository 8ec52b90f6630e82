"""3. A missing compensation. Leaving it out is refused when the saga is built; claiming that there is nothing to undo
is not.
"""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step
from amends.testing import Exploration


@step(readonly=True)  # it "only holds a place"
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)


wrong = Exploration(Saga("sell", hold, charge, input=Order), ORDER, world=Town, invariant=fair)


@step(name="hold")
def hold_for_now(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold_for_now.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


mended = Exploration(Saga("sell", hold_for_now, charge, input=Order), ORDER, world=Town, invariant=fair)
