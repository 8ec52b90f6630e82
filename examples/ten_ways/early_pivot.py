"""6. A pivot in the wrong place: behind it nothing is undone, and there stands a step that may say no."""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, pivot, step
from amends.testing import Exploration


class Declined(Exception):
    """The card says no."""


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


@step(rejects=(Declined,))
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@step
def send(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.sent += 1


wrong = Exploration(Saga("sell", hold, pivot, charge, send, input=Order), ORDER, world=Town, invariant=fair)

# The step that decides is the pivot itself: its no sends the saga back, its yes is the point of no return.
mended = Exploration(Saga("sell", hold, pivot(charge), send, input=Order), ORDER, world=Town, invariant=fair)
