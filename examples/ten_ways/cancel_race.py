"""7. A race between cancel and completion, in the code that cancels: it pays back without waiting for the answer."""

from town import ORDER, Order, Town, fair

from amends import Context, Resource, Saga, pivot, step
from amends.errors import TooLate
from amends.testing import Beside, Exploration


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)


@step
def send(order: Order, town: Resource[Town]) -> None:
    town.sent += 1


sell = Saga("sell", hold, charge, pivot, send, input=Order)


async def refund_at_once(town: Town, saga: Beside) -> None:
    for key in list(town.paid):
        town.pay_back(key)
    await saga.cancel(reason="the customer has changed his mind")


wrong = Exploration(sell, ORDER, world=Town, invariant=fair, meanwhile=[refund_at_once])


async def ask_first(town: Town, saga: Beside) -> None:
    try:
        await saga.cancel(reason="the customer has changed his mind")  # the saga itself pays back
    except TooLate:
        town.letters.append("it is on its way to you")


mended = Exploration(sell, ORDER, world=Town, invariant=fair, meanwhile=[ask_first])
