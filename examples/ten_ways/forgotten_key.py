"""5. A step that ignores `ctx.key`: its own key has the attempt in it, and a second try is a second payment."""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step
from amends.testing import Exploration


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, key=f"{ctx.saga_id}/{ctx.attempt}")


@charge.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(f"{ctx.saga_id}/1")


wrong = Exploration(Saga("sell", hold, charge, input=Order), ORDER, world=Town, invariant=fair)


@step(name="charge")
def charge_by_key(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)  # the same in every attempt


@charge_by_key.compensation
def refund_by_key(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)


mended = Exploration(Saga("sell", hold, charge_by_key, input=Order), ORDER, world=Town, invariant=fair)
