"""9. A parallel branch that leaves its sibling's effect: the charge's own undo "need not" do anything, since whoever
finds the shelf empty pays back.
"""

from town import ORDER, Order, Town

from amends import Context, Reject, Resource, Saga, parallel, step
from amends.testing import Exploration


@step
def charge(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge.compensation
def leave_it_to_the_shelf(town: Resource[Town]) -> None:
    pass


@step
def hold(order: Order, town: Resource[Town], ctx: Context) -> None:
    if town.shelf == 0:
        for key in list(town.paid):
            town.pay_back(key)
        raise Reject("nothing is left")
    town.hold(ctx.key)


@hold.compensation
def put_back(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


def sold_out() -> Town:
    return Town(shelf=0)


def nobody_pays(town: Town, outcome: object) -> None:
    assert (town.purse, town.till) == (10_000, 0), f"{town.till} in the till, and there was nothing to sell"


wrong = Exploration(Saga("sell", parallel(charge, hold), input=Order), ORDER, world=sold_out, invariant=nobody_pays)


@step(name="charge")
def charge_alone(order: Order, town: Resource[Town], ctx: Context) -> None:
    town.pay(order.cents, ctx.key)


@charge_alone.compensation
def refund(town: Resource[Town], ctx: Context) -> None:
    town.pay_back(ctx.action_key)


@step(name="hold")
def hold_alone(order: Order, town: Resource[Town], ctx: Context) -> None:
    if town.shelf == 0:
        raise Reject("nothing is left")
    town.hold(ctx.key)


@hold_alone.compensation
def put_back_alone(town: Resource[Town], ctx: Context) -> None:
    town.put_back(ctx.action_key)


mended = Exploration(
    Saga("sell", parallel(charge_alone, hold_alone), input=Order), ORDER, world=sold_out, invariant=nobody_pays
)
