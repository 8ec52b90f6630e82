"""8. A lost signal: the saga waits for an answer that never comes, with the customer's money in the till."""

from dataclasses import dataclass

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, step, wait_for
from amends.testing import Exploration


@dataclass(frozen=True)
class Yes:
    by: str


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


for_ever = wait_for("approval", Yes)
wrong = Exploration(
    Saga("sell", charge, for_ever, hold, input=Order), ORDER, world=Town, invariant=fair, signals={for_ever: Yes("Ann")}
)

a_day = wait_for("approval", Yes, timeout=24 * 3600)  # then it goes back
mended = Exploration(
    Saga("sell", charge, a_day, hold, input=Order), ORDER, world=Town, invariant=fair, signals={a_day: Yes("Ann")}
)
